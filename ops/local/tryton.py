#!/usr/bin/env python3
"""Tryton as a provider on loopback: installed from PyPI into the cache, on a fresh database, stopped by pid.

  ops/local/tryton up [--name NAME] [--port PORT|auto] [--fresh]   start, wait until it answers, print its address
  ops/local/tryton down [--name NAME] [--wipe]                     stop; --wipe also erases its database
  ops/local/tryton status [--name NAME]
  ops/local/tryton hire WHO                                        print the employee's id
  ops/local/tryton rename EMPLOYEE WHO
  ops/local/tryton delete EMPLOYEE

The database `hris` is a copy of a template that is made once: modules company and party, user `admin`, password
`admin-pw`, no records. --fresh starts from the template again. Folders as in ops/local/up.
"""

import argparse
import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

from services import CACHE, ROOT, fail, free_ports, running, say, start, stop, wait

PACKAGES = ["trytond==8.2.1", "trytond-party==8.2.0", "trytond-company==8.2.0"]
PORT = 18069
PASSWORD = "admin-pw"


def config(folder, port):
    """Writes trytond.conf. The session lives a day, or a poll at night would have to log in again."""
    file = folder / "trytond.conf"
    file.write_text(
        f"""[database]
uri = sqlite://
path = {folder}
[web]
listen = 127.0.0.1:{port}
[session]
timeout = 86400
"""
    )
    return file


def install():
    """The virtual environment, made once in the cache; a lock keeps two callers apart."""
    folder = CACHE / "tryton"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = "\n".join(PACKAGES)
        done = folder / "complete"
        if not (done.exists() and done.read_text() == wanted):
            done.unlink(missing_ok=True)
            venv(folder)
            template(folder)
            done.write_text(wanted)
    return folder


def venv(folder):
    shutil.rmtree(folder / "venv", ignore_errors=True)
    say("installing Tryton from PyPI")
    for command in (
        [sys.executable, "-m", "venv", str(folder / "venv")],
        [str(folder / "venv/bin/pip"), "install", "-q", "--disable-pip-version-check", *PACKAGES],
    ):
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode != 0:
            fail("installing Tryton failed: is PyPI reachable, and python3-venv installed?")


def template(folder):
    """The database as trytond-admin leaves it. Copied before any server has it open: a live one is also in its -wal."""
    say("creating Tryton's template database (20 s)")
    work = folder / "template"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    (work / "hris.sqlite").touch()  # trytond-admin insists on it
    (work / "password").write_text(PASSWORD + "\n")
    command = [str(folder / "venv/bin/trytond-admin"), "-c", str(config(work, PORT)), "-d", "hris"]
    command += ["-u", "company", "--activate-dependencies", "--email", "admin@example.com"]
    with open(folder / "log", "ab") as log:
        environment = {**os.environ, "TRYTONPASSFILE": str(work / "password")}
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment).returncode != 0:
            fail(f"creating the database failed: see {folder / 'log'}")


def answers(port):
    """`common.server.version` is answered, and the database is there."""
    listed = call(port, "common.db.list")
    return listed is not None and "hris" in listed and call(port, "common.server.version") is not None


def call(port, method):
    """Asks the server itself, which may not be there yet."""
    try:
        return rpc(f"http://127.0.0.1:{port}/rpc/", method, []).get("result")
    except (OSError, ValueError, urllib.error.URLError):
        return None


def rpc(url, method, params, headers=None, timeout=2):
    body = json.dumps({"id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, data=body, headers={"content-type": "application/json", **(headers or {})})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout) as answer:
        return json.load(answer)


def model(name, method, *params):
    """Calls a method of a model as the admin."""
    port = (ROOT / name / "port").read_text() if running(name) else fail(f"{name} is not running: ops/local/tryton up")
    login = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    url, headers = f"http://127.0.0.1:{port}/hris/rpc/", {"authorization": f"Basic {login}"}
    answer = rpc(url, f"model.{method}", [*params, {}], headers, timeout=30)
    return answer["result"] if "result" in answer else fail(f"{method}: {answer['error'][:2]}")


def company(name):
    """The company that hires: the first, or a new one."""
    there = model(name, "company.company.search", [], 0, 1, None)
    if there:
        return there[0]
    rounding = {"__class__": "Decimal", "decimal": "0.01"}
    euro = [{"name": "Euro", "code": "EUR", "symbol": "E", "digits": 2, "rounding": rounding}]
    currency = model(name, "currency.currency.create", euro)[0]
    party = model(name, "party.party.create", [{"name": "Acme GmbH"}])[0]
    return model(name, "company.company.create", [{"party": party, "currency": currency}])[0]


def hire(args):
    employer = company(args.name)
    party = model(args.name, "party.party.create", [{"name": args.who}])[0]
    start = {"__class__": "date", "year": 2024, "month": 3, "day": 1}
    employee = {"party": party, "company": employer, "start_date": start}
    print(model(args.name, "company.employee.create", [employee])[0])


def rename(args):
    found = model(args.name, "company.employee.read", [args.employee], ["party"])
    model(args.name, "party.party.write", [found[0]["party"]], {"name": args.who})


def delete(args):
    model(args.name, "company.employee.delete", [args.employee])


def up(args):
    folder = ROOT / args.name
    chosen = folder / "port"
    if running(args.name):
        port = int(chosen.read_text())
    else:
        cache = install()
        folder.mkdir(parents=True, exist_ok=True)
        if args.fresh or not (folder / "hris.sqlite").exists():
            for old in folder.glob("hris.sqlite*"):
                old.unlink()
            shutil.copy(cache / "template/hris.sqlite", folder / "hris.sqlite")
        port = free_ports(1)[0] if args.port == "auto" else int(args.port)
        chosen.write_text(str(port))
        start(args.name, [str(cache / "venv/bin/trytond"), "-c", str(config(folder, port)), "-d", "hris"])
    wait(args.name, lambda: answers(port), 60)
    print(f"TRIBUTARY_TRYTON=http://127.0.0.1:{port}")


def down(args):
    stop(args.name)
    if args.wipe:
        shutil.rmtree(ROOT / args.name, ignore_errors=True)


def status(args):
    pid = running(args.name)
    where = f"pid {pid}, http://127.0.0.1:{(ROOT / args.name / 'port').read_text()}" if pid else "not running"
    print(f"{args.name:10} {where}")
    sys.exit(0 if pid else 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    changes = (("hire", hire), ("rename", rename), ("delete", delete))
    for name, run in (("up", up), ("down", down), ("status", status), *changes):
        command = commands.add_parser(name)
        command.add_argument("--name", default="tryton")
        command.set_defaults(run=run)
        if run is up:
            command.add_argument("--port", default=str(PORT))
            command.add_argument("--fresh", action="store_true")
        if run is down:
            command.add_argument("--wipe", action="store_true")
        if run in (rename, delete):
            command.add_argument("employee", type=int)
        if run in (hire, rename):
            command.add_argument("who")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
