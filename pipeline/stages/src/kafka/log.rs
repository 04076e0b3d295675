//! Reading a partition of a log from an offset to an end, without a group: how a WAL is replayed.

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::BorrowedMessage,
};

use super::{
    Cluster,
    cluster::ToTheEnd,
    group::{Incoming, incoming},
};

/// How long the broker may take to answer a question.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long nothing may come.
const QUIET_MOST: Duration = Duration::from_secs(30);
/// Before a leader is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// How far a partition was read.
enum Read {
    /// There is no more below this, or enough.
    Until(i64),
    /// To what its leader calls the end; behind the last record, if one came.
    Ended(Option<i64>),
}

/// Reads partitions of one topic.
pub struct LogReader {
    topic: String,
    /// Sees what is committed: its end is the last stable offset.
    committed: BaseConsumer<ToTheEnd>,
    /// Sees everything: its end is the high watermark.
    everything: BaseConsumer,
}

impl LogReader {
    /// Makes the clients.
    ///
    /// # Errors
    /// When they can't be made.
    pub fn new(cluster: &Cluster, role: &str, topic: String) -> anyhow::Result<Self> {
        let committed = cluster
            .consumer(role, &format!("log-{role}"))
            .set("enable.partition.eof", "true")
            .create_with_context(ToTheEnd)?;
        let everything = cluster
            .consumer(role, &format!("log-{role}"))
            .set("isolation.level", "read_uncommitted")
            .create()?;
        Ok(Self { topic, committed, everything })
    }

    /// How many partitions the topic has.
    ///
    /// # Errors
    /// When the broker does not say in time, or there is no such topic.
    pub fn partitions(&self) -> anyhow::Result<i32> {
        let metadata = self.everything.fetch_metadata(Some(&self.topic), ANSWER_LIMIT)?;
        let partitions =
            metadata.topics().iter().find(|topic| topic.name() == self.topic).map(|it| it.partitions());
        match partitions {
            Some(partitions) if !partitions.is_empty() => Ok(partitions.len().try_into()?),
            Some(_) | None => bail!("there is no topic `{}`: run `tributary topics apply`", self.topic),
        }
    }

    /// Where the partition begins, and the end of everything that was ever written to it.
    ///
    /// # Errors
    /// When the broker does not say in time.
    pub fn bounds(&self, partition: i32) -> anyhow::Result<(i64, i64)> {
        Ok(self.everything.fetch_watermarks(&self.topic, partition, ANSWER_LIMIT)?)
    }

    /// The last stable offset: everything below it is decided.
    ///
    /// # Errors
    /// When the broker does not say in time.
    pub fn stable_end(&self, partition: i32) -> anyhow::Result<i64> {
        let (_, stable) = self.committed.fetch_watermarks(&self.topic, partition, ANSWER_LIMIT)?;
        Ok(stable)
    }

    /// Gives every committed record in `from..end` to `take`, in order, until it has enough; says where to read on: at
    /// `end`, when there is no more. Everything below `end` must be decided.
    ///
    /// # Errors
    /// When the broker is away for long, or `take` fails.
    pub fn read(
        &self,
        partition: i32,
        from: i64,
        end: i64,
        mut take: impl FnMut(i64, &[u8]) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<i64> {
        let mut take =
            |record: &BorrowedMessage<'_>| take(record.offset(), record.payload().unwrap_or_default());
        self.read_all(partition, from, end, &mut take)
    }

    /// As [`read`](Self::read), with keys and headers.
    ///
    /// # Errors
    /// As of [`read`](Self::read).
    pub fn records(
        &self,
        partition: i32,
        from: i64,
        end: i64,
        mut take: impl FnMut(Incoming) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<i64> {
        self.read_all(partition, from, end, &mut |record: &BorrowedMessage<'_>| take(incoming(record)))
    }

    fn read_all(
        &self,
        partition: i32,
        from: i64,
        end: i64,
        take: &mut impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<i64> {
        if from >= end {
            return Ok(end);
        }
        let begun = Instant::now();
        let mut from = from;
        while begun.elapsed() < QUIET_MOST {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&self.topic, partition, Offset::Offset(from))?;
            self.committed.assign(&list)?;
            let result = self.read_assigned(partition, end, take);
            self.committed.unassign()?;
            match result? {
                Read::Until(next) => return Ok(next),
                // A leader that has just become one may not know yet how far it may show its log: what it calls the end is
                // one only if it lies where the caller knows everything to be decided.
                Read::Ended(_) if self.stable_end(partition)? >= end => return Ok(end),
                Read::Ended(next) => {
                    from = next.unwrap_or(from);
                    std::thread::sleep(AGAIN);
                }
            }
        }
        bail!("{} [{partition}]: its leader shows nothing below offset {end}", self.topic)
    }

    fn read_assigned(
        &self,
        partition: i32,
        end: i64,
        take: &mut impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<Read> {
        let mut quiet = Instant::now();
        let mut next = None;
        loop {
            match self.committed.poll(Duration::from_millis(100)) {
                Some(Ok(record)) if record.partition() == partition => {
                    quiet = Instant::now();
                    if record.offset() >= end {
                        return Ok(Read::Until(end));
                    }
                    let taken = take(&record);
                    let at = || format!("{} [{partition}] at offset {}", self.topic, record.offset());
                    if taken.with_context(at)?.is_break() {
                        return Ok(Read::Until(record.offset() + 1));
                    }
                    next = Some(record.offset() + 1);
                }
                Some(Err(KafkaError::PartitionEOF(ended))) if ended == partition => {
                    return Ok(Read::Ended(next));
                }
                Some(Ok(_)) => {}
                // A reader that was idle while the broker was away hears of it now, hundreds of times.
                Some(Err(error)) => tracing::debug!(%error, "reading a log"),
                None if quiet.elapsed() > QUIET_MOST => {
                    bail!("{} [{partition}]: nothing came for 30 s below offset {end}", self.topic);
                }
                None => {}
            }
        }
    }
}
