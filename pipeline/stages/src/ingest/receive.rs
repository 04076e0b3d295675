//! One request: find the account, verify the signature, put it on the broker, answer.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{OriginalUri, Path, Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::any,
};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tributary_connectors::{
    Catalog, Connector,
    native::{Inbound, Native},
};
use tributary_schemas::{
    codec,
    entity::{Account, AccountStatus},
    observation::{NativePayload, NativeRequest},
};

use super::{accounts::Accounts, metrics};
use crate::{
    clock::now,
    entity::Writer,
    http_error::HttpError,
    kafka::{Outgoing, PublishError, Publisher, View},
    poll::interest::Interests,
    secret::{Field, KeyRing, Secret},
    store::{ControlStore, Lookup},
};

pub(super) struct Receiver {
    pub(super) topic: String,
    pub(super) body_bytes: usize,
    pub(super) request_limit: Duration,
    pub(super) slots: Semaphore,
    pub(super) store: Arc<dyn ControlStore>,
    pub(super) publisher: Publisher,
    pub(super) accounts: View<Accounts>,
    pub(super) projects: View<Interests>,
    pub(super) writer: Writer,
    pub(super) catalog: Catalog,
    pub(super) keys: Arc<KeyRing>,
}

pub(super) fn router(receiver: Arc<Receiver>) -> Router {
    Router::new().route("/native/{provider}/{token}", any(receive)).with_state(receiver)
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    Path((provider, token)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Response {
    let begun = std::time::Instant::now();
    // A label only for what exists: anything can be asked for.
    let known = receiver.catalog.get(&provider).map_or("unknown", |connector| connector.name()).to_owned();
    let (outcome, response) = match receiver.take(&provider, &token, &uri.to_string(), request).await {
        Ok(taken) => (taken.outcome, taken.status.into_response()),
        Err(error) => (error.code(), error.into_response()),
    };
    ::metrics::counter!(metrics::REQUESTS, "provider" => known, "outcome" => outcome).increment(1);
    ::metrics::histogram!(metrics::REQUEST_SECONDS).record(begun.elapsed().as_secs_f64());
    response
}

struct Taken {
    outcome: &'static str,
    status: StatusCode,
}

impl Receiver {
    async fn take(
        &self,
        provider: &str,
        token: &str,
        url: &str,
        request: Request,
    ) -> Result<Taken, HttpError> {
        let _slot =
            self.slots.try_acquire().map_err(|_| HttpError::unavailable("too many requests at a time"))?;
        let unknown = || HttpError::not_found("no such URL: check the provider and the token");
        let connector = self.catalog.get(provider).ok_or_else(unknown)?;
        let native = connector.native().ok_or_else(unknown)?;
        let account = self.account(token).await?.ok_or_else(unknown)?;
        if account.provider.as_str() != provider {
            return Err(unknown());
        }
        if matches!(account.status, AccountStatus::Archived | AccountStatus::Suspended) {
            return Err(HttpError::not_found("this account takes no webhooks any more"));
        }
        let method = request.method().as_str().to_owned();
        let headers = headers(request.headers());
        let body = self.body(request.into_body()).await?;
        let inbound = Inbound { method: &method, url, headers: &headers, body: &body };
        let secrets = self.secrets(&account)?;
        let secrets: Vec<&[u8]> = secrets.iter().map(Secret::expose).collect();
        native
            .verify(&inbound, &secrets, now())
            .map_err(|forged| HttpError::unauthorized(forged.to_string()))?;
        let success = StatusCode::from_u16(native.success()).unwrap_or(StatusCode::OK);
        if native.is_ping(&inbound) {
            return Ok(Taken { outcome: "ping", status: success });
        }
        serde_json::from_slice::<&serde_json::value::RawValue>(&body)
            .map_err(|_| HttpError::bad_request("body: expected JSON"))?;
        self.publish(&account, connector, native, &inbound, &body).await?;
        Ok(Taken { outcome: "accepted", status: success })
    }

    /// The view first; a token it does not know may be newer than the view, so the store is asked once.
    async fn account(&self, token: &str) -> Result<Option<Arc<Account>>, HttpError> {
        let hash = hex::encode(Sha256::digest(token.as_bytes()));
        if let Some(account) = self.accounts.read().of_token(&hash) {
            return Ok(Some(account));
        }
        let away = |_| HttpError::unavailable("the store is away");
        let Some((project, id)) = self.store.find(Lookup::Token, &hash).await.map_err(away)? else {
            return Ok(None);
        };
        let account: Option<Account> =
            self.writer.get(&project, &id).await.map_err(|_| HttpError::unavailable("the store is away"))?;
        Ok(account.filter(|account| account.native.token_hash == hash).map(Arc::new))
    }

    async fn body(&self, body: Body) -> Result<Vec<u8>, HttpError> {
        let read = axum::body::to_bytes(body, self.body_bytes + 1);
        let too_large = || HttpError::too_large(format!("body: expected at most {} bytes", self.body_bytes));
        match tokio::time::timeout(self.request_limit, read).await {
            Ok(Ok(body)) if body.len() <= self.body_bytes => {
                ::metrics::histogram!(metrics::BODY_BYTES).record(body.len() as f64);
                Ok(body.into())
            }
            Ok(Ok(_)) => Err(too_large()),
            Ok(Err(error))
                if std::error::Error::source(&error).is_some_and(|it| it.to_string().contains("limit")) =>
            {
                Err(too_large())
            }
            Ok(Err(_)) => Err(HttpError::bad_request("body: it broke off")),
            Err(_) => Err(HttpError::bad_request("body: it did not arrive in time")),
        }
    }

    fn secrets(&self, account: &Account) -> Result<Vec<Secret>, HttpError> {
        let context = Field::NativeSecret.of(&account.id);
        let open = |sealed| {
            self.keys.open(&context, sealed).map_err(|error| {
                tracing::error!(
                    account = account.id.as_str(),
                    error = format!("{error:#}"),
                    "a secret does not open"
                );
                HttpError::unavailable("a secret does not open")
            })
        };
        account.native.secrets.iter().map(open).collect()
    }

    async fn publish(
        &self,
        account: &Account,
        connector: &Connector,
        native: &Native,
        inbound: &Inbound<'_>,
        body: &[u8],
    ) -> Result<(), HttpError> {
        let (payload, id_prefix) = {
            let projects = self.projects.read();
            let project = projects.project(&account.project);
            let payload = project.map_or(NativePayload::Full, |project| project.native_payload);
            (payload, project.map_or_else(|| "tr1!".to_owned(), |project| project.id_prefix.clone()))
        };
        let request = NativeRequest {
            source: account.source(),
            received_at: now(),
            mode: native.mode(),
            headers: native.kept_headers(inbound),
            body: body.to_vec().into(),
            delivery: native.delivery_id(inbound),
            payload,
            id_prefix,
            settle: connector.settle(),
            fetched: Vec::new(),
        };
        let record = Outgoing {
            topic: self.topic.clone(),
            key: account.id.as_str().as_bytes().to_vec().into(),
            payload: Some(codec::encode(&request).into()),
            ..Outgoing::default()
        };
        match self.publisher.send(record).await {
            Ok(_) => Ok(()),
            Err(PublishError::TooLarge) => Err(HttpError::too_large("body: larger than the broker takes")),
            Err(error @ (PublishError::QueueFull | PublishError::Broker { .. })) => {
                tracing::warn!(%error, "a request was not acknowledged");
                Err(HttpError::unavailable("the broker is away: try again"))
            }
        }
    }
}

/// Names in lower case; values that are no text are left out.
fn headers(map: &HeaderMap) -> Vec<(String, String)> {
    map.iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect()
}
