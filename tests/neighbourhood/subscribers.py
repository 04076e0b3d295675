"""B's subscriber, which notes when each event came, and A's, which hang, drip and refuse."""

import asyncio
import collections
import json
import time

import web


class Subscriber:
    def __init__(self):
        # By event and record: the `webhook-id`s under which it came, and when it came first.
        self.ids = collections.defaultdict(set)
        self.first = {}

    async def handle(self, request, writer):
        match request.target:
            case "/hang":
                await asyncio.sleep(3_600)
            case "/slow":
                await asyncio.sleep(12)
                web.answer(writer, 200)
            case "/refuse":
                web.answer(writer, 500, b"x" * 100_000)
            case _:
                told = json.loads(request.body)
                key = (told["event"], told["record_remote_id"])
                self.ids[key].add(request.headers["webhook-id"])
                self.first.setdefault(key, time.time())
                web.answer(writer, 200)

    async def serve(self):
        server, port = await web.serve(self.handle)
        return server, port
