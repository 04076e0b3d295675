//! A partition's recovery, before anything is read of it (design §6, step 5): the committed offsets, then the WAL's end,
//! then its stability, then the replay.
//!
//! What looks like a loss may be a broker that has just changed its leader, or an owner between that has told more since: it
//! is one only if it still looks so some time later.

use std::time::Duration;

use tributary_schemas::{
    time::Timestamp,
    wal::{CommitMetadata, Idle, Twin, WalRecord},
};

use super::loss::{Loss, LossKind};
use crate::guard::{Guard, holds};

/// How soon the WAL's last stable offset is asked for again.
const AGAIN: Duration = Duration::from_millis(20);
/// For how long a loss must be seen before it is believed.
const BELIEVED: Duration = Duration::from_secs(30);

/// What the broker has of a twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The committed offset, if there is one, and what is kept beside it.
    pub committed: Option<(i64, Option<CommitMetadata>)>,
    /// Where the log begins: there it is read where nothing is committed.
    pub begins: i64,
    /// Where it ends.
    pub end: i64,
}

/// What recovery found of a partition, before anything is read from its twins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Where `ingest.native` is read on.
    pub native: i64,
    /// Where `poll.snapshots` is read on.
    pub snapshots: i64,
    /// Everything in the WAL below this has been applied: its end, once the replay is done.
    pub wal_applied: i64,
    /// What the last commit says; `None` if there was none.
    pub told: Option<CommitMetadata>,
    /// The greatest timestamp given out: of the metadata and of every record replayed.
    pub last_ts: i64,
}

/// A recovery under way.
#[derive(Debug)]
pub(super) struct Recovery {
    partition: i32,
    found: Option<(Found, Found)>,
    /// The WAL's end when the offsets were known. What a predecessor left open is below it.
    end: Option<i64>,
    again: Option<(Duration, Question)>,
    /// Since when it has looked like a loss.
    suspected: Option<Duration>,
    replay: Option<Replay>,
}

/// What is to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// The committed offsets, and all that follows.
    Offsets,
    /// The WAL's bounds.
    Wal,
}

/// What the WAL's bounds say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bounds {
    /// The replay can begin.
    Replay,
    /// Nothing yet.
    Wait,
}

#[derive(Debug, Clone, Copy)]
struct Replay {
    told: Option<CommitMetadata>,
    next: i64,
    end: i64,
    last_ts: i64,
}

impl Recovery {
    pub(super) fn new(partition: i32) -> Self {
        Self { partition, found: None, end: None, again: None, suspected: None, replay: None }
    }

    /// Of a partition that halted: what was lost is seen at once if it still is.
    pub(super) fn of_halted(partition: i32, now: Duration) -> Self {
        Self { suspected: Some(now.saturating_sub(BELIEVED)), ..Self::new(partition) }
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
                self.again = Some((now + AGAIN, Question::Wal));
                return Ok(Bounds::Wait);
            }
            end = stable;
        }
        let told = told(native, snapshots);
        if let Some(kind) = lost(native, snapshots, told, begins, end) {
            return self.suspect(kind, now);
        }
        // What lies between are markers, and what was aborted: all was applied when that was told.
        let applied = told.map_or(begins, |told| told.wal_applied.max(begins));
        let last_ts = told.map_or(0, |told| told.last_ts);
        let last_ts = if holds(Guard::TimestampFloor) { last_ts } else { 0 };
        let next = if holds(Guard::WalReplay) { applied } else { end };
        self.replay = Some(Replay { told, next, end, last_ts });
        Ok(Bounds::Replay)
    }

    fn suspect(&mut self, kind: LossKind, now: Duration) -> Result<Bounds, Loss> {
        let since = *self.suspected.get_or_insert(now);
        if now >= since + BELIEVED {
            return Err(Loss { partition: self.partition, kind });
        }
        (self.found, self.end) = (None, None);
        self.again = Some((now + 10 * AGAIN, Question::Offsets));
        Ok(Bounds::Wait)
    }

    /// The uptime at which something is to be asked again.
    pub(super) fn ask_at(&self) -> Option<Duration> {
        self.again.map(|(at, _)| at)
    }

    pub(super) fn ask_again(&mut self, now: Duration) -> Option<Question> {
        self.again.take_if(|(at, _)| *at <= now).map(|(_, question)| question)
    }

    /// What is still to be replayed, if anything.
    pub(super) fn to_replay(&self) -> Option<(i64, i64)> {
        self.replay.filter(|replay| replay.next < replay.end).map(|replay| (replay.next, replay.end))
    }

    /// Takes in records that are to be applied.
    pub(super) fn replayed<'a>(&mut self, records: impl Iterator<Item = &'a WalRecord>, next: i64) {
        if let Some(replay) = &mut self.replay {
            replay.next = next;
            if holds(Guard::TimestampFloor) {
                let last = records.map(WalRecord::last_ts).max();
                replay.last_ts = replay.last_ts.max(last.unwrap_or_default());
            }
        }
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

/// What is lost of a partition of which this is committed, and whose WAL begins and ends there. A broker that has just changed
/// its leader may show less than it has: believe it only if it is the same half a minute later.
pub fn lost_of(partition: i32, native: Found, snapshots: Found, (begins, end): (i64, i64)) -> Option<Loss> {
    let kind = lost(native, snapshots, told(native, snapshots), begins, end)?;
    Some(Loss { partition, kind })
}

/// What is to be committed of a partition, so that it goes on without what was lost: input is read on where it is still to be
/// had, rather twice than not at all, and of the WAL all is applied that is still there. `passed`: what lies below has been
/// applied by somebody else, who passed over what can't be read.
pub fn accept(
    native: Found,
    snapshots: Found,
    (begins, end): (i64, i64),
    passed: Option<i64>,
    now: Timestamp,
) -> Accepted {
    let told = told(native, snapshots);
    let next = |found: Found| {
        let committed = found.committed.map(|(next, _)| next);
        committed.filter(|next| (found.begins..=found.end).contains(next)).unwrap_or(found.begins)
    };
    let applied = told.map(|told| told.wal_applied).filter(|applied| (begins..=end).contains(applied));
    let wal_applied = applied.unwrap_or(begins).max(passed.unwrap_or(begins));
    // What was given out last may be among what is lost.
    let last_ts = told.map_or(0, |told| told.last_ts).max(now.as_micros());
    let metadata = CommitMetadata { wal_applied, last_ts, idle: Idle::No };
    Accepted { native: next(native), snapshots: next(snapshots), metadata }
}

/// What is to be committed of a partition, so that it goes on without what was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The next offset of `ingest.native`.
    pub native: i64,
    /// The next offset of `poll.snapshots`.
    pub snapshots: i64,
    /// With both.
    pub metadata: CommitMetadata,
}

/// Everything in the WAL below this has been applied, as far as what is committed says; without that, none has.
pub fn applied_of(native: Found, snapshots: Found, begins: i64) -> i64 {
    told(native, snapshots).map_or(begins, |told| told.wal_applied.max(begins))
}

/// Of the twins' metadata the greater counts: the broker forgets a twin's offsets that nobody commits. That all was applied
/// counts only if whoever says the same of the rest says that too.
fn told(native: Found, snapshots: Found) -> Option<CommitMetadata> {
    let beside = |found: Found| found.committed.and_then(|(_, metadata)| metadata);
    let greatness = |metadata: &CommitMetadata| (metadata.wal_applied, metadata.last_ts);
    if !holds(Guard::BothTwinsMetadata) {
        return beside(native);
    }
    match (beside(native), beside(snapshots)) {
        (Some(one), Some(other)) if greatness(&one) == greatness(&other) && one.idle != other.idle => {
            Some(CommitMetadata { idle: Idle::No, ..one })
        }
        (one, other) => one.into_iter().chain(other).max_by_key(greatness),
    }
}

/// What has been lost, if anything: of the WAL, or of the input.
fn lost(
    native: Found,
    snapshots: Found,
    told: Option<CommitMetadata>,
    begins: i64,
    end: i64,
) -> Option<LossKind> {
    let wal = match told {
        None if begins > 0 => Some(LossKind::NoOffsets { begins }),
        Some(told) if told.wal_applied > end => Some(LossKind::WalShorter { end, applied: told.wal_applied }),
        Some(told) if told.wal_applied < begins && told.idle == Idle::No => {
            Some(LossKind::Unapplied { begins, applied: told.wal_applied })
        }
        Some(_) | None => None,
    };
    let input = |twin, found: Found| {
        let (next, _) = found.committed?;
        (!(found.begins..=found.end).contains(&next)).then_some(LossKind::Input {
            twin,
            next,
            begins: found.begins,
            end: found.end,
        })
    };
    wal.or_else(|| input(Twin::Native, native)).or_else(|| input(Twin::Snapshots, snapshots))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(wal_applied: i64, last_ts: i64, idle: Idle) -> Option<CommitMetadata> {
        Some(CommitMetadata { wal_applied, last_ts, idle })
    }

    fn found(committed: i64, beside: Option<CommitMetadata>) -> Found {
        Found { committed: Some((committed, beside)), begins: 0, end: 9 }
    }

    #[test]
    fn of_the_twins_metadata_the_greater_counts_and_both_must_say_that_all_was_applied() {
        use Idle::{No, Yes};
        for (native, snapshots, expected) in [
            (metadata(4, 9, No), metadata(5, 8, No), metadata(5, 8, No)),
            (None, metadata(5, 8, Yes), metadata(5, 8, Yes)),
            (metadata(5, 8, Yes), metadata(5, 8, Yes), metadata(5, 8, Yes)),
            (metadata(5, 8, Yes), metadata(5, 8, No), metadata(5, 8, No)),
            (metadata(5, 8, Yes), metadata(5, 9, No), metadata(5, 9, No)),
            (None, None, None),
        ] {
            assert_eq!(told(found(1, native), found(1, snapshots)), expected);
        }
    }

    #[test]
    fn what_is_lost_is_said_and_what_was_only_trimmed_is_not_lost() {
        use Idle::{No, Yes};
        let gone = Found { committed: None, begins: 3, end: 9 };
        let at = |committed| Found { committed: Some((committed, metadata(7, 3, No))), begins: 3, end: 9 };
        for (rule, native, beside, begins, expected) in [
            ("the WAL begins where it was applied", found(1, None), metadata(7, 3, No), 7, None),
            ("all was applied when it was trimmed", found(1, None), metadata(6, 3, Yes), 7, None),
            (
                "not all was applied",
                found(1, None),
                metadata(6, 3, No),
                7,
                Some(LossKind::Unapplied { begins: 7, applied: 6 }),
            ),
            (
                "the WAL was made anew",
                found(1, None),
                metadata(12, 3, No),
                0,
                Some(LossKind::WalShorter { end: 11, applied: 12 }),
            ),
            ("nothing was ever committed", gone, None, 0, None),
            ("the offsets were forgotten", gone, None, 2, Some(LossKind::NoOffsets { begins: 2 })),
            (
                "input was trimmed before it was read",
                at(2),
                metadata(7, 3, No),
                7,
                Some(LossKind::Input { twin: Twin::Native, next: 2, begins: 3, end: 9 }),
            ),
            (
                "the input was made anew",
                at(10),
                metadata(7, 3, No),
                7,
                Some(LossKind::Input { twin: Twin::Native, next: 10, begins: 3, end: 9 }),
            ),
            ("all input was read", at(9), metadata(7, 3, No), 7, None),
        ] {
            let snapshots = beside.map_or(gone, |beside| found(1, Some(beside)));
            assert_eq!(lost(native, snapshots, beside, begins, 11), expected, "{rule}");
        }
    }

    #[test]
    fn what_is_accepted_is_no_loss_any_more_and_gives_up_nothing_that_is_still_there() {
        use Idle::No;
        let told = metadata(7, 3, No);
        let twin = |next, begins, end| Found { committed: Some((next, told)), begins, end };
        let gone = |begins| Found { committed: None, begins, end: 20 };
        let now = Timestamp::from_micros(100);
        for (rule, native, snapshots, wal, passed, expected) in [
            ("the WAL was trimmed", twin(5, 0, 9), twin(6, 0, 9), (9, 20), None, (5, 6, 9)),
            ("the WAL was made anew", twin(5, 0, 9), twin(6, 0, 9), (0, 3), None, (5, 6, 0)),
            ("the offsets were forgotten", gone(2), gone(4), (9, 20), None, (2, 4, 9)),
            ("input was trimmed", twin(5, 8, 9), twin(6, 0, 9), (0, 20), None, (8, 6, 7)),
            ("input was made anew", twin(5, 0, 9), twin(6, 0, 2), (0, 20), None, (5, 0, 7)),
            ("a record can't be read", twin(5, 0, 9), twin(6, 0, 9), (0, 20), Some(12), (5, 6, 12)),
        ] {
            let accepted = accept(native, snapshots, wal, passed, now);
            let Accepted { native: next, snapshots: other, metadata } = accepted;
            assert_eq!((next, other, metadata.wal_applied), expected, "{rule}");
            assert_eq!(metadata.last_ts, 100, "what was given out last may be lost");
            let after = |found: Found, next| Found { committed: Some((next, Some(metadata))), ..found };
            assert_eq!(lost_of(0, after(native, next), after(snapshots, other), wal), None, "{rule}");
            assert_eq!(lost_of(0, native, snapshots, wal).is_some(), passed.is_none(), "{rule}");
        }
        let ahead = Some(CommitMetadata { wal_applied: 7, last_ts: 900, idle: No });
        let ahead = Found { committed: Some((5, ahead)), begins: 8, end: 9 };
        assert_eq!(
            accept(ahead, ahead, (0, 20), None, now).metadata.last_ts,
            900,
            "timestamps never go back"
        );
    }

    #[test]
    fn a_loss_is_believed_only_if_it_is_still_seen_later() {
        let seconds = Duration::from_secs;
        let mut recovery = Recovery::new(0);
        let stale = found(1, metadata(6, 3, Idle::No));
        let mut ask = |at: u64, found: Found| {
            recovery.offsets(found, found);
            recovery.wal(7, 9, 9, seconds(at))
        };
        assert_eq!(ask(0, stale), Ok(Bounds::Wait));
        assert_eq!(ask(29, stale), Ok(Bounds::Wait));
        let kind = LossKind::Unapplied { begins: 7, applied: 6 };
        assert_eq!(ask(30, stale), Err(Loss { partition: 0, kind }));
        assert_eq!(
            ask(31, found(1, metadata(7, 4, Idle::No))),
            Ok(Bounds::Replay),
            "an owner between told more"
        );
    }
}
