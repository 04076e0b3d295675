//! What a record asks for.

use std::{collections::HashSet, sync::Arc};

use anyhow::Context;
use serde_json::json;
use tributary_schemas::{
    codec,
    delivery::{Delivery, LogPosition},
    framing,
    topic::{RETRY_DELAYS, Topics},
};

use super::{attempt::Attempter, metrics};
use crate::{
    clock::now,
    kafka::{Incoming, Outgoing, Publisher},
};

/// Makes deliveries of records.
pub(super) struct Reader {
    topics: Topics,
    publisher: Publisher,
    attempter: Arc<Attempter>,
    /// The topics whose records are deliveries rather than events.
    of_deliveries: HashSet<String>,
}

impl Reader {
    pub(super) fn new(topics: Topics, publisher: Publisher, attempter: Arc<Attempter>) -> Self {
        let mut of_deliveries: HashSet<String> = RETRY_DELAYS.map(|delay| topics.deliver_retry(delay)).into();
        of_deliveries.insert(topics.deliver_requests());
        Self { topics, publisher, attempter, of_deliveries }
    }

    /// The record's deliveries: one for each webhook that wants its event, or the one that it holds. What can't be read is
    /// set aside.
    pub(super) async fn read(&self, record: &Incoming) -> anyhow::Result<Vec<Delivery>> {
        match self.deliveries(record) {
            Ok(deliveries) => Ok(deliveries),
            Err(reason) => {
                ::metrics::counter!(metrics::REJECTIONS).increment(1);
                self.set_aside(record, &reason).await?;
                Ok(Vec::new())
            }
        }
    }

    fn deliveries(&self, record: &Incoming) -> Result<Vec<Delivery>, String> {
        let payload = record.payload.as_deref().unwrap_or_default();
        if self.of_deliveries.contains(&*record.at.topic) {
            return codec::decode(payload).map(|delivery| vec![delivery]).map_err(|error| error.to_string());
        }
        let event = framing::decode(payload, self.publisher.schemas()).map_err(|error| error.to_string())?;
        let webhooks = self.attempter.wanted_by(&event);
        if webhooks.is_empty() {
            ::metrics::counter!(metrics::UNWANTED).increment(1);
        }
        // At once, whatever our clock says of when the event was detected: what waits can be overtaken.
        let due = now();
        let (topic, partition, offset) =
            (record.at.topic.as_ref().into(), record.at.partition, record.offset);
        let position = Some(LogPosition { topic, partition, offset });
        let delivery =
            |webhook| Delivery { webhook, event: event.clone(), attempt: 1, due, position: position.clone() };
        Ok(webhooks.into_iter().map(delivery).collect())
    }

    /// Sets aside what can't be read, with its reason.
    async fn set_aside(&self, record: &Incoming, reason: &str) -> anyhow::Result<()> {
        let (topic, partition, offset) = (&*record.at.topic, record.at.partition, record.offset);
        tracing::warn!(topic, partition, offset, reason, "record set aside");
        let letter = json!({ "topic": topic, "partition": partition, "offset": offset, "reason": reason });
        let payload = Some(serde_json::to_vec(&letter)?.into());
        let dead = Outgoing { topic: self.topics.deliver_dead(), payload, ..Outgoing::default() };
        self.publisher.send(dead).await.context("setting a record aside")?;
        Ok(())
    }
}
