"""Reads unified topics by the stock Avro deserialiser of confluent-kafka, and prints one JSON line per event.

    python3 read_unified.py <brokers> <registry url> <topic>[,<topic>…] [--count N] [--group GROUP] [--from-start]

Only committed events are read. With --count it ends with 0 after N events; else on SIGTERM or Ctrl-C. Registry
credentials, as user:password, are taken from REGISTRY_AUTH.
"""

import argparse
import json
import os
import signal
import sys
import uuid

from confluent_kafka import DeserializingConsumer, KafkaError
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer


def text(moment):
    """Avro's timestamps come as datetime: RFC 3339, as in the webhooks."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("brokers")
    parser.add_argument("registry")
    parser.add_argument("topic")
    parser.add_argument("--count", type=int)
    parser.add_argument("--group", default=f"read-unified-{uuid.uuid4()}")
    parser.add_argument("--from-start", action="store_true")
    args = parser.parse_args()

    registry = {"url": args.registry}
    if os.environ.get("REGISTRY_AUTH"):
        registry["basic.auth.user.info"] = os.environ["REGISTRY_AUTH"]
    consumer = DeserializingConsumer(
        {
            "bootstrap.servers": args.brokers,
            "group.id": args.group,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest" if args.from_start else "latest",
            "value.deserializer": AvroDeserializer(SchemaRegistryClient(registry)),
        }
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    consumer.subscribe(args.topic.split(","), on_assign=lambda *_: print("assigned", file=sys.stderr, flush=True))
    seen = 0
    try:
        while args.count is None or seen < args.count:
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error():
                if message.error().code() == KafkaError._PARTITION_EOF:
                    continue
                raise SystemExit(f"reading: {message.error()}")
            line = {
                "topic": message.topic(),
                "partition": message.partition(),
                "offset": message.offset(),
                "key": (message.key() or b"").decode(),
                "headers": {name: (value or b"").decode() for name, value in message.headers() or []},
                "event": message.value(),
            }
            print(json.dumps(line, default=text), flush=True)
            seen += 1
    except KeyboardInterrupt:
        pass
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
