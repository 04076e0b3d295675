//! Decides a provider's request: one delivery, all its changes in one WAL record.

use tributary_schemas::{state::Head, wal::Mutation};

use super::{
    draft::Draft,
    event::{Bodies, Telling},
    input::{NativeChange, NativeInput},
    limits::MAX_RECORDS,
};
use crate::{
    range::Ground,
    record::{News, Note, Observation, Told, observe},
    unify::rejection::Rejection,
};

/// Decides a provider's request. The same delivery again is silent.
pub(super) fn decide(input: &NativeInput, draft: &mut Draft<'_>) -> Result<(), Rejection> {
    if input.changes.len() > MAX_RECORDS {
        return Err(Rejection::TooManyRecords);
    }
    if input.decided(draft.known) {
        draft.note(Note::Redelivered);
        return Ok(());
    }
    let account = &input.source.account;
    let raw = |change: &NativeChange| change.raw_event.as_ref().map_or(0, String::len);
    let bodies = Bodies::of(input.changes.iter().map(raw).sum());
    for change in &input.changes {
        let key = change.remote_id.key();
        let ground = Ground::of(draft.known, account, change.resource);
        let bucket = ground.place(draft.known, key);
        let news = News {
            action: change.action,
            received_at: input.received_at,
            occurred_at: change.occurred_at,
            settle: input.settle,
        };
        let observation = Observation { remote_id: &change.remote_id, told: Told::Native(news) };
        let seen = observe(draft.record(&bucket, key), &observation);
        draft.take(&bucket, key, seen, Telling::native(input, change, bodies));
    }
    for resource in input.resources() {
        if draft.known.head(account, resource).is_none() {
            draft.push(Mutation::Head { account: account.clone(), resource, head: Head::NATIVE });
        }
    }
    if let Some(delivery) = input.delivery.key().filter(|_| !input.changes.is_empty()) {
        draft.push(Mutation::Delivery { account: account.clone(), delivery });
    }
    Ok(())
}
