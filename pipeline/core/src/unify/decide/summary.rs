//! Decides a full scan's summary: earlier runs are stale from here on, and its cut stands.

use tributary_schemas::{observation::Summary, state::Head, wal::Mutation};

use super::draft::Draft;
use crate::{
    range::{COARSENS, FINEST},
    record::Note,
    unify::rejection::Rejection,
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
    // The cut that the records are in, and whether the run has another.
    let kept = before.map(|head| head.bits_before.filter(|_| head.moved == 0).unwrap_or(head.bits));
    let head = match (before, kept) {
        (Some(head), _) if head.bits == run.bits => Head { last_full_run, ..head },
        // One move at a time: a record is looked for in two cuts, never in three.
        (Some(head), _) if head.moved > 0 => {
            draft.note(Note::MoveUnfinished);
            return Ok(());
        }
        (_, Some(kept)) if kept.get() > run.bits.get() + COARSENS => return Err(Rejection::CutTooCoarse),
        (_, kept) => {
            let bits_before = kept.filter(|kept| *kept != run.bits);
            Head { last_full_run, bits: run.bits, bits_before, moved: 0 }
        }
    };
    draft.push(Mutation::Head { account: run.source.account.clone(), resource: run.resource, head });
    Ok(())
}
