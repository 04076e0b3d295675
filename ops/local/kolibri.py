#!/usr/bin/env python3
"""Kolibri as a provider on loopback: an LMS. Superuser `admin`, password `admin-pw`, one facility `Acme`.

  ops/local/kolibri up [--name NAME] [--port PORT|auto] [--fresh]   start, wait until it answers, print its address
  ops/local/kolibri down [--name NAME] [--wipe]
  ops/local/kolibri status [--name NAME]
  ops/local/kolibri learner WHO                print the user's id
  ops/local/kolibri rename USER WHO
  ops/local/kolibri delete USER
  ops/local/kolibri classroom TITLE            print its id
  ops/local/kolibri lesson CLASSROOM TITLE     print its id
  ops/local/kolibri retitle KIND ID TITLE      KIND: classroom, lesson
  ops/local/kolibri remove KIND ID

Lists without a session answer `200 []`: a login comes first.
"""

import http.cookies
import json

import product as of
from product import Product, done, fail, request

ROUTES = {"classroom": ("auth/classroom", "name"), "lesson": ("lessons/lesson", "title")}


def template(product, folder):
    command = [product.program("kolibri"), "manage", "provisiondevice", "--facility", "Acme", "--superusername", "admin"]
    command += ["--superuserpassword", "admin-pw", "--preset", "formal", "--language_id", "en", "--noinput"]
    product.run(command, folder)


def environment(data):
    # Loopback alone, and no announcement of it to the network.
    quiet = {"KOLIBRI_LISTEN_ADDRESS": "127.0.0.1", "KOLIBRI_ZEROCONF_ENABLED": "False"}
    return {"KOLIBRI_HOME": str(data), "KOLIBRI_RUN_MODE": "tributary", **quiet}


def command(instance):
    # Two ports: its own, and one that it would serve zipped content on. The folder names the process as ours.
    content = of.free_ports(1)[0]
    start = [instance.program("kolibri"), "start", "--foreground", "--pythonpath", str(instance.folder)]
    return [*start, "--port", str(instance.port), "--zip-port", str(content)]


def answers(instance):
    return of.status_of("GET", f"{instance.url}/api/public/info/") == 200


class Session:
    """Logged in as the superuser, by cookie and CSRF header."""

    def __init__(self, instance):
        self.url = f"{instance.url}/api"
        self.cookies = {}
        self.ask("GET", "auth/session/current/?active=true", expected=(200, 405))
        user = json.loads(self.ask("POST", "auth/session/", {"username": "admin", "password": "admin-pw"}))
        self.facility = user["facility_id"]

    def ask(self, method, path, body=None, expected=()):
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        headers["x-csrftoken"] = self.cookies.get("kolibri_csrftoken", "")
        answer = request(method, f"{self.url}/{path}", body, headers)
        for line in answer[1].get_all("set-cookie") or []:
            self.cookies.update({name: morsel.value for name, morsel in http.cookies.SimpleCookie(line).items()})
        return done(answer, *expected)


def learner(instance, who):
    session = Session(instance)
    username = "".join(letter for letter in who.lower() if letter.isalnum())
    user = {"username": username, "full_name": who, "password": "learner-pw", "facility": session.facility}
    return json.loads(session.ask("POST", "auth/facilityuser/", user))["id"]


def rename(instance, user, who):
    Session(instance).ask("PATCH", f"auth/facilityuser/{user}/", {"full_name": who})


def delete(instance, user):
    Session(instance).ask("DELETE", f"auth/facilityuser/{user}/")


def classroom(instance, title):
    session = Session(instance)
    return json.loads(session.ask("POST", "auth/classroom/", {"name": title, "parent": session.facility}))["id"]


def lesson(instance, room, title):
    plan = {"title": title, "description": "", "collection": room, "resources": [], "learner_ids": [], "active": True}
    plan["assignments"] = [room]
    return json.loads(Session(instance).ask("POST", "lessons/lesson/", plan))["id"]


def route(kind):
    return ROUTES[kind] if kind in ROUTES else fail(f"`{kind}` is none of {', '.join(ROUTES)}")


def retitle(instance, kind, it, title):
    path, field = route(kind)
    Session(instance).ask("PATCH", f"{path}/{it}/", {field: title})


def remove(instance, kind, it):
    Session(instance).ask("DELETE", f"{route(kind)[0]}/{it}/")


KOLIBRI = Product(
    name="kolibri",
    title="Kolibri",
    port=18072,
    packages=["kolibri==0.19.5"],
    command=command,
    answers=answers,
    template=template,
    environment=environment,
    limit=120,
)

if __name__ == "__main__":
    of.main(
        KOLIBRI,
        __doc__,
        {
            "learner": (learner, "who"),
            "rename": (rename, "user", "who"),
            "delete": (delete, "user"),
            "classroom": (classroom, "title"),
            "lesson": (lesson, "room", "title"),
            "retitle": (retitle, "kind", "it", "title"),
            "remove": (remove, "kind", "it"),
        },
    )
