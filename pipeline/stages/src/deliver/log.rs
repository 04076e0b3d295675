//! The log of attempts: a topic, and a table for the API that follows in batches. It is never a reason to send again: what it
//! holds was done. A store that is away delays the table, not the webhooks.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tributary_core::deliver::sign;
use tributary_schemas::{
    delivery::{Attempt, AttemptOutcome},
    id::{ProjectId, WebhookId},
    topic::Topics,
};

use super::{metrics, post::Tried};
use crate::{
    kafka::{Outgoing, PublishError, Publisher},
    store::{AttemptRow, ControlStore, Stores, api::ApiStore},
};
use tributary_core::deliver::record::Record;

/// Attempts that may wait for the table; more are in the topic alone.
const WAIT_MOST: usize = 20_000;
/// Attempts that are written at a time.
const BATCH: usize = 256;
/// How long a batch waits for more.
const GATHER: Duration = Duration::from_millis(20);

/// Logs attempts. Cheap to clone.
#[derive(Clone)]
pub(super) struct Log {
    topics: Topics,
    publisher: Publisher,
    table: mpsc::Sender<Row>,
}

struct Row {
    project: ProjectId,
    first: bool,
    row: AttemptRow,
}

/// What is logged of an attempt.
pub(super) fn attempt_of(
    record: &Record,
    webhook: &WebhookId,
    tried: &Tried,
    outcome: AttemptOutcome,
) -> Attempt {
    let event = &record.event;
    Attempt {
        delivery_id: sign::webhook_id(event.event_id, webhook),
        webhook_id: webhook.clone(),
        project_id: event.project.clone(),
        event_id: event.event_id,
        event: event.event,
        attempt: record.attempt,
        at: tried.at,
        took_ms: u64::try_from(tried.took.as_millis()).unwrap_or(u64::MAX),
        outcome,
        status: tried.status(),
        error: tried.error.clone(),
        next_at: None,
        position: record.position.clone(),
        phases: tried.phases,
    }
}

impl Log {
    /// A log whose table is written on a task of its own, until the last clone is dropped.
    pub(super) fn new(topics: Topics, publisher: Publisher, stores: &Stores) -> Self {
        let (table, rows) = mpsc::channel(WAIT_MOST);
        tokio::spawn(write(rows, stores.control.clone(), stores.api.clone()));
        Self { topics, publisher, table }
    }

    /// Returns when the topic has it.
    pub(super) async fn add(&self, attempt: &Attempt) -> Result<(), PublishError> {
        let doc = serde_json::to_vec(attempt).expect("an attempt is JSON: its keys are text");
        let record = Outgoing {
            topic: self.topics.deliver_attempts(),
            key: attempt.webhook_id.as_str().as_bytes().to_vec().into(),
            payload: Some(doc.clone().into()),
            ..Outgoing::default()
        };
        self.publisher.send(record).await?;
        let class = match attempt.status {
            Some(status) => format!("{}xx", status / 100),
            None => "none".into(),
        };
        ::metrics::counter!(metrics::ATTEMPTS, "outcome" => attempt.outcome.name(), "status" => class)
            .increment(1);
        ::metrics::histogram!(metrics::ATTEMPT_SECONDS).record(attempt.took_ms as f64 / 1e3);
        let row = AttemptRow {
            webhook: attempt.webhook_id.clone(),
            delivery: attempt.delivery_id.clone(),
            at: attempt.at,
            doc,
        };
        let row = Row { project: attempt.project_id.clone(), first: attempt.attempt == 1, row };
        if self.table.try_send(row).is_err() {
            ::metrics::counter!(metrics::TABLE_LOST).increment(1);
        }
        ::metrics::gauge!(metrics::TABLE_LAG).set((WAIT_MOST - self.table.capacity()) as f64);
        Ok(())
    }
}

async fn write(mut rows: mpsc::Receiver<Row>, store: Arc<dyn ControlStore>, owners: Arc<dyn ApiStore>) {
    let mut batch = Vec::new();
    while rows.recv_many(&mut batch, BATCH).await > 0 {
        if batch.len() < BATCH / 2 {
            tokio::time::sleep(GATHER).await;
            while batch.len() < BATCH
                && let Ok(row) = rows.try_recv()
            {
                batch.push(row);
            }
        }
        let attempts: Vec<AttemptRow> = batch.iter().map(|it| it.row.clone()).collect();
        let firsts = batch.iter().filter(|it| it.first);
        // Noted once, and found also when the webhook is gone.
        let noted = firsts.map(|it| owners.note_delivery(&it.project, &it.row.delivery, &it.row.webhook));
        let (added, noted) = tokio::join!(
            store.add_attempts(&attempts),
            futures::future::try_join_all(noted.collect::<Vec<_>>())
        );
        match added.and(noted.map(drop)) {
            Ok(()) => batch.clear(),
            Err(error) => {
                tracing::warn!(%error, "attempts are not in the API's table yet");
                ::metrics::counter!(metrics::RETRIED, "reason" => "attempts").increment(1);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}
