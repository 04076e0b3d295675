#!/usr/bin/env python3
"""BottleCRM as a provider on loopback: contacts and accounts, polled and by signed webhooks. Needs Python 3.12 or later.

  ops/local/bottlecrm up [--name NAME] [--port PORT|auto] [--fresh]   start, wait until it answers, print its address
  ops/local/bottlecrm down [--name NAME] [--wipe]
  ops/local/bottlecrm status [--name NAME]
  ops/local/bottlecrm credentials              print what an account needs, as JSON: token (lists), refresh (webhooks)
  ops/local/bottlecrm contact WHO EMAIL        print the contact's id
  ops/local/bottlecrm rename CONTACT WHO
  ops/local/bottlecrm delete CONTACT
  ops/local/bottlecrm company TITLE            print the account's id
  ops/local/bottlecrm webhooks                 list the endpoints, as JSON
  ops/local/bottlecrm pause ENDPOINT           switch an endpoint off by hand
  ops/local/bottlecrm redeliver                send all that failed again, now

Endpoints on loopback and any port are allowed here, as its own guard would refuse every test's.
"""

import json

import django_product as django
import product as of
from product import Product, done, request

SETTINGS = """
DEBUG = True
SECRET_KEY = "for-tests-on-loopback-only-for-tests-on-loopback-only"
ALLOWED_HOSTS = ["127.0.0.1"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["TRIBUTARY_DATA"] + "/crm.sqlite3"}}
DATABASES["default"]["OPTIONS"] = {"timeout": 30, "transaction_mode": "IMMEDIATE"}
CELERY_BROKER_URL = "memory://"
CELERY_RESULT_BACKEND = "cache+memory://"
CELERY_TASK_ALWAYS_EAGER = True
INSTALLED_APPS = [*INSTALLED_APPS, "loopback"]  # noqa: F405
"""

LOOPBACK = """from django.apps import AppConfig


class Ports:
    def __contains__(self, port):
        return True


class LoopbackConfig(AppConfig):
    name = "loopback"

    def ready(self):
        from webhooks import ssrf

        ssrf.is_blocked = lambda ip: not ip.is_loopback
        ssrf._allowed_ports = Ports
        ssrf._allowed_schemes = lambda: ("https", "http")
"""

SEED = """
import json
from datetime import timedelta
from common.models import Org, PersonalAccessToken, Profile, User
from common.serializer import OrgAwareRefreshToken

org = Org.objects.create(name="Acme")
user = User.objects.create(email="admin@example.com", is_active=True)
profile = Profile.objects.create(user=user, org=org, role="ADMIN", is_active=True)
token, _ = PersonalAccessToken.generate(profile, "tributary")
refresh = OrgAwareRefreshToken.for_user_and_org(user, org, profile)
open(FOLDER + "/credentials.json", "w").write(json.dumps({"token": token, "refresh": str(refresh), "org": str(org.id)}))
# For this script's own calls: refresh tokens rotate, and the account's must stay the account's.
access = OrgAwareRefreshToken.for_user_and_org(user, org, profile).access_token
access.set_exp(lifetime=timedelta(days=3650))
open(FOLDER + "/access", "w").write(str(access))
"""

REDELIVER = """
from django.utils import timezone
from webhooks.models import PENDING, WebhookDelivery
from webhooks.tasks import dispatch_due_deliveries

WebhookDelivery.objects.filter(status=PENDING).update(next_attempt_at=timezone.now())
dispatch_due_deliveries()
"""


def template(product, folder):
    django.write_settings(folder, "crm.settings", SETTINGS)
    (folder / "loopback").mkdir()
    (folder / "loopback/__init__.py").write_text("")
    (folder / "loopback/apps.py").write_text(LOOPBACK)
    django.tables(product, folder)
    django.script(product, folder, SEED, FOLDER=str(folder))


def command(instance):
    return django.server(instance, "crm.wsgi")


def answers(instance):
    return of.status_of("GET", f"{instance.url}/healthz/") == 200


def credentials(instance):
    return (instance.data / "credentials.json").read_text()


def ask(instance, method, path, body=None):
    headers = {"authorization": f"Bearer {(instance.data / 'access').read_text()}"}
    return done(request(method, f"{instance.url}/api/{path}", body, headers))


def named(who):
    first, _, last = who.rpartition(" ")
    return {"first_name": first or last, "last_name": last}


def contact(instance, who, email):
    ask(instance, "POST", "contacts/", {**named(who), "email": email})
    return newest(instance, "contacts/", "contact_obj_list", lambda it: it.get("email") == email)


def newest(instance, path, key, fits):
    listed = json.loads(ask(instance, "GET", f"{path}?limit=100&offset=0"))
    return next(it["id"] for it in listed.get(key) or listed["results"] if fits(it))


def rename(instance, it, who):
    ask(instance, "PATCH", f"contacts/{it}/", named(who))


def delete(instance, it):
    ask(instance, "DELETE", f"contacts/{it}/")


def company(instance, title):
    ask(instance, "POST", "accounts/", {"name": title})
    listed = json.loads(ask(instance, "GET", "accounts/?limit=100&offset=0"))
    return next(it["id"] for it in listed["active_accounts"]["open_accounts"] if it["name"] == title)


def webhooks(instance):
    return ask(instance, "GET", "webhooks/").decode()


def pause(instance, endpoint):
    ask(instance, "PATCH", f"webhooks/{endpoint}/", {"is_active": False})


def redeliver(instance):
    django.script(instance.product, instance.data, REDELIVER)


BOTTLECRM = Product(
    name="bottlecrm",
    title="BottleCRM",
    port=18073,
    packages=["django-crm==1.35.0"],
    command=command,
    answers=answers,
    template=template,
    environment=lambda data: {**django.environment(data), "ENV_TYPE": "dev"},
    python=(3, 12),
    limit=120,
)

if __name__ == "__main__":
    of.main(
        BOTTLECRM,
        __doc__,
        {
            "credentials": (credentials,),
            "contact": (contact, "who", "email"),
            "rename": (rename, "it", "who"),
            "delete": (delete, "it"),
            "company": (company, "title"),
            "webhooks": (webhooks,),
            "pause": (pause, "it"),
            "redeliver": (redeliver,),
        },
    )
