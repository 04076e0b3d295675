#!/usr/bin/env python3
"""WsgiDAV as a provider on loopback: files and folders over WebDAV. User `files`, password `files-pw`.

  ops/local/wsgidav up [--name NAME] [--port PORT|auto] [--fresh]   start, wait until it answers, print its address
  ops/local/wsgidav down [--name NAME] [--wipe]
  ops/local/wsgidav status [--name NAME]
  ops/local/wsgidav write PATH TEXT
  ops/local/wsgidav folder PATH
  ops/local/wsgidav move FROM TO
  ops/local/wsgidav delete PATH

It begins with the folders `reports` and `reports/2026`, and a file in each. Ids are paths: a move is a delete and a create.
"""

import base64

import product as of
from product import Product, done, request

LOGIN = {"authorization": "Basic " + base64.b64encode(b"files:files-pw").decode()}


def template(_, folder):
    (folder / "files/reports/2026").mkdir(parents=True)
    (folder / "files/reports/plan.txt").write_text("first\n")
    (folder / "files/reports/2026/january.txt").write_text("second\n")


def command(instance):
    settings = instance.folder / "wsgidav.yaml"
    settings.write_text(
        f"""server: cheroot
host: 127.0.0.1
port: {instance.port}
provider_mapping:
  "/": {{root: "{instance.data}/files"}}
http_authenticator: {{domain_controller: null, accept_basic: true, accept_digest: false, default_to_digest: false}}
simple_dc:
  user_mapping:
    "*": {{files: {{password: files-pw}}}}
property_manager: true
lock_storage: true
"""
    )
    return [instance.program("wsgidav"), "--config", str(settings)]


def answers(instance):
    return of.status_of("OPTIONS", f"{instance.url}/", headers=LOGIN) == 200


def write(instance, path, text):
    done(request("PUT", f"{instance.url}/{path}", text.encode(), LOGIN))


def folder(instance, path):
    done(request("MKCOL", f"{instance.url}/{path}", headers=LOGIN))


def move(instance, old, new):
    done(request("MOVE", f"{instance.url}/{old}", headers={**LOGIN, "destination": f"{instance.url}/{new}"}))


def delete(instance, path):
    done(request("DELETE", f"{instance.url}/{path}", headers=LOGIN))


WSGIDAV = Product(
    name="wsgidav",
    title="WsgiDAV",
    port=18070,
    packages=["wsgidav==4.4.0", "cheroot==11.1.2", "PyYAML==6.0.4"],
    command=command,
    answers=answers,
    template=template,
)

if __name__ == "__main__":
    of.main(
        WSGIDAV,
        __doc__,
        {
            "write": (write, "path", "text"),
            "folder": (folder, "path"),
            "move": (move, "old", "new"),
            "delete": (delete, "path"),
        },
    )
