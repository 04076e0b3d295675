//! A run, as seen from one record, and what it saw of it.

use std::time::Duration;

use tributary_schemas::{
    id::{RecordHash, RunId},
    observation::{Announce, Content},
    state::{At, Known, State},
    time::Timestamp,
};

use super::note::Note;
use crate::guard::{Guard, holds};

/// A run, as seen from one record's range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Its number.
    pub run: RunId,
    /// When it began.
    pub begun_at: Timestamp,
    /// How long after a native event it is not to be trusted about its record.
    pub settle: Duration,
    /// The last full run whose summary was seen.
    pub last_full_run: Option<RunId>,
    /// Whether the record's range has had its baseline.
    pub standing: Standing,
    /// Whether the run's hashes can be compared with the known ones.
    pub hashes: Hashes,
}

/// Whether a range has had its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has: differences speak.
    Compared,
    /// It has not: what the run says is taken over, told in this way.
    Baseline(Announce),
    /// It has, of records that were named or selected in another way: what the run says is taken over in silence, and what
    /// it does not name is nothing that could be told of.
    Rebased,
}

/// Whether two hashes of a record can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hashes {
    /// One projection made them.
    Comparable,
    /// The known ones were made by another projection: they say nothing.
    Incomparable,
}

/// What a run saw of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It is listed.
    Listed(Content),
    /// A full scan of its range does not list it.
    Unlisted(Doubt),
    /// A partial run does not list it, which says nothing.
    Unseen,
    /// The provider's feed of deletions names it, and says when it went.
    Deleted(Option<Timestamp>),
}

/// Whether a record that is not listed is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It is.
    Sure,
    /// The listing may have skipped it, or too many are missing at once.
    Doubtful,
}

impl Pass {
    /// Whether a later full run's summary has been seen: then this one says nothing at all.
    pub fn overtaken(&self) -> bool {
        holds(Guard::StaleRuns) && self.last_full_run.is_some_and(|last| last > self.run)
    }

    /// Why the run says nothing about this record, if so.
    pub fn bar(&self, before: Option<&Known>) -> Option<Note> {
        match before?.at {
            At::Run { run: last, .. } if last >= self.run && holds(Guard::StaleRuns) => {
                Some(Note::StaleRecord)
            }
            At::Native(heard) if heard.plus(self.settle) >= self.begun_at && holds(Guard::Settle) => {
                Some(Note::Unsettled)
            }
            At::Run { .. } | At::Native(_) => None,
        }
    }

    /// As what is known since this run has it.
    pub(crate) fn at(&self) -> At {
        At::Run { run: self.run, begun_at: self.begun_at }
    }

    /// The known hash that this run's can be compared with. A touched record's is not known: it is adopted.
    pub(super) fn comparable(&self, state: State) -> Option<RecordHash> {
        let hash = match state {
            State::Live(hash) => Some(hash),
            State::Missing { hash, .. } => hash,
            State::Touched | State::Gone => None,
        };
        hash.filter(|_| self.hashes == Hashes::Comparable)
    }
}
