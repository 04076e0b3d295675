"""Nobody harms a neighbour: project B, whose truth is known, with and without project A beside it. See tests/README.md.

    neighbours [--pairs N] [--minutes M] [--short] [--accounts N] [--spare HARM,…]

--short is one pair of half a minute, that checks loss, ends, memory and values, and not lateness. Run by tests/neighbours.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import shutil
import statistics
import sys
import time

import providers
import search
from deployment import Deployment
from harm import ACCOUNTS, Harm
from subscribers import Subscriber

import web

NATIVE = 'Qvx"native\u03c9'
NATIVE_TOPICS = ("ingest.native", "poll.triggers", "unified.", "deliver.requests", "deliver.retry.", "deliver.dead", "unify.dead")
MOST_RESIDENT = 1536 << 20
MOST_BUSY = 0.7
# How long after the last change everything must have come.
PATIENCE = 90


def busy_ticks():
    with open("/proc/stat") as stat:
        ticks = [int(it) for it in stat.readline().split()[1:]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


class Run:
    """One run, with A or without."""

    def __init__(self, options, harmed):
        self.options, self.harmed = options, harmed
        self.faults, self.truth, self.told_by_us = [], {}, 0

    async def go(self):
        options = self.options
        deployment = Deployment(options.binary, options.kafka, options.cql, "with" if self.harmed else "without")
        honest, subscriber = providers.Honest(), Subscriber()
        server, port, harms = await providers.serve(honest)
        hooks, hook_port = await subscriber.serve()
        harm, watch = None, None
        try:
            await deployment.begin()
            watch = asyncio.create_task(deployment.watch())
            b = deployment.project("B")
            hook = {"url": f"http://127.0.0.1:{hook_port}/", "events": ["hris_employees.*", "ats_applications.*"]}
            await b.done("POST", "/webhooks", hook)
            setup = {"base_url": f"http://127.0.0.1:{port}", "token": "t"}
            account = (await b.done("POST", "/accounts", {"provider": "demo", "setup": setup}))["id"]
            native = (await b.done("POST", "/accounts", {"provider": "greenhouse"}))["id"]
            native = await b.done("GET", f"/accounts/{native}/native-webhook")
            await self.baseline(b, account, "a baseline before A begins")
            if self.harmed:
                a = deployment.project("A")
                harm = Harm(a, port, harms, hook_port, deployment.ingest, options)
                await harm.begin()
            before = busy_ticks()
            await self.live(deployment, honest, native, subscriber)
            after = busy_ticks()
            self.busy = (after[0] - before[0]) / max(1, after[1] - before[1])
            await self.settle(deployment, subscriber)
            if harm:
                self.heard = harm.heard
                await harm.end()
                self.answers = [await harm.project.call("GET", f"/accounts/{it}/schedules/hris_employees") for it in harm.accounts]
            self.judge(deployment, subscriber)
            for stage, code in (await deployment.end()).items():
                self.faults.append(f"{stage} ended with {code}")
            self.values(deployment)
        finally:
            if watch:
                watch.cancel()
            if harm:
                await harm.end()
            await deployment.end()
            server.close()
            hooks.close()
            kept = options.logs and shutil.copytree(deployment.folder, f"{options.logs}/{deployment.name}")
            shutil.rmtree(deployment.folder, ignore_errors=bool(kept))
        return self

    async def baseline(self, project, account, what):
        begun = time.time()
        while (await project.done("GET", f"/accounts/{account}/schedules/hris_employees"))["last_full_scan_at"] is None:
            if time.time() - begun > PATIENCE:
                raise SystemExit(f"{what} has not come")
            await asyncio.sleep(0.2)

    async def live(self, deployment, honest, native, subscriber):
        """A change a second by polling and one by webhook."""
        end, number = time.time() + 60 * self.options.minutes, 0
        while time.time() < end:
            second = time.time()
            self.truth["hris_employees.updated", str(honest.change())] = second
            number += 1
            await self.tell(native, number)
            if ended := deployment.ended():
                self.faults.append(f"ended: {ended}")
                return
            await asyncio.sleep(max(0, second + 1 - time.time()))

    async def tell(self, native, number):
        application = {"id": number, "status": "active", "candidate": {"id": 7, "first_name": NATIVE}, "jobs": []}
        body = json.dumps({"action": "candidate_stage_change", "payload": {"application": application}}).encode()
        signature = "sha256 " + hmac.new(native["secret"].encode(), body, hashlib.sha256).hexdigest()
        headers = [("signature", signature), ("greenhouse-event-id", str(number)), ("content-type", "application/json")]
        self.truth["ats_applications.updated", str(number)] = time.time()
        # As a provider does it: again, until it is acknowledged.
        for _ in range(5):
            status, _, _ = await web.call("POST", native["url"], body, headers)
            if status == 200:
                return
            self.told_by_us += 1
        self.faults.append(f"B's webhook {number} was not taken: {status}")

    async def settle(self, deployment, subscriber):
        begun = time.time()
        while time.time() - begun < PATIENCE and not deployment.ended():
            if all(key in subscriber.first for key in self.truth):
                break
            await asyncio.sleep(0.2)
        # What would come twice has a moment to do so.
        await asyncio.sleep(3)

    def judge(self, deployment, subscriber):
        lost = [key for key in self.truth if key not in subscriber.first]
        twice = [key for key, ids in subscriber.ids.items() if len(ids) > 1]
        invented = [key for key in subscriber.first if key not in self.truth]
        for what, keys in (("not delivered", lost), ("told twice", twice), ("never happened", invented)):
            if keys:
                self.faults.append(f"{len(keys)} of {len(self.truth)} {what}: {sorted(keys)[:3]}")
        late = {kind: sorted(subscriber.first[key] - at for key, at in self.truth.items() if key[0].startswith(kind) and key in subscriber.first) for kind in ("hris", "ats")}
        self.p99 = {kind: found[min(len(found) - 1, int(len(found) * 0.99))] if found else None for kind, found in late.items()}
        for stage, peak in deployment.peaks.items():
            if peak > MOST_RESIDENT:
                self.faults.append(f"{stage} had {peak >> 20} MiB")
        self.peaks = deployment.peaks

    def values(self, deployment):
        """No polled value is anywhere; a native one only where it may be, and there it is found."""
        polled = search.forms(providers.HONEST) | search.forms(providers.HARMFUL)
        prefix = f"{deployment.name}."
        guilty, searched = search.topics(self.options.kafka, prefix, polled)
        native, _ = search.topics(self.options.kafka, prefix, search.forms(NATIVE))
        rows_guilty, rows = search.tables(self.options.cql, deployment.name, polled)
        if guilty or rows_guilty:
            self.faults.append(f"a polled value in {sorted(guilty | rows_guilty)}")
        if "ingest.native" not in native:
            self.faults.append("the search finds nothing: a native value is not in ingest.native")
        if stray := [topic for topic in native if not topic.startswith(NATIVE_TOPICS)]:
            self.faults.append(f"a native value in {stray}")
        if search.found_in(polled | search.forms(NATIVE), deployment.logs().encode()):
            self.faults.append("a value of a record in a log")
        if self.harmed and search.found_in(polled, *(json.dumps(it).encode() for it in self.answers), *(str(it).encode() for it in self.answers)):
            self.faults.append("a polled value in an answer of the API")
        self.searched = (searched, rows)


def row(cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def seconds(value):
    return "–" if value is None else f"{value:.2f} s"


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--accounts", type=int, default=ACCOUNTS, help="of A")
    parser.add_argument("--spare", default="", help="harms that A leaves out, by name: to find out whose fault it is")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--logs", help="where to keep what the processes logged")
    options = parser.parse_args()
    if options.short:
        options.pairs, options.minutes = 1, 0.5
    options.binary, options.kafka, options.cql = (os.environ[it] for it in ("TRIBUTARY_BIN", "TRIBUTARY_KAFKA", "TRIBUTARY_CQL"))
    runs = []
    row(["run", "events", "p99 polled", "p99 native", "busy", *(f"{it} MiB" for it in ("ingest", "poll", "unify", "deliver", "control")), "messages, rows searched", "faults"])
    row(["---"] * 12)
    for pair in range(options.pairs):
        for harmed in (False, True):
            run = await Run(options, harmed).go()
            runs.append(run)
            name = f"{pair + 1} {'with A' if harmed else 'alone'}"
            peaks = [peak >> 20 for peak in run.peaks.values()]
            row([name, len(run.truth), seconds(run.p99["hris"]), seconds(run.p99["ats"]), f"{run.busy:.0%}", *peaks, "{}, {}".format(*run.searched), len(run.faults)])
            for fault in run.faults:
                print(f"  {name}: {fault}", flush=True)
            if harmed:
                print("  A heard: " + ", ".join(f"{what} ×{count}" for what, count in sorted(run.heard.items())), flush=True)
    failed = any(run.faults for run in runs)
    if not options.short:
        for kind, what in (("hris", "polled"), ("ats", "native")):
            alone, beside = ([run.p99[kind] for run in runs if run.harmed is it and run.p99[kind] is not None] for it in (False, True))
            if not alone or not beside:
                continue
            alone, beside = statistics.median(alone), statistics.median(beside)
            most = max(2 * alone, alone + 2)
            print(f"{what}: p99 {alone:.2f} s alone, {beside:.2f} s with A, at most {most:.2f} s")
            failed |= beside > most
        if any(run.busy > MOST_BUSY for run in runs):
            print(f"the machine was busier than {MOST_BUSY:.0%}: what was measured of lateness says nothing")
    print("FAILED" if failed else "nobody was harmed")
    sys.exit(1 if failed else 0)


asyncio.run(main())
