//! A partition's recovery, before anything is read of it (design §6, step 5).

use std::time::Duration;

use tributary_schemas::wal::{CommitMetadata, Mutation, WalRecord};

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
    ask_at: Option<Duration>,
    /// Where the WAL began when it seemed to have lost something.
    lost: Option<i64>,
    replay: Option<Replay>,
}

/// What the WAL's bounds say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bounds {
    /// The replay can begin.
    Replay,
    /// Nothing yet.
    Wait,
    /// The log begins behind what the offsets say. They are older than its beginning: if another has had the partition
    /// since, it has applied more. They are to be asked for again.
    AskOffsets,
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
        Self { partition, epoch, found: None, end: None, ask_at: None, lost: None, replay: None }
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
    pub(super) fn wal(&mut self, begins: i64, end: i64, stable: i64, now: Duration) -> Result<Bounds, Loss> {
        let Some((native, snapshots)) = self.found.filter(|_| self.replay.is_none()) else {
            return Ok(Bounds::Wait);
        };
        let mut end = *self.end.get_or_insert(end);
        if stable < end {
            if holds(Guard::ReplayToTheEnd) {
                self.ask_at = Some(now + AGAIN);
                return Ok(Bounds::Wait);
            }
            end = stable;
        }
        let beside = |found: Found| found.committed.and_then(|(_, metadata)| metadata);
        let metadata = if holds(Guard::BothTwinsMetadata) {
            greater(beside(native), beside(snapshots))
        } else {
            beside(native)
        };
        let (from, last_ts) = metadata.map_or((begins, 0), |it| (it.wal_applied, it.last_ts));
        if self.lost.is_some_and(|lost| from < lost) {
            return Err(Loss { partition: self.partition, begins, applied: from });
        }
        if from < begins {
            self.lost = Some(begins);
            (self.found, self.end) = (None, None);
            return Ok(Bounds::AskOffsets);
        }
        let last_ts = if holds(Guard::TimestampFloor) { last_ts } else { 0 };
        let next = if holds(Guard::WalReplay) { from } else { end };
        self.replay = Some(Replay { told: from, next, end, last_ts });
        Ok(Bounds::Replay)
    }

    /// The uptime at which the WAL is to be asked about again.
    pub(super) fn ask_at(&self) -> Option<Duration> {
        self.ask_at
    }

    pub(super) fn ask_again(&mut self, now: Duration) -> bool {
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

/// Of the twins' metadata the greater counts: the broker forgets a twin's offsets that nobody commits.
fn greater(a: Option<CommitMetadata>, b: Option<CommitMetadata>) -> Option<CommitMetadata> {
    a.into_iter().chain(b).max_by_key(|metadata| (metadata.wal_applied, metadata.last_ts))
}

#[cfg(test)]
mod tests {
    use tributary_schemas::wal::Idle;

    use super::*;

    fn metadata(wal_applied: i64, last_ts: i64) -> Option<CommitMetadata> {
        Some(CommitMetadata { wal_applied, last_ts, idle: Idle::No })
    }

    #[test]
    fn of_the_twins_metadata_the_greater_counts() {
        assert_eq!(greater(metadata(4, 9), metadata(5, 8)), metadata(5, 8));
        assert_eq!(greater(None, metadata(5, 8)), metadata(5, 8));
    }

    /// What is committed, each time it is asked for, and what the WAL's bounds then say.
    #[test]
    fn a_loss_is_one_only_when_the_offsets_are_younger_than_the_logs_beginning() {
        let now = Duration::ZERO;
        let loss = Loss { partition: 0, begins: 7, applied: 6 };
        for (asked, expected) in [
            (vec![None], vec![Ok(Bounds::Replay)]),
            (vec![metadata(8, 3)], vec![Ok(Bounds::Replay)]),
            (vec![metadata(7, 3)], vec![Ok(Bounds::Replay)]),
            (vec![metadata(6, 3), metadata(7, 4)], vec![Ok(Bounds::AskOffsets), Ok(Bounds::Replay)]),
            (vec![metadata(6, 3), metadata(6, 3)], vec![Ok(Bounds::AskOffsets), Err(loss)]),
        ] {
            let mut recovery = Recovery::new(0, 1);
            let told = asked.iter().map(|beside| {
                let found = Found { committed: beside.map(|beside| (1, Some(beside))), begins: 0 };
                recovery.offsets(found, found);
                recovery.wal(7, 9, 9, now)
            });
            assert_eq!(told.collect::<Vec<_>>(), expected, "{asked:?}");
        }
    }
}
