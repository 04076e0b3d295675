//! An attempt, and what follows it: done on tasks of their own, decided by the machine.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use serde_json::json;
use tributary_core::deliver::{
    interest::Fit,
    process::Follow,
    queue::Queued,
    record::Record,
    retry::{Ended, Verdict},
};
use tributary_schemas::{
    codec,
    delivery::{AttemptOutcome, Delivery, Line},
    entity::Webhook,
    id::WebhookId,
    time::Timestamp,
    topic::{RetryDelay, Topics},
};

use super::{
    again::until_done,
    line::{Lines, Row},
    log::{Log, attempt_of},
    logs::ORDERING,
    metrics,
    post::{Post, Tried},
    subscribers::Subscriber,
};
use crate::{
    clock::now,
    kafka::{Outgoing, PublishError, Publisher},
};

/// How much later than the one before it a held delivery is due, so that they come in their order.
const BEHIND: Duration = Duration::from_millis(10);

/// Makes attempts, and does what follows them.
pub(super) struct Work {
    pub(super) topics: Topics,
    pub(super) publisher: Publisher,
    pub(super) post: Post,
    pub(super) lines: Lines,
    pub(super) log: Log,
    /// Waits are multiplied by this: 1, but in tests.
    pub(super) scale: f64,
}

impl Work {
    /// Asks the subscriber, unless another of the line is parked before this one.
    pub(super) async fn attempt(&self, queued: &Queued, webhook: &Webhook, subscriber: &Subscriber) -> Tried {
        let attempted = AssertUnwindSafe(self.attempted(queued, webhook, subscriber)).catch_unwind().await;
        attempted.unwrap_or_else(|_| Tried::not_made(Ended::Panicked, Some("a fault of ours".into())))
    }

    async fn attempted(&self, queued: &Queued, webhook: &Webhook, subscriber: &Subscriber) -> Tried {
        let record = &queued.record;
        let Some(line) = &queued.line else { return self.post.send(record, webhook, subscriber).await };
        let (row, ahead) = match self.lines.look(line, record.event.sequence).await {
            Ok(looked) => looked,
            Err(error) => {
                tracing::warn!(%error, "an ordered webhook waits for the store");
                ::metrics::counter!(metrics::RETRIED, "reason" => "line").increment(1);
                return Tried::not_made(Ended::Ours, None);
            }
        };
        if let Some(due) = ahead {
            let ahead = (due.since(now()) + BEHIND).div_f64(self.scale);
            return Tried { row, ..Tried::not_made(Ended::Held { ahead }, None) };
        }
        Tried { row, ..self.post.send(record, webhook, subscriber).await }
    }

    /// Does what follows an attempt: when this returns, it is settled.
    pub(super) async fn follow(&self, queued: &Queued, what: Follow, tried: Tried) {
        let (record, id) = (&queued.record, &queued.reader.webhook);
        match what {
            Follow::Skipped(fit) => {
                if record.held || queued.line.is_some() {
                    let line = record.line(id);
                    let sequence = record.event.sequence;
                    let look = || self.lines.look(&line, sequence);
                    let (row, _) = until_done("line", look).await;
                    self.settle_line(Some(&line), record, row).await;
                }
                let outcome = match fit {
                    Fit::Disabled => AttemptOutcome::SkippedDisabled,
                    Fit::Filtered | Fit::Sent => AttemptOutcome::SkippedFiltered,
                };
                self.log(record, id, &tried, outcome, None).await;
            }
            Follow::Tried { verdict, .. } => self.follow_tried(queued, verdict, tried).await,
        }
    }

    async fn follow_tried(&self, queued: &Queued, verdict: Verdict, tried: Tried) {
        let (record, id, line) = (&queued.record, &queued.reader.webhook, queued.line.as_ref());
        let (outcome, next_at) = match verdict {
            Verdict::Delivered => {
                if record.attempt == 1 && queued.live {
                    let latency = tried.at.since(record.event.detected_at).as_secs_f64();
                    let mode = record.event.mode.name();
                    ::metrics::histogram!(metrics::LATENCY_SECONDS, "mode" => mode).record(latency);
                }
                self.settle_line(line, record, tried.row).await;
                (AttemptOutcome::Delivered, None)
            }
            Verdict::GiveUp | Verdict::Gone => {
                self.settle_line(line, record, tried.row).await;
                (AttemptOutcome::GivenUp, None)
            }
            Verdict::SetAside => {
                self.set_aside(record, id, tried.error.as_deref().unwrap_or_default()).await;
                self.settle_line(line, record, tried.row).await;
                (AttemptOutcome::SetAside, None)
            }
            Verdict::Retry { topic, wait } => match self.park(queued, topic, wait, 1, tried.row).await {
                Some(due) => (AttemptOutcome::Failed, Some(due)),
                None => (AttemptOutcome::GivenUp, None),
            },
            Verdict::Behind { topic, wait } => {
                ::metrics::counter!(metrics::HELD).increment(1);
                self.park(queued, topic, wait, 0, tried.row).await;
                return;
            }
            // The machine reads it again.
            Verdict::Again => return,
        };
        self.log(record, id, &tried, outcome, next_at).await;
    }

    async fn log(
        &self,
        record: &Record,
        webhook: &WebhookId,
        tried: &Tried,
        outcome: AttemptOutcome,
        next_at: Option<Timestamp>,
    ) {
        let attempt =
            tributary_schemas::delivery::Attempt { next_at, ..attempt_of(record, webhook, tried, outcome) };
        until_done("log", || self.log.add(&attempt)).await;
    }

    /// It is settled for good, and holds back nobody of its line.
    async fn settle_line(&self, line: Option<&Line>, record: &Record, row: Row) {
        if let Some(line) = line {
            until_done("line", || self.lines.let_go(line, record.event.sequence, row)).await;
        }
    }

    /// Parks a delivery: gives when it is due. Its row comes first, so that nothing of its line comes past it. `None`: it is
    /// larger than a retry topic takes, and is over.
    async fn park(
        &self,
        queued: &Queued,
        topic: RetryDelay,
        wait: Duration,
        attempts: u32,
        row: Row,
    ) -> Option<Timestamp> {
        let record = &queued.record;
        let due = now().plus(wait.mul_f64(self.scale));
        let mut headers = Vec::new();
        if let Some(line) = &queued.line {
            until_done("line", || self.lines.hold(line, record.event.sequence, due, row)).await;
            headers.push((ORDERING.to_owned(), b"record".to_vec()));
        }
        let delivery = Delivery {
            webhook: queued.reader.webhook.clone(),
            event: (*record.event).clone(),
            attempt: record.attempt + attempts,
            due,
            position: record.position.clone(),
            appended: record.appended,
        };
        let outgoing = Outgoing {
            topic: self.topics.deliver_retry(topic),
            key: delivery.webhook.as_str().as_bytes().to_vec().into(),
            payload: Some(codec::encode(&delivery).into()),
            headers,
            ..Outgoing::default()
        };
        let parked = until_done("park", || async {
            match self.publisher.send(outgoing.clone()).await {
                Ok(_) => Ok(true),
                Err(PublishError::TooLarge) => Ok(false),
                Err(error) => Err(error),
            }
        });
        if parked.await {
            return Some(due);
        }
        self.settle_line(queued.line.as_ref(), record, Row::Present(due)).await;
        None
    }

    /// Keeps aside what our own code failed over, with its body.
    async fn set_aside(&self, record: &Record, webhook: &WebhookId, reason: &str) {
        let delivery = Delivery {
            webhook: webhook.clone(),
            event: (*record.event).clone(),
            attempt: record.attempt,
            due: now(),
            position: record.position.clone(),
            appended: record.appended,
        };
        let at = record.position.as_ref().map(|it| json!([&*it.topic, it.partition, it.offset]));
        let headers = json!({ "reason": reason, "webhook": webhook.as_str(), "position": at });
        let letter = Outgoing {
            topic: self.topics.deliver_dead(),
            key: webhook.as_str().as_bytes().to_vec().into(),
            payload: Some(codec::encode(&delivery).into()),
            headers: vec![("reason".into(), headers.to_string().into_bytes())],
            ..Outgoing::default()
        };
        self.bury(letter).await;
    }

    /// Keeps aside what can't be read: where it stands, and why.
    pub(super) async fn set_unread_aside(&self, at: &crate::kafka::Assignment, offset: i64, reason: &str) {
        let (topic, partition) = (&*at.topic, at.partition);
        tracing::warn!(topic, partition, offset, reason, "record set aside");
        let letter = json!({ "topic": topic, "partition": partition, "offset": offset, "reason": reason });
        let letter = Outgoing {
            topic: self.topics.deliver_dead(),
            payload: Some(letter.to_string().into_bytes().into()),
            ..Outgoing::default()
        };
        self.bury(letter).await;
    }

    async fn bury(&self, letter: Outgoing) {
        ::metrics::counter!(metrics::SET_ASIDE).increment(1);
        until_done("set aside", || async {
            match self.publisher.send(letter.clone()).await {
                Ok(_) | Err(PublishError::TooLarge) => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await;
    }
}
