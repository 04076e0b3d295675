#!/usr/bin/env python3
"""pretix as a provider on loopback, in the place of an LMS: events are courses, customers are users, order positions are
assignments, check-ins are completions; by thin, unsigned webhooks. Organiser `acme`.

  ops/local/pretix up [--name NAME] [--port PORT|auto] [--fresh]   start, wait until it answers, print its address
  ops/local/pretix down [--name NAME] [--wipe]
  ops/local/pretix status [--name NAME]
  ops/local/pretix credentials                print what an account needs, as JSON: organizer, token
  ops/local/pretix customer WHO EMAIL         print the customer's identifier
  ops/local/pretix rename CUSTOMER WHO
  ops/local/pretix anonymise CUSTOMER         customers can't be deleted
  ops/local/pretix event SLUG TITLE           make an event that sells one item
  ops/local/pretix retitle SLUG TITLE
  ops/local/pretix remove SLUG
  ops/local/pretix order SLUG EMAIL           buy its item; print the order's code
  ops/local/pretix checkin SLUG CODE          check the order's first position in
  ops/local/pretix webhooks                   list the webhooks, as JSON
  ops/local/pretix pause WEBHOOK              switch a webhook off by hand
"""

import json

import django_product as django
import product as of
from product import Product, done, request

SEED = """
import json
from django_scopes import scopes_disabled
from pretix.base.models import Organizer, Team

with scopes_disabled():
    organizer = Organizer.objects.create(name="Acme", slug="acme")
    organizer.settings.customer_accounts = True
    team = Team.objects.create(
        organizer=organizer, name="all", all_events=True, all_event_permissions=True, all_organizer_permissions=True
    )
    token = team.tokens.create(name="tributary")
    told = {"organizer": "acme", "token": token.token}
    open(FOLDER + "/credentials.json", "w").write(json.dumps(told))
"""


def environment(data):
    return {**django.environment(data), "PRETIX_CONFIG_FILE": str(data / "pretix.cfg"), "DATA_DIR": str(data)}


def template(product, folder):
    (folder / "pretix.cfg").write_text(
        """[pretix]
url=http://127.0.0.1
allow_http_to_private_networks=true
registration=off
[database]
backend=sqlite3
[django]
debug=false
secret=for-tests-on-loopback-only-for-tests-on-loopback-only
[mail]
from=pretix@example.com
"""
    )
    mail = 'EMAIL_BACKEND = MAIL_CUSTOM_SENDER_BACKEND = "django.core.mail.backends.dummy.EmailBackend"\n'
    django.write_settings(folder, "pretix.settings", mail + 'ALLOWED_HOSTS = ["*"]\n')
    django.tables(product, folder)
    django.script(product, folder, SEED, FOLDER=str(folder))


def command(instance):
    return django.server(instance, "pretix.wsgi")


def answers(instance):
    return of.status_of("GET", f"{instance.url}/api/v1/organizers/") == 401


def credentials(instance):
    return (instance.data / "credentials.json").read_text()


def ask(instance, method, path, body=None):
    headers = {"authorization": f"Token {json.loads(credentials(instance))['token']}"}
    return done(request(method, f"{instance.url}/api/v1/organizers/acme/{path}", body, headers))


def customer(instance, who, email):
    wanted = {"email": email, "name_parts": {"_scheme": "full", "full_name": who}, "is_active": True, "is_verified": True}
    return json.loads(ask(instance, "POST", "customers/", wanted))["identifier"]


def rename(instance, it, who):
    ask(instance, "PATCH", f"customers/{it}/", {"name_parts": {"_scheme": "full", "full_name": who}})


def anonymise(instance, it):
    ask(instance, "POST", f"customers/{it}/anonymize/", {})


def event(instance, slug, title):
    dates = {"date_from": "2027-05-01T09:00:00Z", "timezone": "UTC", "currency": "EUR"}
    ask(instance, "POST", "events/", {"name": {"en": title}, "slug": slug, **dates})
    item = json.loads(ask(instance, "POST", f"events/{slug}/items/", {"name": {"en": "Seat"}, "default_price": "0.00"}))
    quota = {"name": "Seats", "size": None, "items": [item["id"]], "variations": []}
    ask(instance, "POST", f"events/{slug}/quotas/", quota)
    ask(instance, "POST", f"events/{slug}/checkinlists/", {"name": "Door", "all_products": True})


def retitle(instance, slug, title):
    ask(instance, "PATCH", f"events/{slug}/", {"name": {"en": title}})


def remove(instance, slug):
    ask(instance, "DELETE", f"events/{slug}/")


def first(instance, path):
    return json.loads(ask(instance, "GET", path))["results"][0]


def order(instance, slug, email):
    item = first(instance, f"events/{slug}/items/")["id"]
    wanted = {"email": email, "locale": "en", "status": "p", "payment_provider": "manual", "send_email": False}
    wanted["positions"] = [{"positionid": 1, "item": item, "variation": None, "price": "0.00", "attendee_email": email}]
    return json.loads(ask(instance, "POST", f"events/{slug}/orders/", wanted))["code"]


def checkin(instance, slug, code):
    position = json.loads(ask(instance, "GET", f"events/{slug}/orders/{code}/"))["positions"][0]
    lists = [first(instance, f"events/{slug}/checkinlists/")["id"]]
    ask(instance, "POST", "checkinrpc/redeem/", {"secret": position["secret"], "lists": lists, "ignore_unpaid": True})


def webhooks(instance):
    return ask(instance, "GET", "webhooks/").decode()


def pause(instance, it):
    ask(instance, "PATCH", f"webhooks/{it}/", {"enabled": False})


PRETIX = Product(
    name="pretix",
    title="pretix",
    port=18074,
    packages=["pretix==2026.8.0", "gunicorn==23.0.0"],
    command=command,
    answers=answers,
    template=template,
    environment=environment,
    limit=120,
)

if __name__ == "__main__":
    of.main(
        PRETIX,
        __doc__,
        {
            "credentials": (credentials,),
            "customer": (customer, "who", "email"),
            "rename": (rename, "it", "who"),
            "anonymise": (anonymise, "it"),
            "event": (event, "slug", "title"),
            "retitle": (retitle, "slug", "title"),
            "remove": (remove, "slug"),
            "order": (order, "slug", "email"),
            "checkin": (checkin, "slug", "code"),
            "webhooks": (webhooks,),
            "pause": (pause, "it"),
        },
    )
