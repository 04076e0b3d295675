//! Webhooks, their secrets and their attempts.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tributary_core::deliver::sign;
use tributary_schemas::{
    entity::{Ordering, RecordType, Sealed, SecretRole, Webhook, WebhookSecret, WebhookStatus},
    id::{AccountId, ProviderId, WebhookId},
    resource::{EventPattern, Mode},
    time::Timestamp,
};

use super::api::{App, Body, Caller, Page, Paging, new_id};
use crate::{
    clock::now,
    entity::WriteError,
    http_error::HttpError,
    secret::{Field, Secret},
    store::AttemptRow,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    url: String,
    name: Option<String>,
    events: Vec<EventPattern>,
    providers: Option<Vec<ProviderId>>,
    accounts: Option<Vec<AccountId>>,
    origin_owner_id: Option<String>,
    modes: Option<Vec<Mode>>,
    #[serde(default)]
    record_type: RecordType,
    #[serde(default)]
    ordering: Ordering,
    rate: Option<u32>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The caller's own secret, so that receivers of a project moving here stay as they are.
    secret: Option<String>,
}

pub(super) async fn create(
    Caller(project): Caller,
    State(app): State<App>,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<Value>), HttpError> {
    app.allowed.check_url(&new.url).map_err(|refused| HttpError::unprocessable(refused.to_string()))?;
    check(&new.events, new.rate)?;
    let id: WebhookId = new_id().parse().map_err(|_| anyhow::anyhow!("a new id"))?;
    let (secret, shown_once) = made(new.secret);
    let at = now();
    let webhook = Webhook {
        project,
        version: 0,
        url: new.url,
        name: new.name,
        events: new.events,
        providers: new.providers,
        accounts: new.accounts,
        origin_owner_id: new.origin_owner_id,
        modes: new.modes,
        record_type: new.record_type,
        ordering: new.ordering,
        rate: new.rate,
        headers: sealed_headers(&app, &id, new.headers)?,
        status: WebhookStatus::Enabled,
        secrets: vec![sealed_secret(&app, &id, &secret, SecretRole::Active)?],
        enabled_at: at,
        created_at: at,
        updated_at: at,
        id,
    };
    let webhook = app.writer.create(webhook).await?;
    let mut shown = shown(&webhook);
    shown["secret"] = json!(shown_once);
    Ok((StatusCode::CREATED, Json(shown)))
}

/// A rate above this would limit nothing: a process has fewer requests in flight for a webhook than that.
const RATE_MOST: u32 = 10_000;

fn check(events: &[EventPattern], rate: Option<u32>) -> Result<(), HttpError> {
    if events.is_empty() {
        return Err(HttpError::unprocessable(
            "events: expected at least one, such as `*` or `hris_employees.created`",
        ));
    }
    match rate {
        None | Some(1..=RATE_MOST) => Ok(()),
        Some(_) => Err(HttpError::unprocessable(format!(
            "rate: expected 1 to {RATE_MOST} requests a second, or null for no limit"
        ))),
    }
}

/// Our own secret is shown once; a brought one is known already.
fn made(brought: Option<String>) -> (String, Option<String>) {
    match brought {
        Some(secret) => (secret, None),
        None => {
            let mut random = [0; 32];
            random.copy_from_slice(Secret::random(32).expose());
            let secret = sign::secret_of(random);
            (secret.clone(), Some(secret))
        }
    }
}

fn sealed_secret(
    app: &App,
    webhook: &WebhookId,
    secret: &str,
    role: SecretRole,
) -> Result<WebhookSecret, HttpError> {
    if secret.len() < 16 {
        return Err(HttpError::unprocessable("secret: expected at least 16 characters"));
    }
    let sealed = app.keys.seal(&Field::WebhookSecret.of(webhook), &Secret::new(secret))?;
    Ok(WebhookSecret { id: new_id(), secret: sealed, role, created_at: now() })
}

/// Headers that deliveries set themselves can't be set.
fn sealed_headers(
    app: &App,
    webhook: &WebhookId,
    headers: BTreeMap<String, String>,
) -> Result<BTreeMap<String, Sealed>, HttpError> {
    let reserved =
        ["content-type", "content-length", "host", "user-agent", "transfer-encoding", "connection"];
    let seal = |(name, value): (String, String)| {
        let name = name.to_ascii_lowercase();
        let legal = http::HeaderName::try_from(&name).is_ok() && http::HeaderValue::try_from(&value).is_ok();
        let ours = reserved.contains(&name.as_str())
            || name.starts_with("webhook-")
            || name.starts_with("x-tributary-");
        if !legal || ours {
            return Err(HttpError::unprocessable(format!("headers.{name}: this header can't be set")));
        }
        Ok((name, app.keys.seal(&Field::WebhookHeader.of(webhook), &Secret::new(value))?))
    };
    headers.into_iter().map(seal).collect()
}

pub(super) async fn list(
    Caller(project): Caller,
    State(app): State<App>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Value>>, HttpError> {
    let size = paging.size()?;
    let found: Vec<Webhook> = app.writer.list(&project, paging.next.as_deref(), size).await?;
    let next = (found.len() == size).then(|| found.last().map(|it| it.id.to_string())).flatten();
    Ok(Json(Page { data: found.iter().map(shown).collect(), next }))
}

async fn find(app: &App, caller: &Caller, id: &str) -> Result<Webhook, HttpError> {
    Ok(app.writer.get(&caller.0, id).await?.ok_or(WriteError::NotFound)?)
}

pub(super) async fn show(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    Ok(Json(shown(&find(&app, &caller, &id).await?)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    url: Option<String>,
    name: Option<String>,
    events: Option<Vec<EventPattern>>,
    providers: Option<Vec<ProviderId>>,
    accounts: Option<Vec<AccountId>>,
    origin_owner_id: Option<String>,
    modes: Option<Vec<Mode>>,
    record_type: Option<RecordType>,
    ordering: Option<Ordering>,
    /// Null takes the limit away.
    #[serde(default, deserialize_with = "present")]
    rate: Option<Option<u32>>,
    headers: Option<BTreeMap<String, String>>,
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(from).map(Some)
}

pub(super) async fn patch(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
    Body(change): Body<Change>,
) -> Result<Json<Value>, HttpError> {
    if let Some(url) = &change.url {
        app.allowed.check_url(url).map_err(|refused| HttpError::unprocessable(refused.to_string()))?;
    }
    let apply = |webhook: &mut Webhook| {
        let change = &change;
        if let Some(url) = &change.url {
            webhook.url.clone_from(url);
        }
        if change.name.is_some() {
            webhook.name.clone_from(&change.name);
        }
        if let Some(events) = &change.events {
            webhook.events.clone_from(events);
        }
        if change.providers.is_some() {
            webhook.providers.clone_from(&change.providers);
        }
        if change.accounts.is_some() {
            webhook.accounts.clone_from(&change.accounts);
        }
        if change.origin_owner_id.is_some() {
            webhook.origin_owner_id.clone_from(&change.origin_owner_id);
        }
        if change.modes.is_some() {
            webhook.modes.clone_from(&change.modes);
        }
        if let Some(record_type) = change.record_type {
            webhook.record_type = record_type;
        }
        if let Some(headers) = &change.headers {
            webhook.headers = sealed_headers(&app, &webhook.id, headers.clone())?;
        }
        if let Some(ordering) = change.ordering {
            webhook.ordering = ordering;
        }
        if let Some(rate) = change.rate {
            webhook.rate = rate;
        }
        check(&webhook.events, webhook.rate)
    };
    Ok(Json(shown(&app.writer.update(&caller.0, &id, apply).await?)))
}

pub(super) async fn delete(
    Caller(project): Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<StatusCode, HttpError> {
    let _: Webhook = app.writer.delete(&project, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Events from then on are delivered.
pub(super) async fn enable(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let apply = |webhook: &mut Webhook| {
        if webhook.status != WebhookStatus::Enabled {
            webhook.status = WebhookStatus::Enabled;
            webhook.enabled_at = now();
        }
        Ok::<_, HttpError>(())
    };
    Ok(Json(shown(&app.writer.update(&caller.0, &id, apply).await?)))
}

pub(super) async fn disable(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let apply = |webhook: &mut Webhook| {
        if webhook.status == WebhookStatus::Enabled {
            webhook.status = WebhookStatus::Disabled { reason: "by request".into() };
        }
        Ok::<_, HttpError>(())
    };
    Ok(Json(shown(&app.writer.update(&caller.0, &id, apply).await?)))
}

pub(super) async fn secrets(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    Ok(Json(json!({ "data": secrets_shown(&find(&app, &caller, &id).await?), "next": null })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSecret {
    secret: Option<String>,
}

/// A second secret, inactive: receivers can learn it before it signs alone.
pub(super) async fn add_secret(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
    Body(new): Body<NewSecret>,
) -> Result<(StatusCode, Json<Value>), HttpError> {
    let webhook = find(&app, &caller, &id).await?;
    let (secret, shown_once) = made(new.secret);
    let secret = sealed_secret(&app, &webhook.id, &secret, SecretRole::Inactive)?;
    let added = secret.id.clone();
    let apply = |webhook: &mut Webhook| {
        if webhook.secrets.len() >= 5 {
            return Err(HttpError::unprocessable("secrets: expected at most 5: delete an old one first"));
        }
        webhook.secrets.push(secret.clone());
        Ok(())
    };
    app.writer.update(&caller.0, &id, apply).await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": added, "role": "inactive", "secret": shown_once }))))
}

pub(super) async fn activate(
    caller: Caller,
    State(app): State<App>,
    Path((id, secret)): Path<(String, String)>,
) -> Result<Json<Value>, HttpError> {
    let apply = |webhook: &mut Webhook| {
        if !webhook.secrets.iter().any(|it| it.id == secret) {
            return Err(HttpError::not_found("no such secret"));
        }
        for held in &mut webhook.secrets {
            held.role = if held.id == secret { SecretRole::Active } else { SecretRole::Inactive };
        }
        Ok(())
    };
    let webhook = app.writer.update(&caller.0, &id, apply).await?;
    Ok(Json(json!({ "data": secrets_shown(&webhook), "next": null })))
}

pub(super) async fn delete_secret(
    caller: Caller,
    State(app): State<App>,
    Path((id, secret)): Path<(String, String)>,
) -> Result<StatusCode, HttpError> {
    let apply = |webhook: &mut Webhook| match webhook.secrets.iter().position(|it| it.id == secret) {
        None => Err(HttpError::not_found("no such secret")),
        Some(place) if webhook.secrets[place].role == SecretRole::Active => {
            Err(HttpError::conflict("the active secret can't be deleted: activate another one first"))
        }
        Some(place) => {
            webhook.secrets.remove(place);
            Ok(())
        }
    };
    let _: Webhook = app.writer.update(&caller.0, &id, apply).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn attempts(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Value>>, HttpError> {
    let webhook = find(&app, &caller, &id).await?;
    let size = paging.size()?;
    let before = match &paging.next {
        Some(next) => next
            .parse()
            .map(Timestamp::from_micros)
            .map_err(|_| HttpError::unprocessable("next: expected the cursor of a page before"))?,
        None => now().plus(std::time::Duration::from_secs(3_600)),
    };
    let rows = app.stores.control.attempts(&webhook.id, before, size).await?;
    let next = (rows.len() == size).then(|| rows.last().map(|row| row.at.as_micros().to_string())).flatten();
    Ok(Json(Page { data: documents(rows)?, next }))
}

pub(super) async fn delivery(
    caller: Caller,
    State(app): State<App>,
    Path((id, delivery)): Path<(String, String)>,
) -> Result<Json<Value>, HttpError> {
    let webhook = find(&app, &caller, &id).await?;
    let attempts = documents(app.stores.control.attempts_of(&webhook.id, &delivery).await?)?;
    if attempts.is_empty() {
        return Err(HttpError::not_found("no attempt of such a delivery in the last 7 days"));
    }
    Ok(Json(json!({ "id": delivery, "attempts": attempts })))
}

fn documents(rows: Vec<AttemptRow>) -> Result<Vec<Value>, HttpError> {
    let parsed: Result<_, _> = rows.into_iter().map(|row| serde_json::from_slice(&row.doc)).collect();
    Ok(parsed.map_err(anyhow::Error::from)?)
}

fn secrets_shown(webhook: &Webhook) -> Vec<Value> {
    let shown = |it: &WebhookSecret| json!({ "id": it.id, "role": it.role, "created_at": it.created_at });
    webhook.secrets.iter().map(shown).collect()
}

fn shown(webhook: &Webhook) -> Value {
    json!({
        "id": webhook.id, "project_id": webhook.project, "url": webhook.url, "name": webhook.name,
        "events": webhook.events, "providers": webhook.providers, "accounts": webhook.accounts,
        "origin_owner_id": webhook.origin_owner_id, "modes": webhook.modes,
        "record_type": webhook.record_type, "ordering": webhook.ordering, "rate": webhook.rate,
        "headers": webhook.headers.keys().collect::<Vec<_>>(), "status": webhook.status,
        "secrets": secrets_shown(webhook), "enabled_at": webhook.enabled_at, "created_at": webhook.created_at,
        "updated_at": webhook.updated_at,
    })
}
