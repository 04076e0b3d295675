//! Reads partitions on from where somebody has fallen behind, beside the group: a few readers, each of one partition at a
//! time (design §7). What is read has a bound: a reader waits for room.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::sync::mpsc;

use super::{
    Cluster,
    cluster::ToTheEnd,
    group::{Assignment, Incoming, incoming},
};

/// How long the broker may take to answer a question.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Records that may wait for the stage.
const CHANNEL: usize = 256;
/// No seek is waited for.
const NONE: i64 = -1;

/// What a sweep finds.
#[derive(Debug)]
pub enum Swept {
    /// A record.
    Record(Incoming),
    /// Everything below was given: the log has no more now.
    To(i64),
    /// What was to be read is gone: the log begins there, and is read on from there.
    Gone(i64),
}

/// A sweep under way. It ends when this is dropped.
#[derive(Debug)]
pub struct Sweeping {
    shared: Arc<Orders>,
}

#[derive(Debug)]
struct Orders {
    stop: AtomicBool,
    seek: AtomicI64,
}

impl Sweeping {
    /// Reads on from there.
    pub fn seek(&self, to: i64) {
        self.shared.seek.store(to, Ordering::Release);
    }
}

impl Drop for Sweeping {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

/// The readers. They end when this is dropped.
pub struct Sweeper {
    cluster: Cluster,
    idle: Arc<Mutex<Vec<BaseConsumer<ToTheEnd>>>>,
    found: mpsc::Sender<(u64, Swept)>,
}

impl Sweeper {
    /// Readers that tell what they find by their sweeps' numbers.
    pub fn new(cluster: &Cluster) -> (Self, mpsc::Receiver<(u64, Swept)>) {
        let (found, receiver) = mpsc::channel(CHANNEL);
        (Self { cluster: cluster.clone(), idle: Arc::default(), found }, receiver)
    }

    /// Begins to read a partition from an offset. How many at a time is the caller's to bound.
    ///
    /// # Errors
    /// When a reader can't be made.
    pub fn sweep(&self, number: u64, at: Assignment, from: i64) -> anyhow::Result<Sweeping> {
        let idle = lock(&self.idle).pop();
        let consumer = idle.map_or_else(|| self.reader(), Ok)?;
        let shared = Arc::new(Orders { stop: AtomicBool::new(false), seek: AtomicI64::new(NONE) });
        let (orders, idle, found) = (shared.clone(), self.idle.clone(), self.found.clone());
        std::thread::Builder::new().name("sweep".into()).spawn(move || {
            let sweep = Sweep { number, at, next: from, orders, found };
            sweep.run(&consumer);
            if consumer.unassign().is_ok() {
                lock(&idle).push(consumer);
            }
        })?;
        Ok(Sweeping { shared })
    }

    fn reader(&self) -> anyhow::Result<BaseConsumer<ToTheEnd>> {
        let mut settings = self.cluster.consumer("deliver", "sweep");
        settings.set("enable.partition.eof", "true");
        settings.set("auto.offset.reset", "error");
        settings.set("fetch.wait.max.ms", "10");
        settings.set("fetch.message.max.bytes", (1 << 20).to_string());
        settings.set("queued.max.messages.kbytes", "2048");
        settings.create_with_context(ToTheEnd).context("making a sweep's reader")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

struct Sweep {
    number: u64,
    at: Assignment,
    next: i64,
    orders: Arc<Orders>,
    found: mpsc::Sender<(u64, Swept)>,
}

impl Sweep {
    /// Until it is told to stop: what is behind waits for nothing else.
    fn run(mut self, consumer: &BaseConsumer<ToTheEnd>) {
        self.assign(consumer);
        while !self.is_over() {
            let seek = self.orders.seek.swap(NONE, Ordering::AcqRel);
            if seek > self.next {
                self.next = seek;
                self.assign(consumer);
            }
            match consumer.poll(Duration::from_millis(50)) {
                None => {}
                Some(Ok(record)) if record.offset() < self.next => {}
                Some(Ok(record)) => {
                    self.next = record.offset() + 1;
                    self.tell(Swept::Record(incoming(&record)));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => self.tell(Swept::To(self.next)),
                Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                    match consumer.fetch_watermarks(&self.at.topic, self.at.partition, ANSWER_LIMIT) {
                        Ok((low, _)) if low > self.next => {
                            self.next = low;
                            self.tell(Swept::Gone(low));
                        }
                        Ok(_) => {}
                        Err(error) => tracing::debug!(%error, "looking for where a log begins"),
                    }
                    std::thread::sleep(Duration::from_millis(50));
                    self.assign(consumer);
                }
                Some(Err(error)) => tracing::debug!(%error, "sweeping"),
            }
        }
    }

    /// Tries until it can, or the sweep is over.
    fn assign(&self, consumer: &BaseConsumer<ToTheEnd>) {
        while !self.is_over() {
            let mut list = TopicPartitionList::new();
            let offset = Offset::Offset(self.next);
            let listed = list.add_partition_offset(&self.at.topic, self.at.partition, offset);
            let Err(error) = listed.and_then(|()| consumer.assign(&list)) else { return };
            tracing::warn!(%error, topic = &*self.at.topic, partition = self.at.partition, "a sweep can't be placed");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn is_over(&self) -> bool {
        self.orders.stop.load(Ordering::Acquire) || self.found.is_closed()
    }

    /// Waits for room, unless the sweep is over.
    fn tell(&self, swept: Swept) {
        let mut swept = (self.number, swept);
        while !self.is_over() {
            match self.found.try_send(swept) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(back)) => swept = back,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
