//! One delivery: an attempt, its record, and what follows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::Rng;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tributary_core::deliver::{
    breaker::{Permit, Prospect},
    interest::{Fit, fits},
    record::Cause,
    retry::{Ended, Verdict, after},
};
use tributary_schemas::{
    delivery::{AttemptOutcome, Delivery},
    entity::{Ordering, Webhook, WebhookStatus},
    event::UnifiedEvent,
    id::WebhookId,
    time::Timestamp,
};

use super::{
    bulkhead::{Bulkhead, Bulkheads},
    log::{Log, attempt_of},
    metrics,
    order::{Order, Orders, Origin},
    parking::Parking,
    post::{Found, Post},
    subscribers::Subscribers,
};
use crate::{
    clock::{now, uptime},
    entity::{WriteError, Writer},
    kafka::View,
};

/// Settles deliveries.
pub(super) struct Attempter {
    /// How long an attempt can take.
    pub(super) deadline: Duration,
    /// Requests in flight for one webhook.
    pub(super) per_webhook: usize,
    pub(super) subscribers: View<Subscribers>,
    pub(super) bulkheads: Bulkheads,
    pub(super) orders: Orders,
    pub(super) parking: Parking,
    pub(super) post: Post,
    pub(super) log: Log,
    pub(super) writer: Writer,
}

/// What a delivery is settled with.
pub(super) struct Share {
    /// The attempts in flight of its kind, first attempts or retries.
    pub(super) slots: Arc<Semaphore>,
    /// Its partition has gone to another reader, who settles it.
    pub(super) gone: CancellationToken,
}

/// Why a webhook is disabled without anybody asking.
#[derive(Debug, Clone, Copy)]
enum Hopeless {
    /// It answered 410.
    Gone,
    /// It has failed for 5 days.
    Failing,
}

impl Attempter {
    pub(super) fn wanted_by(&self, event: &UnifiedEvent) -> Vec<WebhookId> {
        self.subscribers.read().of(event)
    }

    /// The delivery's order. Call it in the order of reading: that is the order in which it joins a line.
    pub(super) fn order(&self, delivery: &Delivery, origin: Origin) -> Order {
        let subscriber = self.subscribers.read().get(&delivery.webhook);
        let asked = subscriber.map_or(Ordering::Unordered, |it| it.webhook.ordering);
        match (asked, origin) {
            (Ordering::Unordered, Origin::Free) => Order::Free,
            (Ordering::Record, _) | (_, Origin::Line) => self.orders.join(delivery),
        }
    }

    /// Returns when the delivery is settled: delivered, refused for good, or parked in a retry topic. Or it is its next
    /// reader's.
    pub(super) async fn settle(
        &self,
        delivery: Delivery,
        mut order: Order,
        share: &Share,
    ) -> anyhow::Result<()> {
        let bulkhead = self.bulkheads.of(&delivery.webhook);
        // A full queue parks: the webhook is slow, and nobody else shall wait for it.
        let Ok(waiting) = bulkhead.waiting.try_acquire() else {
            return self.parking.put_off(delivery, &order, "queue_full").await;
        };
        let ahead = tokio::select! {
            ahead = order.come() => ahead?,
            () = share.gone.cancelled() => return Ok(()),
        };
        let Some(subscriber) = self.subscribers.read().get(&delivery.webhook) else {
            return self.skipped(&delivery, &order, AttemptOutcome::SkippedDisabled).await;
        };
        match fit(&subscriber.webhook, &delivery) {
            Fit::Sent => {}
            Fit::Disabled => return self.skipped(&delivery, &order, AttemptOutcome::SkippedDisabled).await,
            Fit::Filtered => return self.skipped(&delivery, &order, AttemptOutcome::SkippedFiltered).await,
        }
        if let Some(ahead) = ahead {
            return self.parking.put_behind(delivery, &order, ahead).await;
        }
        let in_flight = bulkhead.in_flight.acquire().await?;
        let others = self.per_webhook.saturating_sub(bulkhead.in_flight.available_permits() + 1);
        let permit = bulkhead.breaker().ask(uptime(), others, self.deadline);
        if permit == Permit::Park {
            drop((waiting, in_flight));
            return self.parking.put_off(delivery, &order, "breaker").await;
        }
        let slot = bulkhead.slot(&subscriber.webhook, &share.slots).await?;
        drop(waiting);
        ::metrics::gauge!(metrics::IN_FLIGHT).increment(1.0);
        let begun = (now(), Instant::now());
        let found = tokio::select! {
            biased;
            () = share.gone.cancelled() => None,
            found = self.post.send(&delivery, &subscriber, begun.0) => Some(found),
        };
        ::metrics::gauge!(metrics::IN_FLIGHT).decrement(1.0);
        drop((in_flight, slot));
        let Some(found) = found else { return Ok(()) };
        self.follow(delivery, order, &subscriber.webhook, &bulkhead, found, begun).await
    }

    async fn follow(
        &self,
        delivery: Delivery,
        order: Order,
        webhook: &Webhook,
        bulkhead: &Bulkhead,
        found: Found,
        begun: (Timestamp, Instant),
    ) -> anyhow::Result<()> {
        let jitter = rand::rng().random_range(0.0..1.0);
        let verdict = after(delivery.attempt, &found.ended, jitter);
        let mut attempt = attempt_of(&delivery, begun);
        attempt.error = found.error;
        attempt.status = match found.ended {
            Ended::Answered { status, .. } => Some(status),
            Ended::TimedOut | Ended::Failed => None,
        };
        attempt.outcome = match verdict {
            Verdict::Delivered => AttemptOutcome::Delivered,
            Verdict::Retry { .. } => AttemptOutcome::Failed,
            Verdict::GiveUp | Verdict::Gone => AttemptOutcome::GivenUp,
        };
        if verdict == Verdict::Delivered && delivery.attempt == 1 {
            let latency = begun.0.since(delivery.event.detected_at).as_secs_f64();
            let mode = delivery.event.mode.name();
            ::metrics::histogram!(metrics::LATENCY_SECONDS, "mode" => mode).record(latency);
        }
        self.judge(webhook, bulkhead, verdict).await?;
        match verdict {
            Verdict::Delivered | Verdict::GiveUp | Verdict::Gone => order.let_go().await?,
            Verdict::Retry { topic, wait } => {
                let next = Delivery { attempt: delivery.attempt + 1, ..delivery };
                attempt.next_at = Some(self.parking.park(next, &order, topic, wait).await?);
            }
        }
        drop(order);
        self.log.add(attempt).await
    }

    /// What the attempt means for the webhook as a whole.
    async fn judge(&self, webhook: &Webhook, bulkhead: &Bulkhead, verdict: Verdict) -> anyhow::Result<()> {
        match verdict {
            Verdict::Delivered => {
                bulkhead.breaker().succeeded();
                Ok(())
            }
            Verdict::Gone => self.disable(webhook, Hopeless::Gone).await,
            Verdict::Retry { .. } | Verdict::GiveUp => {
                let prospect = {
                    let mut breaker = bulkhead.breaker();
                    let before = breaker.name();
                    let prospect = breaker.failed(uptime());
                    if breaker.name() == "open" && before != "open" {
                        ::metrics::counter!(metrics::OPENED).increment(1);
                    }
                    prospect
                };
                match prospect {
                    Prospect::Hopeful => Ok(()),
                    Prospect::Hopeless => self.disable(webhook, Hopeless::Failing).await,
                }
            }
        }
    }

    /// Disables a webhook, unless it has another URL by now.
    async fn disable(&self, webhook: &Webhook, hopeless: Hopeless) -> anyhow::Result<()> {
        let (label, reason) = match hopeless {
            Hopeless::Gone => ("gone", "gone (410)"),
            Hopeless::Failing => ("failing", "failing for 5 days"),
        };
        ::metrics::counter!(metrics::DISABLED, "reason" => label).increment(1);
        tracing::warn!(webhook = webhook.id.as_str(), reason, "webhook disabled");
        let gone = |now: &mut Webhook| {
            if now.url == webhook.url {
                now.status = WebhookStatus::Disabled { reason: reason.into() };
            }
            Ok::<_, WriteError>(())
        };
        match self.writer.update(&webhook.project, webhook.id.as_str(), gone).await {
            Ok(_) | Err(WriteError::NotFound) => Ok(()),
            // It answers 410 again, or fails again, when the next is due: then it is disabled. A database that is away ends
            // nobody's deliveries.
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(webhook = webhook.id.as_str(), error, "a webhook could not be disabled yet");
                ::metrics::counter!(metrics::DISABLE_FAILURES).increment(1);
                Ok(())
            }
        }
    }

    /// It does not fit its webhook as that is now, or there is none any more.
    async fn skipped(
        &self,
        delivery: &Delivery,
        order: &Order,
        outcome: AttemptOutcome,
    ) -> anyhow::Result<()> {
        order.let_go().await?;
        let mut attempt = attempt_of(delivery, (now(), Instant::now()));
        attempt.outcome = outcome;
        self.log.add(attempt).await
    }
}

/// What waited in a queue or a retry topic is sent as its webhook is now. What somebody asked for stands in no log of events.
fn fit(webhook: &Webhook, delivery: &Delivery) -> Fit {
    let cause = if delivery.position.is_some() { Cause::Wanted } else { Cause::Asked };
    fits(webhook, &delivery.event, delivery.event.detected_at, cause)
}
