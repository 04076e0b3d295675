//! What an observation changes of what is known of one record (design §6, "What a record can be").
//!
//! What must stay true: an event is never without a change of what is known; the same observation again is silent; a run
//! says nothing about what was learnt after it began.

mod native;
mod note;
mod run;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tributary_schemas::{
    id::{RecordHash, RemoteId, RunId},
    observation::{Announce, Content},
    resource::Action,
    state::{At, Introduced, Known, State},
    time::Timestamp,
};

pub use self::{native::News, note::Note};
use crate::guard::{Guard, holds};

/// What a scan, delta or webhook told us of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation<'a> {
    /// The provider's name for the record.
    pub remote_id: &'a RemoteId,
    /// What was told, and by whom.
    pub told: Told,
}

/// What was told, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A run saw the record, or did not see it.
    Run(Pass, Sight),
    /// A native event told of it.
    Native(News),
}

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

/// What an observation means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What is known from now on, with the `sequence` of the record's event before; `None`: what was known stays.
    pub now: Option<Known>,
    /// The change to announce, if any. Never without a change of what is known.
    pub change: Option<Action>,
    /// What was not announced, if anything.
    pub note: Option<Note>,
}

/// Returns what is known now, and the change to announce, if any.
///
/// A run that began before what we know says nothing: a stale page neither resurrects nor overwrites.
pub fn observe(before: Option<&Known>, seen: &Observation<'_>) -> Seen {
    let record = Record { before, remote_id: seen.remote_id };
    match &seen.told {
        Told::Native(news) => native::hear(record, news),
        Told::Run(pass, _) if pass.overtaken() => Seen::silent(Note::StaleRun),
        Told::Run(pass, sight) => match (pass.bar(before), pass.standing) {
            (Some(bar), _) => run::barred(record, pass, *sight, bar),
            (None, Standing::Compared) => run::compare(record, pass, *sight),
            (None, Standing::Baseline(Announce::Nothing)) => run::take_over(record, pass, *sight),
            (None, Standing::Baseline(Announce::Created)) => run::announce(record, pass, *sight),
            (None, Standing::Rebased) => run::rebase(record, pass, *sight),
        },
    }
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
    fn comparable(&self, state: State) -> Option<RecordHash> {
        let hash = match state {
            State::Live(hash) => Some(hash),
            State::Missing { hash, .. } => hash,
            State::Touched | State::Gone => None,
        };
        hash.filter(|_| self.hashes == Hashes::Comparable)
    }
}

/// A record and what was known of it.
#[derive(Clone, Copy)]
struct Record<'a> {
    before: Option<&'a Known>,
    remote_id: &'a RemoteId,
}

impl Record<'_> {
    /// Its state; one that is not known is as one that is gone.
    fn state(self) -> State {
        self.before.map_or(State::Gone, |known| known.state)
    }
    /// Since when it has been so, by whoever told us last.
    fn known_since(self) -> Option<Timestamp> {
        self.before.map(|known| match known.at {
            At::Run { begun_at, .. } => begun_at,
            At::Native(heard) => heard,
        })
    }
    fn introduced(self) -> Introduced {
        self.before.map_or(Introduced::No, |known| known.introduced)
    }
    fn known(self, state: State, at: At, introduced: Introduced) -> Known {
        let sequence = self.before.and_then(|known| known.sequence);
        Known { state, at, introduced, sequence, remote_id: self.remote_id.clone() }
    }
    /// What is known changes in silence, if it changes in more than who told us last.
    fn adopt(self, now: Known, note: Option<Note>) -> Seen {
        let same = self
            .before
            .is_some_and(|before| (before.state, before.introduced) == (now.state, now.introduced));
        Seen { now: (!same).then_some(now), change: None, note }
    }
}

impl Seen {
    /// Nothing new, and nothing to count.
    const NOTHING: Seen = Seen { now: None, change: None, note: None };

    fn silent(note: Note) -> Self {
        Self { now: None, change: None, note: Some(note) }
    }
    fn told(now: Known, action: Action) -> Self {
        Self { now: Some(now), change: Some(action), note: None }
    }
}
