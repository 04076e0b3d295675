//! One Kafka transaction after another, from one thread: records, offsets, commit.
//!
//! The order of calls and the timeouts are the ones that were measured to be quick and safe (design §6, known traps):
//! librdkafka's own flush is called first, because a commit's flush has a floor of 100 ms.
#![allow(unsafe_code)]

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use rdkafka::{
    ClientConfig, ClientContext, Offset, Statistics, TopicPartitionList,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, Message, OwnedHeaders},
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};
use tributary_schemas::time::Timestamp;

use super::{Cluster, Outgoing, Skew, skew::MOCKED, statistics::Watch};
use crate::clock::now;

/// How long the broker waits for a transaction before it aborts it.
const TRANSACTION_LIMIT: Duration = Duration::from_secs(8);
/// How long a record may wait to be written.
const MESSAGE_LIMIT: Duration = Duration::from_secs(6);

/// A transactional producer, used from one thread.
pub struct Transactional(Writer);

/// Writes records and waits until they are written.
pub(super) struct Writer {
    producer: ThreadedProducer<Reports>,
}

/// An offset to commit in a transaction.
#[derive(Debug, Clone)]
pub struct NextOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// Kept beside it.
    pub metadata: String,
}

/// Why a transaction was not committed.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// Cleanly aborted: these records can't be written, now or later.
    #[error("records of the transaction can't be written")]
    Refused {
        /// Their places among the records.
        records: Vec<usize>,
        /// In a word: `too_large`, `invalid_record`.
        reason: &'static str,
        /// What the broker, or the client, said.
        source: KafkaError,
    },
    /// Cleanly aborted: it took too long.
    #[error("the transaction took too long")]
    TooSlow(#[source] KafkaError),
    /// Cleanly aborted: decide again if the partitions are still ours.
    #[error("the transaction was aborted")]
    Aborted(#[source] KafkaError),
    /// Whether it was committed is not known, or the producer can't go on: make a new one, and recover.
    #[error("the outcome of the transaction is not known")]
    Unknown(#[source] KafkaError),
}

/// The delivery reports of what is being written.
pub(super) struct Reports {
    under_way: Mutex<UnderWay>,
    skew: Skew,
    watch: Watch,
}

struct UnderWay {
    since: Timestamp,
    /// The offset of each record that is written, by its index.
    reports: Vec<(usize, Result<i64, KafkaError>)>,
    /// What the broker's clock showed last.
    shown: Option<Timestamp>,
}

impl ClientContext for Reports {
    fn stats(&self, told: Statistics) {
        self.watch.saw(&told);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let mut under_way = self.under_way();
        if let Ok(record) = result {
            self.skew.saw(under_way.since, record.timestamp(), now());
            if let rdkafka::Timestamp::LogAppendTime(millis @ MOCKED..) = record.timestamp() {
                under_way.shown = Some(Timestamp::from_micros(millis.saturating_mul(1_000)));
            }
        }
        let report = match result {
            // A duplicate that the broker no longer remembers has no offset.
            Ok(record) if record.offset() < 0 => Err(KafkaError::Flush(RDKafkaErrorCode::InvalidMessage)),
            Ok(record) => Ok(record.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        under_way.reports.push((index, report));
    }
}

impl Reports {
    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Begins anew: nothing that comes from now on is of what was written before.
    fn begin(&self) {
        *self.under_way() = UnderWay { since: now(), reports: Vec::new(), shown: None };
    }
}

impl Transactional {
    /// Makes the producer, and ends what a predecessor with the same id left open.
    ///
    /// # Errors
    /// When the broker can't be reached, or refuses.
    pub fn new(cluster: &Cluster, transactional_id: &str) -> Result<Self, TransactionError> {
        let mut config = cluster.producer("unify");
        config.set("transactional.id", cluster.named(transactional_id));
        config.set("transaction.timeout.ms", TRANSACTION_LIMIT.as_millis().to_string());
        // Back to back, the next transaction would wait 20 ms for the markers of the last.
        config.set("retry.backoff.ms", "1");
        config.set("retry.backoff.max.ms", "100");
        let writer = Writer::new(config, cluster).map_err(TransactionError::Unknown)?;
        writer.producer.init_transactions(Duration::from_secs(10)).map_err(TransactionError::Unknown)?;
        Ok(Self(writer))
    }

    /// Runs one transaction; gives the offset of each record.
    ///
    /// # Errors
    /// [`TransactionError`] says whether nothing was written, or nothing is known.
    pub fn run(
        &self,
        records: &[Outgoing],
        offsets: &[NextOffset],
        member: &ConsumerGroupMetadata,
    ) -> Result<Vec<i64>, TransactionError> {
        self.transact(records, |producer| {
            producer.send_offsets_to_transaction(&list(offsets)?, member, Duration::from_secs(5))
        })
    }

    /// Runs one transaction of records alone.
    ///
    /// # Errors
    /// [`TransactionError`] as for [`run`](Self::run).
    pub fn write(&self, records: &[Outgoing]) -> Result<Vec<i64>, TransactionError> {
        self.transact(records, |_| Ok(()))
    }

    fn transact(
        &self,
        records: &[Outgoing],
        then: impl FnOnce(&ThreadedProducer<Reports>) -> Result<(), KafkaError>,
    ) -> Result<Vec<i64>, TransactionError> {
        let producer = &self.0.producer;
        producer.begin_transaction().map_err(TransactionError::Unknown)?;
        let written = self.0.write(records).map_err(|(of, error)| self.abort(of, error))?;
        then(producer).map_err(|error| self.abort(Vec::new(), error))?;
        match producer.commit_transaction(Duration::from_secs(8)) {
            Ok(()) => Ok(written),
            // The commit may have reached the broker, whatever the client makes of it: after some errors it offers to
            // abort, and says that it did, though all of it is there.
            Err(error) => Err(TransactionError::Unknown(error)),
        }
    }

    /// What the broker's clock shows: when it appends a record of a transaction that is aborted. `None` where its topic has no
    /// times of its own.
    ///
    /// # Errors
    /// [`TransactionError`] as for [`run`](Self::run).
    pub fn time(&self, topic: &str, partition: i32) -> Result<Option<Timestamp>, TransactionError> {
        let producer = &self.0.producer;
        producer.begin_transaction().map_err(TransactionError::Unknown)?;
        let record = Outgoing {
            topic: topic.to_owned(),
            partition: Some(partition),
            payload: Some(Bytes::new()),
            ..Outgoing::default()
        };
        let written = self.0.write(std::slice::from_ref(&record));
        let shown = producer.context().under_way().shown.take();
        written.map_err(|(of, error)| self.abort(of, error))?;
        producer.abort_transaction(Duration::from_secs(8)).map_err(TransactionError::Unknown)?;
        Ok(shown)
    }

    /// Aborts after `cause`, before a commit was asked for. Only an abort that the broker confirms makes the cause
    /// harmless; a producer that was fenced, by its successor or because its time was up, can't abort.
    fn abort(&self, records: Vec<usize>, cause: KafkaError) -> TransactionError {
        use RDKafkaErrorCode as Code;
        match self.0.producer.abort_transaction(Duration::from_secs(8)) {
            // Only these two are the records' own: anything else is everybody's.
            Ok(()) => match cause.rdkafka_error_code() {
                Some(Code::MessageSizeTooLarge) if !records.is_empty() => {
                    TransactionError::Refused { records, reason: "too_large", source: cause }
                }
                Some(Code::InvalidRecord) if !records.is_empty() => {
                    TransactionError::Refused { records, reason: "invalid_record", source: cause }
                }
                Some(Code::MessageTimedOut | Code::OperationTimedOut | Code::RequestTimedOut) => {
                    TransactionError::TooSlow(cause)
                }
                _ => TransactionError::Aborted(cause),
            },
            Err(error) => TransactionError::Unknown(error),
        }
    }
}

/// What could not be written, as far as it is known, and why.
type NotWritten = (Vec<usize>, KafkaError);

impl Writer {
    pub(super) fn new(mut config: ClientConfig, cluster: &Cluster) -> Result<Self, KafkaError> {
        config.set("message.timeout.ms", MESSAGE_LIMIT.as_millis().to_string());
        config.set("linger.ms", "0");
        config.set("queue.buffering.max.messages", "100000");
        let under_way = Mutex::new(UnderWay { since: now(), reports: Vec::new(), shown: None });
        Watch::on(&mut config);
        let id = config.get("transactional.id").unwrap_or("unify");
        let name = id.strip_prefix(&cluster.named("")).unwrap_or(id).to_owned();
        let reports =
            Reports { under_way, skew: cluster.skew().clone(), watch: Watch::writer(cluster, &name) };
        Ok(Self { producer: config.create_with_context(reports)? })
    }

    /// Writes records; gives the offset of each.
    pub(super) fn write(&self, records: &[Outgoing]) -> Result<Vec<i64>, NotWritten> {
        self.producer.context().begin();
        for (index, record) in records.iter().enumerate() {
            self.enqueue(index, record)?;
        }
        self.flush()?;
        let mut written = vec![None; records.len()];
        let mut failed: Option<NotWritten> = None;
        for (index, report) in std::mem::take(&mut self.producer.context().under_way().reports) {
            match (report, &mut failed) {
                (Ok(offset), _) => written[index] = Some(offset),
                (Err(error), None) => failed = Some((vec![index], error)),
                (Err(error), Some((indices, first))) if error == *first => indices.push(index),
                (Err(_), Some(_)) => {}
            }
        }
        if let Some(failed) = failed {
            return Err(failed);
        }
        let all = written.into_iter().collect::<Option<Vec<i64>>>();
        all.ok_or((Vec::new(), KafkaError::Flush(RDKafkaErrorCode::MessageTimedOut)))
    }

    fn enqueue(&self, index: usize, record: &Outgoing) -> Result<(), NotWritten> {
        let mut base = BaseRecord::with_opaque_to(&record.topic, index).key(record.key.as_ref());
        if let Some(payload) = &record.payload {
            base = base.payload(payload.as_ref());
        }
        if let Some(partition) = record.partition {
            base = base.partition(partition);
        }
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            base =
                base.headers(record.headers.iter().fold(headers, |headers, (key, value)| {
                    headers.insert(Header { key, value: Some(value) })
                }));
        }
        let mut base: BaseRecord<'_, [u8], [u8], usize> = base;
        loop {
            match self.producer.send(base) {
                Ok(()) => return Ok(()),
                Err((error, back)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    base = back;
                    self.flush()?;
                }
                Err((error, _)) => return Err((vec![index], error)),
            }
        }
    }

    /// Returns when every report is in: none of this transaction comes in the next.
    fn flush(&self) -> Result<(), NotWritten> {
        let millis = MESSAGE_LIMIT.as_millis() as i32 + 1_000;
        // SAFETY: the pointer is that of a live client, which `self.producer` keeps alive for the whole call;
        // `rd_kafka_flush` may be called from any thread, and the producer's own thread serves the reports meanwhile.
        let code = unsafe { rdkafka::bindings::rd_kafka_flush(self.producer.client().native_ptr(), millis) };
        match code {
            rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
            code => Err((Vec::new(), KafkaError::Flush(code.into()))),
        }
    }
}

pub(super) fn list(offsets: &[NextOffset]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for next in offsets {
        let mut element = list.add_partition(&next.topic, next.partition);
        element.set_offset(Offset::Offset(next.offset))?;
        element.set_metadata(&next.metadata);
    }
    Ok(list)
}

#[cfg(test)]
mod tests;
