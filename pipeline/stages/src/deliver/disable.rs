//! Webhooks that are disabled without anybody asking: a URL that is gone, or one that has failed for five days.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tributary_schemas::{
    entity::{Webhook, WebhookStatus},
    id::WebhookId,
    time::Timestamp,
};

use super::metrics;
use crate::entity::{WriteError, Writer};

/// How long a webhook may fail.
const PATIENCE: Duration = Duration::from_secs(5 * 86_400);
/// And how often, at the least.
const FAILURES: u32 = 10;

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hopeless {
    /// It answered 410.
    Gone,
    /// It has failed for 5 days.
    Failing,
}

/// The webhooks that fail, since when, and how often here.
#[derive(Debug, Default)]
pub(super) struct Failures {
    by_webhook: HashMap<WebhookId, Failing>,
}

#[derive(Debug)]
struct Failing {
    /// As the store has it; `None` while it has not been asked.
    since: Option<Timestamp>,
    failures: u32,
}

impl Failures {
    /// An attempt failed: gives whether that is enough.
    pub(super) fn failed(&mut self, webhook: &WebhookId, at: Timestamp) -> bool {
        let failing = self.by_webhook.entry(webhook.clone()).or_insert(Failing { since: None, failures: 0 });
        failing.failures = failing.failures.saturating_add(1);
        failing.failures >= FAILURES && failing.since.is_some_and(|since| at.since(since) >= PATIENCE)
    }

    /// The store says since when it fails.
    pub(super) fn since(&mut self, webhook: &WebhookId, since: Timestamp) {
        if let Some(failing) = self.by_webhook.get_mut(webhook) {
            failing.since = Some(since);
        }
    }

    /// It fails no more, or is another webhook by now.
    pub(super) fn over(&mut self, webhook: &WebhookId) {
        self.by_webhook.remove(webhook);
    }
}

/// Disables a webhook, unless it has another URL by now. A store that is away ends nobody's deliveries: it answers 410 again,
/// or fails again, when the next is due.
pub(super) async fn disable(writer: Writer, webhook: Arc<Webhook>, hopeless: Hopeless) {
    let (label, reason) = match hopeless {
        Hopeless::Gone => ("gone", "gone (410)"),
        Hopeless::Failing => ("failing", "failing for 5 days"),
    };
    let apply = |now: &mut Webhook| {
        if now.url == webhook.url && now.status == WebhookStatus::Enabled {
            now.status = WebhookStatus::Disabled { reason: reason.into() };
        }
        Ok::<_, WriteError>(())
    };
    match writer.update(&webhook.project, webhook.id.as_str(), apply).await {
        Ok(_) => {
            ::metrics::counter!(metrics::DISABLED, "reason" => label).increment(1);
            tracing::warn!(webhook = webhook.id.as_str(), reason, "webhook disabled");
        }
        Err(WriteError::NotFound) => {}
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            tracing::warn!(webhook = webhook.id.as_str(), error, "a webhook could not be disabled yet");
            ::metrics::counter!(metrics::DISABLE_FAILURES).increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now;

    #[test]
    fn five_days_and_ten_failures_are_enough_and_either_alone_is_not() {
        let webhook: WebhookId = "w".parse().unwrap();
        let (begun, day) = (now(), Duration::from_secs(86_400));
        for (failures, days, expected) in [(10, 5, true), (9, 6, false), (1_000, 4, false)] {
            let mut all = Failures::default();
            let mut enough = all.failed(&webhook, begun);
            // It was noted by another process, before.
            all.since(&webhook, begun);
            for _ in 1..failures {
                enough = all.failed(&webhook, begun.plus(day * days));
            }
            assert_eq!(enough, expected, "{failures} failures in {days} days");
            all.over(&webhook);
            assert!(!all.failed(&webhook, begun.plus(day * 30)), "it had succeeded");
        }
    }
}
