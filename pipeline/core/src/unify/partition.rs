//! A partition of ours: its recovery, then its ledger, inbox and overlay. Dropping it is its revocation.

use std::{sync::Arc, time::Duration};

use tributary_schemas::wal::WalRecord;

use super::{
    inbox::{Inbox, Received},
    ledger::{Committed, Ledger},
    loss::LossKind,
    memory::Memory,
    overlay::Overlay,
    recovery::{Recovered, Recovery},
};
use crate::guard::{Guard, holds};

/// How soon a halted partition is looked at again.
const LOOKED_AT_AGAIN: Duration = Duration::from_secs(10);

/// A partition of ours.
#[derive(Debug)]
pub(super) struct Partition {
    /// The assignment it is held under.
    pub(super) epoch: u64,
    pub(super) phase: Phase,
    /// The kind of loss that was told of, while it has not been read since.
    told: Option<&'static str>,
}

/// What is done with a partition.
#[derive(Debug)]
pub(super) enum Phase {
    /// It is recovered first.
    Recovering(Recovery),
    /// Then it is read.
    Reading(Box<Reading>),
    /// Something of it is lost: nothing is read, until a person has restored it or accepted that. Then it is looked at again.
    Halted(Option<Duration>),
}

/// A partition that is read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) ledger: Ledger,
    pub(super) inbox: Inbox,
    pub(super) overlay: Overlay,
    /// When what has been applied was last told.
    pub(super) told_at: Duration,
}

impl Partition {
    pub(super) fn new(number: i32, epoch: u64) -> Self {
        Self { epoch, phase: Phase::Recovering(Recovery::new(number)), told: None }
    }

    pub(super) fn recovering(&mut self) -> Option<&mut Recovery> {
        match &mut self.phase {
            Phase::Recovering(recovery) => Some(recovery),
            Phase::Reading(_) | Phase::Halted(_) => None,
        }
    }

    pub(super) fn reading(&self) -> Option<&Reading> {
        match &self.phase {
            Phase::Reading(reading) => Some(reading),
            Phase::Recovering(_) | Phase::Halted(_) => None,
        }
    }

    pub(super) fn reading_mut(&mut self) -> Option<&mut Reading> {
        match &mut self.phase {
            Phase::Reading(reading) => Some(reading),
            Phase::Recovering(_) | Phase::Halted(_) => None,
        }
    }

    /// Something of it is lost. Says whether that is news.
    pub(super) fn halt(&mut self, kind: &LossKind, now: Duration) -> bool {
        let heals = match kind {
            // Nothing is lost: only another release can go on, and it recovers the partition itself.
            LossKind::Newer { .. } => None,
            LossKind::Unapplied { .. }
            | LossKind::WalShorter { .. }
            | LossKind::NoOffsets { .. }
            | LossKind::Input { .. }
            | LossKind::Future { .. }
            | LossKind::Unreadable { .. } => Some(now + LOOKED_AT_AGAIN),
        };
        self.phase = Phase::Halted(heals);
        self.told.replace(kind.name()) != Some(kind.name())
    }

    /// The uptime at which a halted partition is looked at again.
    pub(super) fn looks_at(&self) -> Option<Duration> {
        match self.phase {
            Phase::Halted(at) => at,
            Phase::Recovering(_) | Phase::Reading(_) => None,
        }
    }

    /// Recovers a halted partition again, if it is time. Says whether it is.
    pub(super) fn look_again(&mut self, number: i32, now: Duration) -> bool {
        let due = self.looks_at().is_some_and(|at| at <= now);
        if due {
            self.phase = Phase::Recovering(Recovery::of_halted(number, now));
        }
        due
    }

    /// It is recovered: from now on it is read.
    pub(super) fn begin(&mut self, number: i32, recovered: Recovered, now: Duration) {
        let ledger = Ledger::new(number, recovered);
        let (inbox, overlay) = (Inbox::default(), Overlay::default());
        self.told = None;
        self.phase = Phase::Reading(Box::new(Reading { ledger, inbox, overlay, told_at: now }));
    }

    /// Takes a message in, unless it was read under another assignment, or decided before.
    pub(super) fn push(&mut self, received: Received, now: Duration) {
        let ours = received.epoch == self.epoch || !holds(Guard::AssignmentNumbers);
        if let Some(reading) = self.reading_mut()
            && ours
            && reading.ledger.is_next(received.position)
        {
            reading.inbox.push(received, now);
        }
    }
}

impl Reading {
    /// Takes in what a transaction committed, and gives what is to be applied to the store.
    pub(super) fn commit(
        &mut self,
        committed: Committed,
        memory: &Memory,
        now: Duration,
    ) -> Vec<(i64, Arc<WalRecord>)> {
        let records = self.ledger.commit(committed);
        for (offset, record) in &records {
            self.overlay.announce(*offset, record, memory);
        }
        self.inbox.settle(self.ledger.next(), now);
        self.told_at = now;
        records
    }

    /// Takes in that the store has these WAL records.
    pub(super) fn applied(&mut self, offsets: &[i64]) {
        self.ledger.applied(offsets);
        offsets.iter().for_each(|offset| self.overlay.applied(*offset));
    }

    /// Whether more of it may be decided: what is not applied is in memory.
    pub(super) fn has_room(&self, memory: &Memory) -> bool {
        self.overlay.is_empty() || !memory.is_full()
    }
}
