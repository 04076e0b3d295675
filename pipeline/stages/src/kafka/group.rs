//! A member of a consumer group, on a thread of its own.
//!
//! Records come over a bounded channel; while it is full the member is paused but goes on polling, so that a slow
//! stage is never thrown out of its group. Offsets are committed only when the stage says so. (unify does not use
//! this: its offsets travel in transactions.)

use std::{
    collections::HashSet,
    ops::Deref,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use rdkafka::{
    ClientContext, Message, Offset, Statistics, Timestamp as KafkaTime, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::KafkaError,
    message::Headers,
    types::RDKafkaRespErr,
};
use tokio::sync::mpsc;

use super::{Cluster, statistics::Watch};

/// How a group is joined.
#[derive(Debug, Clone)]
pub struct GroupConfig {
    /// The stage, for the client's id: `deliver`.
    pub role: String,
    /// The group: `deliver`.
    pub group: String,
    /// A name that survives restarts, so that a short restart moves no partitions.
    pub instance: Option<String>,
    /// The topics, by their full names.
    pub topics: Vec<String>,
    /// A topic of as many partitions, whose partition *p* goes to whoever has partition *p* of the subscribed one.
    /// It is read from its committed offset, or its beginning.
    pub twin: Option<String>,
    /// Where a partition of the subscribed topics begins.
    pub from: From,
    /// How many records may wait in the channel.
    pub queue: usize,
}

/// Where a partition begins when it is assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At the committed offset; without one, with the oldest record.
    Committed,
    /// At the committed offset; without one, with records written from now on.
    CommittedOrEnd,
    /// With the oldest record, always: for compacted topics that are taken in whole.
    Beginning,
}

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Assignment {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

/// A record that was read.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Where it stood.
    pub at: Assignment,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Bytes,
    /// Its value; `None` is a tombstone.
    pub payload: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<(String, Bytes)>,
    /// When it was written, in milliseconds since 1970.
    pub written_at: Option<i64>,
}

/// What happens to a member, in order. A record that was on its way may still come after its partition was revoked:
/// pass over records of partitions that are not yours.
#[derive(Debug)]
pub enum GroupEvent {
    /// These partitions are ours now; their records follow.
    Assigned(Vec<Assignment>),
    /// These partitions go to someone else when the revocation is dropped: commit what is done before that.
    Revoked(Vec<Assignment>, Revocation),
    /// A record. Records of a partition come in order of offset, but may come again after a reassignment.
    Record(Incoming),
}

/// Holds the group back from giving partitions away, for at most a few seconds. Drop it to let them go.
#[derive(Debug)]
pub struct Revocation {
    _release: std::sync::mpsc::Sender<()>,
}

impl Revocation {
    /// One, and what ends when it is dropped.
    pub(super) fn new() -> (Self, std::sync::mpsc::Receiver<()>) {
        let (release, released) = std::sync::mpsc::channel();
        (Self { _release: release }, released)
    }
}

/// How long a revocation may hold the group back.
const REVOCATION_LIMIT: Duration = Duration::from_secs(10);

/// Our membership. Dropping the last clone leaves the group.
#[derive(Clone)]
pub struct Group {
    member: Arc<Handle>,
}

/// Tells the member's thread to end. The thread has the consumer's last reference, because leaving the group calls
/// back, and a callback may wait, which no async task may.
struct Handle(Arc<Member>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

impl Deref for Handle {
    type Target = Member;
    fn deref(&self) -> &Member {
        &self.0
    }
}

struct Member {
    consumer: BaseConsumer<Callbacks>,
    stop: AtomicBool,
    /// Partitions that the stage has paused, beside any pause for a full channel.
    paused: Mutex<HashSet<Assignment>>,
}

impl Group {
    /// Joins a group. The receiver ends when the membership does.
    ///
    /// # Errors
    /// When the consumer can't be made.
    pub fn join(
        cluster: &Cluster,
        config: GroupConfig,
    ) -> anyhow::Result<(Self, mpsc::Receiver<GroupEvent>)> {
        let (events, receiver) = mpsc::channel(config.queue);
        let mut settings = cluster.consumer(&config.role, &config.group);
        settings.set("partition.assignment.strategy", "cooperative-sticky");
        settings.set("session.timeout.ms", "12000");
        settings.set("max.poll.interval.ms", "60000");
        settings.set(
            "auto.offset.reset",
            match config.from {
                From::Committed | From::Beginning => "earliest",
                From::CommittedOrEnd => "latest",
            },
        );
        if let Some(instance) = &config.instance {
            settings.set("group.instance.id", cluster.named(instance));
        }
        Watch::on(&mut settings);
        let callbacks = Callbacks {
            events: events.clone(),
            twin: config.twin,
            from: config.from,
            watch: Watch::group(cluster, &config.group),
        };
        let consumer: BaseConsumer<Callbacks> = settings
            .create_with_context(callbacks)
            .with_context(|| format!("joining the consumer group `{}`", config.group))?;
        let topics: Vec<&str> = config.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).context("subscribing")?;
        let member = Arc::new(Member { consumer, stop: AtomicBool::new(false), paused: Mutex::default() });
        let ours = Handle(member.clone());
        std::thread::Builder::new()
            .name(format!("group {}", config.group))
            .spawn(move || poll_until_dropped(&member, &events))?;
        Ok((Self { member: Arc::new(ours) }, receiver))
    }

    /// Commits that everything below `next` has been dealt with. Returns before the broker has it.
    ///
    /// # Errors
    /// When the commit can't be sent.
    pub fn commit(&self, at: &Assignment, next: i64) -> anyhow::Result<()> {
        self.commit_all(&[(at.clone(), next)], CommitMode::Async)
    }

    /// Commits several partitions and waits for the broker: for revocations and the end.
    ///
    /// # Errors
    /// When the broker did not take it.
    pub fn commit_now(&self, nexts: &[(Assignment, i64)]) -> anyhow::Result<()> {
        self.commit_all(nexts, CommitMode::Sync)
    }

    fn commit_all(&self, nexts: &[(Assignment, i64)], mode: CommitMode) -> anyhow::Result<()> {
        if nexts.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(nexts.len());
        for (at, next) in nexts {
            list.add_partition_offset(&at.topic, at.partition, Offset::Offset(*next))?;
        }
        Ok(self.member.consumer.commit(&list, mode)?)
    }

    /// Stops reading a partition; records that are in the channel already still come.
    ///
    /// # Errors
    /// When the partition is not ours.
    pub fn pause(&self, at: &Assignment) -> anyhow::Result<()> {
        self.paused().insert(at.clone());
        Ok(self.member.consumer.pause(&list_of([at]))?)
    }

    /// Reads a paused partition on.
    ///
    /// # Errors
    /// When the partition is not ours.
    pub fn resume(&self, at: &Assignment) -> anyhow::Result<()> {
        self.paused().remove(at);
        Ok(self.member.consumer.resume(&list_of([at]))?)
    }

    fn paused(&self) -> std::sync::MutexGuard<'_, HashSet<Assignment>> {
        self.member.paused.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn poll_until_dropped(member: &Member, events: &mpsc::Sender<GroupEvent>) {
    let mut held = None;
    let mut full = false;
    while !member.stop.load(Ordering::Acquire) {
        if let Some(event) = held.take() {
            match events.try_send(event) {
                // Closed: nobody listens any more, and the end will come.
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                Err(mpsc::error::TrySendError::Full(event)) => held = Some(event),
            }
        }
        if full != held.is_some() {
            full = held.is_some();
            set_flow(member, full);
        }
        let wait = if full { Duration::from_millis(5) } else { Duration::from_millis(100) };
        match member.consumer.poll(wait) {
            None => {}
            Some(Ok(record)) => {
                // A record that was on its way when the channel filled: wait for room for the one before it.
                if let Some(before) = held.replace(GroupEvent::Record(incoming(&record))) {
                    let _ = events.blocking_send(before);
                }
            }
            Some(Err(error)) => tracing::warn!(%error, "reading a group's partitions"),
        }
    }
}

/// Pauses everything that is ours while the channel is full, and resumes what the stage itself has not paused.
fn set_flow(member: &Member, full: bool) {
    let Ok(ours) = member.consumer.assignment() else { return };
    let result = if full {
        member.consumer.pause(&ours)
    } else {
        let paused = member.paused.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let open = assignments(&ours).into_iter().filter(|at| !paused.contains(at)).collect::<Vec<_>>();
        member.consumer.resume(&list_of(&open))
    };
    if let Err(error) = result {
        tracing::warn!(%error, "pausing or resuming a group's partitions");
    }
}

pub(super) fn incoming(record: &impl Message) -> Incoming {
    let headers = record.headers().map(|headers| {
        let owned = |header: rdkafka::message::Header<'_, &[u8]>| {
            (header.key.to_owned(), Bytes::copy_from_slice(header.value.unwrap_or_default()))
        };
        headers.iter().map(owned).collect()
    });
    Incoming {
        at: Assignment { topic: record.topic().into(), partition: record.partition() },
        offset: record.offset(),
        key: Bytes::copy_from_slice(record.key().unwrap_or_default()),
        payload: record.payload().map(Bytes::copy_from_slice),
        headers: headers.unwrap_or_default(),
        written_at: match record.timestamp() {
            KafkaTime::CreateTime(at) | KafkaTime::LogAppendTime(at) => Some(at),
            KafkaTime::NotAvailable => None,
        },
    }
}

pub(super) fn assignments(list: &TopicPartitionList) -> Vec<Assignment> {
    let of = |topic: &str, partition| Assignment { topic: topic.into(), partition };
    list.elements().iter().map(|element| of(element.topic(), element.partition())).collect()
}

pub(super) fn list_of<'a>(ours: impl IntoIterator<Item = &'a Assignment>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for at in ours {
        list.add_partition(&at.topic, at.partition);
    }
    list
}

struct Callbacks {
    events: mpsc::Sender<GroupEvent>,
    twin: Option<String>,
    from: From,
    watch: Watch,
}

impl Callbacks {
    /// The partitions that a rebalance moves, with their twins.
    fn with_twins(&self, moved: &TopicPartitionList) -> rdkafka::error::KafkaResult<TopicPartitionList> {
        let mut all = TopicPartitionList::new();
        for element in moved.elements() {
            let offset = match self.from {
                From::Committed | From::CommittedOrEnd => element.offset(),
                From::Beginning => Offset::Beginning,
            };
            all.add_partition_offset(element.topic(), element.partition(), offset)?;
            if let Some(twin) = &self.twin {
                all.add_partition(twin, element.partition());
            }
        }
        Ok(all)
    }

    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        moved: &TopicPartitionList,
    ) -> rdkafka::error::KafkaResult<()> {
        let all = self.with_twins(moved)?;
        consumer.incremental_assign(&all)?;
        // A send fails only when nobody listens any more.
        let _ = self.events.blocking_send(GroupEvent::Assigned(assignments(&all)));
        Ok(())
    }

    fn revoke(
        &self,
        consumer: &BaseConsumer<Self>,
        moved: &TopicPartitionList,
    ) -> rdkafka::error::KafkaResult<()> {
        let all = self.with_twins(moved)?;
        let (revocation, released) = Revocation::new();
        let revoked = GroupEvent::Revoked(assignments(&all), revocation);
        if self.events.blocking_send(revoked).is_ok() {
            // Nothing is ever sent: the wait ends when the revocation is dropped, or at the limit.
            let _ = released.recv_timeout(REVOCATION_LIMIT);
        }
        consumer.incremental_unassign(&all)
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
        let result = match change {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, moved),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => self.revoke(consumer, moved),
            other => Err(KafkaError::Rebalance(other.into())),
        };
        if let Err(error) = result {
            tracing::error!(%error, "rebalancing a group");
        }
    }

    fn commit_callback(&self, result: rdkafka::error::KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!(%error, "committing offsets; a later commit covers them");
        }
    }
}
