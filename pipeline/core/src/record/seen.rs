//! A record as it was known, and what an observation of it means.

use tributary_schemas::{
    id::RemoteId,
    resource::Action,
    state::{At, Introduced, Known, State},
    time::Timestamp,
};

use super::note::Note;

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

/// A record and what was known of it.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) before: Option<&'a Known>,
    pub(super) remote_id: &'a RemoteId,
}

impl Record<'_> {
    /// Its state; one that is not known is as one that is gone.
    pub(super) fn state(self) -> State {
        self.before.map_or(State::Gone, |known| known.state)
    }
    /// Since when it has been so, by whoever told us last.
    pub(super) fn known_since(self) -> Option<Timestamp> {
        self.before.map(|known| match known.at {
            At::Run { begun_at, .. } => begun_at,
            At::Native(heard) => heard,
        })
    }
    pub(super) fn introduced(self) -> Introduced {
        self.before.map_or(Introduced::No, |known| known.introduced)
    }
    pub(super) fn known(self, state: State, at: At, introduced: Introduced) -> Known {
        let sequence = self.before.and_then(|known| known.sequence);
        Known { state, at, introduced, sequence, remote_id: self.remote_id.clone() }
    }
    /// What is known changes in silence, if it changes in more than who told us last.
    pub(super) fn adopt(self, now: Known, note: Option<Note>) -> Seen {
        let same = self
            .before
            .is_some_and(|before| (before.state, before.introduced) == (now.state, now.introduced));
        Seen { now: (!same).then_some(now), change: None, note }
    }
}

impl Seen {
    /// Nothing new, and nothing to count.
    pub(super) const NOTHING: Seen = Seen { now: None, change: None, note: None };

    pub(super) fn silent(note: Note) -> Self {
        Self { now: None, change: None, note: Some(note) }
    }
    pub(super) fn told(now: Known, action: Action) -> Self {
        Self { now: Some(now), change: Some(action), note: None }
    }
}
