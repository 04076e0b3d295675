//! Linked accounts, and the URLs of their providers' webhooks.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tributary_connectors::Connector;
use tributary_schemas::{
    entity::{Account, AccountStatus, NativeWebhook, Sealed},
    id::{AccountId, ProviderId},
};

use super::api::{App, Body, Caller, Page, Paging, hash, new_id};
use crate::{
    clock::now,
    entity::WriteError,
    http_error::HttpError,
    secret::{Field, Secret},
    store::Lookup,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    provider: String,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    origin_owner_id: Option<String>,
    #[serde(default)]
    origin_owner_name: Option<String>,
    #[serde(default)]
    origin_username: Option<String>,
    /// Set-up fields, secret ones too; write-only.
    #[serde(default)]
    setup: BTreeMap<String, String>,
}

pub(super) async fn create(
    Caller(project): Caller,
    State(app): State<App>,
    Body(new): Body<New>,
) -> Result<(StatusCode, Json<Value>), HttpError> {
    let connector = app
        .catalog
        .get(&new.provider)
        .ok_or_else(|| HttpError::unprocessable(format!("provider: no connector `{}`", new.provider)))?;
    let provider: ProviderId =
        new.provider.parse().map_err(|_| HttpError::unprocessable("provider: no name"))?;
    let id: AccountId = new_id().parse().map_err(|_| anyhow::anyhow!("a new id"))?;
    let (setup, credentials) = divided(connector, new.setup)?;
    required(connector, &setup, &credentials)?;
    let token = hex::encode(Secret::random(24).expose());
    let secret = hex::encode(Secret::random(24).expose());
    let at = now();
    let seal = |field: Field, secret: Secret| app.keys.seal(&field.of(&id), &secret);
    let account = Account {
        project: project.clone(),
        version: 0,
        provider,
        status: AccountStatus::Active,
        status_reasons: Vec::new(),
        label: new.label,
        origin_owner_id: new.origin_owner_id,
        origin_owner_name: new.origin_owner_name,
        origin_username: new.origin_username,
        setup,
        credentials: seal(
            Field::Credentials,
            Secret::new(serde_json::to_vec(&credentials).map_err(anyhow::Error::from)?),
        )?,
        hash_key: seal(Field::HashKey, Secret::random(32))?,
        native: NativeWebhook {
            token_hash: hash(&token),
            token: seal(Field::NativeToken, Secret::new(token.clone()))?,
            secrets: vec![seal(Field::NativeSecret, Secret::new(secret))?],
        },
        schedules: BTreeMap::new(),
        created_at: at,
        updated_at: at,
        id,
    };
    // First the URL, then the account: a provider's ping can come at once.
    app.stores
        .control
        .index(Lookup::Token, &account.native.token_hash, &project, account.id.as_str())
        .await?;
    let account = app.writer.create(account).await?;
    Ok((StatusCode::CREATED, Json(shown(&app, &account))))
}

#[derive(Debug, Deserialize)]
pub(super) struct Filter {
    provider: Option<String>,
    origin_owner_id: Option<String>,
    status: Option<AccountStatus>,
}

pub(super) async fn list(
    Caller(project): Caller,
    State(app): State<App>,
    Query(paging): Query<Paging>,
    Query(filter): Query<Filter>,
) -> Result<Json<Page<Value>>, HttpError> {
    let size = paging.size()?;
    let mut after = paging.next.clone();
    let mut data = Vec::new();
    loop {
        let found: Vec<Account> = app.writer.list(&project, after.as_deref(), 100).await?;
        let Some(last) = found.last() else { return Ok(Json(Page { data, next: None })) };
        after = Some(last.id.to_string());
        for account in found {
            let wanted = filter.provider.as_ref().is_none_or(|it| it == account.provider.as_str())
                && filter
                    .origin_owner_id
                    .as_ref()
                    .is_none_or(|it| Some(it) == account.origin_owner_id.as_ref())
                && filter.status.is_none_or(|it| it == account.status);
            if wanted {
                data.push(shown(&app, &account));
            }
            if data.len() == size {
                return Ok(Json(Page { data, next: Some(account.id.to_string()) }));
            }
        }
    }
}

pub(super) async fn find(app: &App, caller: &Caller, id: &str) -> Result<Account, HttpError> {
    Ok(app.writer.get(&caller.0, id).await?.ok_or(WriteError::NotFound)?)
}

pub(super) async fn show(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    Ok(Json(shown(&app, &find(&app, &caller, &id).await?)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    status: Option<AccountStatus>,
    label: Option<String>,
    origin_owner_id: Option<String>,
    origin_owner_name: Option<String>,
    origin_username: Option<String>,
    setup: Option<BTreeMap<String, String>>,
}

pub(super) async fn patch(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
    Body(change): Body<Change>,
) -> Result<Json<Value>, HttpError> {
    let before = find(&app, &caller, &id).await?;
    let connector =
        app.catalog.get(before.provider.as_str()).ok_or_else(|| anyhow::anyhow!("a connector is gone"))?;
    let apply = |account: &mut Account| {
        let set = |to: &mut Option<String>, value: &Option<String>| {
            if value.is_some() {
                to.clone_from(value);
            }
        };
        set(&mut account.label, &change.label);
        set(&mut account.origin_owner_id, &change.origin_owner_id);
        set(&mut account.origin_owner_name, &change.origin_owner_name);
        set(&mut account.origin_username, &change.origin_username);
        if let Some(setup) = &change.setup {
            let (open, secret) = divided(connector, setup.clone())?;
            account.setup.extend(open);
            if !secret.is_empty() {
                let context = Field::Credentials.of(&account.id);
                let held = app.keys.open(&context, &account.credentials)?;
                let mut credentials: BTreeMap<String, String> =
                    serde_json::from_slice(held.expose()).map_err(anyhow::Error::from)?;
                let unchanged = secret.iter().all(|(name, value)| credentials.get(name) == Some(value));
                if !unchanged {
                    credentials.extend(secret);
                    let bytes = serde_json::to_vec(&credentials).map_err(anyhow::Error::from)?;
                    account.credentials = app.keys.seal(&context, &Secret::new(bytes))?;
                    // New credentials are given a chance.
                    if account.status == AccountStatus::Error {
                        account.status = AccountStatus::Active;
                        account.status_reasons.clear();
                    }
                }
            }
        }
        if let Some(status) = change.status
            && status != account.status
        {
            account.status = status;
            account.status_reasons.clear();
        }
        Ok::<_, HttpError>(())
    };
    let account = app.writer.update(&caller.0, &id, apply).await?;
    Ok(Json(shown(&app, &account)))
}

pub(super) async fn delete(
    Caller(project): Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<StatusCode, HttpError> {
    let account: Account = app.writer.delete(&project, &id).await?;
    app.stores.control.unindex(Lookup::Token, &account.native.token_hash).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn native(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let account = find(&app, &caller, &id).await?;
    native_shown(&app, &account)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NativeSecret {
    secret: String,
}

/// Where the provider issues the secret.
pub(super) async fn put_native(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
    Body(new): Body<NativeSecret>,
) -> Result<Json<Value>, HttpError> {
    if new.secret.is_empty() {
        return Err(HttpError::unprocessable("secret: expected the provider's secret"));
    }
    let apply = |account: &mut Account| {
        account.native.secrets = vec![sealed_secret(&app, &account.id, new.secret.clone())?];
        Ok::<_, HttpError>(())
    };
    let account = app.writer.update(&caller.0, &id, apply).await?;
    native_shown(&app, &account)
}

/// A new secret beside the last one: requests signed with either are believed until the next rotation.
pub(super) async fn rotate_native(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let secret = hex::encode(Secret::random(24).expose());
    let apply = |account: &mut Account| {
        account.native.secrets.insert(0, sealed_secret(&app, &account.id, secret.clone())?);
        account.native.secrets.truncate(2);
        Ok::<_, HttpError>(())
    };
    let account = app.writer.update(&caller.0, &id, apply).await?;
    native_shown(&app, &account)
}

fn sealed_secret(app: &App, account: &AccountId, secret: String) -> Result<Sealed, HttpError> {
    Ok(app.keys.seal(&Field::NativeSecret.of(account), &Secret::new(secret))?)
}

fn native_shown(app: &App, account: &Account) -> Result<Json<Value>, HttpError> {
    let native = app
        .catalog
        .get(account.provider.as_str())
        .and_then(Connector::native)
        .ok_or_else(|| HttpError::not_found("this provider has no webhooks: it is polled"))?;
    let open = |field: Field, sealed: &Sealed| app.keys.open(&field.of(&account.id), sealed);
    let token = open(Field::NativeToken, &account.native.token)?;
    let url = format!("{}/native/{}/{}", app.public_url, account.provider, token.expose_text()?);
    let secret =
        account.native.secrets.first().map(|secret| open(Field::NativeSecret, secret)).transpose()?;
    let secret = secret.as_ref().map(Secret::expose_text).transpose()?.unwrap_or_default();
    Ok(Json(json!({ "url": url, "secret": secret, "instructions": native.instructions(&url, secret) })))
}

type Fields = BTreeMap<String, String>;

/// Set-up fields, the open ones and the secret ones.
fn divided(connector: &Connector, given: Fields) -> Result<(Fields, Fields), HttpError> {
    let (mut open, mut secret) = (Fields::new(), Fields::new());
    for (name, value) in given {
        let field = connector.setup_fields().iter().find(|field| field.name == name).ok_or_else(|| {
            let names: Vec<&str> = connector.setup_fields().iter().map(|field| field.name.as_str()).collect();
            HttpError::unprocessable(format!("setup.{name}: expected one of {}", names.join(", ")))
        })?;
        if field.secret { &mut secret } else { &mut open }.insert(name, value);
    }
    Ok((open, secret))
}

fn required(connector: &Connector, open: &Fields, secret: &Fields) -> Result<(), HttpError> {
    let missing = connector.setup_fields().iter().find(|field| {
        !field.optional && !open.contains_key(&field.name) && !secret.contains_key(&field.name)
    });
    match missing {
        Some(field) => {
            Err(HttpError::unprocessable(format!("setup.{}: {} is required", field.name, field.label)))
        }
        None => Ok(()),
    }
}

fn shown(app: &App, account: &Account) -> Value {
    let title = app.catalog.get(account.provider.as_str()).map(Connector::title);
    json!({
        "id": account.id, "project_id": account.project, "provider": account.provider, "provider_name": title,
        "status": account.status, "status_reasons": account.status_reasons, "label": account.label,
        "origin_owner_id": account.origin_owner_id, "origin_owner_name": account.origin_owner_name,
        "origin_username": account.origin_username, "setup_information": account.setup, "version": account.version,
        "created_at": account.created_at, "updated_at": account.updated_at,
    })
}
