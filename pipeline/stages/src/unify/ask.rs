//! What a recovery asks the broker, beside the lane's thread: committed offsets, the WAL's bounds, its records.
//!
//! The broker may be away, or slow to decide a predecessor's transaction: each question is asked until it is answered or
//! the partition is not ours any more.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::Duration,
};

use tributary_core::unify::{Event, Found};
use tributary_schemas::{
    codec::{self, Undecodable},
    wal::{Twin, WalRecord},
};

use super::{
    Shared,
    router::{Order, Router},
};
use crate::kafka::{LogReader, Twins};

/// Mutations that are replayed at once.
const CHUNK: usize = 5_000;
/// Between a question that was not answered and the next.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Ask {
    lane: usize,
    shared: Arc<Shared>,
    twins: Arc<Twins>,
    router: Arc<Router>,
    wal: Arc<Mutex<LogReader>>,
}

impl Ask {
    pub(super) fn new(
        lane: usize,
        shared: Arc<Shared>,
        twins: Arc<Twins>,
        router: Arc<Router>,
    ) -> anyhow::Result<Self> {
        let wal = LogReader::new(&shared.cluster, "unify", shared.cluster.topics().unify_wal())?;
        Ok(Self { lane, shared, twins, router, wal: Arc::new(Mutex::new(wal)) })
    }

    /// The committed offsets of both twins. One question each: an unstable one delays all others of its question.
    pub(super) fn offsets(&self, partition: i32, epoch: u64) {
        let twins = self.twins.clone();
        let found = move |twin| -> anyhow::Result<Found> {
            let committed = twins.committed(twin, partition)?;
            let (begins, end) = twins.bounds(twin, partition)?;
            Ok(Found { committed: committed.map(|it| (it.offset, it.metadata)), begins, end })
        };
        self.until_answered(partition, epoch, "asking for committed offsets", move |_| {
            let (native, snapshots) = (found(Twin::Native)?, found(Twin::Snapshots)?);
            Ok(Event::Offsets { partition, epoch, native, snapshots })
        });
    }

    /// Where the WAL begins and ends, then how far it is stable.
    pub(super) fn wal(&self, partition: i32, epoch: u64) {
        self.until_answered(partition, epoch, "asking for the bounds of unify.wal", move |wal| {
            let (begins, end) = wal.bounds(partition)?;
            let stable = wal.stable_end(partition)?;
            Ok(Event::Wal { partition, epoch, begins, end, stable })
        });
    }

    /// Records of the WAL.
    pub(super) fn replay(&self, partition: i32, epoch: u64, from: i64, end: i64) {
        self.until_answered(partition, epoch, "replaying unify.wal", move |wal| {
            let (mut records, mut mutations) = (Vec::new(), 0);
            let mut unreadable = None;
            let next = wal.read(partition, from, end, |offset, payload| {
                let record: WalRecord = match codec::decode(payload) {
                    Ok(record) => record,
                    // A later release wrote it, and must read it.
                    Err(error @ Undecodable::Newer { .. }) => return Err(error.into()),
                    Err(error) => {
                        unreadable = Some((offset, error.to_string()));
                        return Ok(ControlFlow::Break(()));
                    }
                };
                mutations += record.mutations.len();
                records.push((offset, Arc::new(record)));
                Ok(if mutations < CHUNK { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })?;
            if let Some((offset, detail)) = unreadable {
                return Ok(Event::Unreadable { partition, epoch, offset, detail });
            }
            tracing::info!(partition, from, next, records = records.len(), "replaying unify.wal");
            Ok(Event::Replayed { partition, epoch, records, next })
        });
    }

    fn until_answered(
        &self,
        partition: i32,
        epoch: u64,
        doing: &'static str,
        ask: impl Fn(&LogReader) -> anyhow::Result<Event> + Send + 'static,
    ) {
        let (lane, router, wal) = (self.lane, self.router.clone(), self.wal.clone());
        self.shared.runtime.spawn_blocking(move || {
            while router.is_ours(partition, epoch) {
                let answer = ask(&wal.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
                match answer {
                    Ok(event) => return router.tell(lane, Order::Happened(event)),
                    Err(error) => {
                        tracing::warn!(partition, error = format!("{error:#}"), "{doing}: asking again");
                        std::thread::sleep(PAUSE);
                    }
                }
            }
        });
    }
}
