//! What must be true, always and in the end, told from the provider's side: it knows nothing of plans.

use std::collections::BTreeMap;

use tributary_core::control::{
    actual::{ProviderEvent, Stage},
    fallback::Native,
    plan::{Impossible, Outcome},
    terms::Finds,
};

use super::{
    provider::Ask,
    world::{CALM, END, HOUR, MINUTE, SECOND, World, events},
};

/// Two may speak for one event no longer than this: a call may land 20 min after it was given up, is looked for an hour after,
/// and the look, then the deletion, may each meet a provider that is away.
pub(super) const DOUBLED: i64 = 3 * HOUR;

/// How many speak for an event so that we take it: what is answered 410 does not.
fn speaking(world: &World, account: usize, event: &ProviderEvent) -> usize {
    let it = &world.accounts[account];
    let orphan = |nonce| {
        let of = it.rows.get(event).and_then(|row| row.registrations.get(nonce));
        of.is_some_and(|of| matches!(of.stage, Stage::Orphan { .. }))
    };
    let kept = it.provider.kept.values();
    kept.filter(|of| of.event == *event && of.is_there(world.now) && !orphan(&of.nonce)).count()
}

/// Looks whether two speak for one event, and for how long.
pub(super) fn watch(world: &mut World, account: usize) {
    if world.accounts[account].left.is_some() {
        // What is left of it is answered 410, and judged in the end.
        return world.accounts[account].doubled.clear();
    }
    for event in events() {
        let now = world.now;
        if speaking(world, account, &event) < 2 {
            world.accounts[account].doubled.remove(&event);
            continue;
        }
        let since = *world.accounts[account].doubled.entry(event.clone()).or_insert(now);
        world.longest_double = world.longest_double.max(now - since);
        if now - since > DOUBLED {
            world.violated(format!("account {account}: two for {event} since {} s", since / SECOND));
        }
    }
}

/// Watches all, again and again.
pub(super) fn patrol(world: &mut World) {
    for account in 0..world.accounts.len() {
        watch(world, account);
    }
    world.after(5 * MINUTE, patrol);
}

/// A call is made: where nothing tells whether the one before landed, not so soon.
pub(super) fn asked(world: &mut World, account: usize, ask: &Ask) {
    let Ask::Make { event, .. } = ask else { return };
    let now = world.now;
    let it = &mut world.accounts[account];
    if it.provider.terms.is_blind()
        && let Some(before) = it.asked.insert(event.clone(), now)
        && now - before < 9 * MINUTE
        && it.wanted_since.get(event).is_some_and(|since| *since < before)
    {
        world.violated(format!(
            "account {account}: {event} asked for twice within {} s",
            (now - before) / SECOND
        ));
    }
}

/// Judges how the world ended.
pub(super) fn judge(world: &World) -> Result<(), String> {
    if let Some(violation) = &world.violation {
        return Err(violation.clone());
    }
    for (number, it) in world.accounts.iter().enumerate() {
        let there: BTreeMap<_, _> =
            it.provider.kept.iter().filter(|(_, of)| of.is_there(world.now)).collect();
        match (&it.leaving_since, &it.left) {
            (Some(_), None) => return Err(format!("account {number} never left: {:#?}", it.rows)),
            (Some(_), Some((Outcome::Confirmed, _))) => {
                if let Some((id, of)) = there.first_key_value() {
                    return Err(format!("account {number} left for sure, and {} is there: {of:?}", id.0));
                }
                continue;
            }
            (Some(_), Some((Outcome::Impossible(Impossible::Unfindable), _))) => {
                if it.provider.terms.finds == Finds::List {
                    return Err(format!("account {number}: what is there could have been found"));
                }
                continue;
            }
            (Some(_), Some((outcome, _))) => {
                return Err(format!("account {number}: {outcome:?}, but it answered"));
            }
            (None, _) => {}
        }
        for event in events() {
            let wanted = it.needs.get(&event);
            let row = it.rows.get(&event);
            let orphan = |nonce| {
                let of = row.and_then(|row| row.registrations.get(nonce));
                of.is_some_and(|of| matches!(of.stage, Stage::Orphan { .. }))
            };
            let speaking: Vec<_> =
                there.iter().filter(|(_, of)| of.event == event && !orphan(&of.nonce)).collect();
            let told = format!("account {number}, {event}");
            if speaking.len() != usize::from(wanted.is_some()) {
                return Err(format!(
                    "{told}: {} at the provider, wanted: {}; {row:#?}",
                    speaking.len(),
                    wanted.is_some()
                ));
            }
            let Some((id, of)) = speaking.first() else { continue };
            let Some(row) = row else { return Err(format!("{told}: there, and we know of none")) };
            let stands = row.registrations.get(&of.nonce).map(|it| &it.stage);
            if !matches!(stands, Some(Stage::Standing(stands)) if stands.id == ***id) {
                return Err(format!("{told}: there, and we think {stands:?}"));
            }
            if of.paused || of.base != it.base || wanted.is_some_and(|need| need.asks != of.asks) {
                return Err(format!("{told}: not as it should be: {of:?}"));
            }
            if !it.secrets.contains(**id) {
                return Err(format!("{told}: what it sends can't be verified"));
            }
            match &row.native {
                Native::Whole { .. } => {}
                // Another has just followed it, as one does now and then.
                Native::Returning { speaks, .. } if world.moment(*speaks, 0) > END - HOUR / 2 => {}
                other => return Err(format!("{told}: {other:?} in the end")),
            }
            if let Some(change) = it.untold.get(&event).and_then(|it| it.first())
                && *change < CALM
            {
                return Err(format!("{told}: what changed at {} s was never told", change / SECOND));
            }
        }
    }
    Ok(())
}
