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

import base64
import json
import urllib.error

import product as of
from product import Product, done, fail, request

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


def template(product, folder):
    """The database as trytond-admin leaves it. Copied before any server has it open: a live one is also in its -wal."""
    (folder / "hris.sqlite").touch()  # trytond-admin insists on it
    (folder / "password").write_text(PASSWORD + "\n")
    command = [product.program("trytond-admin"), "-c", str(config(folder, product.port)), "-d", "hris"]
    product.run([*command, "-u", "company", "--activate-dependencies", "--email", "admin@example.com"], folder)


def command(instance):
    return [instance.program("trytond"), "-c", str(config(instance.data, instance.port)), "-d", "hris"]


def answers(instance):
    """`common.server.version` is answered, and the database is there."""
    listed = call(instance, "common.db.list")
    return listed is not None and "hris" in listed and call(instance, "common.server.version") is not None


def call(instance, method):
    """Asks the server itself, which may not be there yet."""
    try:
        return json.loads(done(rpc(f"{instance.url}/rpc/", method, [], timeout=2))).get("result")
    except (OSError, ValueError, urllib.error.URLError):
        return None


def rpc(url, method, params, headers=None, timeout=30):
    return request("POST", url, {"id": 1, "method": method, "params": params}, headers, timeout)


def model(instance, method, *params):
    """Calls a method of a model as the admin."""
    login = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    url, headers = f"{instance.url}/hris/rpc/", {"authorization": f"Basic {login}"}
    answer = json.loads(done(rpc(url, f"model.{method}", [*params, {}], headers)))
    return answer["result"] if "result" in answer else fail(f"{method}: {answer['error'][:2]}")


def company(instance):
    """The company that hires: the first, or a new one."""
    there = model(instance, "company.company.search", [], 0, 1, None)
    if there:
        return there[0]
    rounding = {"__class__": "Decimal", "decimal": "0.01"}
    euro = [{"name": "Euro", "code": "EUR", "symbol": "E", "digits": 2, "rounding": rounding}]
    currency = model(instance, "currency.currency.create", euro)[0]
    party = model(instance, "party.party.create", [{"name": "Acme GmbH"}])[0]
    return model(instance, "company.company.create", [{"party": party, "currency": currency}])[0]


def hire(instance, who):
    employer = company(instance)
    party = model(instance, "party.party.create", [{"name": who}])[0]
    start = {"__class__": "date", "year": 2024, "month": 3, "day": 1}
    employee = {"party": party, "company": employer, "start_date": start}
    return model(instance, "company.employee.create", [employee])[0]


def rename(instance, employee, who):
    found = model(instance, "company.employee.read", [int(employee)], ["party"])
    model(instance, "party.party.write", [found[0]["party"]], {"name": who})


def delete(instance, employee):
    model(instance, "company.employee.delete", [int(employee)])


TRYTON = Product(
    name="tryton",
    title="Tryton",
    port=18069,
    packages=["trytond==8.2.1", "trytond-party==8.2.0", "trytond-company==8.2.0"],
    command=command,
    answers=answers,
    template=template,
    environment=lambda data: {"TRYTONPASSFILE": str(data / "password")},
)

if __name__ == "__main__":
    of.main(
        TRYTON,
        __doc__,
        {"hire": (hire, "who"), "rename": (rename, "employee", "who"), "delete": (delete, "employee")},
    )
