//! Writing records, and knowing that they are written.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use rdkafka::{
    ClientContext, Statistics,
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer},
};
use tributary_schemas::{framing::SchemaIds, time::Timestamp};

use super::{Cluster, Skew, statistics::Watch};
use crate::clock::now;

/// A record to write.
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    /// The topic.
    pub topic: String,
    /// The partition, where the key does not decide it.
    pub partition: Option<i32>,
    /// The key.
    pub key: Bytes,
    /// The value; `None` is a tombstone.
    pub payload: Option<Bytes>,
    /// The headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Where a record was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A record that may not have been written.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Too many records wait for the broker: take less in, or try again.
    #[error("the producer's queue is full: the broker is slow or away")]
    QueueFull,
    /// The record is larger than the topic takes.
    #[error("a record too large for its topic")]
    TooLarge,
    /// The broker is away, or refused.
    #[error("writing to `{topic}`")]
    Broker {
        /// The topic.
        topic: String,
        /// What rdkafka said.
        source: KafkaError,
    },
}

/// The acknowledgement to come. Dropping it does not unwrite the record.
#[must_use]
pub struct Receipt {
    topic: String,
    sent: Timestamp,
    skew: Skew,
    delivery: rdkafka::producer::DeliveryFuture,
}

impl Receipt {
    /// Waits until all replicas have the record.
    ///
    /// # Errors
    /// [`PublishError`] when the record was not acknowledged in time: it may have been written all the same.
    pub async fn acknowledged(self) -> Result<Position, PublishError> {
        match self.delivery.await {
            Ok(Ok(delivery)) => {
                self.skew.saw(self.sent, delivery.timestamp, now());
                Ok(Position { partition: delivery.partition, offset: delivery.offset })
            }
            Ok(Err((error, _))) => Err(refused(self.topic, error)),
            Err(_canceled) => Err(PublishError::Broker { topic: self.topic, source: KafkaError::Canceled }),
        }
    }
}

/// An idempotent producer. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    producer: FutureProducer<Told>,
    skew: Skew,
    schemas: SchemaIds,
}

impl Publisher {
    /// Makes the producer. Connects in the background.
    ///
    /// # Errors
    /// When librdkafka refuses a setting.
    pub fn new(cluster: &Cluster, role: &str) -> anyhow::Result<Self> {
        let mut settings = cluster.producer(role);
        Watch::on(&mut settings);
        let producer = settings.create_with_context(Told(Watch::writer(cluster, role)))?;
        Ok(Self { producer, skew: cluster.skew().clone(), schemas: cluster.schemas() })
    }

    /// What the schemas of the unified topics are called.
    pub fn schemas(&self) -> SchemaIds {
        self.schemas
    }

    /// Puts a record in the queue, in the order of the calls.
    ///
    /// # Errors
    /// [`PublishError`] when the queue is full or the record can't be written at all.
    pub fn enqueue(&self, record: Outgoing) -> Result<Receipt, PublishError> {
        let mut future = FutureRecord::<[u8], [u8]>::to(&record.topic).key(&record.key);
        if let Some(payload) = &record.payload {
            future = future.payload(payload);
        }
        if let Some(partition) = record.partition {
            future = future.partition(partition);
        }
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            future =
                future.headers(record.headers.iter().fold(headers, |headers, (key, value)| {
                    headers.insert(Header { key, value: Some(value) })
                }));
        }
        let (sent, skew) = (now(), self.skew.clone());
        match self.producer.send_result(future) {
            Ok(delivery) => Ok(Receipt { topic: record.topic, sent, skew, delivery }),
            Err((error, _)) => Err(refused(record.topic, error)),
        }
    }

    /// Writes a record and waits until all replicas have it.
    pub fn send(&self, record: Outgoing) -> impl Future<Output = Result<Position, PublishError>> + use<> {
        let queued = self.enqueue(record);
        async move { queued?.acknowledged().await }
    }

    /// Waits until everything in the queue is written, at the most `limit`.
    ///
    /// # Errors
    /// When records are still waiting then.
    pub fn flush(&self, limit: Duration) -> anyhow::Result<()> {
        Ok(self.producer.flush(limit)?)
    }
}

/// Hears what the client tells of itself.
struct Told(Watch);

impl ClientContext for Told {
    fn stats(&self, told: Statistics) {
        self.0.saw(&told);
    }
}

fn refused(topic: String, source: KafkaError) -> PublishError {
    match source.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => PublishError::QueueFull,
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => PublishError::TooLarge,
        _ => PublishError::Broker { topic, source },
    }
}
