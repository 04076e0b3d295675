//! Decides a full scan's summary: earlier runs are stale from here on, and its cut stands.

use tributary_schemas::{observation::Summary, state::Head, wal::Mutation};

use super::draft::Draft;
use crate::{
    note::Note,
    ranges::{COARSENS, FINEST},
    rejection::Rejection,
};

/// Decides a full scan's summary.
pub(super) fn decide(summary: &Summary, draft: &mut Draft<'_>) -> Result<(), Rejection> {
    let run = &summary.run;
    if run.bits > FINEST {
        return Err(Rejection::CutTooFine);
    }
    let before = draft.known.head(&run.source.account, run.resource);
    if before.and_then(|head| head.last_full_run).is_some_and(|last| last >= run.run) {
        draft.note(Note::StaleRun);
        return Ok(());
    }
    let last_full_run = Some(run.run);
    let head = match before {
        None => Head { last_full_run, bits: run.bits, bits_before: None, moved: 0 },
        Some(head) if head.bits == run.bits => Head { last_full_run, ..head },
        // One move at a time: a record is looked for in two cuts, never in three.
        Some(Head { bits_before: Some(_), .. }) => {
            draft.note(Note::MoveUnfinished);
            return Ok(());
        }
        Some(head) if head.bits.get() > run.bits.get() + COARSENS => return Err(Rejection::CutTooCoarse),
        Some(head) => Head { last_full_run, bits: run.bits, bits_before: Some(head.bits), moved: 0 },
    };
    draft.push(Mutation::Head { account: run.source.account.clone(), resource: run.resource, head });
    Ok(())
}
