"""The providers that are polled: B's, which is honest and keeps the truth, and A's, each of which harms in its own way.
All are one host, as they may be."""

import asyncio
import datetime
import gzip
import json
import time
import urllib.parse

import web

# Each has a character that JSON escapes, and one that is no ASCII: searched for in every form.
HONEST = 'Qvx"honest\u03c9'
HARMFUL = 'Qvx"harmful\u03c9'


def at(moment):
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).isoformat().replace("+00:00", "Z")


def employee(number, name, moment=0.0, **more):
    named = {"first_name": name, "last_name": "Doe", "work_email": f"{name}@x.example"}
    return {"id": number, "status": "active", "updated_at": at(moment), **named, **more}


class Honest:
    """200 people, of whom one changes each time that is asked."""

    def __init__(self, people=200):
        self.people = {number: employee(number, HONEST) for number in range(1, people + 1)}
        self.next = 1

    def change(self):
        number = self.next
        self.next = number % len(self.people) + 1
        self.people[number] = employee(number, HONEST, time.time(), job_title=f"{HONEST} {time.time()}")
        return number

    def page(self, query):
        after, limit = int(query.get("after_id") or 0), int(query.get("limit") or 100)
        since = query.get("updated_since")
        since = datetime.datetime.fromisoformat(since.replace("Z", "+00:00")) if since else None

        def changed(it):
            return since is None or datetime.datetime.fromisoformat(it["updated_at"].replace("Z", "+00:00")) >= since

        found = [it for number, it in self.people.items() if number > after and changed(it)][:limit]
        return {"employees": found, "next_after_id": found[-1]["id"] if len(found) == limit else None}


def harms():
    """By name: what a harmful provider answers."""
    big = json.dumps({"employees": [employee(n, HARMFUL, department="x" * 65_000) for n in range(500)], "next_after_id": None})
    bomb = gzip.compress(b"[" + b" " * (256 << 20))
    state = {"turn": 0}

    async def hang(_, __):
        await asyncio.sleep(3_600)

    async def drip(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(1)

    async def endless(query, writer):
        after = int(query.get("after_id") or 0) + 1
        page = {"employees": [employee(after, HARMFUL)] * 100, "next_after_id": after}
        web.answer(writer, 200, json.dumps(page).encode())

    async def round_and_round(query, writer):
        after = 2 if query.get("after_id") == "1" else 1
        page = {"employees": [employee(n, HARMFUL) for n in range(100)], "next_after_id": after}
        web.answer(writer, 200, json.dumps(page).encode())

    async def lies(_, writer):
        state["turn"] += 1
        people = [employee(n, f"{HARMFUL}{state['turn']}") for n in range(50)] if state["turn"] % 2 else []
        web.answer(writer, 200, json.dumps({"employees": people, "next_after_id": None}).encode())

    async def fresh_ids(_, writer):
        people = [employee(time.time_ns() + n, HARMFUL) for n in range(50)]
        web.answer(writer, 200, json.dumps({"employees": people, "next_after_id": None}).encode())

    async def waits(_, writer):
        web.answer(writer, 429, HARMFUL.encode(), [("retry-after", "1795579070")])

    async def huge(_, writer):
        web.answer(writer, 200, big.encode())

    async def bombs(_, writer):
        web.answer(writer, 200, bomb, [("content-encoding", "gzip")])

    async def fails(_, writer):
        odd = [{"id": 1, "first_name": {HARMFUL: [HARMFUL]}}, {"first_name": HARMFUL}, HARMFUL, {"id": {"x": HARMFUL}}]
        web.answer(writer, 200, json.dumps({"employees": odd, "next_after_id": None}).encode())

    async def nonsense(_, writer):
        web.answer(writer, 200, f"<html>{HARMFUL}".encode())

    async def deep(_, writer):
        web.answer(writer, 200, b'{"employees":' + b"[" * 200_000 + b"]" * 200_000 + b"}")

    async def refuses(_, writer):
        web.answer(writer, 500, HARMFUL.encode() * 1_000)

    many = [endless, round_and_round, lies, fresh_ids, waits, huge, bombs, fails, nonsense, deep, refuses, drip]
    return {"hang": hang, **{harm.__name__: harm for harm in many}}


async def serve(honest):
    harmful = harms()

    async def handle(request, writer):
        target = urllib.parse.urlsplit(request.target)
        query = dict(urllib.parse.parse_qsl(target.query))
        harm = target.path.split("/")[1]
        if harm in harmful:
            await harmful[harm](query, writer)
        else:
            web.answer(writer, 200, json.dumps(honest.page(query)).encode())

    server, port = await web.serve(handle)
    return server, port, list(harmful)
