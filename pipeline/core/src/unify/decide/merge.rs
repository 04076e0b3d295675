//! Merges a range listing with what is known of its records: created, updated and deleted in one pass, with no memory
//! across messages (design §5).
//!
//! A range that changed in nothing is not written. A range of another cut than the one before moves its records out of
//! the old buckets in the same WAL record.

mod listing;
mod stored;

use std::time::Duration;

use tributary_schemas::{
    id::RecordKey,
    observation::{Absence, Announce, Content, RangeListing},
    state::{At, Known, State},
    time::Timestamp,
    wal::Mutation,
};

use self::{listing::Pair, stored::Stored};
use super::{draft::Draft, event::Telling};
use crate::{
    guard::{Guard, holds},
    range::Count,
    record::{Doubt, Note, Observation, Sight, Standing, Told, observe},
    unify::rejection::Rejection,
};

/// How long a gone record is remembered, for its chain of events and against late pages.
const REMEMBERED: Duration = Duration::from_secs(7 * 86_400);

/// Merges a listing. It counts only while its run's summary is the last one seen.
///
/// # Errors
/// A [`Rejection`] if the listing is not what a listing must be.
pub(super) fn merge(listing: &RangeListing, draft: &mut Draft<'_>) -> Result<(), Rejection> {
    let listed = listing::keyed(listing)?;
    let run = &listing.run;
    let head = draft.known.head(&run.source.account, run.resource);
    let dropped = match head {
        Some(head) if head.last_full_run > Some(run.run) && holds(Guard::StaleRuns) => Note::StaleRun,
        Some(head) if head.last_full_run >= Some(run.run) && head.bits == run.bits => {
            let stored = Stored::read(listing, head, draft.known);
            merge_stored(listing, &listed, &stored, draft);
            return Ok(());
        }
        Some(head) if head.last_full_run >= Some(run.run) => Note::OtherCut,
        Some(_) | None => Note::NoSummary,
    };
    draft.note(dropped);
    Ok(())
}

fn merge_stored(
    listing: &RangeListing,
    listed: &[listing::Keyed<'_>],
    stored: &Stored<'_>,
    draft: &mut Draft<'_>,
) {
    let pairs = listing::pair(listed, stored.records());
    let doubt = doubt(listing, stored, &pairs);
    let mut there: Vec<(RecordKey, State)> = Vec::with_capacity(pairs.len());
    let mut changed = Change::Nothing;
    for pair in &pairs {
        let (state, change) = one(listing, stored, pair, doubt, draft);
        changed = changed.max(change);
        let listed = || match pair.content {
            Some(Content::Hash(hash)) => State::Live(hash),
            Some(Content::Unread) | None => State::Gone,
        };
        there.extend(state.map(|state| (pair.key, if holds(Guard::SumOfKnown) { state } else { listed() })));
    }
    let (run, bucket) = (&listing.run, stored.bucket());
    let begins = stored.has_no_row();
    if changed == Change::Record || stored.stands_otherwise(run) {
        draft.ranges.stand(bucket, run.projection, run.run);
    }
    // All of it is at hand: a row that counts otherwise is mended, and told of.
    if draft.ranges.count(bucket, there) == Count::Wrong && !begins {
        draft.note(Note::Miscounted);
    }
    if let Some(head) = stored.leave(draft) {
        draft.note(Note::Moved);
        let (account, resource) = (run.source.account.clone(), run.resource);
        draft.push(Mutation::Head { account, resource, head });
    }
}

/// Whether anything of a range's records changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Nothing,
    Record,
}

/// Merges one record, and writes it where it changed or moves; gives what it is then.
fn one(
    listing: &RangeListing,
    stored: &Stored<'_>,
    pair: &Pair<'_>,
    doubt: Doubt,
    draft: &mut Draft<'_>,
) -> (Option<State>, Change) {
    let before = pair.kept.map(|kept| kept.known);
    let sight = match (pair.content, listing.absence) {
        (Some(content), _) => Sight::Listed(content),
        (None, Absence::Partial) => Sight::Unseen,
        (None, Absence::Sure | Absence::Doubtful | Absence::Released) => Sight::Unlisted(doubt),
    };
    let pass = stored.pass(&listing.run, pair.key);
    let observation = Observation { remote_id: pair.remote_id, told: Told::Run(pass, sight) };
    let seen = observe(before, &observation);
    let (bucket, state) = (stored.bucket(), before.map_or(State::Gone, |known| known.state));
    let moved_from = pair.kept.map(|kept| &kept.bucket).filter(|from| *from != bucket);
    let counted = match moved_from {
        Some(from) => {
            draft.ranges.write(from, pair.key, state, None);
            State::Gone
        }
        None => state,
    };
    if let Some(now) = draft.tell(bucket, pair.key, counted, seen, Telling::synthetic(&listing.run)) {
        return (Some(now.state), Change::Record);
    }
    match before {
        Some(known) if long_gone(known, draft.now) => {
            draft.note(Note::Purged);
            if moved_from.is_none() {
                draft.ranges.write(bucket, pair.key, counted, None);
            }
            (None, Change::Nothing)
        }
        Some(known) if moved_from.is_some() => {
            draft.ranges.write(bucket, pair.key, counted, Some(known.clone()));
            (Some(state), Change::Record)
        }
        Some(_) => (Some(state), Change::Nothing),
        None => (None, Change::Nothing),
    }
}

/// Whether a record that is not listed is gone: not surely where the listing can skip, nor where a range would lose more
/// than 20 % and more than 10 records at once (design §5).
fn doubt(listing: &RangeListing, stored: &Stored<'_>, pairs: &[Pair<'_>]) -> Doubt {
    let there = |pair: &&Pair<'_>| pair.kept.is_some_and(|kept| kept.known.state != State::Gone);
    let lost = |pair: &&Pair<'_>| {
        let pass = stored.pass(&listing.run, pair.key);
        pair.content.is_none()
            && !matches!(pass.standing, Standing::Baseline(Announce::Nothing) | Standing::Rebased)
            && pass.bar(pair.kept.map(|kept| kept.known)).is_none()
            && pair.kept.is_some_and(|kept| matches!(kept.known.state, State::Live(_) | State::Touched))
    };
    match listing.absence {
        Absence::Released => Doubt::Sure,
        _ if !holds(Guard::DoubtfulAbsence) => Doubt::Sure,
        Absence::Doubtful | Absence::Partial => Doubt::Doubtful,
        Absence::Sure => {
            let (there, lost) = (pairs.iter().filter(there).count(), pairs.iter().filter(lost).count());
            if lost > 10 && lost * 5 > there { Doubt::Doubtful } else { Doubt::Sure }
        }
    }
}

/// Whether a record has been gone for so long that it is forgotten. One that went in silence has no time: it is.
fn long_gone(known: &Known, now: Timestamp) -> bool {
    let since = match (known.at, known.sequence) {
        (At::Native(heard), _) => heard,
        (At::Run { .. }, Some(told)) => Timestamp::from_micros(told.0),
        (At::Run { .. }, None) => Timestamp::from_micros(i64::MIN),
    };
    known.state == State::Gone && since.plus(REMEMBERED) < now
}
