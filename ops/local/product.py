"""A real product as a provider on loopback: installed from PyPI into the cache, its data copied from a template that is
made once, started, waited for, stopped by pid. A file beside this one says what is special about each product."""

import argparse
import dataclasses
import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable

from services import CACHE, ROOT, fail, free_ports, running, say, start, stop, wait

# What a caller may take for "can't be had here": the tests then say that they were not run.
UNAVAILABLE = 3


@dataclasses.dataclass
class Instance:
    """One running product: its folder, its port, and the environment that it is installed in."""

    name: str
    product: "Product"

    @property
    def folder(self):
        return ROOT / self.name

    @property
    def data(self):
        return self.folder / "data"

    @property
    def port(self):
        return int((self.folder / "port").read_text())

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def program(self, name):
        return str(self.product.cache / "venv/bin" / name)


@dataclasses.dataclass
class Product:
    """What is special about a product. `template` fills a folder with the data that each instance begins with."""

    name: str
    title: str
    port: int
    packages: list[str]
    command: Callable[[Instance], list[str]]
    answers: Callable[[Instance], bool]
    template: Callable[["Product", pathlib.Path], None] = lambda product, folder: None
    prepare: Callable[[Instance], None] = lambda instance: None
    environment: Callable[[pathlib.Path], dict] = lambda data: {}
    python: tuple[int, int] = (3, 11)
    # Counted up when the template is made in another way.
    edition: int = 1
    limit: int = 60

    @property
    def cache(self):
        return CACHE / self.name

    def program(self, name):
        return str(self.cache / "venv/bin" / name)

    def run(self, command, data):
        """Runs a program of the product while its template is made."""
        with open(self.cache / "log", "ab") as log:
            environment = {**os.environ, **self.environment(data)}
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            done = subprocess.run(command, cwd=data, env=environment, check=False, **streams)
        if done.returncode != 0:
            fail(f"{self.title}: `{pathlib.Path(command[0]).name} {command[1]}` failed: see {self.cache / 'log'}")


def interpreter(least):
    """The oldest Python here that is at least so new, on the path or among pyenv's; exits where there is none."""
    pythons = [(sys.version_info[:2], sys.executable)]
    names = [(least[0], minor) for minor in range(least[1], least[1] + 6)]
    pythons += [(version, shutil.which("python{}.{}".format(*version))) for version in names]
    versions = pathlib.Path(os.environ.get("PYENV_ROOT") or pathlib.Path.home() / ".pyenv") / "versions"
    for path in versions.glob("*/bin/python"):
        version = re.match(r"(\d+)\.(\d+)", path.parent.parent.name)
        pythons += [((int(version[1]), int(version[2])), str(path))] if version else []
    for version, path in sorted(python for python in pythons if python[1] and python[0] >= least):
        # A name on the path may be a shim for a version that is not chosen.
        if subprocess.run([path, "-c", "import venv, ensurepip"], capture_output=True, check=False).returncode == 0:
            return path
    say(f"needs Python {least[0]}.{least[1]} or later, which is not here")
    sys.exit(UNAVAILABLE)


def install(product):
    """The virtual environment and the template, made once in the cache; a lock keeps two callers apart."""
    python = interpreter(product.python)
    folder = product.cache
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = "\n".join([*product.packages, f"edition {product.edition}"])
        done = folder / "complete"
        if done.exists() and done.read_text() == wanted:
            return
        done.unlink(missing_ok=True)
        environment(product, python)
        work = folder / "template"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        product.template(product, work)
        done.write_text(wanted)


def environment(product, python):
    folder = product.cache
    installed = folder / "installed"
    if installed.exists() and installed.read_text() == "\n".join(product.packages):
        return
    installed.unlink(missing_ok=True)
    shutil.rmtree(folder / "venv", ignore_errors=True)
    say(f"installing {product.title} from PyPI")
    for command in (
        [python, "-m", "venv", str(folder / "venv")],
        [product.program("pip"), "install", "-q", "--disable-pip-version-check", *product.packages],
    ):
        if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode != 0:
            fail(f"installing {product.title} failed: is PyPI reachable, and python3-venv installed?")
    installed.write_text("\n".join(product.packages))


def request(method, url, body=None, headers=None, timeout=30):
    """One HTTP request, past any proxy: status, headers, body. No answer is an OSError; a status is never one."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
    kind = {"content-type": "application/json"} if isinstance(body, (dict, list)) else {}
    asked = urllib.request.Request(url, data=data, method=method, headers={**kind, **(headers or {})})
    try:
        with opener.open(asked, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, refused.read()


def status_of(method, url, **more):
    """The status of an answer, or None while nobody answers."""
    try:
        return request(method, url, timeout=2, **more)[0]
    except (OSError, urllib.error.URLError):
        return None


def done(answer, *expected):
    """An answer's body, where its status is one of those expected; else says what came."""
    status, _, body = answer
    if status not in (expected or (200, 201, 204)):
        fail(f"answered {status}: {body[:300].decode(errors='replace')}")
    return body


def up(product, args):
    instance = Instance(args.name, product)
    if not running(args.name):
        install(product)
        instance.folder.mkdir(parents=True, exist_ok=True)
        if args.fresh or not instance.data.exists():
            shutil.rmtree(instance.data, ignore_errors=True)
            shutil.copytree(product.cache / "template", instance.data)
        port = free_ports(1)[0] if args.port == "auto" else int(args.port)
        (instance.folder / "port").write_text(str(port))
        os.environ.update(product.environment(instance.data))
        start(args.name, product.command(instance))
    wait(args.name, lambda: product.answers(instance), product.limit)
    product.prepare(instance)
    print(f"TRIBUTARY_{product.name.upper()}={instance.url}")


def down(args):
    stop(args.name)
    if args.wipe:
        shutil.rmtree(ROOT / args.name, ignore_errors=True)


def status(args):
    pid = running(args.name)
    where = f"pid {pid}, http://127.0.0.1:{(ROOT / args.name / 'port').read_text()}" if pid else "not running"
    print(f"{args.name:10} {where}")
    sys.exit(0 if pid else 1)


def main(product, doc, actions):
    """The command line of a product: up, down, status, and its own actions: name -> (function, its arguments)."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def command(name, run, *words):
        sub = commands.add_parser(name)
        sub.add_argument("--name", default=product.name)
        for word in words:
            sub.add_argument(word)
        sub.set_defaults(run=run)
        return sub

    starting = command("up", lambda args: up(product, args))
    starting.add_argument("--port", default=str(product.port))
    starting.add_argument("--fresh", action="store_true")
    command("down", down).add_argument("--wipe", action="store_true")
    command("status", status)
    for name, (function, *words) in actions.items():
        command(name, acting(product, function, words), *words)
    args = parser.parse_args()
    args.run(args)


def acting(product, function, words):
    def act(args):
        if not running(args.name):
            fail(f"{args.name} is not running: ops/local/{product.name} up")
        told = function(Instance(args.name, product), *(getattr(args, word) for word in words))
        if told is not None:
            print(told)

    return act
