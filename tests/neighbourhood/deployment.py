"""A deployment of its own on the given services: each stage a process, its memory and its end watched."""

import asyncio
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

import web

# More than any process may have on any machine that this runs on.
TOO_MUCH = 3 << 30
STAGES = ["ingest", "poll", "unify", "deliver", "control"]
OPERATOR = "operator-key-of-the-neighbours"


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


class Deployment:
    def __init__(self, binary, kafka, cql, name):
        self.binary, self.kafka, self.cql = binary, kafka, cql
        self.name = f"{name}_{time.time_ns() // 1_000_000}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tributary-neighbours."))
        ingest, control = free_port(), free_port()
        self.ingest, self.control = f"http://127.0.0.1:{ingest}", f"http://127.0.0.1:{control}"
        allow = 'allow = ["127.0.0.0/8"]'
        (self.folder / "tributary.toml").write_text(
            f"""
[kafka]
brokers = "{kafka}"
prefix = "{self.name}."
[store.cql]
hosts = ["{cql}"]
keyspace = "{self.name}"
replication = 1
[telemetry]
listen = "127.0.0.1:0"
[ingest]
listen = "127.0.0.1:{ingest}"
[poll]
test_interval_ms = 1000
test_full_interval_ms = 30000
request_seconds = 20
[poll.dial]
{allow}
[deliver.dial]
{allow}
[control]
listen = "127.0.0.1:{control}"
public_url = "{self.ingest}"
[control.dial]
{allow}
"""
        )
        self.processes, self.peaks = {}, dict.fromkeys(STAGES, 0)
        self.environment = dict(os.environ, TRIBUTARY_OPERATOR_KEY=OPERATOR)

    def command(self, *arguments):
        command = [self.binary, "--config", str(self.folder / "tributary.toml"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise SystemExit(f"tributary {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    async def begin(self):
        self.environment["TRIBUTARY_KEYS"] = self.command("keys", "generate").strip().split("=", 1)[1]
        self.command("topics", "apply", "--replication", "1", "--partitions", "2")
        self.command("schema", "apply")
        for stage in STAGES:
            log = open(self.folder / f"{stage}.log", "wb")
            command = [self.binary, "--config", str(self.folder / "tributary.toml"), "run", "--stages", stage]
            self.processes[stage] = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment, stdin=subprocess.DEVNULL)
        for url in (f"{self.control}/subjects", f"{self.ingest}/"):
            begun = time.time()
            while (await web.call("GET", url))[0] == 0:
                if time.time() - begun > 120 or self.ended():
                    raise SystemExit(f"the stages do not start: {self.ended()} {self.logs()[-2_000:]}")
                await asyncio.sleep(0.2)

    def project(self, name):
        key = re.search(r"tr_live_\w+", self.command("project", "create", "--name", name))[0]
        return Project(self.control, key)

    def ended(self):
        """Which processes have ended, and how: none should have."""
        return {stage: it.poll() for stage, it in self.processes.items() if it.poll() is not None}

    def measure(self):
        """Notes the most that each process has had in memory."""
        for stage, process in self.processes.items():
            try:
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                continue
            found = re.search(r"VmHWM:\s+(\d+) kB", status)
            self.peaks[stage] = max(self.peaks[stage], int(found[1]) * 1_024 if found else 0)
            if self.peaks[stage] > TOO_MUCH and process.poll() is None:
                process.kill()
                process.wait()

    async def watch(self):
        """Measures until it is cancelled. What would take the machine with it is killed, and that is a fault."""
        while True:
            self.measure()
            await asyncio.sleep(0.5)

    def logs(self):
        return "".join((self.folder / f"{stage}.log").read_text(errors="replace") for stage in STAGES)

    async def end(self):
        """Asks all to end; gives those that did not end well."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        begun = time.time()
        while len(self.ended()) < len(self.processes) and time.time() - begun < 60:
            await asyncio.sleep(0.1)
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
        return {stage: code for stage, code in self.ended().items() if code != 0}


class Project:
    def __init__(self, control, key):
        self.control, self.key = control, key

    async def call(self, method, path, body=None):
        headers = [("authorization", f"Bearer {self.key}"), ("content-type", "application/json")]
        body = b"" if body is None else json.dumps(body).encode()
        status, _, text = await web.call(method, self.control + path, body, headers)
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    async def done(self, method, path, body=None):
        while True:
            status, answer = await self.call(method, path, body)
            # Who asks too often waits, as it is told to.
            if status != 429:
                break
            await asyncio.sleep(1)
        if not 200 <= status < 300:
            raise SystemExit(f"{method} {path}: {status} {answer}")
        return answer
