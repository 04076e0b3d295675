//! One delivery: an attempt, its record, and what follows.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use anyhow::Context;
use rand::Rng;
use reqwest::Method;
use serde_json::json;
use tokio::sync::Semaphore;
use tributary_core::{
    breaker::{Breaker, Permit, Prospect},
    retry::{Ended, Verdict, after},
    sign,
};
use tributary_schemas::{
    body, codec,
    delivery::{Attempt, AttemptOutcome, Delivery},
    entity::{Webhook, WebhookStatus},
    event::UnifiedEvent,
    id::WebhookId,
    time::Timestamp,
    topic::{RETRY_DELAYS, RetryDelay, Topics},
};

use super::{
    Config,
    dispatch::retry_topics,
    metrics,
    subscribers::{Subscriber, Subscribers},
};
use crate::{
    clock::now,
    dial::{DialError, Dialer},
    entity::{WriteError, Writer},
    kafka::{Incoming, Outgoing, Publisher, View},
    store::{AttemptRow, ControlStore},
};

/// Bytes of an answer that are read.
const ANSWER_MOST: usize = 16 << 10;

pub(super) struct Attempter {
    config: Config,
    topics: Topics,
    dialer: Dialer,
    publisher: Publisher,
    store: Arc<dyn ControlStore>,
    writer: Writer,
    subscribers: View<Subscribers>,
    bulkheads: Mutex<HashMap<WebhookId, Arc<Bulkhead>>>,
    delivery_topics: HashSet<String>,
}

/// One webhook's share: so many in flight, so many waiting.
struct Bulkhead {
    in_flight: Semaphore,
    waiting: Semaphore,
    breaker: Mutex<Breaker>,
}

impl Bulkhead {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Why a webhook is disabled without anybody asking.
#[derive(Debug, Clone, Copy)]
enum Hopeless {
    /// It answered 410.
    Gone,
    /// It has failed for 5 days.
    Failing,
}

/// What an attempt found.
struct Found {
    ended: Ended,
    error: Option<String>,
}

impl Attempter {
    pub(super) fn new(
        config: Config,
        topics: Topics,
        dialer: Dialer,
        publisher: Publisher,
        store: Arc<dyn ControlStore>,
        writer: Writer,
        subscribers: View<Subscribers>,
    ) -> Self {
        let mut delivery_topics: HashSet<String> = retry_topics(&topics).into_iter().collect();
        delivery_topics.insert(topics.deliver_requests());
        let bulkheads = Mutex::default();
        Self { config, topics, dialer, publisher, store, writer, subscribers, bulkheads, delivery_topics }
    }

    /// Whether a topic's records are deliveries rather than events.
    pub(super) fn holds_deliveries(&self, topic: &str) -> bool {
        self.delivery_topics.contains(topic)
    }

    pub(super) fn wanted_by(&self, event: &UnifiedEvent) -> Vec<WebhookId> {
        self.subscribers.read().of(event)
    }

    /// Returns when the delivery is settled: delivered, refused for good, or parked in a retry topic.
    pub(super) async fn settle(&self, delivery: Delivery, slots: &Semaphore) -> anyhow::Result<()> {
        let subscriber = self.subscribers.read().get(&delivery.webhook);
        let Some(subscriber) = subscriber.filter(|it| it.webhook.status == WebhookStatus::Enabled) else {
            return self.skipped(&delivery).await;
        };
        let bulkhead = self.bulkhead(&delivery.webhook);
        // A full queue parks: the webhook is slow, and nobody else shall wait for it.
        let Ok(waiting) = bulkhead.waiting.try_acquire() else {
            return self.put_off(delivery, "queue_full").await;
        };
        let in_flight = bulkhead.in_flight.acquire().await?;
        let others = self.config.per_webhook.saturating_sub(bulkhead.in_flight.available_permits() + 1);
        let patience = Duration::from_secs(self.config.deadline_seconds);
        let permit = bulkhead.breaker().ask(now(), others, patience);
        if permit == Permit::Park {
            drop((waiting, in_flight));
            return self.put_off(delivery, "breaker").await;
        }
        let slot = slots.acquire().await?;
        drop(waiting);
        ::metrics::gauge!(metrics::IN_FLIGHT).increment(1.0);
        let begun = (now(), Instant::now());
        let found = self.attempt(&delivery, &subscriber, begun.0).await;
        ::metrics::gauge!(metrics::IN_FLIGHT).decrement(1.0);
        drop((in_flight, slot));
        self.follow(delivery, &subscriber.webhook, &bulkhead, found, begun).await
    }

    /// Parks a delivery that was not tried, in the shortest retry topic: that is no attempt.
    async fn put_off(&self, delivery: Delivery, reason: &'static str) -> anyhow::Result<()> {
        ::metrics::counter!(metrics::PARKED, "reason" => reason).increment(1);
        let shortest = RETRY_DELAYS[0];
        self.park(delivery, shortest, self.scaled(shortest.delay)).await.map(drop)
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
                    let prospect = breaker.failed(now());
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

    async fn attempt(&self, delivery: &Delivery, subscriber: &Subscriber, at: Timestamp) -> Found {
        let failed = |error: String| Found { ended: Ended::Failed, error: Some(error) };
        let request = match self.request(delivery, subscriber, at) {
            Ok(request) => request,
            Err(error) => return failed(format!("{error:#}")),
        };
        match self.dialer.send(request, ANSWER_MOST).await {
            Ok((parts, _)) => {
                let retry_after = parts.headers.get("retry-after").and_then(|value| value.to_str().ok());
                let status = parts.status.as_u16();
                Found {
                    ended: Ended::Answered { status, retry_after: retry_after.and_then(wait) },
                    error: None,
                }
            }
            Err(DialError::Timeout) => {
                Found { ended: Ended::TimedOut, error: Some("no answer in time".into()) }
            }
            // Where an inside name leads is nobody's business outside.
            Err(DialError::Refused(refused)) => {
                tracing::info!(webhook = delivery.webhook.as_str(), %refused, "not dialled");
                failed("the URL does not lead to an address that may be called".into())
            }
            Err(error @ DialError::Failed(_)) => failed(error.to_string()),
        }
    }

    /// The exact bytes that are signed are the bytes that are sent.
    fn request(
        &self,
        delivery: &Delivery,
        subscriber: &Subscriber,
        at: Timestamp,
    ) -> anyhow::Result<reqwest::RequestBuilder> {
        let event = &delivery.event;
        let body = body::body(event, subscriber.webhook.record_type, at)?;
        let id = sign::webhook_id(event.event_id, &delivery.webhook);
        let mut request = self.dialer.request(Method::POST, &subscriber.webhook.url)?;
        for (name, value) in &subscriber.headers {
            request = request.header(name, value.expose());
        }
        let secrets =
            subscriber.secrets.iter().map(|it| it.expose_text()).collect::<anyhow::Result<Vec<&str>>>()?;
        if let Some(signature) = sign::standard(secrets, &id, at, &body) {
            request = request.header("webhook-signature", signature);
        }
        if let Some(active) = &subscriber.active {
            request =
                request.header(&self.config.signature_header, sign::compat(active.expose_text()?, &body));
        }
        Ok(request
            .header("content-type", "application/json")
            .header("user-agent", concat!("tributary/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &id)
            .header("webhook-timestamp", at.as_seconds().to_string())
            .header("x-tributary-event-id", event.event_id.to_string())
            .header("x-tributary-sequence", event.sequence.0.to_string())
            .header("x-tributary-attempt", delivery.attempt.to_string())
            .header("x-tributary-mode", event.mode.name())
            .body(body))
    }

    async fn follow(
        &self,
        delivery: Delivery,
        webhook: &Webhook,
        bulkhead: &Bulkhead,
        found: Found,
        begun: (Timestamp, Instant),
    ) -> anyhow::Result<()> {
        let jitter = rand::rng().random_range(0.0..1.0);
        let verdict = after(delivery.attempt, &found.ended, jitter);
        let mut attempt = self.record(&delivery, begun);
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
        if verdict == Verdict::Delivered {
            let latency = begun.0.since(delivery.event.detected_at).as_secs_f64();
            ::metrics::histogram!(metrics::LATENCY_SECONDS).record(latency);
        }
        self.judge(webhook, bulkhead, verdict).await?;
        match verdict {
            Verdict::Delivered | Verdict::GiveUp | Verdict::Gone => {}
            Verdict::Retry { topic, wait } => {
                let next = Delivery { attempt: delivery.attempt + 1, ..delivery };
                attempt.next_at = Some(self.park(next, topic, self.scaled(wait)).await?);
            }
        }
        self.log(attempt).await
    }

    /// Parks a delivery until it is due; when it is on the broker, it is settled here.
    async fn park(
        &self,
        mut delivery: Delivery,
        topic: RetryDelay,
        wait: Duration,
    ) -> anyhow::Result<Timestamp> {
        delivery.due = now().plus(wait);
        let due = delivery.due;
        let record = Outgoing {
            topic: self.topics.deliver_retry(topic),
            key: delivery.webhook.as_str().as_bytes().to_vec().into(),
            payload: Some(codec::encode(&delivery).into()),
            ..Outgoing::default()
        };
        self.publisher.send(record).await.context("parking a delivery")?;
        Ok(due)
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
            Err(error) => Err(error.into()),
        }
    }

    /// Its webhook is disabled, or there is none any more.
    async fn skipped(&self, delivery: &Delivery) -> anyhow::Result<()> {
        let mut attempt = self.record(delivery, (now(), Instant::now()));
        attempt.outcome = AttemptOutcome::SkippedDisabled;
        self.log(attempt).await
    }

    fn record(&self, delivery: &Delivery, begun: (Timestamp, Instant)) -> Attempt {
        let event = &delivery.event;
        Attempt {
            delivery_id: sign::webhook_id(event.event_id, &delivery.webhook),
            webhook_id: delivery.webhook.clone(),
            project_id: event.project.clone(),
            event_id: event.event_id,
            event: event.event,
            attempt: delivery.attempt,
            at: begun.0,
            took_ms: u64::try_from(begun.1.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome: AttemptOutcome::Failed,
            status: None,
            error: None,
            next_at: None,
        }
    }

    /// The log is never a reason to send again: what it holds was done.
    async fn log(&self, attempt: Attempt) -> anyhow::Result<()> {
        let class = match attempt.status {
            Some(status) => format!("{}xx", status / 100),
            None => "none".into(),
        };
        ::metrics::counter!(metrics::ATTEMPTS, "outcome" => attempt.outcome.name(), "status" => class)
            .increment(1);
        ::metrics::histogram!(metrics::ATTEMPT_SECONDS).record(attempt.took_ms as f64 / 1e3);
        let doc = serde_json::to_vec(&attempt)?;
        let record = Outgoing {
            topic: self.topics.deliver_attempts(),
            key: attempt.webhook_id.as_str().as_bytes().to_vec().into(),
            payload: Some(doc.clone().into()),
            ..Outgoing::default()
        };
        let row =
            AttemptRow { webhook: attempt.webhook_id, delivery: attempt.delivery_id, at: attempt.at, doc };
        let (published, added) =
            tokio::join!(self.publisher.send(record), self.store.add_attempts(std::slice::from_ref(&row)));
        published.context("logging an attempt")?;
        if let Err(error) = added {
            // The topic has it; the table is for the API alone.
            tracing::warn!(%error, "an attempt is missing from the API's log");
        }
        Ok(())
    }

    /// Sets aside what can't be read, with its reason.
    pub(super) async fn dead(&self, record: &Incoming, reason: &str) -> anyhow::Result<()> {
        let (topic, partition, offset) = (&*record.at.topic, record.at.partition, record.offset);
        tracing::warn!(topic, partition, offset, reason, "record set aside");
        let letter = json!({ "topic": topic, "partition": partition, "offset": offset, "reason": reason });
        let payload = Some(serde_json::to_vec(&letter)?.into());
        let dead = Outgoing { topic: self.topics.deliver_dead(), payload, ..Outgoing::default() };
        self.publisher.send(dead).await.context("setting a record aside")?;
        Ok(())
    }

    pub(super) fn finish(&self) -> anyhow::Result<()> {
        self.publisher.flush(Duration::from_secs(5))
    }

    fn bulkhead(&self, webhook: &WebhookId) -> Arc<Bulkhead> {
        let mut bulkheads = self.bulkheads.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let make = || {
            let (in_flight, waiting) =
                (Semaphore::new(self.config.per_webhook), Semaphore::new(self.config.queue));
            Arc::new(Bulkhead { in_flight, waiting, breaker: Mutex::default() })
        };
        bulkheads.entry(webhook.clone()).or_insert_with(make).clone()
    }

    fn scaled(&self, wait: Duration) -> Duration {
        wait.mul_f64(self.config.test_retry_scale.unwrap_or(1.0))
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110 §10.2.3).
fn wait(text: &str) -> Option<Duration> {
    crate::dial::retry_after(text, now())
}
