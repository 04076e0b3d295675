//! The log of attempts: a topic, and a table for the API. It is never a reason to send again: what it holds was done.

use std::{sync::Arc, time::Instant};

use anyhow::Context;
use tributary_core::deliver::sign;
use tributary_schemas::{
    delivery::{Attempt, AttemptOutcome, Delivery, Phases},
    time::Timestamp,
    topic::Topics,
};

use super::metrics;
use crate::{
    kafka::{Outgoing, Publisher},
    store::{AttemptRow, ControlStore, Stores, api::ApiStore},
};

/// Logs attempts.
pub(super) struct Log {
    topics: Topics,
    publisher: Publisher,
    store: Arc<dyn ControlStore>,
    owners: Arc<dyn ApiStore>,
}

/// What is logged of an attempt that began then, and has just ended.
pub(super) fn attempt_of(delivery: &Delivery, begun: (Timestamp, Instant)) -> Attempt {
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
        position: delivery.position.clone(),
        phases: Phases::default(),
    }
}

impl Log {
    pub(super) fn new(topics: Topics, publisher: Publisher, stores: &Stores) -> Self {
        let (store, owners) = (stores.control.clone(), stores.api.clone());
        Self { topics, publisher, store, owners }
    }

    pub(super) async fn add(&self, attempt: Attempt) -> anyhow::Result<()> {
        let class = match attempt.status {
            Some(status) => format!("{}xx", status / 100),
            None => "none".into(),
        };
        ::metrics::counter!(metrics::ATTEMPTS, "outcome" => attempt.outcome.name(), "status" => class)
            .increment(1);
        ::metrics::histogram!(metrics::ATTEMPT_SECONDS).record(attempt.took_ms as f64 / 1e3);
        let doc = serde_json::to_vec(&attempt)?;
        let (project, first) = (attempt.project_id, attempt.attempt == 1);
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
        // Noted once, and found also when the webhook is gone.
        let owned = match first {
            true => self.owners.note_delivery(&project, &row.delivery, &row.webhook).await,
            false => Ok(()),
        };
        if let Err(error) = added.and(owned) {
            // The topic has it; the table is for the API alone.
            tracing::warn!(%error, "an attempt is missing from the API's log");
        }
        Ok(())
    }
}
