//! A member of a group whose partitions are read from where the stage says, each in its own time (design §7).
//!
//! An assignment is acknowledged at once, with nothing: the stage claims the partition, and [`begin`](Member::begin)s to
//! read it then. A revocation waits for the stage, a few seconds at the most. What waits in the channel has a bound in bytes;
//! a full one holds reading back, and the member goes on polling, so that a slow stage is never thrown out of its group.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
    types::RDKafkaRespErr,
};
use tokio::sync::mpsc;

use super::{
    Cluster,
    group::{Assignment, Incoming, Revocation, assignments, incoming, list_of},
    statistics::Watch,
};

/// How long the broker may take to answer a question.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long a revocation may hold the group back.
const REVOCATION_LIMIT: Duration = Duration::from_secs(5);
/// Bytes that may wait in the channel; one record of any size always may.
const CHANNEL_MOST: usize = 16 << 20;
/// What a record takes beside its key, value and headers.
const RECORD: usize = 256;

/// What happens to a member, in order. A record that was on its way may still come after its partition was revoked.
#[derive(Debug)]
pub enum MemberEvent {
    /// These partitions are ours now.
    Assigned(Vec<Assignment>),
    /// These go to someone else when the revocation is dropped.
    Revoked(Vec<Assignment>, Revocation),
    /// A record.
    Record(Weighed),
    /// What was to be read next is gone: the log begins there, and is read on from there.
    Gone(Assignment, i64),
}

/// A record that takes room in the channel until it is [`open`](Self::open)ed.
#[derive(Debug)]
pub struct Weighed {
    record: Option<Incoming>,
    weight: usize,
    waiting: Arc<AtomicUsize>,
}

impl Weighed {
    fn new(record: Incoming, waiting: &Arc<AtomicUsize>) -> Self {
        let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let payload = record.payload.as_ref().map_or(0, |it| it.len());
        let weight = RECORD + record.key.len() + payload + headers;
        waiting.fetch_add(weight, Ordering::Relaxed);
        Self { record: Some(record), weight, waiting: waiting.clone() }
    }

    /// The record itself.
    pub fn open(mut self) -> Incoming {
        self.record.take().expect("a record is taken once: that consumes its holder")
    }
}

impl Drop for Weighed {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.weight, Ordering::Relaxed);
    }
}

/// Our membership. Dropping it leaves the group.
pub struct Member {
    shared: Arc<Shared>,
}

struct Shared {
    consumer: BaseConsumer<Callbacks>,
    stop: AtomicBool,
    waiting: Arc<AtomicUsize>,
    /// Partitions to be read, and from where: done by the thread that polls, all at once.
    begins: Mutex<Vec<(Assignment, i64)>>,
    /// Partitions that are to be read no more.
    stops: Mutex<Vec<Assignment>>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

/// A committed offset, with what was committed beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to read.
    pub next: i64,
    /// The text beside it.
    pub metadata: String,
}

impl Member {
    /// Joins a group. The receiver ends when the membership does.
    ///
    /// # Errors
    /// When the consumer can't be made.
    pub fn join(
        cluster: &Cluster,
        role: &str,
        group: &str,
        topics: &[String],
    ) -> anyhow::Result<(Self, mpsc::UnboundedReceiver<MemberEvent>)> {
        // Unbounded by count: its bytes are bounded, by holding reading back.
        let (events, receiver) = mpsc::unbounded_channel();
        let mut settings = cluster.consumer(role, group);
        settings.set("partition.assignment.strategy", "cooperative-sticky");
        settings.set("session.timeout.ms", "12000");
        settings.set("max.poll.interval.ms", "60000");
        settings.set("auto.offset.reset", "error");
        settings.set("queued.max.messages.kbytes", "32768");
        Watch::on(&mut settings);
        let callbacks = Callbacks {
            events: events.clone(),
            reading: Mutex::default(),
            held: Mutex::default(),
            watch: Watch::group(cluster, group),
        };
        let consumer: BaseConsumer<Callbacks> = settings
            .create_with_context(callbacks)
            .with_context(|| format!("joining the consumer group `{group}`"))?;
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).context("subscribing")?;
        let shared = Arc::new(Shared {
            consumer,
            stop: AtomicBool::new(false),
            waiting: Arc::default(),
            begins: Mutex::default(),
            stops: Mutex::default(),
        });
        let polled = shared.clone();
        std::thread::Builder::new()
            .name(format!("member {group}"))
            .spawn(move || poll_until_dropped(&polled, &events))?;
        Ok((Self { shared }, receiver))
    }

    /// What was committed for a partition. Blocks.
    ///
    /// # Errors
    /// When the broker does not say in time.
    pub fn committed(&self) -> impl Fn(&Assignment) -> anyhow::Result<Option<Committed>> + Send + 'static {
        let shared = self.shared.clone();
        move |at| {
            let answer = shared
                .consumer
                .committed_offsets(list_of([at]), ANSWER_LIMIT)
                .context("asking for a committed offset")?;
            let element = answer.elements().into_iter().next().context("an answer without the partition")?;
            element.error().context("asking for a committed offset")?;
            match element.offset() {
                Offset::Offset(next) => Ok(Some(Committed { next, metadata: element.metadata().to_owned() })),
                _ => Ok(None),
            }
        }
    }

    /// Where a partition's log begins. Blocks.
    ///
    /// # Errors
    /// When the broker does not say in time.
    pub fn beginning(&self) -> impl Fn(&Assignment) -> anyhow::Result<i64> + Send + 'static {
        let shared = self.shared.clone();
        move |at| Ok(shared.consumer.fetch_watermarks(&at.topic, at.partition, ANSWER_LIMIT)?.0)
    }

    /// The offset of the first record written at or after a time, in milliseconds since 1970. Blocks.
    ///
    /// # Errors
    /// When the broker does not say in time.
    pub fn first_since(&self) -> impl Fn(&Assignment, i64) -> anyhow::Result<Option<i64>> + Send + 'static {
        let shared = self.shared.clone();
        move |at, millis| {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&at.topic, at.partition, Offset::Offset(millis))?;
            let answer =
                shared.consumer.offsets_for_times(list, ANSWER_LIMIT).context("looking up a time")?;
            let element = answer.elements().into_iter().next().context("an answer without the partition")?;
            element.error().context("looking up a time")?;
            match element.offset() {
                Offset::Offset(offset) => Ok(Some(offset)),
                _ => Ok(None),
            }
        }
    }

    /// Begins to read a partition from there, if it is still ours then.
    pub fn begin(&self, at: Assignment, from: i64) {
        lock(&self.shared.begins).push((at, from));
    }

    /// Stops reading a partition that may still be ours.
    pub fn stop(&self, at: Assignment) {
        lock(&self.shared.stops).push(at);
    }

    /// Holds a partition back from now on; records that are in the channel already still come.
    pub fn hold(&self, at: &Assignment) {
        self.shared.consumer.context().held().insert(at.clone());
        // It fails where the partition is not read any more.
        let _ = self.shared.consumer.pause(&list_of([at]));
    }

    /// Lets a partition come again.
    pub fn release(&self, at: &Assignment) {
        self.shared.consumer.context().held().remove(at);
        let _ = self.shared.consumer.resume(&list_of([at]));
    }

    /// Commits offsets with what is beside them. Returns before the broker has them.
    ///
    /// # Errors
    /// When the commit can't be sent.
    pub fn commit(&self, all: &[(Assignment, Committed)]) -> anyhow::Result<()> {
        commit(&self.shared.consumer, all, CommitMode::Async)
    }

    /// The same, but it blocks until the broker has them.
    ///
    /// # Errors
    /// When the broker did not take them.
    pub fn commit_now(
        &self,
    ) -> impl FnOnce(&[(Assignment, Committed)]) -> anyhow::Result<()> + Send + 'static {
        let shared = self.shared.clone();
        move |all| commit(&shared.consumer, all, CommitMode::Sync)
    }
}

fn commit(
    consumer: &BaseConsumer<Callbacks>,
    all: &[(Assignment, Committed)],
    mode: CommitMode,
) -> anyhow::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    let mut list = TopicPartitionList::with_capacity(all.len());
    for (at, committed) in all {
        list.add_partition_offset(&at.topic, at.partition, Offset::Offset(committed.next))?;
        if let Some(mut element) = list.find_partition(&at.topic, at.partition) {
            element.set_metadata(&committed.metadata);
        }
    }
    Ok(consumer.commit(&list, mode)?)
}

fn poll_until_dropped(shared: &Shared, events: &mpsc::UnboundedSender<MemberEvent>) {
    let mut full = false;
    while !shared.stop.load(Ordering::Acquire) {
        let waiting = shared.waiting.load(Ordering::Relaxed);
        // Once full, it opens again at a half.
        let now_full = if full { waiting > CHANNEL_MOST / 2 } else { waiting > CHANNEL_MOST };
        if full != now_full {
            full = now_full;
            set_flow(shared, full);
        }
        if let Err(error) = stop_all(shared).and_then(|()| begin_all(shared)) {
            tracing::error!(error = format!("{error:#}"), "beginning to read partitions");
        }
        let wait = if full { Duration::from_millis(2) } else { Duration::from_millis(100) };
        match shared.consumer.poll(wait) {
            None => {}
            Some(Ok(record)) => {
                let record = incoming(&record);
                if let Some(Some(next)) = shared.consumer.context().reading().get_mut(&record.at) {
                    *next = record.offset + 1;
                }
                let _ = events.send(MemberEvent::Record(Weighed::new(record, &shared.waiting)));
            }
            Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                if let Err(error) = jump(shared, events) {
                    tracing::warn!(error = format!("{error:#}"), "looking for where logs begin");
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
            Some(Err(error)) => tracing::warn!(%error, "reading a group's partitions"),
        }
    }
}

fn stop_all(shared: &Shared) -> anyhow::Result<()> {
    let stops = std::mem::take(&mut *lock(&shared.stops));
    let mut reading = shared.consumer.context().reading();
    let is_read = |at: &Assignment| reading.get_mut(at).and_then(Option::take).is_some();
    let read: Vec<Assignment> = stops.into_iter().filter(is_read).collect();
    drop(reading);
    if read.is_empty() {
        return Ok(());
    }
    Ok(shared.consumer.incremental_unassign(&list_of(&read))?)
}

fn begin_all(shared: &Shared) -> anyhow::Result<()> {
    let begins = std::mem::take(&mut *lock(&shared.begins));
    if begins.is_empty() {
        return Ok(());
    }
    let mut reading = shared.consumer.context().reading();
    let mut list = TopicPartitionList::new();
    for (at, from) in begins {
        if let Some(next) = reading.get_mut(&at)
            && next.is_none()
        {
            *next = Some(from);
            list.add_partition_offset(&at.topic, at.partition, Offset::Offset(from))?;
        }
    }
    drop(reading);
    Ok(shared.consumer.incremental_assign(&list)?)
}

/// A reader's offset is gone, and it is not said whose: all are looked at.
fn jump(shared: &Shared, events: &mpsc::UnboundedSender<MemberEvent>) -> anyhow::Result<()> {
    let reading: Vec<(Assignment, i64)> = {
        let reading = shared.consumer.context().reading();
        reading.iter().filter_map(|(at, next)| Some((at.clone(), (*next)?))).collect()
    };
    for (at, next) in reading {
        let (low, high) = shared.consumer.fetch_watermarks(&at.topic, at.partition, ANSWER_LIMIT)?;
        if next > high {
            tracing::error!(
                topic = &*at.topic,
                partition = at.partition,
                next,
                end = high,
                "the log ends before what was read: it was made anew; begin with a new group"
            );
        }
        if next >= low {
            continue;
        }
        let mut reading = shared.consumer.context().reading();
        let Some(place) = reading.get_mut(&at) else { continue };
        *place = Some(low);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&at.topic, at.partition, Offset::Offset(low))?;
        shared.consumer.incremental_unassign(&list_of([&at]))?;
        shared.consumer.incremental_assign(&list)?;
        drop(reading);
        let _ = events.send(MemberEvent::Gone(at, low));
    }
    Ok(())
}

/// Holds back everything that is read while the channel is full, then lets come what the stage itself does not hold.
fn set_flow(shared: &Shared, full: bool) {
    let Ok(ours) = shared.consumer.assignment() else { return };
    let result = if full {
        shared.consumer.pause(&ours)
    } else {
        let held = shared.consumer.context().held();
        let open: Vec<Assignment> = assignments(&ours).into_iter().filter(|at| !held.contains(at)).collect();
        shared.consumer.resume(&list_of(&open))
    };
    if let Err(error) = result {
        tracing::warn!(%error, "holding a group's partitions back");
    }
}

struct Callbacks {
    events: mpsc::UnboundedSender<MemberEvent>,
    /// Partitions that are ours, and what comes next of those that are read.
    reading: Mutex<HashMap<Assignment, Option<i64>>>,
    /// Partitions that the stage holds back, beside any pause for a full channel.
    held: Mutex<HashSet<Assignment>>,
    watch: Watch,
}

impl Callbacks {
    fn reading(&self) -> MutexGuard<'_, HashMap<Assignment, Option<i64>>> {
        lock(&self.reading)
    }

    fn held(&self) -> MutexGuard<'_, HashSet<Assignment>> {
        lock(&self.held)
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, moved: Vec<Assignment>) -> Result<(), KafkaError> {
        let (revocation, released) = Revocation::new();
        let revoked = MemberEvent::Revoked(moved.clone(), revocation);
        if self.events.send(revoked).is_ok() {
            // Nothing is ever sent: the wait ends when the revocation is dropped, or at the limit.
            let _ = released.recv_timeout(REVOCATION_LIMIT);
        }
        let read: Vec<Assignment> = {
            let (mut reading, mut held) = (self.reading(), self.held());
            // Or one would stay held when it comes back.
            held.retain(|at| !moved.contains(at));
            moved.into_iter().filter(|at| reading.remove(at).flatten().is_some()).collect()
        };
        consumer.incremental_unassign(&list_of(&read))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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
        let moved = assignments(moved);
        let result = match change {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                // Nothing yet: each begins when the stage has claimed it.
                let acknowledged = consumer.incremental_assign(&TopicPartitionList::new());
                self.reading().extend(moved.iter().map(|at| (at.clone(), None)));
                // A send fails only when nobody listens any more.
                let _ = self.events.send(MemberEvent::Assigned(moved));
                acknowledged
            }
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
