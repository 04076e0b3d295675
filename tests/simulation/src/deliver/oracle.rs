//! What must be true in the end, by the logs and the webhooks alone.

use tributary_core::deliver::interest::selects;

use tributary_schemas::id::WebhookId;

use super::world::{EVENT_LOGS, World};

/// Whether nothing is owed any more.
pub(super) fn is_over(world: &World) -> bool {
    world.retries_are_read() && owed(world).is_none() && quiet(world)
}

fn quiet(world: &World) -> bool {
    world.members.iter().all(|it| !it.alive || it.machine.open() == 0)
}

/// The first event that a webhook wanted all the time and that came to nothing.
fn owed(world: &World) -> Option<String> {
    for (id, announced) in &world.announced {
        for (webhook, since) in &world.wants_since {
            let Some(entity) = world.webhooks.get(webhook) else { continue };
            if announced.appended < *since {
                continue;
            }
            let key = (*id, webhook.clone());
            if world.accepted.contains_key(&key) || world.given_up.contains(&key) {
                continue;
            }
            let gone = world.expired.iter().any(|(log, to, from, until)| {
                let theirs = to.as_ref().is_none_or(|it| it == webhook);
                *log == announced.log && theirs && (*from..*until).contains(&announced.offset)
            });
            if gone || !selects(entity, &announced.event) {
                continue;
            }
            return Some(format!(
                "{webhook} never got log {} offset {}{}",
                announced.log,
                announced.offset,
                if announced.poison { " (always refused)" } else { "" }
            ));
        }
    }
    None
}

/// Judges a history that is over.
pub(super) fn judge(world: &World) -> Result<(), String> {
    if let Some(violation) = world.violations.first() {
        return Err(violation.clone());
    }
    if let Some(owed) = owed(world) {
        return Err(owed);
    }
    if !world.retries_are_read() {
        return Err("a retry was never read".into());
    }
    for log in 0..EVENT_LOGS {
        let held = &world.logs[log];
        let last = held.records.last_key_value().map_or(0, |(offset, _)| offset + 1);
        let committed = held.committed.as_ref().map_or(0, |(offset, _)| *offset);
        if committed < last {
            return Err(format!("log {log} is committed at {committed}, and holds records up to {last}"));
        }
    }
    // Whoever was enabled again may be told again what a view that lagged let through.
    let always =
        |webhook: &WebhookId| world.webhooks.get(webhook).is_some_and(|it| it.enabled_at == it.created_at);
    let mut twice = world.accepted.iter().filter(|((_, webhook), times)| **times > 1 && always(webhook));
    if world.quiet
        && let Some(((_, webhook), times)) = twice.next()
    {
        return Err(format!("{webhook} got an event {times} times though nothing went wrong"));
    }
    Ok(())
}
