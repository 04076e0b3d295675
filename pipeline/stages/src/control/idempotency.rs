//! `Idempotency-Key`: what a POST answered is answered again for 24 hours, instead of being done again. A key belongs to a
//! project, a route and a body: nobody meets another's, and another body under the same key is refused. Only what
//! succeeded is kept; answers hold secrets that are shown once, so they are sealed.

use std::time::Duration;

use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tributary_schemas::{entity::Sealed, id::ProjectId};

use super::{api::App, route::respond};
use crate::{clock::now, http_error::HttpError, secret::Secret};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(86_400);
/// How long a request may be under way: then its process has died, and the next one does it again.
const UNDER_WAY: Duration = Duration::from_secs(120);
/// The header of a repeated answer.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A caller's key, 1 to 255 visible characters.
pub(super) struct Key(String);

impl Key {
    /// The request's key, if it has one.
    ///
    /// # Errors
    /// When it is no key.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, HttpError> {
        let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
        let expected = || HttpError::unprocessable("idempotency-key: expected 1 to 255 visible characters");
        let text = value.to_str().map_err(|_| expected())?;
        let legal = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        legal.then(|| Some(Self(text.to_owned()))).ok_or_else(expected)
    }
}

/// What is kept under a key.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The request's digest.
    request: String,
    /// What was answered; absent while it is under way.
    answer: Option<Answered>,
}

#[derive(Serialize, Deserialize)]
struct Answered {
    status: u16,
    body: Option<Sealed>,
}

/// A request that is ours to do.
pub(super) struct Claim {
    project: ProjectId,
    name: String,
    request: String,
}

/// What a key says of a request.
pub(super) enum Claimed {
    /// It is new.
    New(Claim),
    /// It was answered before.
    Known(Response),
}

/// Claims a key for a request.
///
/// # Errors
/// 422 when the key was used for another body, 409 while the first request is under way.
pub(super) async fn claim(
    app: &App,
    project: &ProjectId,
    (path, values): &(&str, Vec<String>),
    body: &[u8],
    Key(key): Key,
) -> Result<Claimed, HttpError> {
    let mut digest = Sha256::new();
    for part in [path.as_bytes(), values.join("/").as_bytes(), key.as_bytes()] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let name = hex::encode(digest.finalize());
    let request = hex::encode(Sha256::digest(body));
    let begun = Kept { request: request.clone(), answer: None };
    let doc = serde_json::to_vec(&begun).map_err(anyhow::Error::from)?;
    let Some(held) = app.stores.api.begin_answer(project, &name, &doc, now().plus(UNDER_WAY)).await? else {
        return Ok(Claimed::New(Claim { project: project.clone(), name, request }));
    };
    let held: Kept = serde_json::from_slice(&held).map_err(anyhow::Error::from)?;
    if held.request != request {
        return Err(HttpError::unprocessable(
            "idempotency-key: it was used for another body: take a new key",
        ));
    }
    let Some(answer) = held.answer else {
        return Err(HttpError::conflict(
            "idempotency-key: the first request with it is under way: try again",
        ));
    };
    let body: Option<Value> = match answer.body {
        Some(sealed) => {
            let opened = app.keys.open(&context(project, &name), &sealed)?;
            Some(serde_json::from_slice(opened.expose()).map_err(anyhow::Error::from)?)
        }
        None => None,
    };
    let mut response = respond(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK), body);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(Claimed::Known(response))
}

impl Claim {
    /// Keeps an answer for whoever asks again; a request that failed may be done again at once.
    ///
    /// # Errors
    /// When the answer can't be sealed. A store that is away is only logged: the answer itself holds.
    pub(super) async fn settle(
        self,
        app: &App,
        status: StatusCode,
        answered: Option<&Option<Value>>,
    ) -> Result<(), HttpError> {
        let Self { project, name, request } = self;
        let outcome = match answered {
            None => app.stores.api.drop_answer(&project, &name).await,
            Some(body) => {
                let seal =
                    |body: &Value| app.keys.seal(&context(&project, &name), &Secret::new(body.to_string()));
                let body = body.as_ref().map(seal).transpose()?;
                let kept = Kept { request, answer: Some(Answered { status: status.as_u16(), body }) };
                let doc = serde_json::to_vec(&kept).map_err(anyhow::Error::from)?;
                app.stores.api.keep_answer(&project, &name, &doc, now().plus(KEPT)).await
            }
        };
        if let Err(error) = outcome {
            tracing::warn!(error = format!("{:#}", anyhow::Error::from(error)), "an answer was not kept");
        }
        Ok(())
    }
}

fn context(project: &ProjectId, name: &str) -> String {
    format!("{project}/{name}/answer")
}
