//! Judges any plan by what must be true of it. Written apart from the planner: it shares the types and the stated times, and no
//! line of its reasoning.

use std::collections::{BTreeMap, BTreeSet};

use tributary_schemas::time::Timestamp;

use super::{
    actual::{Actual, ProviderEvent, Registration, Stage, Subscription},
    plan::{Act, BLIND_PAUSE, LEAVES_WITHIN, LINGER, Outcome, Plan, Step},
    terms::{Finds, SecretOf, Terms},
    wanted::{Standing, Wanted},
};

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it is")]
pub enum Violation {
    #[error("{0}: wanted, and neither there nor on its way nor waited for")]
    LeftOut(ProviderEvent),
    #[error("{0}: unwanted, and neither going nor waited for")]
    Stays(ProviderEvent),
    #[error("{0}: two steps at once")]
    TwoSteps(ProviderEvent),
    #[error("{0}: planned on another version than was read")]
    OtherVersion(ProviderEvent),
    #[error("{0}: made though one is there or may be on its way")]
    Twice(ProviderEvent),
    #[error(
        "{0}: made sooner than {BLIND_PAUSE:?} after the last, where nothing tells whether that one landed"
    )]
    BlindTooSoon(ProviderEvent),
    #[error("{0}: made though nobody wants it")]
    MadeUnwanted(ProviderEvent),
    #[error("{0}: deleted though it is wanted and nothing stands in its place")]
    DeletedWanted(ProviderEvent),
    #[error("{0}: deleted before it lingered")]
    DeletedEarly(ProviderEvent),
    #[error("{0}: taken over though its secret is not known")]
    AdoptedForeign(ProviderEvent),
    #[error("{0}: given up though it may be there")]
    GivenUp(ProviderEvent),
    #[error("{0}: forgotten though something is left")]
    ForgottenEarly(ProviderEvent),
    #[error("{0}: whole before what was missed has been caught up with")]
    NotCaughtUp(ProviderEvent),
    #[error("{0}: about a registration that is not there")]
    NoSuch(ProviderEvent),
    #[error("more calls than allowed")]
    TooManyCalls,
    #[error("more registrations than the provider takes")]
    OverLimit,
    #[error("calls though the account can't be used")]
    CallsUnusable,
    #[error("credentials wiped though they are needed")]
    WipedEarly,
    #[error("looked sooner than an answer could be there")]
    LookedEarly,
    #[error("to wake in the past")]
    WakesInThePast,
}

/// Judges a plan.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(wanted: &Wanted, actual: &Actual, now: Timestamp, plan: &Plan) -> Result<(), Violation> {
    if plan.wake.is_some_and(|wake| wake <= now) {
        return Err(Violation::WakesInThePast);
    }
    let mut acts = BTreeMap::new();
    let mut verifies = false;
    for step in &plan.steps {
        match step {
            Step::At { event, version, act } => {
                if acts.insert(event, act).is_some() {
                    return Err(Violation::TwoSteps(event.clone()));
                }
                if actual.subscriptions.get(event).map_or(0, |it| it.version) != *version {
                    return Err(Violation::OtherVersion(event.clone()));
                }
            }
            Step::Verify => verifies = true,
            Step::Wipe(outcome) => return may_wipe(wanted, actual, now, *outcome),
        }
    }
    bounds(wanted, actual, &acts, verifies)?;
    let none = Subscription::new(now);
    for (event, act) in &acts {
        one(wanted, event, actual.subscriptions.get(event).unwrap_or(&none), act, actual, now)?;
    }
    let leaving = matches!(wanted.standing, Standing::Leaving { .. });
    let idle = |event: &ProviderEvent| !acts.contains_key(event) && !verifies && plan.wake.is_none();
    for (event, need) in &wanted.needs {
        let there = actual.subscriptions.get(event).is_some_and(|it| {
            it.registrations
                .values()
                .any(|of| stands(of, now) && of.base == wanted.base && of.asks == need.asks)
        });
        if !there && !leaving && wanted.standing == Standing::Usable && idle(event) {
            return Err(Violation::LeftOut(event.clone()));
        }
    }
    for (event, it) in &actual.subscriptions {
        let unwanted = leaving || !wanted.needs.contains_key(event);
        let left = it.registrations.values().any(|of| !matches!(of.stage, Stage::Orphan { .. }));
        if unwanted && left && wanted.standing != Standing::Unusable && idle(event) {
            return Err(Violation::Stays(event.clone()));
        }
    }
    Ok(())
}

/// That a plan stays within what the account, the allowance and the provider permit.
fn bounds(
    wanted: &Wanted,
    actual: &Actual,
    acts: &BTreeMap<&ProviderEvent, &Act>,
    verifies: bool,
) -> Result<(), Violation> {
    let asks_provider = |act: &&&Act| {
        matches!(
            act,
            Act::Create { .. }
                | Act::Again(_)
                | Act::Renew(_)
                | Act::Resume(_)
                | Act::Update { .. }
                | Act::Delete(_)
        )
    };
    let calls = acts.values().filter(asks_provider).count() + usize::from(verifies);
    if calls > wanted.allowance.calls as usize {
        return Err(Violation::TooManyCalls);
    }
    if calls > 0 && wanted.standing == Standing::Unusable {
        return Err(Violation::CallsUnusable);
    }
    let creates = acts.values().filter(|it| matches!(it, Act::Create { .. })).count();
    let there: usize = actual
        .subscriptions
        .values()
        .map(|it| it.registrations.values().filter(|of| !matches!(of.stage, Stage::Orphan { .. })).count())
        .sum();
    if creates > 0 && wanted.terms.limit.is_some_and(|limit| there + creates > limit as usize) {
        return Err(Violation::OverLimit);
    }
    Ok(())
}

/// That one act is right.
fn one(
    wanted: &Wanted,
    event: &ProviderEvent,
    it: &Subscription,
    act: &Act,
    actual: &Actual,
    now: Timestamp,
) -> Result<(), Violation> {
    let terms = &wanted.terms;
    let leaving = matches!(wanted.standing, Standing::Leaving { .. });
    let need = wanted.needs.get(event).filter(|_| !leaving);
    let there = |nonce| it.registrations.get(nonce).ok_or_else(|| Violation::NoSuch(event.clone()));
    let fits = |of: &Registration| {
        stands(of, now) && need.is_some_and(|need| of.asks == need.asks) && of.base == wanted.base
    };
    match act {
        Act::Create { base, asks } => {
            let Some(need) = need else { return Err(Violation::MadeUnwanted(event.clone())) };
            if *asks != need.asks || *base != wanted.base {
                return Err(Violation::MadeUnwanted(event.clone()));
            }
            let pending = |of: &Registration| match &of.stage {
                Stage::Making { intent, .. } => {
                    let could_land = now < intent.written_at.plus(terms.deadline).plus(terms.settle);
                    let unlooked = terms.finds == Finds::List && intent.looks == 0;
                    could_land || unlooked || (terms.finds != Finds::List && terms.refuses_duplicates)
                }
                Stage::Standing(_) | Stage::Ending { .. } | Stage::Orphan { .. } => false,
            };
            if it.registrations.values().any(|of| pending(of) || (fits(of) && !ages(of, now))) {
                return Err(Violation::Twice(event.clone()));
            }
            let blind = terms.finds != Finds::List && !terms.refuses_duplicates;
            if blind && it.created_at.is_some_and(|before| now.since(before) < BLIND_PAUSE) {
                return Err(Violation::BlindTooSoon(event.clone()));
            }
        }
        Act::Delete(nonce) => {
            let of = there(nonce)?;
            if need.is_some() {
                let others = it.registrations.iter().any(|(other, of)| other != nonce && fits(of));
                let limit_reached = terms.limit.is_some();
                if fits(of) && !others && !ages(of, now) && !limit_reached {
                    return Err(Violation::DeletedWanted(event.clone()));
                }
            } else if matches!(of.stage, Stage::Standing(_)) && !leaving {
                let lingered = it.unwanted_since.is_some_and(|since| now.since(since) >= LINGER);
                if !lingered {
                    return Err(Violation::DeletedEarly(event.clone()));
                }
            }
        }
        Act::Adopt(nonce) => {
            there(nonce)?;
            if terms.secret == SecretOf::InTheAnswer {
                return Err(Violation::AdoptedForeign(event.clone()));
            }
        }
        Act::Drop(nonce) => {
            let over = match &there(nonce)?.stage {
                Stage::Making { intent, seen } => {
                    let hour = std::time::Duration::from_secs(3_600);
                    seen.is_none() && now.since(intent.written_at) >= terms.deadline + terms.settle + hour
                }
                Stage::Orphan { until, .. } => *until <= now,
                Stage::Standing(_) | Stage::Ending { .. } => false,
            };
            if !over {
                return Err(Violation::GivenUp(event.clone()));
            }
        }
        Act::Orphan(nonce) => {
            there(nonce)?;
            let blind = terms.finds != Finds::List && !terms.refuses_duplicates;
            let replaced = need.is_none() || it.registrations.values().any(fits);
            if !blind || !replaced {
                return Err(Violation::GivenUp(event.clone()));
            }
        }
        Act::Forget => {
            if !it.registrations.is_empty() || need.is_some() {
                return Err(Violation::ForgottenEarly(event.clone()));
            }
        }
        Act::Whole { by, speaks, .. } => {
            there(by)?;
            let caught_up = actual.landed.get(event).is_some_and(|began| *began >= speaks.plus(terms.settle));
            if need.is_some_and(|need| need.polls) && !caught_up {
                return Err(Violation::NotCaughtUp(event.clone()));
            }
        }
        Act::Again(nonce) => {
            if early(there(nonce)?, terms, now) {
                return Err(Violation::LookedEarly);
            }
        }
        Act::Renew(nonce) | Act::Resume(nonce) | Act::Update { registration: nonce, .. } => {
            there(nonce)?;
        }
        Act::Return { by, .. } => {
            there(by)?;
        }
        Act::Want | Act::Linger | Act::Break { .. } | Act::FallBack | Act::Refuse(_) => {}
    }
    Ok(())
}

/// Whether its call could still land.
fn early(of: &Registration, terms: &Terms, now: Timestamp) -> bool {
    match &of.stage {
        Stage::Making { intent, .. } => now < intent.written_at.plus(terms.deadline).plus(terms.settle),
        Stage::Standing(_) | Stage::Ending { .. } | Stage::Orphan { .. } => false,
    }
}

/// Whether it is there and speaks.
fn stands(of: &Registration, now: Timestamp) -> bool {
    match &of.stage {
        Stage::Standing(stands) => !stands.paused && stands.life.is_none_or(|(_, ends)| now < ends),
        Stage::Making { .. } | Stage::Ending { .. } | Stage::Orphan { .. } => false,
    }
}

/// Whether more than half of its life is over, so that another may follow.
fn ages(of: &Registration, now: Timestamp) -> bool {
    match &of.stage {
        Stage::Standing(stands) => {
            stands.life.is_some_and(|(began, ends)| now.since(began) * 2 >= ends.since(began))
        }
        Stage::Making { .. } | Stage::Ending { .. } | Stage::Orphan { .. } => false,
    }
}

/// That credentials are not needed any more.
fn may_wipe(wanted: &Wanted, actual: &Actual, now: Timestamp, outcome: Outcome) -> Result<(), Violation> {
    let Standing::Leaving { since } = wanted.standing else { return Err(Violation::WipedEarly) };
    let left: BTreeSet<bool> = actual
        .subscriptions
        .values()
        .flat_map(|it| it.registrations.values())
        .map(|of| match &of.stage {
            Stage::Ending { trouble: Some(trouble), .. } => !trouble.reason.needs_somebody(),
            Stage::Orphan { .. } => false,
            Stage::Making { .. } | Stage::Standing(_) | Stage::Ending { .. } => true,
        })
        .collect();
    let untried = left.contains(&true);
    let right = match outcome {
        Outcome::Confirmed => left.is_empty(),
        Outcome::Impossible(_) => !left.is_empty() && (!untried || now.since(since) >= LEAVES_WITHIN),
    };
    if right { Ok(()) } else { Err(Violation::WipedEarly) }
}
