//! What the logs hold for deliver, and how the places in them are named.

use std::{fmt, sync::Arc};

use tributary_schemas::{
    delivery::{Line, LogPosition},
    event::{Subject, UnifiedEvent},
    id::{RemoteId, WebhookId},
    resource::Resource,
    time::Timestamp,
};

/// The number of an assignment of a partition to this process; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenureId(pub u64);

/// What the records of a log are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// Events of a resource, for every webhook that wants them.
    Events(Resource),
    /// Deliveries, each to one webhook.
    Deliveries,
}

/// An event as a record of a log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub offset: i64,
    /// What is told.
    pub event: Arc<UnifiedEvent>,
    /// When the event was written, by the broker's clock.
    pub appended: Timestamp,
    /// The number of the attempt to be made; the first is 1.
    pub attempt: u32,
    /// Why it is told.
    pub cause: Cause,
    /// The one webhook that it is for, where the log holds deliveries.
    pub to: Option<WebhookId>,
    /// Where the event stands in its log, if it stands in one.
    pub position: Option<LogPosition>,
    /// It was parked in its line: there it stays, whatever its webhook wants by now.
    pub held: bool,
    /// What it takes of the memory.
    pub bytes: usize,
}

/// Why a record is told to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Because the webhook wants such events.
    Wanted,
    /// Because somebody asked for it: filters do not count.
    Asked,
}

impl Record {
    /// The line that it stands in where a record's events wait for each other.
    pub fn line(&self, webhook: &WebhookId) -> Line {
        let event = &self.event;
        let record = match &event.subject {
            Subject::Record { remote_id, .. } => remote_id.key(),
            Subject::Account(_) => RemoteId::new(event.account.as_str()).key(),
        };
        Line {
            webhook: webhook.clone(),
            account: event.account.clone(),
            resource: event.event.resource,
            record,
        }
    }
}

/// Who reads a log: a webhook, or one of its replays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reader {
    /// The webhook.
    pub webhook: WebhookId,
    /// The replay's id, if it is one.
    pub replay: Option<Arc<str>>,
}

impl Reader {
    /// The webhook itself.
    pub fn live(webhook: &WebhookId) -> Self {
        Self { webhook: webhook.clone(), replay: None }
    }
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.replay {
            None => write!(f, "{}", self.webhook),
            Some(replay) => write!(f, "{} (replay {replay})", self.webhook),
        }
    }
}
