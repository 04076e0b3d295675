//! What is kept of a partition between batches: where its twins stand, what of its WAL has been applied, and the
//! timestamps given out.

use std::{collections::BTreeMap, sync::Arc};

use tributary_schemas::wal::{CommitMetadata, Idle, InputPosition, Twin, WalRecord};

use super::recovery::Recovered;
use crate::guard::{Guard, holds};

/// What is kept of a partition.
#[derive(Debug)]
pub struct Ledger {
    partition: i32,
    native: i64,
    snapshots: i64,
    last_ts: i64,
    /// WAL records that are being applied, by offset, and whether the store has them.
    applying: BTreeMap<i64, bool>,
    /// The end of what was ever written to the WAL here.
    wal_end: i64,
    /// What was last committed beside the offsets.
    told: Option<CommitMetadata>,
}

/// Proof that the broker committed the events and the WAL records. The ledger asks for it, because applying state that
/// was never announced is the one order of steps that loses an event.
#[must_use]
#[derive(Debug)]
pub struct Committed {
    /// With their offsets.
    pub(super) records: Vec<(i64, Arc<WalRecord>)>,
    pub(super) next: (i64, i64),
    pub(super) metadata: CommitMetadata,
}

impl Ledger {
    /// A partition as recovered.
    pub fn new(partition: i32, recovered: Recovered) -> Self {
        let Recovered { native, snapshots, wal_applied, told, last_ts } = recovered;
        Self { partition, native, snapshots, last_ts, applying: BTreeMap::new(), wal_end: wal_applied, told }
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The greatest timestamp given out.
    pub fn last_ts(&self) -> i64 {
        self.last_ts
    }

    /// The next offset of `ingest.native` and of `poll.snapshots`.
    pub fn next(&self) -> (i64, i64) {
        (self.native, self.snapshots)
    }

    /// Whether a message has not been decided before.
    pub fn is_next(&self, position: InputPosition) -> bool {
        match position.twin {
            Twin::Native => position.offset >= self.native,
            Twin::Snapshots => position.offset >= self.snapshots,
        }
    }

    /// Everything in the WAL below this has been applied: the contiguous prefix.
    pub fn wal_applied(&self) -> i64 {
        if !holds(Guard::ContiguousApplied) {
            return self.wal_end;
        }
        self.applying.iter().find(|(_, done)| !**done).map_or(self.wal_end, |(offset, _)| *offset)
    }

    /// How many WAL records are being applied.
    pub fn lag(&self) -> usize {
        self.applying.len()
    }

    /// The offsets that a transaction commits: the next of each twin once `batch` is decided.
    pub fn offsets_after(&self, batch: impl IntoIterator<Item = InputPosition>) -> (i64, i64) {
        let mut next = (self.native, self.snapshots);
        for position in batch {
            match position.twin {
                Twin::Native => next.0 = next.0.max(position.offset + 1),
                Twin::Snapshots => next.1 = next.1.max(position.offset + 1),
            }
        }
        next
    }

    /// The metadata that a transaction commits with both twins' offsets, when it gives out timestamps up to `last_ts`, and
    /// adds WAL records of this partition or not.
    pub fn metadata(&self, last_ts: i64, adds: Adds) -> CommitMetadata {
        let idle = match adds {
            Adds::Nothing if self.applying.is_empty() && holds(Guard::IdleTold) => Idle::Yes,
            Adds::Nothing | Adds::Records => Idle::No,
        };
        CommitMetadata { wal_applied: self.wal_applied(), last_ts, idle }
    }

    /// Whether what would be told now is not what was last told.
    pub fn has_news(&self) -> bool {
        self.told != Some(self.metadata(self.last_ts, Adds::Nothing))
    }

    /// Takes in what a transaction committed, and gives what is to be applied to the store.
    pub fn commit(&mut self, committed: Committed) -> Vec<(i64, Arc<WalRecord>)> {
        let Committed { records, next, metadata } = committed;
        (self.native, self.snapshots) = next;
        self.last_ts = metadata.last_ts;
        self.told = Some(metadata);
        for (offset, record) in &records {
            self.applying.insert(*offset, record.mutations.is_empty());
            self.wal_end = self.wal_end.max(offset + 1);
        }
        self.trim();
        records.into_iter().filter(|(_, record)| !record.mutations.is_empty()).collect()
    }

    /// Takes in that the store has the WAL records at these offsets.
    pub fn applied(&mut self, offsets: &[i64]) {
        for offset in offsets {
            if let Some(done) = self.applying.get_mut(offset) {
                *done = true;
            }
        }
        self.trim();
    }

    fn trim(&mut self) {
        while let Some(first) = self.applying.first_entry().filter(|entry| *entry.get()) {
            first.remove();
        }
    }
}

/// Whether a transaction adds WAL records of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adds {
    /// It does.
    Records,
    /// It only tells where the partition stands.
    Nothing,
}
