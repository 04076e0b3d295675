"""Project A: everything at once, for as long as it may."""

import asyncio
import collections
import hashlib
import hmac
import itertools
import json

import web
from providers import HARMFUL

# One of each harm, and hanging ones up to this many accounts.
ACCOUNTS = 200
MIB = 1 << 20


def signed(secret, body):
    return "sha256 " + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Harm:
    def __init__(self, project, provider, harms, subscriber, ingest, options):
        self.project, self.provider, self.harms, self.ingest = project, provider, harms, ingest
        self.subscriber, self.number = subscriber, options.accounts
        self.spared = set(options.spare.split(","))
        self.heard = collections.Counter()
        self.accounts, self.webhooks, self.tasks = [], [], []

    async def begin(self):
        for path in ("hang", "slow", "refuse"):
            hook = {"url": f"http://127.0.0.1:{self.subscriber}/{path}", "events": ["*"]}
            self.webhooks.append((await self.project.done("POST", "/webhooks", hook))["id"])
        polled = [harm for harm in self.harms if harm not in self.spared]
        harms = itertools.chain(polled, itertools.repeat("hang"))
        for number, harm in zip(range(self.number), harms):
            setup = {"base_url": f"http://127.0.0.1:{self.provider}/{harm}/{number}", "token": "t"}
            made = await self.project.done("POST", "/accounts", {"provider": "demo", "setup": setup})
            self.accounts.append(made["id"])
        made = await self.project.done("POST", "/accounts", {"provider": "greenhouse"})
        native = await self.project.done("GET", f"/accounts/{made['id']}/native-webhook")
        self.url, self.secret = native["url"], native["secret"]
        harms = [self.edits, self.asks, self.absurd, self.guesses, self.large, self.small, self.fan_outs]
        self.tasks = [asyncio.create_task(harm()) for harm in harms if harm.__name__ not in self.spared]
        if "loris" not in self.spared:
            self.tasks += [asyncio.create_task(self.loris(kind)) for kind in range(300)]

    async def end(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def asked(self, what, method, path, body=None):
        status, _ = await self.project.call(method, path, body)
        self.heard[f"{what} {status}"] += 1

    async def edits(self):
        for turn in itertools.count():
            await self.asked("edit", "PATCH", f"/webhooks/{self.webhooks[turn % 3]}", {"name": f"n{turn}"})
            await asyncio.sleep(0.2)

    async def asks(self):
        for turn in itertools.count():
            verb = ["run", "resync", "release"][turn % 3]
            account = self.accounts[turn % len(self.accounts)]
            await self.asked(verb, "POST", f"/accounts/{account}/schedules/hris_employees/{verb}")
            await asyncio.sleep(0.2)

    async def absurd(self):
        bodies = [{"interval": 315_360_000, "full_interval": 315_360_000}, {"interval": -1}, {"interval": 1e300}, [], {"x": "y" * 2 * MIB}]
        for body in itertools.cycle(bodies):
            await self.asked("absurd", "PUT", f"/accounts/{self.accounts[0]}/schedules/hris_employees", body)
            await asyncio.sleep(1)

    async def guesses(self):
        for turn in itertools.count():
            url = f"{self.ingest}/native/greenhouse/guess{turn}"
            self.heard[f"guess {(await web.call('POST', url, b'{}'))[0]}"] += 1
            await asyncio.sleep(0.02)

    async def send(self, what, body, turn):
        headers = [("signature", signed(self.secret, body)), ("greenhouse-event-id", f"{what}{turn}")]
        self.heard[f"{what} {(await web.call('POST', self.url, body, headers))[0]}"] += 1

    async def at_pace(self, what, body, a_second):
        """Sends at a pace, whatever is answered, up to 200 at a time."""
        places = asyncio.Semaphore(200)
        async with asyncio.TaskGroup() as group:
            for turn in itertools.count():
                await places.acquire()
                group.create_task(self.send(what, body, turn)).add_done_callback(lambda _: places.release())
                await asyncio.sleep(1 / a_second)

    def application(self, notes):
        application = {"id": 1, "status": "active", "candidate": {"id": 7, "first_name": "N"}, "jobs": [], "notes": notes}
        return json.dumps({"action": "candidate_stage_change", "payload": {"application": application}}).encode()

    async def large(self):
        await self.at_pace("1 MiB", self.application("n" * (MIB - 400)), 20)

    async def small(self):
        await self.at_pace("small", self.application("n"), 150)

    async def fan_outs(self):
        # One signed request of 980 KB that tells of 20 000 deletions.
        person = {"id": 1, "first_name": "N", "deleted_application_ids": [1_000_000 + number for number in range(20_000)]}
        person["notes"] = "n" * (980_000 - len(json.dumps(person)))
        body = json.dumps({"action": "delete_candidate", "payload": {"person": person}}).encode()
        await self.at_pace("fan-out", body, 1)

    async def loris(self, kind):
        """Says nothing, or a byte a second: of a head, or of a body on a URL that there is."""
        path, port = "/" + self.url.split("/", 3)[3], int(self.ingest.rsplit(":", 1)[1])
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n"
        said = [b"", head.encode(), head.encode() + b"\r\n"][kind % 3]
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(said)
                for _ in range(60):
                    if kind % 3:
                        writer.write(b"x")
                        await writer.drain()
                    await asyncio.sleep(1)
                writer.close()
            except OSError:
                await asyncio.sleep(1)
