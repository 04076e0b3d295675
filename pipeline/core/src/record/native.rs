//! What a native event changes: it speaks unless we have told it, and its record's hash is not known from then on,
//! because a webhook's shape is rarely the list's.

use std::time::Duration;

use tributary_schemas::{
    resource::Action,
    state::{At, Introduced, Known, State},
    time::Timestamp,
};

use super::{
    note::Note,
    seen::{Record, Seen},
};

/// What a native event tells of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// What happened to it.
    pub action: Action,
    /// When we received it.
    pub received_at: Timestamp,
    /// When it happened by the provider's clock, where the event says so.
    pub occurred_at: Option<Timestamp>,
    /// How long after a deletion another event of the record may still be one that the deletion has overtaken.
    pub settle: Duration,
}

/// Takes in a native event. Silent means that what is known stays.
pub(super) fn hear(record: Record<'_>, news: &News) -> Seen {
    match (record.before, news.action) {
        (Some(known), Action::Deleted) if known.state == State::Gone => Seen::silent(Note::AlreadyDeleted),
        (Some(known), Action::Created | Action::Updated) if late(known, news) => Seen::silent(Note::Late),
        (Some(known), Action::Created) if known.introduced == Introduced::Yes => {
            Seen::silent(Note::AlreadyCreated)
        }
        (_, action) => {
            let (state, introduced) = match action {
                Action::Created => (State::Touched, Introduced::Yes),
                Action::Updated => (State::Touched, record.introduced()),
                Action::Deleted => (State::Gone, Introduced::No),
            };
            Seen::told(record.known(state, heard(record.before, news), introduced), action)
        }
    }
}

/// The later of this event's time and the last native event's.
fn heard(before: Option<&Known>, news: &News) -> At {
    match before.map(|known| known.at) {
        Some(At::Native(last)) => At::Native(last.max(news.received_at)),
        Some(At::Run { .. }) | None => At::Native(news.received_at),
    }
}

/// Whether the record's deletion has overtaken this event: it came within `settle` of it, or happened before.
fn late(known: &Known, news: &News) -> bool {
    let deleted_at = match (known.state, known.at) {
        (State::Live(_) | State::Missing { .. } | State::Touched, _) => return false,
        (State::Gone, At::Native(heard)) => heard,
        // It was gone when the run began, or went while it listed: what came after the beginning may be news.
        (State::Gone, At::Run { begun_at, .. }) => begun_at,
    };
    news.received_at <= deleted_at.plus(news.settle)
        || news.occurred_at.is_some_and(|occurred_at| occurred_at < deleted_at)
}
