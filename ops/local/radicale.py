#!/usr/bin/env python3
"""Radicale as a provider on loopback: contacts over CardDAV, with sync tokens. User `ann`, password `ann-pw`.

  ops/local/radicale up [--name NAME] [--port PORT|auto] [--fresh]   start, wait until it answers, print its address
  ops/local/radicale down [--name NAME] [--wipe]
  ops/local/radicale status [--name NAME]
  ops/local/radicale card UID WHO EMAIL     make or change a contact
  ops/local/radicale delete UID

The address book is `/ann/contacts/`, and begins empty.
"""

import base64

import product as of
from product import Product, done, request

LOGIN = {"authorization": "Basic " + base64.b64encode(b"ann:ann-pw").decode()}
BOOK = """<?xml version="1.0" encoding="utf-8"?>
<mkcol xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><set><prop>
<resourcetype><collection/><C:addressbook/></resourcetype><displayname>Contacts</displayname>
</prop></set></mkcol>"""


def command(instance):
    users = instance.folder / "users"
    users.write_text("ann:ann-pw\n")
    settings = instance.folder / "radicale.conf"
    settings.write_text(
        f"""[server]
hosts = 127.0.0.1:{instance.port}
[auth]
type = htpasswd
htpasswd_filename = {users}
htpasswd_encryption = plain
delay = 0
[rights]
type = owner_only
[storage]
filesystem_folder = {instance.data}
[web]
type = none
"""
    )
    return [instance.program("radicale"), "--config", str(settings)]


def answers(instance):
    return of.status_of("PROPFIND", f"{instance.url}/ann/", headers={**LOGIN, "depth": "0"}) == 207


def prepare(instance):
    if of.status_of("PROPFIND", f"{instance.url}/ann/contacts/", headers={**LOGIN, "depth": "0"}) != 207:
        done(request("MKCOL", f"{instance.url}/ann/contacts/", BOOK.encode(), {**LOGIN, "content-type": "text/xml"}))


def card(instance, uid, who, email):
    first, _, last = who.rpartition(" ")
    facts = [f"UID:{uid}", f"FN:{who}", f"N:{last};{first};;;", f"EMAIL:{email}"]
    body = "\r\n".join(["BEGIN:VCARD", "VERSION:3.0", *facts, "END:VCARD", ""]).encode()
    done(request("PUT", f"{instance.url}/ann/contacts/{uid}.vcf", body, {**LOGIN, "content-type": "text/vcard"}))


def delete(instance, uid):
    done(request("DELETE", f"{instance.url}/ann/contacts/{uid}.vcf", headers=LOGIN))


RADICALE = Product(
    name="radicale",
    title="Radicale",
    port=18071,
    packages=["radicale==3.9.0"],
    command=command,
    answers=answers,
    prepare=prepare,
)

if __name__ == "__main__":
    of.main(RADICALE, __doc__, {"card": (card, "uid", "who", "email"), "delete": (delete, "uid")})
