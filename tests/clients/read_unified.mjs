// Reads unified topics with kafkajs and @kafkajs/confluent-schema-registry, and prints one JSON line per event.
//
//   node read_unified.mjs <brokers> <registry url> <topic>[,<topic>…] [count]
//
// From the beginning, committed events only. With a count it ends with 0 after so many; else on SIGTERM. Registry
// credentials, as user:password, are taken from REGISTRY_AUTH.
import { SchemaRegistry } from "@kafkajs/confluent-schema-registry";
import kafkajs from "kafkajs";
import lz4 from "lz4js";
import { randomUUID } from "node:crypto";

const [brokers, url, topics, count] = process.argv.slice(2);
const [username, password] = (process.env.REGISTRY_AUTH ?? "").split(":");
const registry = new SchemaRegistry({ host: url, auth: username ? { username, password } : undefined });

// Tributary's batches are lz4: kafkajs brings gzip alone and takes a codec for each other.
kafkajs.CompressionCodecs[kafkajs.CompressionTypes.LZ4] = () => ({
  compress: (encoder) => Buffer.from(lz4.compress(encoder.buffer)),
  decompress: (buffer) => Buffer.from(lz4.decompress(buffer)),
});

const kafka = new kafkajs.Kafka({ brokers: brokers.split(","), clientId: "read-unified", logLevel: kafkajs.logLevel.ERROR });
// `readUncommitted: false` is isolation.level=read_committed.
const consumer = kafka.consumer({ groupId: `read-unified-${randomUUID()}`, readUncommitted: false });
let seen = 0;
const end = async () => {
  await consumer.disconnect();
  process.exit(0);
};
process.on("SIGTERM", end);

await consumer.connect();
await consumer.subscribe({ topics: topics.split(","), fromBeginning: true });
await consumer.run({
  eachMessage: async ({ topic, partition, message }) => {
    if (count !== undefined && seen >= Number(count)) return;
    const headers = Object.fromEntries(Object.entries(message.headers).map(([name, value]) => [name, String(value)]));
    const event = await registry.decode(message.value);
    const line = { topic, partition, offset: Number(message.offset), key: String(message.key), headers, event };
    console.log(JSON.stringify(line, (_, value) => (typeof value === "bigint" ? Number(value) : value)));
    seen += 1;
    if (count !== undefined && seen === Number(count)) setImmediate(end);
  },
});
