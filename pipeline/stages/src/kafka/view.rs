//! A compacted topic, held in memory: how stages know accounts, webhooks and projects without asking anyone.

use std::{
    collections::HashSet,
    sync::{
        Arc, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use tokio::sync::watch;

use super::{Cluster, cluster::ToTheEnd};

/// What a [`View`] keeps of its topic.
pub trait Table: Send + Sync + 'static {
    /// Takes in a record; `None` is a tombstone.
    ///
    /// # Errors
    /// What is wrong with the record: it is logged and passed over.
    fn take(&mut self, key: &str, value: Option<&[u8]>) -> anyhow::Result<()>;

    /// The same, with where the record stands: its partition and offset.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    fn take_at(&mut self, _at: (i32, i64), key: &str, value: Option<&[u8]>) -> anyhow::Result<()> {
        self.take(key, value)
    }
}

/// A compacted topic in memory, read from its beginning and followed. Cheap to clone.
pub struct View<T> {
    shared: Arc<Shared<T>>,
    progress: watch::Receiver<Progress>,
}

impl<T> Clone for View<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), progress: self.progress.clone() }
    }
}

struct Shared<T> {
    table: RwLock<T>,
    stop: Arc<AtomicBool>,
}

/// How far a view has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    complete: bool,
    changes: u64,
}

impl<T: Table> View<T> {
    /// Begins to read `topic` into `table`, on a thread of its own.
    ///
    /// # Errors
    /// When the consumer can't be made.
    pub fn follow(cluster: &Cluster, role: &str, topic: String, table: T) -> anyhow::Result<Self> {
        let mut config = cluster.consumer(role, &format!("view-{role}"));
        config.set("enable.partition.eof", "true");
        let consumer: BaseConsumer<ToTheEnd> =
            config.create_with_context(ToTheEnd).context("making a view's consumer")?;
        let (report, progress) = watch::channel(Progress::default());
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared { table: RwLock::new(table), stop: stop.clone() });
        let weak = Arc::downgrade(&shared);
        std::thread::Builder::new().name(format!("view {topic}")).spawn(move || {
            let Some(mut missing) = assign_all(&consumer, &topic, &stop) else { return };
            while !stop.load(Ordering::Relaxed) {
                let Some(polled) = consumer.poll(Duration::from_millis(100)) else { continue };
                let Some(shared) = weak.upgrade() else { return };
                match polled {
                    Ok(record) => {
                        let at = (record.partition(), record.offset());
                        let key = String::from_utf8_lossy(record.key().unwrap_or_default());
                        let mut table = shared.table.write().unwrap_or_else(|poisoned| poisoned.into_inner());
                        if let Err(error) = table.take_at(at, &key, record.payload()) {
                            tracing::warn!(
                                topic,
                                offset = record.offset(),
                                error = format!("{error:#}"),
                                "record passed over"
                            );
                        }
                        drop(table);
                        report.send_modify(|progress| progress.changes += 1);
                    }
                    Err(KafkaError::PartitionEOF(partition)) => {
                        missing.remove(&partition);
                        if missing.is_empty() {
                            report.send_if_modified(|progress| {
                                !std::mem::replace(&mut progress.complete, true)
                            });
                        }
                    }
                    Err(error) => tracing::warn!(topic, %error, "reading a view"),
                }
            }
        })?;
        Ok(Self { shared, progress })
    }

    /// The table as it is now.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.shared.table.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits until the topic has been read to the end it had at some time after the start.
    pub async fn ready(&self) {
        let mut progress = self.progress.clone();
        let _ = progress.wait_for(|progress| progress.complete).await;
    }

    /// Whether [`ready`](Self::ready) would return at once.
    pub fn is_ready(&self) -> bool {
        self.progress.borrow().complete
    }

    /// A signal that fires after each change of the table.
    pub fn changes(&self) -> Changes {
        Changes { progress: self.progress.clone() }
    }
}

/// Fires after each change of a view's table; changes that come together may fire once.
pub struct Changes {
    progress: watch::Receiver<Progress>,
}

impl Changes {
    /// Waits for a change since the last call; returns `false` when the view has ended.
    pub async fn next(&mut self) -> bool {
        self.progress.changed().await.is_ok()
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Assigns every partition of the topic from its beginning; waits for the topic to exist. `None` when told to stop.
fn assign_all(consumer: &BaseConsumer<ToTheEnd>, topic: &str, stop: &AtomicBool) -> Option<HashSet<i32>> {
    while !stop.load(Ordering::Relaxed) {
        let found = consumer.fetch_metadata(Some(topic), Duration::from_secs(2)).ok();
        let partitions: HashSet<i32> = found
            .iter()
            .flat_map(|metadata| metadata.topics())
            .filter(|found| found.error().is_none())
            .flat_map(|found| found.partitions())
            .map(|partition| partition.id())
            .collect();
        if partitions.is_empty() {
            tracing::info!(topic, "waiting for the topic; `tributary topics apply` creates it");
            std::thread::sleep(Duration::from_millis(500));
            continue;
        }
        let mut list = TopicPartitionList::new();
        for partition in &partitions {
            list.add_partition_offset(topic, *partition, Offset::Beginning).ok()?;
        }
        match consumer.assign(&list) {
            Ok(()) => return Some(partitions),
            Err(error) => tracing::warn!(topic, %error, "assigning a view's partitions"),
        }
    }
    None
}
