//! What a run changes: a scan or a delta sees a record, or does not.

use tributary_schemas::{
    observation::{Announce, Content},
    resource::Action,
    state::{Introduced, Known, State},
};

use super::{
    note::Note,
    pass::{Doubt, Hashes, Pass, Sight, Standing},
    seen::{Record, Seen},
};
use crate::guard::{Guard, holds};

/// The run says nothing about the record, but its range goes on.
pub(super) fn barred(record: Record<'_>, pass: &Pass, sight: Sight, bar: Note) -> Seen {
    let Some(known) = record.before else { return Seen::silent(bar) };
    let kept = match (pass.hashes, known.state) {
        (Hashes::Incomparable, State::Live(_)) => State::Touched,
        (Hashes::Incomparable, State::Missing { run, .. }) => State::Missing { hash: None, run },
        (_, state) => state,
    };
    let listed = matches!(sight, Sight::Listed(_)) && known.state != State::Gone;
    if listed && pass.standing == Standing::Baseline(Announce::Created) {
        let now = Known { state: kept, introduced: Introduced::Yes, ..known.clone() };
        return Seen::told(now, Action::Created);
    }
    record.adopt(Known { state: kept, ..known.clone() }, Some(bar))
}

/// The range has had its baseline: differences speak.
pub(super) fn compare(record: Record<'_>, pass: &Pass, sight: Sight) -> Seen {
    let at = pass.at();
    match (record.state(), sight) {
        (State::Gone, Sight::Listed(Content::Hash(hash))) => {
            Seen::told(record.known(State::Live(hash), at, Introduced::Yes), Action::Created)
        }
        (State::Gone, Sight::Listed(Content::Unread)) => Seen::silent(Note::Unread),
        (State::Gone, Sight::Unlisted(_) | Sight::Deleted(_)) | (_, Sight::Unseen) => Seen::NOTHING,
        (_, Sight::Deleted(Some(deleted_at))) if record.known_since() >= Some(deleted_at) => {
            Seen::silent(Note::OldTombstone)
        }
        (_, Sight::Listed(content)) => listed_again(record, pass, content),
        (State::Live(_) | State::Touched, Sight::Unlisted(Doubt::Doubtful)) => {
            let hash = pass.comparable(record.state());
            let marked = record.known(State::Missing { hash, run: pass.run }, at, record.introduced());
            record.adopt(marked, Some(Note::Marked))
        }
        (State::Live(_) | State::Touched | State::Missing { .. }, Sight::Unlisted(_) | Sight::Deleted(_)) => {
            Seen::told(record.known(State::Gone, at, Introduced::No), Action::Deleted)
        }
    }
}

/// A record that is there is listed: only another content speaks.
fn listed_again(record: Record<'_>, pass: &Pass, content: Content) -> Seen {
    let before = pass.comparable(record.state());
    let (state, other) = match content {
        Content::Hash(hash) => {
            let retold = record.state() == State::Touched && !holds(Guard::TouchedAdopted);
            let changed = before.is_some_and(|before| before != hash) && holds(Guard::ChangesSpeak);
            (State::Live(hash), retold || changed)
        }
        Content::Unread => (before.map_or(State::Touched, State::Live), false),
    };
    let now = record.known(state, pass.at(), record.introduced());
    if other {
        return Seen::told(now, Action::Updated);
    }
    let note = match (content, record.state()) {
        (Content::Unread, _) => Some(Note::Unread),
        (Content::Hash(_), State::Missing { .. }) => Some(Note::Unmarked),
        (Content::Hash(_), State::Touched) => Some(Note::Adopted),
        (Content::Hash(_), State::Live(_) | State::Gone) => {
            (pass.hashes == Hashes::Incomparable).then_some(Note::Reprojected)
        }
    };
    record.adopt(now, note)
}

/// A baseline takes over what the run says, in silence.
pub(super) fn take_over(record: Record<'_>, pass: &Pass, sight: Sight) -> Seen {
    let (state, introduced) = match sight {
        Sight::Listed(Content::Hash(hash)) => (State::Live(hash), Introduced::Yes),
        Sight::Listed(Content::Unread) => {
            (pass.comparable(record.state()).map_or(State::Touched, State::Live), Introduced::Yes)
        }
        Sight::Unseen => return Seen::NOTHING,
        Sight::Unlisted(_) | Sight::Deleted(_) if record.state() == State::Gone => return Seen::NOTHING,
        // What a webhook told of may have been skipped: taken for gone, it would be told as created again.
        Sight::Unlisted(Doubt::Doubtful) => return compare(record, pass, sight),
        Sight::Unlisted(Doubt::Sure) | Sight::Deleted(_) => (State::Gone, Introduced::No),
    };
    record.adopt(record.known(state, pass.at(), introduced), Some(Note::TakenOver))
}

/// Under another identity a record that is not named is not gone: it was another. It is forgotten in silence, whoever
/// doubts it, as no later run can name it.
pub(super) fn rebase(record: Record<'_>, pass: &Pass, sight: Sight) -> Seen {
    match sight {
        Sight::Listed(_) => take_over(record, pass, sight),
        Sight::Unlisted(_) | Sight::Unseen | Sight::Deleted(_) => {
            take_over(record, pass, Sight::Unlisted(Doubt::Sure))
        }
    }
}

/// A baseline tells each record as `created`; what is not there any more speaks as ever.
pub(super) fn announce(record: Record<'_>, pass: &Pass, sight: Sight) -> Seen {
    let state = match (sight, record.state()) {
        (Sight::Listed(Content::Hash(hash)), _) => State::Live(hash),
        (Sight::Listed(Content::Unread), state) if state != State::Gone => {
            pass.comparable(state).map_or(State::Touched, State::Live)
        }
        (Sight::Listed(Content::Unread) | Sight::Unlisted(_) | Sight::Unseen | Sight::Deleted(_), _) => {
            return compare(record, pass, sight);
        }
    };
    Seen::told(record.known(state, pass.at(), Introduced::Yes), Action::Created)
}
