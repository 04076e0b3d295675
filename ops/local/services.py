#!/usr/bin/env python3
"""Apache Kafka and Apache Cassandra on loopback, without containers: fetched from Maven Central, started, stopped by pid.

  ops/local/up [--ports auto]   fetch what is missing, start what is not running, wait until both answer
               [--proxied 3]    with listeners that Kafka advertises elsewhere: for tests that break the network
  ops/local/down [--wipe]       stop both; --wipe also erases their data
  ops/local/status              say what runs where

Everything lives in .local at the repository's top, or in $TRIBUTARY_LOCAL; the jars in $TRIBUTARY_LOCAL_CACHE, or
beside it. `.local/env` holds the addresses for a shell to source. Providers to go with them are real products:
`ops/local/tryton`, `wsgidav`, `radicale`, `kolibri`, `bottlecrm`, `pretix`, `pretalx`; `down` stops those too.
"""

import argparse
import fcntl
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = pathlib.Path(os.environ.get("TRIBUTARY_LOCAL", HERE.parent.parent / ".local")).resolve()
CACHE = pathlib.Path(os.environ.get("TRIBUTARY_LOCAL_CACHE", ROOT / "cache")).resolve()
PORTS = {"kafka": 19092, "controller": 19093, "cql": 19042, "storage": 19070}
CLUSTER = "TributaryLocal00000000"

JAVA17 = """
-Djdk.attach.allowAttachSelf=true -Djava.security.manager=allow
""".split()
EXPORTS = """
java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch
java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql
java.base/java.lang.ref jdk.unsupported/sun.misc
""".split()
OPENS = """
java.base/java.lang.module java.base/jdk.internal.loader java.base/jdk.internal.ref java.base/jdk.internal.reflect
java.base/jdk.internal.math java.base/jdk.internal.module java.base/jdk.internal.util.jar
jdk.management/com.sun.management.internal java.base/sun.nio.ch java.base/java.io java.base/java.lang java.base/java.util
java.base/java.util.concurrent java.base/java.util.concurrent.atomic java.base/java.nio
""".split()


def say(text):
    print(f"ops/local: {text}", file=sys.stderr, flush=True)


def fail(text):
    say(text)
    sys.exit(1)


def fetch(name):
    """The jars of ops/local/<name>/pom.xml, once for all who share the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return fetched(name)


def fetched(name):
    """Maven checks the checksums. Quick when they are there."""
    libs = CACHE / f"{name}-libs"
    pom = HERE / name / "pom.xml"
    done = libs / ".complete"
    if done.exists() and done.read_text() == pom.read_text():
        return libs
    for tool in ("java", "mvn"):
        if not shutil.which(tool):
            fail(f"`{tool}` is missing: install a Java 17 runtime and Maven (Debian: openjdk-17-jre-headless maven)")
    say(f"fetching {name} from Maven Central into {libs}")
    shutil.rmtree(libs, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={libs}"]
    if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode != 0:
        fail(f"fetching {name} failed: is Maven Central reachable?")
    done.write_text(pom.read_text())
    return libs


def running(name):
    """The pid of a service that runs, if it does."""
    try:
        pid = int((ROOT / name / "pid").read_text())
    except (OSError, ValueError):
        return None
    # After a restart of the machine the number may be another's: ours has its folder on the command line.
    return pid if str(ROOT / name) in command_of(pid) else None


def command_of(pid):
    """The command line of a process; empty for one that has ended."""
    if pathlib.Path("/proc/self").exists():
        try:
            line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            # In the middle of its exec a process has no command line yet; one that has ended (Z) never has one again.
            while not line and ") Z " not in pathlib.Path(f"/proc/{pid}/stat").read_text():
                time.sleep(0.01)
                line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            return line.replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    ps = subprocess.run(["ps", "-ww", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)
    return ps.stdout


def start(name, command):
    folder = ROOT / name
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    (folder / "pid").write_text(str(process.pid))


def wait(name, answers, limit):
    begun = time.monotonic()
    told = begun
    while not answers():
        now = time.monotonic()
        if not running(name):
            fail(f"{name} ended while starting: see {ROOT / name / 'log'}")
        if now - begun > limit:
            fail(f"{name} did not answer within {limit} s: see {ROOT / name / 'log'}")
        if now - told > 5:
            say(f"waiting for {name} ({now - begun:.0f} s)")
            told = now
        time.sleep(0.1)
    say(f"{name} answers after {time.monotonic() - begun:.1f} s")


def exchange(port, request, least):
    """Sends bytes and reads at least so many back."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.settimeout(2)
            connection.sendall(request)
            answer = b""
            while len(answer) < least:
                part = connection.recv(4096)
                if not part:
                    return b""
                answer += part
            return answer
    except OSError:
        return b""


def kafka_answers(port):
    """An ApiVersions request (key 18, version 0) is answered without error."""
    body = (18).to_bytes(2, "big") + (0).to_bytes(2, "big") + (7).to_bytes(4, "big") + (-1).to_bytes(2, "big", signed=True)
    answer = exchange(port, len(body).to_bytes(4, "big") + body, 10)
    return answer[4:8] == (7).to_bytes(4, "big") and answer[8:10] == b"\0\0"


def cql_answers(port):
    """An OPTIONS frame is answered with SUPPORTED."""
    answer = exchange(port, bytes([4, 0, 0, 0, 5, 0, 0, 0, 0]), 9)
    return len(answer) >= 9 and answer[4] == 6


def free_ports(count):
    """Below those that the system gives to clients: while a service is away, one of them could take its port."""
    sockets = []
    for port in random.sample(range(10_000, 32_000), 1_000):
        it = socket.socket()
        try:
            it.bind(("127.0.0.1", port))
        except OSError:
            it.close()
            continue
        sockets.append(it)
        if len(sockets) == count:
            break
    ports = [it.getsockname()[1] for it in sockets]
    for it in sockets:
        it.close()
    return ports


def ports(choice, proxied=0):
    """The ports in use: those chosen before, else as asked. Of a proxied listener: its own port, and the advertised."""
    file = ROOT / "ports"
    if file.exists():
        return {name: int(port) for name, port in (line.split() for line in file.read_text().splitlines())}
    names = list(PORTS) + [f"{side}{number}" for number in range(proxied) for side in ("proxied", "advertised")]
    chosen = dict(zip(names, free_ports(len(names))))
    if choice == "fixed":
        chosen |= PORTS
    file.write_text("".join(f"{name} {port}\n" for name, port in chosen.items()))
    return chosen


def proxied(port):
    """The proxied listeners: number, own port, advertised port."""
    numbers = range(sum(name.startswith("proxied") for name in port))
    return [(number, port[f"proxied{number}"], port[f"advertised{number}"]) for number in numbers]


def up_kafka(port):
    libs = fetch("kafka")
    own = "".join(f",PROXIED{number}://127.0.0.1:{own}" for number, own, _ in proxied(port))
    advertised = "".join(f",PROXIED{number}://127.0.0.1:{elsewhere}" for number, _, elsewhere in proxied(port))
    protocols = "".join(f",PROXIED{number}:PLAINTEXT" for number, _, _ in proxied(port))
    folder = ROOT / "kafka"
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "server.properties"
    settings.write_text(
        f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{port['controller']}
listeners=PLAINTEXT://127.0.0.1:{port['kafka']},CONTROLLER://127.0.0.1:{port['controller']}{own}
advertised.listeners=PLAINTEXT://127.0.0.1:{port['kafka']}{advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
log.dirs={folder}/data
auto.create.topics.enable=false
message.max.bytes=8388608
replica.fetch.max.bytes=8388608
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
offsets.retention.minutes=43200
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
"""
    )
    java = ["java", "-Xms512m", "-Xmx512m", "-cp", f"{libs}/*"]
    if not (folder / "data" / "meta.properties").exists():
        say("formatting Kafka's storage")
        command = java + ["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(settings)]
        with open(folder / "log", "ab") as log:
            if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).returncode != 0:
                fail(f"formatting failed: see {folder / 'log'}")
    start("kafka", java + ["kafka.Kafka", str(settings)])


def up_cassandra(port):
    libs = fetch("cassandra")
    folder = ROOT / "cassandra"
    conf = folder / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    (conf / "cassandra.yaml").write_text(
        f"""cluster_name: tributary-local
num_tokens: 4
allocate_tokens_for_local_replication_factor: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
data_file_directories: [{folder}/data]
commitlog_directory: {folder}/commitlog
saved_caches_directory: {folder}/saved_caches
hints_directory: {folder}/hints
cdc_raw_directory: {folder}/cdc_raw
# One node, and the tests kill it: what it has acknowledged must be on disk, because no replica remembers it.
commitlog_sync: batch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "127.0.0.1:{port['storage']}"}}]
listen_address: 127.0.0.1
rpc_address: 127.0.0.1
storage_port: {port['storage']}
native_transport_port: {port['cql']}
endpoint_snitch: SimpleSnitch
memtable:
  configurations:
    default: {{class_name: TrieMemtable}}
memtable_allocation_type: offheap_objects
storage_compatibility_mode: NONE
auto_snapshot: false
"""
    )
    (conf / "logback.xml").write_text(
        """<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder>
<pattern>%d{ISO8601} %-5level %msg%n</pattern></encoder></appender>
<root level="WARN"><appender-ref ref="out"/></root></configuration>
"""
    )
    jamm = next(libs.glob("jamm-*.jar"))
    command = ["java", "-Xms1g", "-Xmx1g", f"-javaagent:{jamm}", *JAVA17]
    for module in EXPORTS:
        command += ["--add-exports", f"{module}=ALL-UNNAMED"]
    for module in OPENS:
        command += ["--add-opens", f"{module}=ALL-UNNAMED"]
    command += [
        "-Dcassandra.ring_delay_ms=1",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.superuser_setup_delay_ms=0",
        f"-Dcassandra.config=file://{conf}/cassandra.yaml",
        f"-Dcassandra.storagedir={folder}",
        f"-Dlogback.configurationFile=file://{conf}/logback.xml",
        "-Dcassandra-foreground=yes",
        "-cp",
        f"{conf}:{libs}/*",
        "org.apache.cassandra.service.CassandraDaemon",
    ]
    start("cassandra", command)


def up(args):
    ROOT.mkdir(parents=True, exist_ok=True)
    port = ports(args.ports, args.proxied)
    if not running("kafka"):
        up_kafka(port)
    if not running("cassandra"):
        up_cassandra(port)
    wait("kafka", lambda: kafka_answers(port["kafka"]), 60)
    wait("cassandra", lambda: cql_answers(port["cql"]), 180)
    env = f"TRIBUTARY_KAFKA=127.0.0.1:{port['kafka']}\nTRIBUTARY_CQL=127.0.0.1:{port['cql']}\n"
    if proxied(port):
        pairs = (f"{elsewhere}:{own}" for _, own, elsewhere in proxied(port))
        env += f"TRIBUTARY_KAFKA_PROXIED={','.join(pairs)}\n"
    (ROOT / "env").write_text(env)
    print(env, end="")


def stop(name):
    pid = running(name)
    if pid:
        os.kill(pid, signal.SIGTERM)
        limit = time.monotonic() + 30
        while running(name):
            if time.monotonic() > limit:
                say(f"{name} (pid {pid}) did not end in 30 s: killing it")
                os.kill(pid, signal.SIGKILL)
                limit += 30
            time.sleep(0.1)
        say(f"{name} stopped")
    (ROOT / name / "pid").unlink(missing_ok=True)


def providers():
    """The products that were started here: each has a port of its own."""
    return sorted(file.parent.name for file in ROOT.glob("*/port"))


def down(args):
    for name in (*providers(), "cassandra", "kafka"):
        stop(name)
        if args.wipe:
            shutil.rmtree(ROOT / name, ignore_errors=True)
    if args.wipe:
        for file in ("ports", "env"):
            (ROOT / file).unlink(missing_ok=True)


def status(_):
    missing = 0
    for name, key in (("kafka", "kafka"), ("cassandra", "cql")):
        pid = running(name)
        missing += pid is None
        where = f"pid {pid}, 127.0.0.1:{ports('fixed')[key]}" if pid else "not running"
        print(f"{name:10} {where}")
    for name in providers():
        if running(name):
            print(f"{name:10} pid {running(name)}, 127.0.0.1:{(ROOT / name / 'port').read_text()}")
    sys.exit(1 if missing else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("up")
    command.add_argument("--ports", choices=["fixed", "auto"], default="fixed")
    command.add_argument("--proxied", type=int, default=0, metavar="N")
    command.set_defaults(run=up)
    command = commands.add_parser("down")
    command.add_argument("--wipe", action="store_true")
    command.set_defaults(run=down)
    commands.add_parser("status").set_defaults(run=status)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
