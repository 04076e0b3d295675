//! Decides one input message: what changes of what is known, and what is announced (design §6, step 2).
//!
//! Inputs are decided one by one, in the order of the batch; after each, its mutations are put into the batch's cells, so
//! the next one sees them. What an input wants can be read for all inputs of a batch at once, before any is decided: a
//! cut that an input before it brings in holds nothing but what that batch put there.

mod decision;
mod delta;
mod draft;
mod event;
mod input;
mod limits;
mod merge;
mod native;
mod summary;
#[cfg(test)]
mod tests;

use tributary_schemas::{
    id::AccountId,
    observation::Snapshot,
    resource::Resource,
    time::Timestamp,
    wal::{Cut, Mutation},
};

use self::draft::Draft;
#[cfg(test)]
use self::limits::MAX_RECORDS;
pub use self::{
    decision::Decision,
    event::Telling,
    input::{Input, NativeChange, NativeInput},
    limits::{MAX_EVENT_BYTES, MAX_EVENTS, MAX_REMOTE_ID, MAX_WAL_BYTES},
};
use crate::{
    cells::{CellKey, Cells},
    guard::{Guard, holds},
    record::Note,
    unify::rejection::Rejection,
};

/// Decides an input. `known` holds what it wanted, `ts` is the first free timestamp.
///
/// # Errors
/// A [`Rejection`] if the message can't be decided: then it changes nothing.
pub fn decide(input: &Input, known: &Cells, now: Timestamp, ts: i64) -> Result<Decision, Rejection> {
    let account = &input.source().account;
    let mut draft = Draft::new(known, now, ts);
    if known.marked(&CellKey::Forgotten(account.clone())) {
        draft.note(Note::Forgotten);
        return draft.finish();
    }
    if known.is_unreadable(account) && !matches!(input, Input::Snapshot(Snapshot::Forget(_))) {
        return Err(Rejection::UnreadableState);
    }
    if !matches!(input, Input::Snapshot(Snapshot::Forget(_)))
        && input.resources().contains(&Resource::Account)
    {
        return Err(Rejection::NotARecord);
    }
    if input.remote_ids().any(|id| id.as_str().len() > MAX_REMOTE_ID) && holds(Guard::ClosedRefusals) {
        return Err(Rejection::RemoteIdTooLong);
    }
    match input {
        Input::Native(native) => native::decide(native, &mut draft)?,
        Input::Snapshot(Snapshot::Summary(summary)) => summary::decide(summary, &mut draft)?,
        Input::Snapshot(Snapshot::Range(listing)) => merge::merge(listing, &mut draft)?,
        Input::Snapshot(Snapshot::Delta(page)) => delta::decide(page, &mut draft)?,
        Input::Snapshot(Snapshot::Forget(_)) => draft.push(forget(account, known)),
    }
    draft.finish()
}

/// Names every cut that the account's records and rows can be in, so that nothing has to be read to forget them.
fn forget(account: &AccountId, known: &Cells) -> Mutation {
    let cuts = Resource::ALL.into_iter().flat_map(|resource| {
        let head = known.head(account, resource);
        let bits = head.into_iter().flat_map(|head| std::iter::once(head.bits).chain(head.bits_before));
        bits.map(move |bits| Cut { resource, bits })
    });
    Mutation::Forget { account: account.clone(), cuts: cuts.collect() }
}
