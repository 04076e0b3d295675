"""Looks for polled values where none may be: in every topic, every table and every log, in every form that they may take."""

import base64
import json

from cassandra.cluster import Cluster
from confluent_kafka import Consumer, KafkaError, TopicPartition


def forms(value):
    """The needles of a value: as it is, as JSON escapes it, in base64 at each offset, in hex."""
    raw = value.encode()
    needles = {raw, json.dumps(value)[1:-1].encode(), json.dumps(value, ensure_ascii=False)[1:-1].encode()}
    for text in list(needles):
        needles |= {text.hex().encode(), text.hex().upper().encode()}
        for offset in range(3):
            # What surrounds it changes the first and the last characters.
            inner = base64.b64encode(b"\0" * offset + text)[4 if offset else 0 : -4]
            needles |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return {needle for needle in needles if len(needle) >= 8}


def found_in(needles, *haystacks):
    return any(needle in haystack for haystack in haystacks for needle in needles)


def topics(kafka, prefix, needles):
    """Yields the topics that hold one of them, and at last how many messages were searched."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": f"{prefix}search", "isolation.level": "read_uncommitted", "enable.auto.commit": False, "enable.partition.eof": True})
    names = [name for name in consumer.list_topics(timeout=30).topics if name.startswith(prefix)]
    searched, guilty = 0, set()
    for name in names:
        for partition in consumer.list_topics(name, timeout=30).topics[name].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=30)
            if low == high:
                continue
            consumer.assign([TopicPartition(name, partition, low)])
            while True:
                message = consumer.poll(30)
                if message is None:
                    raise SystemExit(f"reading {name}: no answer within half a minute")
                # The end is told, as the last records may be a transaction's markers, which are no messages.
                if message.error() and message.error().code() == KafkaError._PARTITION_EOF:
                    break
                if message.error():
                    raise SystemExit(f"reading {name}: {message.error()}")
                searched += 1
                headers = b"\0".join(value or b"" for _, value in message.headers() or [])
                if found_in(needles, message.key() or b"", message.value() or b"", headers):
                    guilty.add(name.removeprefix(prefix))
    consumer.close()
    return guilty, searched


def tables(cql, keyspace, needles):
    """The tables that hold one of them, and how many rows were searched."""
    host, port = cql.rsplit(":", 1)
    cluster = Cluster([host], port=int(port))
    session = cluster.connect()
    session.default_fetch_size = 1_000
    searched, guilty = 0, set()
    for (table,) in session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", [keyspace]):
        for row in session.execute(f"SELECT * FROM {keyspace}.{table}"):
            searched += 1
            values = [it if isinstance(it, bytes) else str(it).encode() for it in row if it is not None]
            if found_in(needles, *values):
                guilty.add(table)
    session.execute(f"DROP KEYSPACE {keyspace}")
    cluster.shutdown()
    return guilty, searched
