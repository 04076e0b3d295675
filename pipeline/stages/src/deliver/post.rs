//! The request of an attempt, signed (contract §3), and what its answer means.

use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use tributary_core::deliver::{record::Record, retry::Ended, sign};
use tributary_schemas::{body, delivery::Phases, entity::Webhook, time::Timestamp};

use super::{line::Row, subscribers::Subscriber};
use crate::{
    clock::now,
    dial::{DialError, Dialer, Timing},
};

/// Posts deliveries.
pub(super) struct Post {
    dialer: Dialer,
    signature_header: String,
}

/// What became of an attempt.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    pub(super) ended: Ended,
    pub(super) error: Option<String>,
    pub(super) at: Timestamp,
    pub(super) took: Duration,
    pub(super) phases: Phases,
    /// Its row, if its webhook keeps records' order.
    pub(super) row: Row,
}

impl Tried {
    /// One that was not made, for this reason.
    pub(super) fn not_made(ended: Ended, error: Option<String>) -> Self {
        let (took, phases) = (Duration::ZERO, Phases::default());
        Self { ended, error, at: now(), took, phases, row: Row::Absent }
    }

    /// The answer's status, if there was one.
    pub(super) fn status(&self) -> Option<u16> {
        match self.ended {
            Ended::Answered { status, .. } => Some(status),
            Ended::TimedOut
            | Ended::Failed
            | Ended::Held { .. }
            | Ended::Ours
            | Ended::Panicked
            | Ended::Abandoned => None,
        }
    }
}

impl Post {
    pub(super) fn new(dialer: Dialer, signature_header: String) -> Self {
        Self { dialer, signature_header }
    }

    /// Asks the subscriber, once.
    pub(super) async fn send(&self, record: &Record, webhook: &Webhook, subscriber: &Subscriber) -> Tried {
        let (at, begun) = (now(), Instant::now());
        let timing = Timing::default();
        let (ended, error) = match self.request(record, webhook, subscriber, at) {
            Ok(request) => self.answer(webhook, timing.measure(self.dialer.head(request)).await),
            Err(error) => (Ended::Failed, Some(format!("{error:#}"))),
        };
        let took = begun.elapsed();
        Tried { phases: phases(&timing, took, &ended), ended, error, at, took, row: Row::Absent }
    }

    fn answer(
        &self,
        webhook: &Webhook,
        answer: Result<http::response::Parts, DialError>,
    ) -> (Ended, Option<String>) {
        match answer {
            Ok(parts) => {
                let retry_after = parts.headers.get("retry-after").and_then(|value| value.to_str().ok());
                let status = parts.status.as_u16();
                let redirect = || {
                    format!(
                        "{status} is a redirect, which is not followed: give the webhook the URL that it leads to"
                    )
                };
                let retry_after = retry_after.and_then(wait);
                (Ended::Answered { status, retry_after }, parts.status.is_redirection().then(redirect))
            }
            Err(DialError::Timeout) => (Ended::TimedOut, Some("no answer in time".into())),
            // Where an inside name leads is nobody's business outside.
            Err(DialError::Refused(refused)) => {
                tracing::info!(webhook = webhook.id.as_str(), %refused, "not dialled");
                (Ended::Failed, Some("the URL does not lead to an address that may be called".into()))
            }
            Err(error @ DialError::Failed(_)) => (Ended::Failed, Some(error.to_string())),
        }
    }

    /// The exact bytes that are signed are the bytes that are sent.
    fn request(
        &self,
        record: &Record,
        webhook: &Webhook,
        subscriber: &Subscriber,
        at: Timestamp,
    ) -> anyhow::Result<RequestBuilder> {
        let event = &record.event;
        let body = body::body(event, webhook.record_type, at)?;
        let id = sign::webhook_id(event.event_id, &webhook.id);
        let mut request = self.dialer.request(Method::POST, &webhook.url)?;
        for (name, value) in &subscriber.headers {
            request = request.header(name, value.expose());
        }
        let secrets =
            subscriber.secrets.iter().map(|it| it.expose_text()).collect::<anyhow::Result<Vec<&str>>>()?;
        if let Some(signature) = sign::standard(secrets, &id, at, &body) {
            request = request.header("webhook-signature", signature);
        }
        if let Some(active) = &subscriber.active {
            request = request.header(&self.signature_header, sign::compat(active.expose_text()?, &body));
        }
        Ok(request
            .header("content-type", "application/json")
            .header("user-agent", concat!("tributary/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &id)
            .header("webhook-timestamp", at.as_seconds().to_string())
            .header("x-tributary-event-id", event.event_id.to_string())
            .header("x-tributary-sequence", event.sequence.0.to_string())
            .header("x-tributary-attempt", record.attempt.to_string())
            .header("x-tributary-mode", event.mode.name())
            .body(body))
    }
}

fn phases(timing: &Timing, took: Duration, ended: &Ended) -> Phases {
    let millis = |it: Duration| u32::try_from(it.as_millis()).unwrap_or(u32::MAX);
    let (dns, connect) = (timing.dns(), timing.connect());
    let before = connect.unwrap_or_default();
    Phases {
        dns: dns.map(millis),
        connect: connect.map(|it| millis(it.saturating_sub(dns.unwrap_or_default()))),
        wait: matches!(ended, Ended::Answered { .. }).then(|| millis(took.saturating_sub(before))),
        ..Phases::default()
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110 §10.2.3).
fn wait(text: &str) -> Option<Duration> {
    tributary_core::retry_after::retry_after(text, now())
}
