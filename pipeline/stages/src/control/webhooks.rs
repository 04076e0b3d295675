//! Webhooks, and the secrets that sign their deliveries.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tributary_core::deliver::sign;
use tributary_schemas::{
    entity::{Ordering, RecordType, Sealed, SecretRole, Version, Webhook, WebhookSecret, WebhookStatus},
    id::{ProjectId, WebhookId},
    resource::{EventPattern, Mode},
    time::Timestamp,
};

use super::{
    api::{App, Listed, new_id},
    bounds::{
        Accounts, Change, Cursor, Known, List, Moment, Name, Named, PageSize, Patterns, Providers, Rate, Set,
        Slug, Text, UrlText,
    },
    quota,
    route::{Call, Done, Given, Id, Ids, Made, Maybe, Route, Shown, delete, get, patch, post, put},
};
use crate::{
    clock::now,
    entity::WriteError,
    http_error::HttpError,
    secret::{Field, Secret},
    store::Kind,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        post("/webhooks", "Makes a webhook; our own secret is shown this once", create)
            .example(json!({ "url": "https://hooks.example.com/tributary", "events": ["hris_*"] })),
        get("/webhooks", "Lists webhooks", list),
        get("/webhooks/{id}", "Shows a webhook", show),
        patch("/webhooks/{id}", "Changes a webhook; null clears", change)
            .example(json!({ "name": "HR", "rate": null })),
        delete("/webhooks/{id}", "Deletes a webhook", remove),
        get("/webhooks/{id}/secrets", "Lists a webhook's secrets", secrets),
        post("/webhooks/{id}/secrets", "Adds a second secret, inactive", add_secret).example(json!({})),
        delete("/webhooks/{id}/secrets/{sid}", "Deletes a secret that is not active", delete_secret),
        post("/webhooks/{id}/secrets/{sid}/activate", "Makes a secret the active one", activate),
        put("/webhooks/{id}/secrets/{sid}/activate", "Makes a secret the active one", activate),
    ]
}

/// A secret that the caller brings, so that receivers of a project moving here stay as they are.
type BroughtSecret = Text<16, 512>;
/// Further headers of each delivery.
type Headers = Named<Text<0, 4_096>, 20>;
/// Modes of events.
type Modes = List<Known<Mode>, 1, 3>;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct New {
    url: UrlText,
    name: Option<Name>,
    events: Patterns,
    /// Absent means all.
    providers: Option<Providers>,
    /// Absent means all.
    accounts: Option<Accounts>,
    origin_owner_id: Option<Name>,
    /// Absent means all.
    modes: Option<Modes>,
    record_type: Option<Known<RecordType>>,
    ordering: Option<Known<Ordering>>,
    /// Requests a second; absent means no limit.
    rate: Option<Rate>,
    #[serde(default)]
    headers: Headers,
    secret: Option<BroughtSecret>,
}

/// A webhook.
#[derive(Serialize, JsonSchema)]
pub(super) struct WebhookShown {
    id: String,
    project_id: String,
    url: String,
    name: Option<String>,
    #[schemars(with = "Vec<Known<EventPattern>>")]
    events: Vec<EventPattern>,
    providers: Option<Vec<String>>,
    accounts: Option<Vec<String>>,
    origin_owner_id: Option<String>,
    #[schemars(with = "Option<Vec<Known<Mode>>>")]
    modes: Option<Vec<Mode>>,
    #[schemars(with = "Known<RecordType>")]
    record_type: RecordType,
    #[schemars(with = "Known<Ordering>")]
    ordering: Ordering,
    rate: Option<u32>,
    /// The names of its headers.
    headers: Vec<String>,
    #[schemars(with = "StatusShown")]
    status: WebhookStatus,
    secrets: Vec<SecretShown>,
    version: Version,
    #[schemars(with = "Moment")]
    enabled_at: Timestamp,
    #[schemars(with = "Moment")]
    created_at: Timestamp,
    #[schemars(with = "Moment")]
    updated_at: Timestamp,
    /// Our own secret, shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// Whether it is delivered to, and why not.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "tells the schema of WebhookStatus")]
struct StatusShown {
    /// `enabled` or `disabled`.
    state: String,
    reason: Option<String>,
}

/// A secret, without its text.
#[derive(Serialize, JsonSchema)]
struct SecretShown {
    id: String,
    #[schemars(with = "Known<SecretRole>")]
    role: SecretRole,
    #[schemars(with = "Moment")]
    created_at: Timestamp,
}

async fn create(call: Call<(), (), Given<New>>) -> Result<Made<WebhookShown>, HttpError> {
    let (app, new) = (&call.app, &call.body.0);
    let url = checked_url(app, &new.url)?;
    let id: WebhookId = new_id().parse().map_err(|_| anyhow::anyhow!("a new id"))?;
    let (secret, shown_once) = made(new.secret.as_ref())?;
    quota::check(app, &call.caller.project, Kind::Webhook).await?;
    let at = now();
    let webhook = Webhook {
        project: call.caller.project.clone(),
        version: 0,
        url,
        name: new.name.as_ref().map(|it| it.as_str().to_owned()),
        events: patterns(&new.events),
        providers: new.providers.as_ref().map(ids),
        accounts: new.accounts.as_ref().map(ids),
        origin_owner_id: new.origin_owner_id.as_ref().map(|it| it.as_str().to_owned()),
        modes: new.modes.as_ref().map(modes),
        record_type: new.record_type.map(|it| it.0).unwrap_or_default(),
        ordering: new.ordering.map(|it| it.0).unwrap_or_default(),
        rate: new.rate.map(rate),
        headers: sealed_headers(app, &id, &new.headers)?,
        status: WebhookStatus::Enabled,
        secrets: vec![sealed_secret(app, &id, &secret, SecretRole::Active)?],
        enabled_at: app.skew.broker_now(),
        created_at: at,
        updated_at: at,
        id,
    };
    let mut made = shown(call.writer().create(webhook).await?);
    made.secret = shown_once;
    Ok(Made(made))
}

fn checked_url(app: &App, url: &UrlText) -> Result<String, HttpError> {
    let url = url.as_str().trim();
    app.allowed.check_url(url).map_err(|refused| HttpError::unprocessable(refused.to_string()))?;
    Ok(url.to_owned())
}

fn patterns(events: &Patterns) -> Vec<EventPattern> {
    events.as_slice().iter().map(|it| it.0.clone()).collect()
}

fn ids<Kind, const LEAST: usize, const MOST: usize>(
    names: &List<Slug, LEAST, MOST>,
) -> Vec<tributary_schemas::id::Id<Kind>> {
    names.as_slice().iter().filter_map(Slug::id).collect()
}

fn modes(modes: &Modes) -> Vec<Mode> {
    modes.as_slice().iter().map(|it| it.0).collect()
}

fn rate(rate: Rate) -> u32 {
    u32::try_from(rate.get()).unwrap_or(u32::MAX)
}

/// Our own secret is shown once; a brought one is known already. A brought one that claims to be of Standard Webhooks must
/// be: else it would be kept, and sign nothing in that scheme.
fn made(brought: Option<&BroughtSecret>) -> Result<(String, Option<String>), HttpError> {
    match brought.map(BroughtSecret::as_str) {
        Some(secret) if sign::signs_something(secret) => Ok((secret.to_owned(), None)),
        Some(_) => Err(HttpError::unprocessable(
            "secret: expected `whsec_` and the base64 of 24 to 64 bytes, or a text that does not begin with `whsec_`",
        )),
        None => {
            let mut random = [0; 32];
            random.copy_from_slice(Secret::random(32).expose());
            let secret = sign::secret_of(random);
            Ok((secret.clone(), Some(secret)))
        }
    }
}

fn sealed_secret(
    app: &App,
    webhook: &WebhookId,
    secret: &str,
    role: SecretRole,
) -> Result<WebhookSecret, HttpError> {
    let sealed = app.keys.seal(&Field::WebhookSecret.of(webhook), &Secret::new(secret))?;
    Ok(WebhookSecret { id: new_id(), secret: sealed, role, created_at: now() })
}

/// Headers that deliveries set themselves, or that are the connection's, can't be set: one name would come twice.
fn refused_header(app: &App, name: &str) -> bool {
    const THEIRS: [&str; 15] = [
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    ];
    THEIRS.contains(&name)
        || name == app.signature_header
        || ["webhook-", "x-tributary-", "x-stackone-"].iter().any(|prefix| name.starts_with(prefix))
}

fn sealed_headers(
    app: &App,
    webhook: &WebhookId,
    headers: &Headers,
) -> Result<BTreeMap<String, Sealed>, HttpError> {
    let mut sealed = BTreeMap::new();
    for (given, value) in &headers.0 {
        let name = given.to_ascii_lowercase();
        let short: String = name.chars().take(64).collect();
        let refuse = |why: &str| HttpError::unprocessable(format!("headers.{short}: {why}"));
        if http::HeaderName::try_from(&name).is_err() || name.len() > 128 {
            return Err(refuse("expected the name of a header"));
        }
        if http::HeaderValue::try_from(value.as_str()).is_err() {
            return Err(refuse("expected a header's value"));
        }
        if refused_header(app, &name) {
            return Err(refuse("this header can't be set: deliveries, or the connection, have it already"));
        }
        let value = app.keys.seal(&Field::WebhookHeader.of(webhook), &Secret::new(value.as_str()))?;
        if sealed.insert(name, value).is_some() {
            return Err(refuse("expected once: names of headers are the same in any case"));
        }
    }
    Ok(sealed)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Paging {
    page_size: Option<PageSize>,
    next: Option<Cursor>,
}

async fn list(call: Call<(), Paging>) -> Result<Shown<Listed<WebhookShown>>, HttpError> {
    let size = call.query.page_size.map_or(25, |size| size.get() as usize);
    let after = call.query.next.as_ref().map(Cursor::as_str);
    let page = call.writer().list::<Webhook>(&call.caller.project, after, size).await?;
    Ok(Shown(page.map(shown).into()))
}

/// One of the caller's webhooks.
pub(super) async fn find(app: &App, project: &ProjectId, id: &str) -> Result<Webhook, HttpError> {
    Ok(app.writer.get(project, id).await?.ok_or(WriteError::NotFound)?)
}

async fn show(call: Call<Id>) -> Result<Shown<WebhookShown>, HttpError> {
    Ok(Shown(shown(find(&call.app, &call.caller.project, &call.path.0).await?)))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Changes {
    #[serde(default)]
    url: Set<UrlText>,
    #[serde(default)]
    name: Change<Name>,
    #[serde(default)]
    events: Set<Patterns>,
    /// Null means all.
    #[serde(default)]
    providers: Change<Providers>,
    /// Null means all.
    #[serde(default)]
    accounts: Change<Accounts>,
    #[serde(default)]
    origin_owner_id: Change<Name>,
    /// Null means all.
    #[serde(default)]
    modes: Change<Modes>,
    #[serde(default)]
    record_type: Set<Known<RecordType>>,
    #[serde(default)]
    ordering: Set<Known<Ordering>>,
    /// Null takes the limit away.
    #[serde(default)]
    rate: Change<Rate>,
    /// All of them; null takes them away.
    #[serde(default)]
    headers: Change<Headers>,
}

async fn change(call: Call<Id, (), Given<Changes>>) -> Result<Shown<WebhookShown>, HttpError> {
    let (app, changes) = (&call.app, &call.body.0);
    let url = changes.url.0.as_ref().map(|url| checked_url(app, url)).transpose()?;
    let apply = |webhook: &mut Webhook| {
        if let Some(url) = &url {
            webhook.url.clone_from(url);
        }
        changes.name.apply(&mut webhook.name, |it| it.as_str().to_owned());
        if let Some(events) = &changes.events.0 {
            webhook.events = patterns(events);
        }
        changes.providers.apply(&mut webhook.providers, ids);
        changes.accounts.apply(&mut webhook.accounts, ids);
        changes.origin_owner_id.apply(&mut webhook.origin_owner_id, |it| it.as_str().to_owned());
        changes.modes.apply(&mut webhook.modes, modes);
        if let Some(record_type) = changes.record_type.0 {
            webhook.record_type = record_type.0;
        }
        if let Some(ordering) = changes.ordering.0 {
            webhook.ordering = ordering.0;
        }
        changes.rate.apply(&mut webhook.rate, |it| rate(*it));
        match &changes.headers {
            Change::Keep => {}
            Change::Clear => webhook.headers.clear(),
            Change::Set(headers) => webhook.headers = sealed_headers(app, &webhook.id, headers)?,
        }
        Ok::<_, HttpError>(())
    };
    Ok(Shown(shown(call.writer().update(&call.caller.project, &call.path.0, apply).await?)))
}

async fn remove(call: Call<Id>) -> Result<Done, HttpError> {
    let _: Webhook = call.writer().delete(&call.caller.project, &call.path.0).await?;
    Ok(Done)
}

async fn secrets(call: Call<Id>) -> Result<Shown<Listed<SecretShown>>, HttpError> {
    let webhook = find(&call.app, &call.caller.project, &call.path.0).await?;
    Ok(Shown(Listed { data: secrets_shown(&webhook), next: None }))
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewSecret {
    secret: Option<BroughtSecret>,
}

/// A secret that was added.
#[derive(Serialize, JsonSchema)]
struct SecretMade {
    id: String,
    #[schemars(with = "Known<SecretRole>")]
    role: SecretRole,
    /// Our own, shown this once; null for one that was brought.
    secret: Option<String>,
}

/// A second secret, inactive: receivers can learn it before it signs alone.
async fn add_secret(call: Call<Id, (), Maybe<NewSecret>>) -> Result<Made<SecretMade>, HttpError> {
    let webhook = find(&call.app, &call.caller.project, &call.path.0).await?;
    let (text, shown_once) = made(call.body.0.secret.as_ref())?;
    let secret = sealed_secret(&call.app, &webhook.id, &text, SecretRole::Inactive)?;
    let added = secret.id.clone();
    let apply = |webhook: &mut Webhook| {
        if webhook.secrets.len() >= 5 {
            return Err(HttpError::conflict("secrets: expected at most 5: delete an old one first"));
        }
        webhook.secrets.push(secret.clone());
        Ok(())
    };
    call.writer().update(&call.caller.project, &call.path.0, apply).await?;
    Ok(Made(SecretMade { id: added, role: SecretRole::Inactive, secret: shown_once }))
}

async fn activate(call: Call<Ids>) -> Result<Shown<Listed<SecretShown>>, HttpError> {
    let Ids(id, secret) = &call.path;
    let apply = |webhook: &mut Webhook| {
        if !webhook.secrets.iter().any(|it| it.id == *secret) {
            return Err(HttpError::not_found("no such secret"));
        }
        for held in &mut webhook.secrets {
            held.role = if held.id == *secret { SecretRole::Active } else { SecretRole::Inactive };
        }
        Ok(())
    };
    let webhook = call.writer().update(&call.caller.project, id, apply).await?;
    Ok(Shown(Listed { data: secrets_shown(&webhook), next: None }))
}

async fn delete_secret(call: Call<Ids>) -> Result<Done, HttpError> {
    let Ids(id, secret) = &call.path;
    let apply = |webhook: &mut Webhook| match webhook.secrets.iter().position(|it| it.id == *secret) {
        None => Err(HttpError::not_found("no such secret")),
        Some(place) if webhook.secrets[place].role == SecretRole::Active => {
            Err(HttpError::conflict("the active secret can't be deleted: activate another one first"))
        }
        Some(place) => {
            webhook.secrets.remove(place);
            Ok(())
        }
    };
    let _: Webhook = call.writer().update(&call.caller.project, id, apply).await?;
    Ok(Done)
}

fn secrets_shown(webhook: &Webhook) -> Vec<SecretShown> {
    let shown =
        |it: &WebhookSecret| SecretShown { id: it.id.clone(), role: it.role, created_at: it.created_at };
    webhook.secrets.iter().map(shown).collect()
}

/// A webhook as the API shows it.
pub(super) fn shown(webhook: Webhook) -> WebhookShown {
    WebhookShown {
        secrets: secrets_shown(&webhook),
        id: webhook.id.to_string(),
        project_id: webhook.project.to_string(),
        url: webhook.url,
        name: webhook.name,
        events: webhook.events,
        providers: webhook.providers.map(|it| it.iter().map(ToString::to_string).collect()),
        accounts: webhook.accounts.map(|it| it.iter().map(ToString::to_string).collect()),
        origin_owner_id: webhook.origin_owner_id,
        modes: webhook.modes,
        record_type: webhook.record_type,
        ordering: webhook.ordering,
        rate: webhook.rate,
        headers: webhook.headers.into_keys().collect(),
        status: webhook.status,
        version: webhook.version,
        enabled_at: webhook.enabled_at,
        created_at: webhook.created_at,
        updated_at: webhook.updated_at,
        secret: None,
    }
}
