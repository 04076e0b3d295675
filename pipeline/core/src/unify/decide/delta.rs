//! Decides a page of changed records, by point reads. A delta never deletes, unless the provider names what is gone.

use tributary_schemas::{
    id::RemoteId,
    observation::{DeltaPage, Run},
    state::RangeRow,
};

use super::{draft::Draft, event::Telling, limits::MAX_RECORDS};
use crate::{
    range::Ground,
    record::{Hashes, Note, Observation, Pass, Sight, Standing, Told, observe},
    unify::rejection::Rejection,
};

/// Decides a page of changed records.
pub(super) fn decide(page: &DeltaPage, draft: &mut Draft<'_>) -> Result<(), Rejection> {
    if page.changed.len() + page.deleted.len() > MAX_RECORDS {
        return Err(Rejection::TooManyRecords);
    }
    let run = &page.run;
    let head = draft.known.head(&run.source.account, run.resource);
    let pass = Pass {
        run: run.run,
        begun_at: run.begun_at,
        settle: run.settle,
        last_full_run: head.and_then(|head| head.last_full_run),
        standing: Standing::Compared,
        hashes: Hashes::Comparable,
    };
    if pass.overtaken() {
        draft.note(Note::StaleRun);
        return Ok(());
    }
    let ground = Ground::of(draft.known, &run.source.account, run.resource);
    let changed = page.changed.iter().map(|listed| (&listed.remote_id, Sight::Listed(listed.content)));
    let deleted = page.deleted.iter().map(|it| (&it.remote_id, Sight::Deleted(it.deleted_at)));
    let telling = Telling::delta(page);
    for (remote_id, sight) in changed.chain(deleted) {
        see(page, &pass, (remote_id, sight), &ground, draft, telling.clone());
    }
    Ok(())
}

fn see(
    page: &DeltaPage,
    pass: &Pass,
    (remote_id, sight): (&RemoteId, Sight),
    ground: &Ground,
    draft: &mut Draft<'_>,
    telling: Telling<'_>,
) {
    let key = remote_id.key();
    let bucket = ground.place(draft.known, key);
    if let Some(note) = dropped(&page.run, draft.ranges.row(&bucket)) {
        draft.note(note);
        return;
    }
    let observation = Observation { remote_id, told: Told::Run(pass.clone(), sight) };
    let seen = observe(draft.record(&bucket, key), &observation);
    draft.take(&bucket, key, seen, telling);
}

/// Why a delta says nothing about a range: it has had no baseline, or its hashes are of another projection.
fn dropped(run: &Run, row: Option<&RangeRow>) -> Option<Note> {
    let row = row.filter(|row| row.run.is_some_and(|last| last >= run.baseline.from));
    match row {
        None => Some(Note::NoBaseline),
        Some(row) if row.projection != Some(run.projection) => Some(Note::OtherProjection),
        Some(_) => None,
    }
}
