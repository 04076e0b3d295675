//! What a lane keeps of a partition between batches.

use std::collections::BTreeMap;

use tributary_schemas::wal::{CommitMetadata, Idle, InputPosition, Twin, WalRecord};

use super::{
    plan::{Committed, timed},
    recovery::Recovered,
};
use crate::{
    cells::Cells,
    guard::{Guard, holds},
};

/// What a lane keeps of a partition.
#[derive(Debug)]
pub struct Ledger {
    partition: i32,
    epoch: u64,
    native: i64,
    snapshots: i64,
    last_ts: i64,
    /// Announced, not yet in the store.
    overlay: Cells,
    /// WAL records that are being applied: by offset, with the timestamps they use.
    applying: BTreeMap<i64, Applying>,
    /// The end of what was ever written to the WAL here.
    wal_end: i64,
    /// What was last committed as applied.
    told: i64,
}

#[derive(Debug, Clone, Copy)]
struct Applying {
    first: i64,
    last: i64,
    done: bool,
}

impl Ledger {
    /// A partition as recovered, under the assignment `epoch`.
    pub fn new(partition: i32, epoch: u64, recovered: Recovered) -> Self {
        Self {
            partition,
            epoch,
            native: recovered.native,
            snapshots: recovered.snapshots,
            last_ts: recovered.last_ts,
            overlay: Cells::default(),
            applying: BTreeMap::new(),
            wal_end: recovered.wal_applied,
            told: recovered.told,
        }
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The assignment it is held under.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What has been announced but is not in the store yet. To be captured *before* a read is sent: a read that is
    /// answered after an entry was dropped would miss it.
    pub fn overlay(&self) -> &Cells {
        &self.overlay
    }

    /// The greatest timestamp given out.
    pub fn last_ts(&self) -> i64 {
        self.last_ts
    }

    /// Whether a message was read under this assignment, and not decided before.
    pub fn accepts(&self, position: InputPosition, epoch: u64) -> bool {
        let next = match position.twin {
            Twin::Native => self.native,
            Twin::Snapshots => self.snapshots,
        };
        (epoch == self.epoch || !holds(Guard::AssignmentNumbers)) && position.offset >= next
    }

    /// Everything in the WAL below this has been applied: the contiguous prefix.
    pub fn wal_applied(&self) -> i64 {
        if !holds(Guard::ContiguousApplied) {
            return self.wal_end;
        }
        self.applying.iter().find(|(_, record)| !record.done).map_or(self.wal_end, |(offset, _)| *offset)
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

    /// The metadata that a transaction commits with both twins' offsets, when it gives out timestamps up to `last_ts`.
    pub fn metadata(&self, last_ts: i64) -> CommitMetadata {
        CommitMetadata { wal_applied: self.wal_applied(), last_ts, idle: Idle::No }
    }

    /// Whether more has been applied than was last committed as applied: worth a commit when the lane is idle.
    pub fn has_news(&self) -> bool {
        self.wal_applied() > self.told
    }

    /// Takes in that the WAL ends at `end`, and that nothing of this ledger is open: what lies between its last record
    /// and the end are markers, and what was aborted.
    pub fn nothing_below(&mut self, end: i64) {
        self.wal_end = self.wal_end.max(end);
    }

    /// Takes in what a transaction committed, and gives what is to be applied to the store: each WAL record with its offset.
    pub fn commit(&mut self, committed: Committed) -> Vec<(i64, WalRecord)> {
        let Committed { records, next, metadata } = committed;
        (self.native, self.snapshots) = next;
        self.last_ts = metadata.last_ts;
        self.told = metadata.wal_applied;
        for (offset, record) in &records {
            for (ts, mutation) in timed(record) {
                self.overlay.mutate(ts, mutation);
            }
            let done = record.mutations.is_empty();
            self.applying.insert(*offset, Applying { first: record.ts, last: record.last_ts(), done });
            self.wal_end = self.wal_end.max(offset + 1);
        }
        self.trim();
        records.into_iter().filter(|(_, record)| !record.mutations.is_empty()).collect()
    }

    /// Takes in that the store has the WAL records at these offsets.
    pub fn applied(&mut self, offsets: &[i64]) {
        for offset in offsets {
            if let Some(record) = self.applying.get_mut(offset) {
                record.done = true;
                let written = record.first..=record.last;
                self.overlay.retain(|ts| !written.contains(&ts));
            }
        }
        self.trim();
    }

    fn trim(&mut self) {
        while let Some(first) = self.applying.first_entry().filter(|entry| entry.get().done) {
            first.remove();
        }
    }
}
