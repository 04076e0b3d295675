#!/usr/bin/env python3
"""pretalx as a provider on loopback, in the place of an ATS: submissions are applications, speakers are candidates, reviews
are assessments, slots are interviews, events are jobs; polled. Needs Python 3.12 or later.

  ops/local/pretalx up [--name NAME] [--port PORT|auto] [--fresh]   start, wait until it answers, print its address
  ops/local/pretalx down [--name NAME] [--wipe]
  ops/local/pretalx status [--name NAME]
  ops/local/pretalx credentials               print what an account needs, as JSON: event, token
  ops/local/pretalx submit TITLE              print the submission's code
  ops/local/pretalx retitle SUBMISSION TITLE
  ops/local/pretalx decide SUBMISSION HOW     HOW: accept, reject, confirm, cancel
  ops/local/pretalx delete SUBMISSION

The event `democon` is in review, with some 70 submissions, 50 speakers and 160 reviews, the same at each fresh start.
"""

import json

import django_product as django
import product as of
from product import Product, done, request

ADMIN = """
from django_scopes import scopes_disabled
from pretalx.person.models import User

with scopes_disabled():
    user = User.objects.create_user(email="admin@example.com", name="Admin", password="admin-pw")
    user.is_administrator = True
    user.save()
"""

SEED = """
import json
from django_scopes import scopes_disabled
from pretalx.event.models import Event, Team
from pretalx.person.models import User
from pretalx.person.models.auth_token import ENDPOINTS, UserApiToken

with scopes_disabled():
    event = Event.objects.get(slug="democon")
    user = User.objects.get(email="admin@example.com")
    allowed = ["list", "retrieve", "create", "update", "destroy", "actions"]
    token = UserApiToken.objects.create(user=user, name="tributary", endpoints={name: allowed for name in ENDPOINTS})
    token.events.add(event)
    team = Team.objects.create(
        organiser=event.organiser, name="all", all_events=True, can_create_events=True, can_change_teams=True,
        can_change_organiser_settings=True, can_change_event_settings=True, can_change_submissions=True, is_reviewer=True,
    )
    team.members.add(user)
    open(FOLDER + "/credentials.json", "w").write(json.dumps({"event": "democon", "token": token.token}))
"""


def environment(data):
    folders = {"PRETALX_DATA_DIR": str(data), "PRETALX_DB_NAME": str(data / "pretalx.sqlite3")}
    quiet = {"PRETALX_NO_INITIAL_LOG": "1", "PRETALX_CONFIG_FILE": str(data / "pretalx.cfg")}
    return {**django.environment(data), **folders, **quiet}


def template(product, folder):
    (folder / "pretalx.cfg").write_text("[site]\ndebug=false\nurl=http://127.0.0.1\n")
    ours = 'EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"\nALLOWED_HOSTS = ["*"]\n'
    django.write_settings(folder, "pretalx.settings", ours)
    django.tables(product, folder)
    django.script(product, folder, ADMIN)
    made = [product.program("django-admin"), "create_test_event", "--stage", "review", "--seed", "1"]
    product.run(made, folder)
    django.script(product, folder, SEED, FOLDER=str(folder))


def command(instance):
    return django.server(instance, "pretalx.wsgi")


def answers(instance):
    return of.status_of("GET", f"{instance.url}/api/events/") in (200, 401)


def credentials(instance):
    return (instance.data / "credentials.json").read_text()


def ask(instance, method, path, body=None):
    headers = {"authorization": f"Token {json.loads(credentials(instance))['token']}"}
    return done(request(method, f"{instance.url}/api/events/democon/{path}", body, headers))


def submit(instance, title):
    kind = json.loads(ask(instance, "GET", "submission-types/"))["results"][0]["id"]
    wanted = {"title": title, "submission_type": kind, "content_locale": "en", "abstract": "Of it."}
    return json.loads(ask(instance, "POST", "submissions/", wanted))["code"]


def retitle(instance, it, title):
    ask(instance, "PATCH", f"submissions/{it}/", {"title": title})


def decide(instance, it, how):
    ask(instance, "POST", f"submissions/{it}/{how}/", {})


def delete(instance, it):
    ask(instance, "DELETE", f"submissions/{it}/")


PRETALX = Product(
    name="pretalx",
    title="pretalx",
    port=18075,
    packages=["pretalx==2026.1.2", "Faker==40.63.0", "freezegun==1.5.5", "gunicorn==23.0.0"],
    command=command,
    answers=answers,
    template=template,
    environment=environment,
    python=(3, 12),
    limit=120,
)

if __name__ == "__main__":
    of.main(
        PRETALX,
        __doc__,
        {
            "credentials": (credentials,),
            "submit": (submit, "title"),
            "retitle": (retitle, "it", "title"),
            "decide": (decide, "it", "how"),
            "delete": (delete, "it"),
        },
    )
