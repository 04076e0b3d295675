//! The logs that deliver reads, and what their records are to the machine.

use std::{collections::HashMap, sync::Arc};

use tributary_core::deliver::record::{Cause, LogKind, Record};
use tributary_schemas::{
    codec,
    delivery::{Delivery, LogPosition},
    framing::{self, SchemaIds},
    resource::Resource,
    time::Timestamp,
    topic::{RETRY_DELAYS, Topics},
};

use crate::kafka::Incoming;

/// What a record takes in memory beside its payload.
const RECORD: usize = 512;
/// The header of deliveries that were parked in their line: their rows go with them, whatever became of their webhook.
pub(super) const ORDERING: &str = "ordering";

/// The logs, by topic.
pub(super) struct Logs {
    kinds: HashMap<String, LogKind>,
    schemas: SchemaIds,
}

/// A record as the machine takes it.
pub(super) struct Read {
    pub(super) record: Arc<Record>,
    /// Not before then.
    pub(super) due: Option<Timestamp>,
}

impl Logs {
    pub(super) fn new(topics: &Topics, schemas: SchemaIds) -> Self {
        let events = Resource::ALL.map(|it| (topics.unified_shared(it), LogKind::Events(it)));
        let retries = RETRY_DELAYS.map(|it| (topics.deliver_retry(it), LogKind::Deliveries));
        let asked = [(topics.deliver_requests(), LogKind::Deliveries)];
        Self { kinds: events.into_iter().chain(retries).chain(asked).collect(), schemas }
    }

    /// All of them.
    pub(super) fn topics(&self) -> Vec<String> {
        self.kinds.keys().cloned().collect()
    }

    /// What a topic's records are.
    pub(super) fn kind(&self, topic: &str) -> Option<LogKind> {
        self.kinds.get(topic).copied()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Why it can't be.
    pub(super) fn read(&self, kind: LogKind, incoming: &Incoming) -> Result<Read, String> {
        let payload = incoming.payload.as_deref().unwrap_or_default();
        let bytes = payload.len() + RECORD;
        let offset = incoming.offset;
        let appended = Timestamp::from_micros(incoming.written_at.unwrap_or_default().saturating_mul(1_000));
        match kind {
            LogKind::Events(_) => {
                let event = framing::decode(payload, self.schemas).map_err(|error| error.to_string())?;
                let (topic, partition) = (incoming.at.topic.clone(), incoming.at.partition);
                let record = Record {
                    offset,
                    event: Arc::new(event),
                    appended,
                    attempt: 1,
                    cause: Cause::Wanted,
                    to: None,
                    position: Some(LogPosition { topic, partition, offset }),
                    held: false,
                    bytes,
                };
                Ok(Read { record: Arc::new(record), due: None })
            }
            LogKind::Deliveries => {
                let delivery: Delivery = codec::decode(payload).map_err(|error| error.to_string())?;
                let cause = if delivery.position.is_some() { Cause::Wanted } else { Cause::Asked };
                let record = Record {
                    offset,
                    event: Arc::new(delivery.event),
                    appended: delivery.appended,
                    attempt: delivery.attempt,
                    cause,
                    to: Some(delivery.webhook),
                    position: delivery.position,
                    held: incoming.headers.iter().any(|(name, _)| name == ORDERING),
                    bytes,
                };
                Ok(Read { record: Arc::new(record), due: Some(delivery.due) })
            }
        }
    }
}
