//! The request of an attempt, signed (contract §3), and what its answer means.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use tributary_core::deliver::{retry::Ended, sign};
use tributary_schemas::{body, delivery::Delivery, time::Timestamp};

use super::subscribers::Subscriber;
use crate::{
    clock::now,
    dial::{DialError, Dialer},
};

/// Posts deliveries.
pub(super) struct Post {
    dialer: Dialer,
    signature_header: String,
}

/// What an attempt found.
pub(super) struct Found {
    pub(super) ended: Ended,
    pub(super) error: Option<String>,
}

impl Post {
    pub(super) fn new(dialer: Dialer, signature_header: String) -> Self {
        Self { dialer, signature_header }
    }

    /// Asks the subscriber, once.
    pub(super) async fn send(&self, delivery: &Delivery, subscriber: &Subscriber, at: Timestamp) -> Found {
        let failed = |error: String| Found { ended: Ended::Failed, error: Some(error) };
        let request = match self.request(delivery, subscriber, at) {
            Ok(request) => request,
            Err(error) => return failed(format!("{error:#}")),
        };
        match self.dialer.head(request).await {
            Ok(parts) => {
                let retry_after = parts.headers.get("retry-after").and_then(|value| value.to_str().ok());
                let status = parts.status.as_u16();
                Found {
                    ended: Ended::Answered { status, retry_after: retry_after.and_then(wait) },
                    error: parts.status.is_redirection().then(|| {
                        format!("{status} is a redirect, which is not followed: give the webhook the URL that it leads to")
                    }),
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
    ) -> anyhow::Result<RequestBuilder> {
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
            request = request.header(&self.signature_header, sign::compat(active.expose_text()?, &body));
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
}

/// `Retry-After`: seconds, or a date (RFC 9110 §10.2.3).
fn wait(text: &str) -> Option<Duration> {
    tributary_core::retry_after::retry_after(text, now())
}
