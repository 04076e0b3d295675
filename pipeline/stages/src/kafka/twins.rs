//! unify's membership: the group subscribes to `poll.snapshots` only, and whoever has its partition *p* takes
//! partition *p* of `ingest.native` along. One owner, one order of writing (design §3).
//!
//! An assignment is acknowledged at once, with nothing: the lane recovers the partition first and begins to read it then.
//! A revocation is not acknowledged before the lane's open transaction is decided.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, bail};
use rdkafka::{
    ClientContext, Message, Offset, Statistics, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata},
    error::KafkaError,
    types::RDKafkaRespErr,
};
use tributary_core::unify::Flow;
use tributary_schemas::{
    time::Timestamp,
    wal::{CommitMetadata, InputPosition, Twin},
};

use super::{Cluster, statistics::Watch};

/// How long the broker may take to answer a question.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Hears what becomes of partitions. Called on the thread that polls.
pub trait Listener: Send + Sync + 'static {
    /// These are ours: recover them, then [`begin`](Twins::begin).
    fn assigned(&self, partitions: &[i32]);
    /// These go: returns when no transaction is open that has anything of them.
    fn revoked(&self, partitions: &[i32]);
}

/// A message of either twin.
#[derive(Debug)]
pub struct TwinMessage {
    /// Where it stood.
    pub position: InputPosition,
    /// The account.
    pub key: Vec<u8>,
    /// What it says.
    pub payload: Vec<u8>,
    /// When the broker appended it.
    pub appended_at: Option<Timestamp>,
}

pub(super) fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> anyhow::Result<Option<CommittedOffset>> {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    let answer = consumer.committed_offsets(list, ANSWER_LIMIT).context("asking for committed offsets")?;
    let element = answer.elements().into_iter().next().context("an answer without the partition")?;
    element.error().context("asking for committed offsets")?;
    match element.offset() {
        Offset::Offset(offset) => {
            let metadata = CommitMetadata::from_text(element.metadata())
                .with_context(|| format!("the committed offset of {topic}, partition {partition}"))?;
            Ok(Some(CommittedOffset { offset, metadata }))
        }
        Offset::Invalid => Ok(None),
        other => bail!("an unexpected committed offset {other:?}"),
    }
}

/// A committed offset with what was committed beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// unify's own metadata; `None` where a tool committed the offset.
    pub metadata: Option<CommitMetadata>,
}

/// unify's membership.
pub struct Twins {
    consumer: BaseConsumer<Callbacks>,
    native: String,
    snapshots: String,
}

impl Twins {
    /// Joins the group as the static member `unify.<instance>`. At most so many bytes are fetched ahead.
    ///
    /// # Errors
    /// When the consumer can't be made.
    pub fn join(
        cluster: &Cluster,
        instance: u32,
        queued_bytes: usize,
        listener: Arc<dyn Listener>,
    ) -> anyhow::Result<Self> {
        let mut config = cluster.consumer("unify", "unify");
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("group.instance.id", cluster.named(&format!("unify.{instance}")));
        config.set("session.timeout.ms", "12000");
        config.set("heartbeat.interval.ms", "3000");
        config.set("max.poll.interval.ms", "60000");
        config.set("queued.max.messages.kbytes", (queued_bytes >> 10).clamp(1 << 10, 1 << 20).to_string());
        let (native, snapshots) = (cluster.topics().ingest_native(), cluster.topics().poll_snapshots());
        let callbacks = Callbacks {
            listener,
            native: native.clone(),
            snapshots: snapshots.clone(),
            reading: Mutex::default(),
            watch: Watch::group(cluster, "unify"),
        };
        Watch::on(&mut config);
        let consumer: BaseConsumer<Callbacks> =
            config.create_with_context(callbacks).context("joining the consumer group `unify`")?;
        consumer.subscribe(&[&snapshots]).context("subscribing")?;
        Ok(Self { consumer, native, snapshots })
    }

    /// The next message, if one comes within `limit`. Also where the group's changes are heard: call it often.
    ///
    /// # Errors
    /// When another process has this member's name, or the consumer can't go on.
    pub fn poll(&self, limit: Duration) -> anyhow::Result<Option<TwinMessage>> {
        match self.consumer.poll(limit) {
            None => Ok(None),
            Some(Ok(record)) => {
                let twin = if record.topic() == self.native { Twin::Native } else { Twin::Snapshots };
                Ok(Some(TwinMessage {
                    position: InputPosition { twin, partition: record.partition(), offset: record.offset() },
                    key: record.key().unwrap_or_default().to_vec(),
                    payload: record.payload().unwrap_or_default().to_vec(),
                    appended_at: record
                        .timestamp()
                        .to_millis()
                        .map(|millis| Timestamp::from_micros(millis.saturating_mul(1_000))),
                }))
            }
            Some(Err(error)) => {
                if let Some((code, reason)) = self.consumer.client().fatal_error() {
                    bail!(
                        "the consumer of `unify` can't go on ({code}: {reason}): start this process again. A member that \
                         was cut off from the broker can be fenced by itself; if it happens at once after a start, \
                         another process has this one's instance number (unify.instance)"
                    );
                }
                tracing::warn!(%error, "reading the twins");
                Ok(None)
            }
        }
    }

    /// What was last committed for a twin's partition, once no transaction is open on it. A timeout is an error, not "none".
    ///
    /// # Errors
    /// When the broker does not say in time.
    pub fn committed(&self, twin: Twin, partition: i32) -> anyhow::Result<Option<CommittedOffset>> {
        committed(&self.consumer, self.topic(twin), partition)
    }

    /// Where a twin's partition begins, and where it ends.
    ///
    /// # Errors
    /// When the broker does not say in time.
    pub fn bounds(&self, twin: Twin, partition: i32) -> anyhow::Result<(i64, i64)> {
        Ok(self.consumer.fetch_watermarks(self.topic(twin), partition, ANSWER_LIMIT)?)
    }

    /// Begins to read both twins of a partition.
    ///
    /// # Errors
    /// When the partition is not ours any more.
    pub fn begin(&self, partition: i32, native: i64, snapshots: i64) -> anyhow::Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.native, partition, Offset::Offset(native))?;
        list.add_partition_offset(&self.snapshots, partition, Offset::Offset(snapshots))?;
        let mut reading = self.consumer.context().reading();
        self.consumer.incremental_assign(&list)?;
        reading.insert(partition);
        // It may have been held back when it was read before.
        self.consumer.resume(&list)?;
        Ok(())
    }

    /// Stops reading both twins of a partition that stays ours, to recover it again.
    ///
    /// # Errors
    /// When the consumer refuses.
    pub fn stop(&self, partition: i32) -> anyhow::Result<()> {
        let context = self.consumer.context();
        if context.reading().remove(&partition) {
            self.consumer.incremental_unassign(&context.both(&[partition]))?;
        }
        Ok(())
    }

    /// Holds partitions back, or lets them come again.
    ///
    /// # Errors
    /// When the consumer refuses.
    pub fn flow(&self, partitions: &[i32], flow: Flow) -> anyhow::Result<()> {
        let context = self.consumer.context();
        let reading: Vec<i32> = {
            let reading = context.reading();
            partitions.iter().copied().filter(|partition| reading.contains(partition)).collect()
        };
        let both = context.both(&reading);
        match flow {
            Flow::Held => self.consumer.pause(&both)?,
            Flow::Open => self.consumer.resume(&both)?,
        }
        Ok(())
    }

    /// Who we are to the group: travels with the offsets of a transaction. `None` while we are no member.
    ///
    /// # Errors
    /// When the consumer has no group.
    pub fn member(&self) -> anyhow::Result<Option<ConsumerGroupMetadata>> {
        let member = self.consumer.group_metadata().context("the consumer has no group")?;
        // Asked for after it: if we are a member now but it was taken while we were none, we have lost and regained
        // everything between, and the listener has heard of it.
        Ok(self.is_member().then_some(member))
    }

    #[allow(unsafe_code)]
    fn is_member(&self) -> bool {
        use rdkafka::bindings as raw;
        // SAFETY: the client lives as long as `self`; the metadata is ours, its strings are read before it is destroyed,
        // and a null pointer, which is what a client without a group gives, is not followed.
        unsafe {
            let metadata = raw::rd_kafka_consumer_group_metadata(self.consumer.client().native_ptr());
            if metadata.is_null() {
                return false;
            }
            let id = raw::rd_kafka_consumer_group_metadata_member_id(metadata);
            let named = !id.is_null() && *id != 0;
            let generation = raw::rd_kafka_consumer_group_metadata_generation_id(metadata);
            raw::rd_kafka_consumer_group_metadata_destroy(metadata);
            named && generation >= 0
        }
    }

    fn topic(&self, twin: Twin) -> &str {
        match twin {
            Twin::Native => &self.native,
            Twin::Snapshots => &self.snapshots,
        }
    }
}

struct Callbacks {
    listener: Arc<dyn Listener>,
    native: String,
    snapshots: String,
    /// The partitions that are read now.
    reading: Mutex<HashSet<i32>>,
    watch: Watch,
}

impl Callbacks {
    fn reading(&self) -> std::sync::MutexGuard<'_, HashSet<i32>> {
        self.reading.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn both(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.native, *partition);
            list.add_partition(&self.snapshots, *partition);
        }
        list
    }
}

impl ClientContext for Callbacks {
    fn stats(&self, told: Statistics) {
        self.watch.saw(&told);
    }
}

impl ConsumerContext for Callbacks {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        change: RDKafkaRespErr,
        moved: &mut TopicPartitionList,
    ) {
        let partitions: Vec<i32> = moved.elements().iter().map(|element| element.partition()).collect();
        let result = match change {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                // Nothing yet: the lane begins when it has recovered.
                let acknowledged = consumer.incremental_assign(&TopicPartitionList::new());
                self.listener.assigned(&partitions);
                acknowledged
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                self.listener.revoked(&partitions);
                let mut reading = self.reading();
                let ours: Vec<i32> =
                    partitions.into_iter().filter(|partition| reading.remove(partition)).collect();
                consumer.incremental_unassign(&self.both(&ours))
            }
            other => Err(KafkaError::Rebalance(other.into())),
        };
        if let Err(error) = result {
            tracing::error!(%error, "rebalancing unify");
        }
    }
}
