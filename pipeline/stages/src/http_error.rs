//! The one form of HTTP errors (contract §5): `{"statusCode","message","timestamp","errorCode"}`.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{clock::now, entity::WriteError, store::StoreError};

/// An error as a client sees it. The message names the field and what was expected.
#[derive(Debug)]
pub struct HttpError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<Duration>,
}

impl HttpError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }
    /// 400: it can't be parsed.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }
    /// 401: who asks is not known.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }
    /// 404: there is none, or it is someone else's.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }
    /// 405: the path is there, and takes other methods (`Allow`).
    pub fn method_not_allowed() -> Self {
        let message = "this path does not take the method: see the header `allow`";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }
    /// 409: others were quicker.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }
    /// 412: it is another version.
    pub fn precondition_failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", message)
    }
    /// 413: too large.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }
    /// 422: parsed, but not as expected.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", message)
    }
    /// 429: too many, or too much; again after `wait`.
    pub fn too_many(message: impl Into<String>, wait: Duration) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
        Self { retry_after: Some(wait), ..error }
    }
    /// 503: ours; try again.
    pub fn unavailable(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        Self { retry_after: Some(Duration::from_secs(5)), ..error }
    }
    /// The same, of a field within another.
    pub fn within(self, field: &str) -> Self {
        Self { message: format!("{field}.{}", self.message), ..self }
    }
    /// The status, as a number.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }
    /// What is said: the field, and what was expected.
    pub fn message(&self) -> &str {
        &self.message
    }
    /// After which time to try again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
    /// The error's code, from a fixed set.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let body = json!({
            "statusCode": self.status.as_u16(),
            "message": self.message,
            "timestamp": now(),
            "errorCode": self.code,
        });
        let mut response = (self.status, Json(body)).into_response();
        if let Some(wait) = self.retry_after {
            // Whole seconds, and never 0: that would be no wait.
            let seconds = wait.as_millis().div_ceil(1_000).max(1) as u64;
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<WriteError> for HttpError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NotFound => Self::not_found("not found"),
            WriteError::TooLarge(_) => Self::unprocessable(error.to_string()),
            WriteError::Changed(_) => Self::precondition_failed(error.to_string()),
            WriteError::Exists | WriteError::Contended => Self::conflict(error.to_string()),
            WriteError::Unannounced(_) => {
                tracing::warn!(error = format!("{:#}", anyhow::Error::from(error)), "announcing");
                Self::unavailable("the broker is away: try again")
            }
            WriteError::Store(error) => error.into(),
            WriteError::Broken(error) => {
                tracing::error!(%error, "an entity that can't be read");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "an entity can't be read")
            }
        }
    }
}

impl From<StoreError> for HttpError {
    fn from(error: StoreError) -> Self {
        ::metrics::counter!(crate::control::metrics::STORE_FAILURES, "kind" => error.kind()).increment(1);
        tracing::warn!(error = format!("{:#}", anyhow::Error::from(error)), "the store");
        Self::unavailable("the store is away: try again")
    }
}

impl From<anyhow::Error> for HttpError {
    fn from(error: anyhow::Error) -> Self {
        tracing::error!(error = format!("{error:#}"), "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong on our side")
    }
}
