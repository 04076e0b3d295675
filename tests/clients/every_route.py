"""Hooks of Schemathesis. Of made-up ids nearly all are nobody's, so in most calls an id is that of something that there is;
projects are called by the operator's key, all else by a project's."""

import json
import os
import random
import urllib.request

import schemathesis

API = os.environ["TRIBUTARY_TEST_API"]
KEYS = {True: os.environ["TRIBUTARY_OPERATOR_KEY"], False: os.environ["TRIBUTARY_TEST_KEY"]}
SETUP = {"base_url": "https://erp.example/", "database": "d", "login": "l", "password": "p"}
MADE = {
    "accounts": {"provider": "tryton", "setup": SETUP},
    "webhooks": {"url": "https://example.com/hook", "events": ["*"]},
    "keys": {"name": "made by the tests"},
    "projects": {"name": "made by the tests"},
}
RESOURCES = ["hris_employees", "hris_employments"]
chance = random.Random(1)
there = {}


def authorization(family):
    return "Bearer " + KEYS[family == "projects"]


def make(family):
    headers = {"authorization": authorization(family), "content-type": "application/json"}
    request = urllib.request.Request(f"{API}/{family}", json.dumps(MADE[family]).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        made = json.load(answer)
    return made.get("project", made)["id"]


@schemathesis.hook
def before_call(context, case, **kwargs):
    family = case.operation.path.split("/")[1]
    case.headers["authorization"] = authorization(family)
    places = case.path_parameters or {}
    if family not in MADE or "id" not in places or chance.random() < 0.2:
        return
    if family not in there:
        there[family] = make(family)
    places["id"] = there[family]
    if "resource" in places and chance.random() < 0.8:
        places["resource"] = chance.choice(RESOURCES)
    if case.operation.method.upper() == "DELETE" and case.operation.path.count("/") == 2:
        del there[family]
