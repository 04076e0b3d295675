//! One request: find the account, verify the signature, put it on the broker, answer.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Extension, Router,
    extract::{OriginalUri, Path, Request, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::any,
};
use ipnet::IpNet;
use sha2::{Digest, Sha256};
use tributary_connectors::{
    Catalog, Connector,
    native::{Inbound, Native},
};
use tributary_schemas::{
    codec,
    entity::{Account, AccountStatus},
    observation::{NativePayload, NativeRequest},
};

use super::{
    accounts::Accounts,
    body::{self, Pace},
    client, metrics,
    refusal::Refusal,
    shares::Shares,
};
use crate::{
    clock::now,
    entity::{WriteError, Writer},
    kafka::{Outgoing, PublishError, Publisher, View},
    listen::Peer,
    poll::interest::Interests,
    secret::{Field, KeyRing, Secret},
    store::{ControlStore, Lookup},
};

pub(super) struct Receiver {
    pub(super) topic: String,
    pub(super) public_url: String,
    pub(super) pace: Pace,
    pub(super) proxies: Vec<IpNet>,
    pub(super) shares: Arc<Shares>,
    pub(super) store: Arc<dyn ControlStore>,
    pub(super) publisher: Publisher,
    pub(super) accounts: View<Accounts>,
    pub(super) projects: View<Interests>,
    pub(super) writer: Writer,
    pub(super) catalog: Catalog,
    pub(super) keys: Arc<KeyRing>,
}

pub(super) fn router(receiver: Arc<Receiver>) -> Router {
    Router::new()
        .route("/native/{provider}/{token}", any(receive))
        .fallback(|| async { Refusal::UnknownUrl })
        .with_state(receiver)
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    Path((provider, token)): Path<(String, String)>,
    OriginalUri(uri): OriginalUri,
    Extension(Peer(peer)): Extension<Peer>,
    request: Request,
) -> Response {
    let begun = std::time::Instant::now();
    // A label only for what exists: anything can be asked for.
    let known = receiver.catalog.old(&provider).map_or("unknown", |connector| connector.name()).to_owned();
    let (outcome, response) = match receiver.take(&provider, &token, &uri, peer.ip(), request).await {
        Ok(taken) => (taken.outcome, taken.status.into_response()),
        Err(refusal) => (refusal.name(), refusal.into_response()),
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
        uri: &Uri,
        peer: IpAddr,
        request: Request,
    ) -> Result<Taken, Refusal> {
        let unknown = || Refusal::UnknownUrl;
        let connector = self.catalog.old(provider).ok_or_else(unknown)?;
        let native = connector.native().ok_or_else(unknown)?;
        let address = client::address(peer, request.headers(), &self.proxies);
        let account = self.account(token, address).await?.ok_or_else(unknown)?;
        if account.provider.as_str() != provider {
            return Err(unknown());
        }
        if matches!(account.status, AccountStatus::Archived | AccountStatus::Suspended) {
            return Err(Refusal::AccountClosed);
        }
        if request.headers().contains_key("x-tributary-event-id") {
            return Err(Refusal::OwnDelivery);
        }
        if self.projects.read().is_suspended(&account.project) {
            return Err(Refusal::Suspended);
        }
        let declared = body::declared(request.headers());
        if declared > self.pace.most as u64 {
            return Err(Refusal::TooLarge);
        }
        // What is over its account's rate is refused before it is read; the place is held until it is on the broker.
        let mut place =
            self.shares.enter(&account.project, &account.id, u32::try_from(declared).unwrap_or(u32::MAX))?;
        let method = request.method().as_str().to_owned();
        let headers = headers(request.headers());
        let body = body::read(request.into_body(), self.pace, &mut place).await?;
        ::metrics::histogram!(metrics::BODY_BYTES).record(body.len() as f64);
        // As the provider called it: a signature may be over the whole URL.
        let url = format!("{}{}", self.public_url, uri.path_and_query().map_or("/", |it| it.as_str()));
        let inbound = Inbound { method: &method, url: &url, headers: &headers, body: &body };
        let secrets = self.secrets(&account)?;
        let secrets: Vec<&[u8]> = secrets.iter().map(Secret::expose).collect();
        native.verify(&inbound, &secrets, now()).map_err(|forged| Refusal::Forged(forged.to_string()))?;
        let success = StatusCode::from_u16(native.success()).unwrap_or(StatusCode::OK);
        if native.is_ping(&inbound) {
            return Ok(Taken { outcome: "ping", status: success });
        }
        if !is_json(&body) {
            return Err(Refusal::NoJson);
        }
        self.publish(&account, connector, native, &inbound, &body).await?;
        Ok(Taken { outcome: "accepted", status: success })
    }

    /// The view first; a token it does not know may be newer than the view, so the store is asked once.
    async fn account(&self, token: &str, address: IpAddr) -> Result<Option<Arc<Account>>, Refusal> {
        let hash = hex::encode(Sha256::digest(token.as_bytes()));
        if let Some(account) = self.accounts.read().of_token(&hash) {
            return Ok(Some(account));
        }
        if self.shares.is_unknown(&hash) {
            return Ok(None);
        }
        self.shares.look_up(address)?;
        let found = self.store.find(Lookup::Token, &hash).await.map_err(|error| away(&error))?;
        let Some((project, id)) = found else {
            self.shares.note_unknown(hash);
            return Ok(None);
        };
        let account: Option<Account> = self.writer.get(&project, &id).await.map_err(|error| match error {
            WriteError::Broken(_) => Refusal::Unreadable,
            error => away(&error),
        })?;
        Ok(account.filter(|account| account.native.token_hash == hash).map(Arc::new))
    }

    fn secrets(&self, account: &Account) -> Result<Vec<Secret>, Refusal> {
        let context = Field::NativeSecret.of(&account.id);
        let open = |sealed| {
            self.keys.open(&context, sealed).map_err(|error| {
                tracing::error!(
                    account = account.id.as_str(),
                    error = format!("{error:#}"),
                    "a secret does not open"
                );
                Refusal::Sealed
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
    ) -> Result<(), Refusal> {
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
            Err(PublishError::TooLarge) => Err(Refusal::TooLarge),
            Err(error @ (PublishError::QueueFull | PublishError::Broker { .. })) => {
                tracing::warn!(%error, "a request was not acknowledged");
                Err(Refusal::BrokerAway)
            }
        }
    }
}

/// The store did not answer; how often is counted, why is logged.
fn away(error: &impl std::fmt::Display) -> Refusal {
    tracing::debug!(%error, "looking a token up");
    Refusal::StoreAway
}

/// Names in lower case; values that are no text are left out.
fn headers(map: &HeaderMap) -> Vec<(String, String)> {
    map.iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect()
}

/// Whether it is JSON at all, whatever its depth, numbers and surrogates: whether we can map it is not the provider's
/// trouble, and one that often hears 400 turns its webhook off.
fn is_json(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    serde_json::from_slice::<&serde_json::value::RawValue>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn all_that_is_json_is_taken() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for (body, expected) in [
            (r#"{"a":1}"#, true),
            ("\u{feff}{\"a\":1}", true),
            (&*deep, true),
            (r#"{"a":1e999999}"#, true),
            (r#"{"a":123456789012345678901234567890}"#, true),
            (r#"{"a":"\ud800"}"#, true),
            ("null", true),
            ("", false),
            ("a=1&b=2", false),
            ("{", false),
            ("<xml/>", false),
            ("{} {}", false),
        ] {
            assert_eq!(is_json(body.as_bytes()), expected, "{}", &body[..body.len().min(40)]);
        }
    }
}
