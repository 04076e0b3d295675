//! Which way changes come: the steps of [`Native`].

use tributary_schemas::time::Timestamp;

use super::{Act, Planner, latest};
use crate::control::{
    actual::Subscription,
    fallback::{Native, PATIENCE},
    guard::{Guard, holds},
    wanted::Need,
};

/// The next step between webhooks and polling, if there is one.
pub(super) fn next(
    planner: &mut Planner<'_>,
    need: &Need,
    it: &Subscription,
    landed: Option<Timestamp>,
) -> Option<Act> {
    let speaking = it
        .standing()
        .filter(|(_, of, stands)| stands.is_alive(planner.now) && !stands.paused && planner.fits(need, of))
        .max_by_key(latest)
        .map(|(nonce, _, stands)| (nonce, stands.since));
    let settle = planner.terms().settle;
    let again = |(by, speaks): (_, Timestamp)| {
        let from = speaks.plus(settle);
        if !holds(Guard::CatchUpAfterGap) {
            return Act::Whole { by, speaks, gap: None };
        }
        if need.polls {
            return Act::Return { from, by, speaks };
        }
        let gap = it.native.unsure_since().filter(|_| it.sure_at.is_some()).map(|since| (since, from));
        Act::Whole { by, speaks, gap }
    };
    match (&it.native, speaking) {
        (Native::Whole { by, since, .. }, Some(speaking)) => {
            (speaking != (*by, *since)).then(|| again(speaking))
        }
        (Native::Whole { since, .. }, None) => {
            Some(Act::Break { since: it.sure_at.map_or(*since, |sure| sure.max(*since)) })
        }
        (Native::Broken { .. } | Native::Polling { .. }, Some(speaking)) => Some(again(speaking)),
        (Native::Returning { from, by, speaks, .. }, Some(speaking)) => {
            if speaking != (*by, *speaks) {
                Some(again(speaking))
            } else if landed.is_some_and(|began| began >= *from) {
                Some(Act::Whole { by: *by, speaks: *speaks, gap: None })
            } else {
                None
            }
        }
        (Native::Returning { .. }, None) => Some(Act::FallBack),
        (Native::Broken { since }, None) => {
            let hopeless = it.trouble.as_ref().is_some_and(|it| it.reason.needs_somebody());
            let fall = need.polls && (hopeless || planner.is_due(since.plus(PATIENCE)));
            fall.then_some(Act::FallBack)
        }
        (Native::Polling { .. }, None) => None,
    }
}
