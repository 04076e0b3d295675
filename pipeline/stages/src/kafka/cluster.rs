//! Where the brokers are, what topics are called, and the client settings that all roles share.

use std::collections::BTreeMap;

use rdkafka::{
    ClientConfig, ClientContext,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};
use serde::{Deserialize, Serialize};
use tributary_schemas::{framing::SchemaIds, topic::Topics};

use super::Skew;

/// How to reach Kafka.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// Put before every topic and group name, so that deployments can share a cluster.
    pub prefix: String,
    /// Further librdkafka client settings (`security.protocol`, `sasl.*`, `ssl.*`), by their own names.
    pub client: BTreeMap<String, Setting>,
}

impl Default for Config {
    fn default() -> Self {
        Self { brokers: "127.0.0.1:9092".into(), prefix: String::new(), client: BTreeMap::new() }
    }
}

/// A client setting; it may be a password, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Setting(String);

impl Setting {
    /// The setting itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// A Kafka cluster and this deployment's names in it.
#[derive(Debug, Clone)]
pub struct Cluster {
    config: Config,
    topics: Topics,
    skew: Skew,
    schemas: SchemaIds,
}

impl Cluster {
    /// A cluster as configured. Connects to nothing yet.
    pub fn new(config: Config) -> Self {
        let topics = Topics::with_prefix(config.prefix.clone());
        Self { config, topics, skew: Skew::default(), schemas: SchemaIds::default() }
    }

    /// The same, whose unified topics have schemas that a registry calls so.
    #[must_use]
    pub fn with_schemas(self, schemas: SchemaIds) -> Self {
        Self { schemas, ..self }
    }

    /// What the schemas of the unified topics are called.
    pub fn schemas(&self) -> SchemaIds {
        self.schemas
    }

    /// This deployment's topic names.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// How far our clock is from the brokers', as their answers show it.
    pub fn skew(&self) -> &Skew {
        &self.skew
    }

    /// This deployment's name of a consumer group, a transactional id or a group instance.
    pub fn named(&self, name: &str) -> String {
        format!("{}{name}", self.config.prefix)
    }

    /// `host:port`, comma-separated.
    pub fn brokers(&self) -> &str {
        &self.config.brokers
    }

    /// The settings that every client has. `role` names it to the broker: `tributary-ingest`.
    pub fn client(&self, role: &str) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.config.brokers);
        client.set("client.id", format!("tributary-{role}"));
        client.set("message.max.bytes", MAX_MESSAGE_BYTES);
        client.set("topic.metadata.refresh.fast.interval.ms", "100");
        client.set("reconnect.backoff.ms", "50");
        client.set("reconnect.backoff.max.ms", "1000");
        for (name, setting) in &self.config.client {
            client.set(name, &setting.0);
        }
        client
    }

    /// A producer that writes each record once and in order, and says so when all replicas have it.
    pub fn producer(&self, role: &str) -> ClientConfig {
        let mut producer = self.client(role);
        producer.set("enable.idempotence", "true");
        producer.set("acks", "all");
        // Java's default partitioner: other people's clients find an account where we put it.
        producer.set("partitioner", "murmur2_random");
        producer.set("compression.type", "lz4");
        producer.set("linger.ms", "2");
        producer.set("message.timeout.ms", "10000");
        producer
    }

    /// A consumer that commits nothing by itself and reads committed records only.
    pub fn consumer(&self, role: &str, group: &str) -> ClientConfig {
        let mut consumer = self.client(role);
        consumer.set("group.id", self.named(group));
        consumer.set("enable.auto.commit", "false");
        consumer.set("enable.auto.offset.store", "false");
        consumer.set("auto.offset.reset", "earliest");
        consumer.set("isolation.level", "read_committed");
        consumer.set("fetch.message.max.bytes", MAX_MESSAGE_BYTES);
        consumer.set("fetch.queue.backoff.ms", "10");
        consumer.set("fetch.wait.max.ms", "100");
        consumer.set("queued.max.messages.kbytes", "65536");
        consumer
    }
}

/// A client context for readers that ask where partitions end: reaching the end is no error worth a log line.
pub(super) struct ToTheEnd;

impl ClientContext for ToTheEnd {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::debug!(%error, reason, "librdkafka");
        }
    }
}

impl ConsumerContext for ToTheEnd {}

/// The greatest size of any topic's records: `unify.dead` takes an input of 8 MiB with its headers. The others' limits
/// are the broker's to hold (design §3).
const MAX_MESSAGE_BYTES: &str = "9437184";
