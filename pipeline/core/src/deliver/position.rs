//! Where a webhook stands in a partition of a log: it gets what the head brings, or has fallen behind and reads on from
//! there, or replays a stretch (design §7).
//!
//! Offsets that were offered and are not settled are kept here, so that the partition can say what holds its commit. A row
//! in the store *covers* what it stands for: after a restart that is read again from the row, so it holds nothing.

use std::{collections::BTreeSet, time::Duration};

use tributary_schemas::time::Timestamp;

use super::blocks::Blocks;

/// A webhook's place in a partition of a log.
#[derive(Debug, Clone)]
pub struct Position {
    mode: Mode,
    /// Offered, and waiting for a request.
    queued: BTreeSet<i64>,
    /// Being tried, or what follows an attempt is under way.
    trying: BTreeSet<i64>,
    /// Not sent, and on its way into the log. It is no obstacle to being offered again: the webhook may have been enabled
    /// again before that, and the view was late.
    skipping: BTreeSet<i64>,
    /// Settled above what is queued or read next: not to be offered again.
    done: BTreeSet<i64>,
    /// The `from` of the row in the store.
    stored: Option<i64>,
    /// The row covers what is below; `i64::MAX` while it is there to stay.
    until: i64,
    /// When the row was written last.
    written: Duration,
    /// What held the commit at the last look, and since when.
    held: Option<(i64, Duration)>,
    /// Why it fell behind, and since when.
    pub why: Why,
    /// Since when it is behind.
    pub since: Timestamp,
    /// How many records it missed since.
    pub missed: u64,
    /// Which blocks hold what it missed.
    pub blocks: Blocks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It is behind, and not yet known from where.
    Beginning,
    /// It gets what the head brings from `above` on: what is below was read already.
    Live { above: i64 },
    /// It reads on from there.
    Behind { read: i64 },
    /// It reads a stretch.
    Replaying { read: i64, until: i64 },
}

/// Why a webhook has fallen behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It begins, or begins again.
    Begins,
    /// More came than it takes.
    Slow,
    /// Its rate is spent.
    Rate,
    /// It fails.
    Failing,
    /// The process's memory is spent, and it held most of it.
    Memory,
    /// Its secret can't be opened, or it is not known yet.
    Ours,
    /// It is asked again.
    Replay,
}

impl Why {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Begins => "begins",
            Self::Slow => "slow",
            Self::Rate => "rate",
            Self::Failing => "failing",
            Self::Memory => "memory",
            Self::Ours => "ours",
            Self::Replay => "replay",
        }
    }
}

/// What becomes of a record for a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// It was offered: it is the webhook's now.
    Offered,
    /// It is behind, and reads it later.
    Missed,
    /// It has been given it already.
    Passed,
    /// It has no room: it gets off.
    NoRoom,
}

impl Position {
    /// One that gets what the head brings.
    pub fn live(since: Timestamp) -> Self {
        Self {
            mode: Mode::Live { above: 0 },
            queued: BTreeSet::new(),
            trying: BTreeSet::new(),
            skipping: BTreeSet::new(),
            done: BTreeSet::new(),
            stored: None,
            until: i64::MAX,
            written: Duration::ZERO,
            held: None,
            why: Why::Slow,
            since,
            missed: 0,
            blocks: Blocks::default(),
        }
    }

    /// One that is behind from an offset that is still to be found; the head reads on at `next`.
    pub fn beginning(why: Why, since: Timestamp, next: i64) -> Self {
        Self { mode: Mode::Beginning, why, blocks: Blocks::from(next), ..Self::live(since) }
    }

    /// One that a row tells of; the head begins at `next`.
    pub fn stored(from: i64, until: Option<i64>, row: RowFacts, next: i64) -> Self {
        let mode = match until {
            None => Mode::Behind { read: from.min(next) },
            Some(until) => Mode::Replaying { read: from, until },
        };
        let mut blocks = row.blocks;
        blocks.unknown_to(next);
        Self { mode, stored: Some(from), why: row.why, missed: row.missed, blocks, ..Self::live(row.since) }
    }

    /// Begins again, whatever it was: what is queued is read again in its time.
    pub fn begin_again(&mut self, since: Timestamp, next: i64) -> Vec<i64> {
        let queued = std::mem::take(&mut self.queued);
        let again = Self::beginning(Why::Begins, since, next);
        let (trying, skipping) = (std::mem::take(&mut self.trying), std::mem::take(&mut self.skipping));
        let (stored, written) = (self.stored, self.written);
        *self = Self { trying, skipping, stored, written, ..again };
        queued.into_iter().collect()
    }

    /// It was found where it begins.
    pub fn found(&mut self, read: i64, until: Option<i64>) {
        if self.mode == Mode::Beginning {
            self.mode = match until {
                None => Mode::Behind { read },
                Some(until) => Mode::Replaying { read, until },
            };
        }
    }

    /// Whether it is behind, and not a replay.
    pub fn is_behind(&self) -> bool {
        matches!(self.mode, Mode::Beginning | Mode::Behind { .. })
    }

    /// Whether where it begins is still to be found.
    pub fn is_beginning(&self) -> bool {
        self.mode == Mode::Beginning
    }

    /// The offset that a sweep gives it next, if it waits for one.
    pub fn read(&self) -> Option<i64> {
        match self.mode {
            Mode::Behind { read } => Some(read),
            Mode::Replaying { read, until } if read < until => Some(read),
            Mode::Beginning | Mode::Live { .. } | Mode::Replaying { .. } => None,
        }
    }

    /// Takes what the head brings at `offset`.
    pub fn head(&mut self, offset: i64, room: bool) -> Given {
        match self.mode {
            Mode::Live { above } if offset < above => Given::Passed,
            Mode::Live { .. } if room => {
                self.queued.insert(offset);
                Given::Offered
            }
            Mode::Live { .. } => {
                self.fall_behind(offset, offset);
                self.miss(offset);
                Given::NoRoom
            }
            Mode::Beginning | Mode::Behind { .. } => {
                self.miss(offset);
                Given::Missed
            }
            Mode::Replaying { .. } => Given::Passed,
        }
    }

    fn miss(&mut self, offset: i64) {
        self.missed += 1;
        self.blocks.mark(offset);
    }

    /// Is behind from `read` on; `next` is what the head brings next.
    fn fall_behind(&mut self, read: i64, next: i64) {
        self.mode = Mode::Behind { read };
        self.missed = 0;
        // What lies between is not known: it was offered, and may be foreign or not.
        self.blocks = Blocks::from(read);
        self.blocks.unknown_to(next);
    }

    /// Takes what a sweep brings at `offset`; everything wanted below was offered to it or is settled.
    pub fn sweep(&mut self, offset: i64, room: bool) -> Given {
        let (Mode::Behind { read } | Mode::Replaying { read, .. }) = &mut self.mode else {
            return Given::Passed;
        };
        if offset < *read {
            return Given::Passed;
        }
        if self.done.contains(&offset) || self.queued.contains(&offset) || self.trying.contains(&offset) {
            *read = offset + 1;
            return Given::Passed;
        }
        if !room {
            *read = offset;
            return Given::NoRoom;
        }
        *read = offset + 1;
        self.queued.insert(offset);
        Given::Offered
    }

    /// It was taken along to `at` without anything else for it.
    pub fn carried(&mut self, at: i64) {
        if let Mode::Behind { read } | Mode::Replaying { read, .. } = &mut self.mode {
            *read = (*read).max(at);
        }
        self.forget_done();
    }

    /// It has read all that the head has: from `at` on the head brings what is new. What its row covered until now is
    /// covered until it is settled.
    pub fn cross(&mut self, at: i64, next: i64) {
        self.mode = Mode::Live { above: at };
        self.until = next.max(at);
        self.blocks = Blocks::default();
        self.forget_done();
    }

    /// Records up to `to` are gone from the log: gives how far it jumps.
    pub fn expired(&mut self, to: i64) -> Option<(i64, i64)> {
        let (Mode::Behind { read } | Mode::Replaying { read, .. }) = &mut self.mode else { return None };
        let from = *read;
        *read = (*read).max(to);
        (from < to).then_some((from, to))
    }

    /// Whether a replay has read to its end and all of it is settled.
    pub fn is_replayed(&self) -> bool {
        matches!(self.mode, Mode::Replaying { read, until } if read >= until)
            && self.queued.is_empty()
            && self.trying.is_empty()
            && self.skipping.is_empty()
    }

    /// What was queued is tried.
    pub fn begun(&mut self, offset: i64) {
        if self.queued.remove(&offset) {
            self.trying.insert(offset);
        }
        self.forget_done();
    }

    /// What was queued is not sent.
    pub fn skips(&mut self, offset: i64) {
        self.queued.remove(&offset);
        self.skipping.insert(offset);
        self.forget_done();
    }

    /// That is logged.
    pub fn skipped(&mut self, offset: i64) {
        self.skipping.remove(&offset);
    }

    /// What was tried is to be tried again, as if it had not been.
    pub fn again(&mut self, offset: i64) {
        if self.trying.remove(&offset) {
            self.queued.insert(offset);
        }
    }

    /// It is settled.
    pub fn settled(&mut self, offset: i64) {
        self.queued.remove(&offset);
        self.trying.remove(&offset);
        if self.first_again().is_some_and(|first| offset >= first) {
            self.done.insert(offset);
        }
    }

    /// What is queued is read again later; `next` is what the head brings next.
    pub fn put_back(&mut self, why: Why, since: Timestamp, next: i64) {
        let Some(first) = self.queued.first().copied() else { return };
        self.queued.clear();
        match &mut self.mode {
            Mode::Behind { read } | Mode::Replaying { read, .. } => {
                // The bitmap knows of what was missed, not of what was offered.
                if first < *read && !matches!(self.why, Why::Replay) {
                    let end = self.blocks.end().max(*read);
                    self.blocks = Blocks::from(first);
                    self.blocks.unknown_to(end);
                }
                *read = (*read).min(first);
            }
            Mode::Live { above } => {
                let next = next.max(*above);
                self.fall_behind(first, next);
                (self.why, self.since) = (why, since);
            }
            Mode::Beginning => {}
        }
    }

    /// The lowest offset that may be offered again: what is queued, or read next.
    fn first_again(&self) -> Option<i64> {
        let read = match self.mode {
            Mode::Behind { read } | Mode::Replaying { read, .. } => Some(read),
            Mode::Beginning | Mode::Live { .. } => None,
        };
        [self.queued.first().copied(), read].into_iter().flatten().min()
    }

    fn forget_done(&mut self) {
        if self.done.is_empty() {
            return;
        }
        match self.first_again() {
            Some(first) => self.done = self.done.split_off(&first),
            None => self.done.clear(),
        }
    }

    /// The lowest offset that is not settled: what is below was dealt with.
    pub fn from(&self) -> Option<i64> {
        let read = match self.mode {
            Mode::Behind { read } | Mode::Replaying { read, .. } => Some(read),
            Mode::Beginning | Mode::Live { .. } => None,
        };
        let first = |set: &BTreeSet<i64>| set.first().copied();
        [first(&self.queued), first(&self.trying), first(&self.skipping), read].into_iter().flatten().min()
    }

    /// The lowest offset that holds the commit: not settled, and not covered by a row.
    pub fn hold(&self) -> Option<i64> {
        if let Mode::Replaying { .. } = self.mode {
            // A replay is no matter of the partition's offset: its row is there from its beginning.
            return None;
        }
        let covered = |offset: i64| self.stored.is_some_and(|from| offset >= from && offset < self.until);
        let first = |set: &BTreeSet<i64>| {
            let first = set.first().copied().filter(|offset| !covered(*offset));
            first.or_else(|| self.stored.and(set.range(self.until..).next().copied()))
        };
        let read = match self.mode {
            Mode::Behind { read } if !covered(read) => Some(read),
            _ => None,
        };
        [first(&self.queued), first(&self.trying), first(&self.skipping), read].into_iter().flatten().min()
    }

    /// Whether the next owner would find it where it stands, if this process ended now.
    pub fn has_begun(&self) -> bool {
        match self.mode {
            Mode::Beginning => false,
            Mode::Live { above } => self.from().is_none_or(|from| from >= above),
            Mode::Behind { read } | Mode::Replaying { read, .. } => {
                self.stored.is_some_and(|from| from <= read)
            }
        }
    }

    /// Wants nothing of what it missed: what is offered is settled, and then its row goes.
    pub fn let_go(&mut self, next: i64) {
        self.mode = Mode::Live { above: next };
        self.until = next;
        self.blocks = Blocks::default();
        self.done.clear();
    }

    /// Other filters: what the head passed over may be wanted now.
    pub fn wants_otherwise(&mut self, next: i64) {
        self.blocks = Blocks::from(next);
    }

    /// Whether nothing of it need be remembered.
    pub fn is_idle(&self, next: i64) -> bool {
        matches!(self.mode, Mode::Live { above } if above <= next)
            && self.queued.is_empty()
            && self.trying.is_empty()
            && self.skipping.is_empty()
            && self.stored.is_none()
    }

    /// Since when the same offset has held the commit, as of the looks that were taken.
    pub fn held_since(&mut self, now: Duration) -> Option<Duration> {
        let hold = self.hold();
        self.held = match (self.held, hold) {
            (_, None) => None,
            (Some((before, since)), Some(hold)) if before == hold => Some((hold, since)),
            (_, Some(hold)) => Some((hold, now)),
        };
        self.held.map(|(_, since)| since)
    }

    /// What its row says of it now, if there is anything to say.
    pub fn row(&self) -> Option<(i64, Option<i64>)> {
        let until = match self.mode {
            Mode::Replaying { until, .. } => Some(until),
            _ => None,
        };
        self.from().map(|from| (from, until))
    }

    /// The row's `from`, if there is one.
    pub fn stored_from(&self) -> Option<i64> {
        self.stored
    }

    /// When its row was written last.
    pub fn written(&self) -> Duration {
        self.written
    }

    /// A row is being written: a later `from` than the one that is there covers as much from now on.
    pub fn writes(&mut self, from: i64, now: Duration) {
        self.written = now;
        if self.stored.is_some_and(|stored| from >= stored) {
            self.stored = Some(from);
            self.until = i64::MAX;
        }
    }

    /// A row was written.
    pub fn wrote(&mut self, from: i64) {
        self.stored = Some(from);
        self.until = i64::MAX;
    }

    /// The row that is there is there to stay.
    pub fn keep_row(&mut self) {
        self.until = i64::MAX;
    }

    /// The row is to go: what comes from `next` on is not its any more.
    pub fn close_row(&mut self, next: i64) {
        if self.until == i64::MAX {
            self.until = next;
        }
    }

    /// Whether the row can go: it gets what the head brings, and nothing that the row covers is open.
    pub fn can_remove_row(&self) -> bool {
        let below = |set: &BTreeSet<i64>| set.first().is_some_and(|first| *first < self.until);
        self.stored.is_some()
            && self.until != i64::MAX
            && matches!(self.mode, Mode::Live { .. })
            && !below(&self.queued)
            && !below(&self.trying)
            && !below(&self.skipping)
    }

    /// The row is being removed: it covers nothing from now on.
    pub fn removes_row(&mut self) {
        self.stored = None;
        self.until = i64::MAX;
    }

    /// What is queued.
    pub fn queued(&self) -> impl Iterator<Item = i64> + '_ {
        self.queued.iter().copied()
    }

    /// Whether anything is being tried.
    pub fn is_trying(&self) -> bool {
        !self.trying.is_empty() || !self.skipping.is_empty()
    }
}

/// What a row tells beside where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFacts {
    /// Why it fell behind.
    pub why: Why,
    /// Since when.
    pub since: Timestamp,
    /// How many records it missed.
    pub missed: u64,
    /// Which blocks hold them.
    pub blocks: Blocks,
}
