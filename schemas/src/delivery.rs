//! The messages of `deliver.requests`, `deliver.retry.*` and `deliver.attempts`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    codec::{self, Format, Undecodable},
    event::{Subject, UnifiedEvent},
    id::{AccountId, EventId, ProjectId, RecordKey, RemoteId, WebhookId},
    resource::{EventName, Resource},
    time::Timestamp,
};

/// One event to one webhook, to be tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Delivery {
    /// Where it goes.
    pub webhook: WebhookId,
    /// What is told.
    pub event: UnifiedEvent,
    /// The number of the next attempt; the first is 1.
    pub attempt: u32,
    /// Not before then.
    pub due: Timestamp,
    /// Where the event stands in its log.
    pub position: Option<LogPosition>,
    /// When the event was written there, by the broker's clock: what a webhook's `enabled_at` is by.
    pub appended: Timestamp,
}

/// Where a record stands in a log of Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct LogPosition {
    /// The topic.
    #[cfg_attr(test, proptest(strategy = "crate::arbitrary::shared()"))]
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl Format for Delivery {
    const FORMAT: u8 = 3;
    const NAME: &'static str = "delivery";

    fn read(format: u8, body: &[u8]) -> Result<Self, Undecodable> {
        let name = Self::NAME;
        let undecodable = |source| Undecodable::Body { name, source };
        match format {
            3 => postcard::from_bytes(body).map_err(undecodable),
            // It did not say when its event was written: that was soon after it was detected.
            2 => {
                let (webhook, event, attempt, due, position) =
                    postcard::from_bytes::<(WebhookId, UnifiedEvent, u32, Timestamp, Option<LogPosition>)>(
                        body,
                    )
                    .map_err(undecodable)?;
                let appended = event.detected_at;
                Ok(Self { webhook, event, attempt, due, position, appended })
            }
            other => Err(codec::refused::<Self>(other)),
        }
    }
}

impl Delivery {
    /// The line that it stands in where a record's events wait for each other.
    pub fn line(&self) -> Line {
        let event = &self.event;
        let record = match &event.subject {
            Subject::Record { remote_id, .. } => remote_id.key(),
            Subject::Account(_) => RemoteId::new(event.account.as_str()).key(),
        };
        let (webhook, account) = (self.webhook.clone(), event.account.clone());
        Line { webhook, account, resource: event.event.resource, record }
    }
}

/// The deliveries of one record's events to one webhook: with `ordering: record`, each waits for the one before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Line {
    /// Where they go.
    pub webhook: WebhookId,
    /// Whose record it is.
    pub account: AccountId,
    /// What kind of record.
    pub resource: Resource,
    /// Which record; for account events, the account.
    pub record: RecordKey,
}

/// One attempt and its outcome, as JSON: what people look up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Attempt {
    /// The delivery: `webhook-id` of its requests.
    pub delivery_id: String,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// Its tenant.
    pub project_id: ProjectId,
    /// The event.
    pub event_id: EventId,
    /// What it tells.
    pub event: EventName,
    /// The number of the attempt; the first is 1.
    pub attempt: u32,
    /// When it was made.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What became of it.
    pub outcome: AttemptOutcome,
    /// The answer's status, if there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When the next attempt is due, if there will be one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// Where the event stands in its log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<LogPosition>,
    /// What the time went into.
    #[serde(default)]
    pub phases: Phases,
}

/// What an attempt's time went into, in milliseconds. A phase that was not needed, or not reached, is absent: a connection
/// that is used again needs no `dns`, `connect` or `tls`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[serde(default)]
pub struct Phases {
    /// Finding the host's addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<u32>,
    /// Connecting to one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<u32>,
    /// The TLS handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<u32>,
    /// Writing the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<u32>,
    /// From the request's end to the answer's status line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<u32>,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum AttemptOutcome {
    /// 2xx within the deadline.
    Delivered,
    /// Not; it will be tried again.
    Failed,
    /// Not, and it will not be tried again.
    GivenUp,
    /// Not tried: the webhook was disabled or deleted meanwhile.
    SkippedDisabled,
    /// Not tried: by its filters, as they are now, the webhook does not want it.
    SkippedFiltered,
    /// Not tried, by a fault of ours: it is in `deliver.dead`, with its body.
    SetAside,
}

impl AttemptOutcome {
    /// The outcome's name, as a metric label has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::GivenUp => "given_up",
            Self::SkippedDisabled => "skipped_disabled",
            Self::SkippedFiltered => "skipped_filtered",
            Self::SetAside => "set_aside",
        }
    }
}
