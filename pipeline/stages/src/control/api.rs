//! The routes, who asks, and how lists are paged.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{FromRequest, FromRequestParts, MatchedPath, OriginalUri, Path, Request, State},
    http::{HeaderMap, header::AUTHORIZATION, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rand::Rng;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use tributary_schemas::{framing, id::ProjectId, record_id};

use super::{Shared, accounts, connectors, metrics, projects, schedules, webhooks};
use crate::{http_error::HttpError, store::Lookup};

pub(super) type App = Arc<Shared>;

pub(super) fn router(shared: App) -> Router {
    Router::new()
        .route("/connectors", get(connectors::list))
        .route("/connectors/{provider}", get(connectors::show))
        .route("/accounts", post(accounts::create).get(accounts::list))
        .route("/accounts/{id}", get(accounts::show).patch(accounts::patch).delete(accounts::delete))
        .route("/accounts/{id}/native-webhook", get(accounts::native).put(accounts::put_native))
        .route("/accounts/{id}/native-webhook/rotate", post(accounts::rotate_native))
        .route("/accounts/{id}/schedules", get(schedules::list))
        .route("/accounts/{id}/schedules/{resource}", get(schedules::show).put(schedules::put))
        .route("/accounts/{id}/schedules/{resource}/{action}", post(schedules::ask))
        .route("/schedules", get(schedules::defaults).put(schedules::put_defaults))
        .route("/topics", get(projects::topics).put(projects::put_topics))
        .route("/project", get(projects::show).patch(projects::patch))
        .route("/webhooks", post(webhooks::create).get(webhooks::list))
        .route("/webhooks/{id}", get(webhooks::show).patch(webhooks::patch).delete(webhooks::delete))
        .route("/webhooks/{id}/enable", post(webhooks::enable))
        .route("/webhooks/{id}/disable", post(webhooks::disable))
        .route("/webhooks/{id}/secrets", get(webhooks::secrets).post(webhooks::add_secret))
        .route("/webhooks/{id}/secrets/{sid}", axum::routing::delete(webhooks::delete_secret))
        .route("/webhooks/{id}/secrets/{sid}/activate", put(webhooks::activate).post(webhooks::activate))
        .route("/webhooks/{id}/attempts", get(webhooks::attempts))
        .route("/webhooks/{id}/deliveries/{delivery}", get(webhooks::delivery))
        .route("/ids/{record_id}", get(id))
        .route("/subjects", get(registry))
        .route("/subjects/{*rest}", get(registry))
        .route("/schemas/{*rest}", get(registry))
        .fallback(|| async { HttpError::not_found("no such path: see contract §5") })
        .method_not_allowed_fallback(|| async { HttpError::method_not_allowed() })
        .layer(middleware::from_fn(count))
        .with_state(shared)
}

async fn count(request: Request, next: Next) -> Response {
    let begun = std::time::Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let method = request.method().to_string();
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    ::metrics::counter!(metrics::REQUESTS, "route" => route.clone(), "method" => method, "status" => status)
        .increment(1);
    ::metrics::histogram!(metrics::REQUEST_SECONDS, "route" => route).record(begun.elapsed().as_secs_f64());
    response
}

/// Who asks: the project of the API key, by `Basic` (the key as user) or `Bearer`.
pub(super) struct Caller(pub(super) ProjectId);

impl FromRequestParts<App> for Caller {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, HttpError> {
        let key = key(&parts.headers).ok_or_else(|| {
            HttpError::unauthorized(
                "Authorization: expected `Bearer <api key>` or `Basic base64(<api key>:)`",
            )
        })?;
        let found = app.stores.control.find(Lookup::ApiKey, &hash(&key)).await?;
        let (project, _) = found.ok_or_else(|| HttpError::unauthorized("this API key is not known"))?;
        Ok(Self(project))
    }
}

fn key(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(rest.trim().to_owned()),
        "basic" => {
            let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
            Some(text.split_once(':').map_or(text.as_str(), |(user, _)| user).to_owned())
        }
        _ => None,
    }
}

/// What a secret is looked up by: SHA-256 in hex.
pub(super) fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// A new id: 21 random characters.
pub(super) fn new_id() -> String {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(21).map(char::from).collect()
}

/// A JSON body whose errors are ours: 400 when it is no JSON, 422 naming the field when it is not as expected.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        let bytes = axum::body::Bytes::from_request(request, state)
            .await
            .map_err(|_| HttpError::too_large("body: expected at most 2 MiB"))?;
        let value: serde_json::Value = serde_json::from_slice(&bytes)
            .map_err(|error| HttpError::bad_request(format!("body: not JSON: {error}")))?;
        serde_json::from_value(value)
            .map(Body)
            .map_err(|error| HttpError::unprocessable(format!("body: {error}")))
    }
}

/// `page_size` (25, at most 100) and `next`.
#[derive(Debug, Deserialize)]
pub(super) struct Paging {
    page_size: Option<usize>,
    pub(super) next: Option<String>,
}

impl Paging {
    pub(super) fn size(&self) -> Result<usize, HttpError> {
        match self.page_size.unwrap_or(25) {
            size @ 1..=100 => Ok(size),
            _ => Err(HttpError::unprocessable("page_size: expected 1 to 100")),
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
    /// Give it as `next` to get the next page; null at the end.
    pub(super) next: Option<String>,
}

async fn id(_: Caller, Path(record): Path<String>) -> Result<impl IntoResponse, HttpError> {
    let decoded = record_id::decode(&record)
        .map_err(|error| HttpError::unprocessable(format!("record_id: {error}")))?;
    Ok(Json(serde_json::json!({ "key": decoded.key, "remote_id": decoded.remote })))
}

/// The registry's read calls, for stock deserialisers where no registry is configured. Schemas are no secret.
async fn registry(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
) -> Result<impl IntoResponse, HttpError> {
    let topic = |resource| app.topics.unified_shared(resource);
    framing::registry_answer(uri.path(), topic)
        .map(Json)
        .ok_or_else(|| HttpError::not_found("no such schema or subject"))
}
