//! A partition's recovery, before anything is read of it (design §6, step 5).

use std::time::Duration;

use tributary_schemas::{
    time::Timestamp,
    wal::{CommitMetadata, Mutation, WalRecord},
};

use super::{exchange::Found, plan::timed};
use crate::guard::{Guard, holds};

/// How soon the WAL's last stable offset is asked for again.
const AGAIN: Duration = Duration::from_millis(20);

/// What recovery found of a partition, before anything is read from its twins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Where `ingest.native` is read on.
    pub native: i64,
    /// Where `poll.snapshots` is read on.
    pub snapshots: i64,
    /// Everything in the WAL below this has been applied: its end, once the replay is done.
    pub wal_applied: i64,
    /// What the last commit says has been applied: less than `wal_applied` when something was replayed.
    pub told: i64,
    /// The greatest timestamp given out: of the metadata and of every record replayed.
    pub last_ts: i64,
}

/// The WAL no longer holds what has not been applied: state is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "partition {partition} of unify.wal begins at offset {begins}, but only what lies below {applied} has been applied: \
     changes between are lost. Restore the state from a backup, or resync the accounts"
)]
pub struct Loss {
    /// The partition.
    pub partition: i32,
    /// Where the WAL begins.
    pub begins: i64,
    /// What has been applied.
    pub applied: i64,
}

/// A recovery under way: the committed offsets, then the WAL's end, then its stability, then the replay.
#[derive(Debug)]
pub(super) struct Recovery {
    partition: i32,
    epoch: u64,
    found: Option<(Found, Found)>,
    /// The WAL's end when the offsets were known. What a predecessor left open is below it.
    end: Option<i64>,
    ask_at: Option<Timestamp>,
    replay: Option<Replay>,
}

#[derive(Debug, Clone, Copy)]
struct Replay {
    told: i64,
    next: i64,
    end: i64,
    last_ts: i64,
}

impl Recovery {
    pub(super) fn new(partition: i32, epoch: u64) -> Self {
        Self { partition, epoch, found: None, end: None, ask_at: None, replay: None }
    }

    pub(super) fn partition(&self) -> i32 {
        self.partition
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn offsets(&mut self, native: Found, snapshots: Found) {
        self.found = Some((native, snapshots));
    }

    /// Takes in the WAL's bounds; says whether the replay can begin. Until everything below the end is decided, a
    /// committed record could still come to light there.
    pub(super) fn wal(&mut self, begins: i64, end: i64, stable: i64, now: Timestamp) -> Result<bool, Loss> {
        let Some((native, snapshots)) = self.found.filter(|_| self.replay.is_none()) else {
            return Ok(false);
        };
        let mut end = *self.end.get_or_insert(end);
        if stable < end {
            if holds(Guard::ReplayToTheEnd) {
                self.ask_at = Some(now.plus(AGAIN));
                return Ok(false);
            }
            end = stable;
        }
        let beside = |found: Found| found.committed.and_then(|(_, metadata)| metadata);
        let metadata = if holds(Guard::BothTwinsMetadata) {
            greater(beside(native), beside(snapshots))
        } else {
            beside(native)
        };
        let (from, last_ts) = replay_from(self.partition, metadata, begins)?;
        let last_ts = if holds(Guard::TimestampFloor) { last_ts } else { 0 };
        let next = if holds(Guard::WalReplay) { from } else { end };
        self.replay = Some(Replay { told: from, next, end, last_ts });
        Ok(true)
    }

    /// When the WAL is to be asked about again.
    pub(super) fn ask_at(&self) -> Option<Timestamp> {
        self.ask_at
    }

    pub(super) fn ask_again(&mut self, now: Timestamp) -> bool {
        self.ask_at.take_if(|at| *at <= now).is_some()
    }

    /// What is still to be replayed, if anything.
    pub(super) fn to_replay(&self) -> Option<(i64, i64)> {
        self.replay.filter(|replay| replay.next < replay.end).map(|replay| (replay.next, replay.end))
    }

    /// Takes in records; gives what is to be applied.
    pub(super) fn replayed(
        &mut self,
        records: Vec<(i64, WalRecord)>,
        next: i64,
    ) -> (Vec<i64>, Vec<(i64, Mutation)>) {
        if let Some(replay) = &mut self.replay {
            replay.next = next;
            if holds(Guard::TimestampFloor) {
                let last = records.iter().map(|(_, record)| record.last_ts()).max();
                replay.last_ts = replay.last_ts.max(last.unwrap_or_default());
            }
        }
        let offsets = records.iter().map(|(offset, _)| *offset).collect();
        let mutations = records
            .iter()
            .flat_map(|(_, record)| timed(record).map(|(ts, mutation)| (ts, mutation.clone())))
            .collect();
        (offsets, mutations)
    }

    /// What was found, once everything is replayed.
    pub(super) fn recovered(&self) -> Option<Recovered> {
        let (native, snapshots) = self.found?;
        let replay = self.replay.filter(|replay| replay.next >= replay.end)?;
        // Without a committed offset: the earliest, never the latest.
        let from = |found: Found| found.committed.map_or(found.begins, |(offset, _)| offset);
        Some(Recovered {
            native: from(native),
            snapshots: from(snapshots),
            wal_applied: replay.end,
            told: replay.told,
            last_ts: replay.last_ts,
        })
    }
}

/// Where the replay begins: at what has not been applied, or at the WAL's beginning when nothing was ever committed;
/// and the greatest timestamp given out by then.
fn replay_from(partition: i32, metadata: Option<CommitMetadata>, begins: i64) -> Result<(i64, i64), Loss> {
    match metadata {
        None => Ok((begins, 0)),
        Some(CommitMetadata { wal_applied, .. }) if wal_applied < begins => {
            Err(Loss { partition, begins, applied: wal_applied })
        }
        Some(CommitMetadata { wal_applied, last_ts }) => Ok((wal_applied, last_ts)),
    }
}

/// Of the twins' metadata the greater counts: the broker forgets a twin's offsets that nobody commits.
fn greater(a: Option<CommitMetadata>, b: Option<CommitMetadata>) -> Option<CommitMetadata> {
    a.into_iter().chain(b).max_by_key(|metadata| (metadata.wal_applied, metadata.last_ts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_takes_the_greater_metadata_and_says_when_the_wal_has_lost_something() {
        let metadata = |wal_applied, last_ts| Some(CommitMetadata { wal_applied, last_ts });
        assert_eq!(greater(metadata(4, 9), metadata(5, 8)), metadata(5, 8));
        assert_eq!(greater(None, metadata(5, 8)), metadata(5, 8));
        assert_eq!(replay_from(0, None, 7), Ok((7, 0)));
        assert_eq!(replay_from(0, metadata(8, 3), 7), Ok((8, 3)));
        assert!(replay_from(0, metadata(6, 3), 7).is_err());
    }
}
