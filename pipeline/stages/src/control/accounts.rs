//! Linked accounts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tributary_connectors::Connector;
use tributary_schemas::{
    entity::{Account, AccountStatus, NativeWebhook, Told, Version},
    id::{AccountId, ProjectId},
    time::Timestamp,
};

use super::{
    api::{App, Listed, hash, new_id},
    bounds::{Change, Cursor, Known, Label, Moment, Name, PageSize, Set, Slug},
    quota,
    read::advice,
    route::{Call, Done, Given, Id, Made, Route, Shown, delete, get, patch, post},
    setup::{self, Setup},
};
use crate::{
    clock::now,
    entity::WriteError,
    http_error::HttpError,
    secret::{Field, Secret},
    store::{Kind, Lookup},
};

pub(super) fn routes() -> Vec<Route> {
    let setup =
        json!({ "base_url": "https://erp.example.com", "database": "hris", "login": "api", "password": "…" });
    vec![
        post("/accounts", "Links an account", create)
            .example(json!({ "provider": "tryton", "label": "Acme", "setup": setup })),
        get("/accounts", "Lists accounts", list),
        get("/accounts/{id}", "Shows an account", show),
        patch("/accounts/{id}", "Changes an account; null clears", change)
            .example(json!({ "label": "Acme Inc.", "origin_username": null })),
        delete("/accounts/{id}", "Unlinks an account", unlink),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct New {
    provider: Slug,
    label: Option<Label>,
    origin_owner_id: Option<Name>,
    origin_owner_name: Option<Label>,
    origin_username: Option<Label>,
    /// Set-up fields, secret ones too; write-only.
    #[serde(default)]
    setup: setup::Given,
}

/// An account.
#[derive(Serialize, JsonSchema)]
struct AccountShown {
    id: String,
    project_id: String,
    provider: String,
    provider_name: Option<String>,
    #[schemars(with = "Known<AccountStatus>")]
    status: AccountStatus,
    status_reasons: Vec<String>,
    label: Option<String>,
    origin_owner_id: Option<String>,
    origin_owner_name: Option<String>,
    origin_username: Option<String>,
    /// The set-up fields that are no secrets.
    setup_information: BTreeMap<String, String>,
    /// Grows with each change; `If-Match` takes it.
    version: Version,
    #[schemars(with = "Moment")]
    created_at: Timestamp,
    #[schemars(with = "Moment")]
    updated_at: Timestamp,
}

async fn create(call: Call<(), (), Given<New>>) -> Result<Made<AccountShown>, HttpError> {
    let (app, project, new) = (&call.app, &call.caller.project, &call.body.0);
    let connector = connector(app, &new.provider)?;
    let setup = Setup::new(connector, &new.setup)?;
    quota::check(app, project, Kind::Account).await?;
    let account = linked(app, project, connector, new, setup)?;
    // First the URL, then the account: a provider's ping can come at once.
    let index = &account.native.token_hash;
    app.stores.control.index(Lookup::Token, index, project, account.id.as_str()).await?;
    let account = call.writer().create(account).await?;
    Ok(Made(shown(app, account)))
}

fn connector<'a>(app: &'a App, provider: &Slug) -> Result<&'a Connector, HttpError> {
    app.catalog.old(provider.as_str()).ok_or_else(|| {
        let known: Vec<String> = app.catalog.olds().map(|it| it.name().to_owned()).collect();
        HttpError::unprocessable(format!(
            "provider: no such connector: {}",
            advice(provider.as_str(), &known)
        ))
    })
}

fn linked(
    app: &App,
    project: &ProjectId,
    connector: &Connector,
    new: &New,
    setup: Setup,
) -> Result<Account, HttpError> {
    let id: AccountId = new_id().parse().map_err(|_| anyhow::anyhow!("a new id"))?;
    let token = hex::encode(Secret::random(24).expose());
    let secret = hex::encode(Secret::random(24).expose());
    let at = now();
    let seal = |field: Field, secret: Secret| app.keys.seal(&field.of(&id), &secret);
    let credentials = serde_json::to_vec(&setup.secret).map_err(anyhow::Error::from)?;
    Ok(Account {
        project: project.clone(),
        version: 0,
        provider: connector.name().parse().map_err(|_| anyhow::anyhow!("a connector's name"))?,
        status: AccountStatus::Active,
        status_reasons: Vec::new(),
        label: new.label.as_ref().map(text),
        origin_owner_id: new.origin_owner_id.as_ref().map(text),
        origin_owner_name: new.origin_owner_name.as_ref().map(text),
        origin_username: new.origin_username.as_ref().map(text),
        setup: setup.open,
        credentials: seal(Field::Credentials, Secret::new(credentials))?,
        hash_key: seal(Field::HashKey, Secret::random(32))?,
        native: NativeWebhook {
            token_hash: hash(&token),
            token: seal(Field::NativeToken, Secret::new(token.clone()))?,
            secrets: vec![seal(Field::NativeSecret, Secret::new(secret))?],
        },
        schedules: BTreeMap::new(),
        told: Told::default(),
        created_at: at,
        updated_at: at,
        id,
    })
}

fn text<const LEAST: usize, const MOST: usize>(text: &super::bounds::Text<LEAST, MOST>) -> String {
    text.as_str().to_owned()
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Filter {
    page_size: Option<PageSize>,
    next: Option<Cursor>,
    provider: Option<Slug>,
    origin_owner_id: Option<Name>,
    status: Option<Known<AccountStatus>>,
}

impl Filter {
    fn selects(&self, account: &Account) -> bool {
        let owner = account.origin_owner_id.as_deref();
        self.provider.as_ref().is_none_or(|it| it.as_str() == account.provider.as_str())
            && self.origin_owner_id.as_ref().is_none_or(|it| Some(it.as_str()) == owner)
            && self.status.as_ref().is_none_or(|it| it.0 == account.status)
    }
}

/// Accounts that a list looks at, at most, for one page: what a filter leaves out costs reading too.
const LOOKED_AT: usize = 1_000;

async fn list(call: Call<(), Filter>) -> Result<Shown<Listed<AccountShown>>, HttpError> {
    let (project, filter) = (&call.caller.project, &call.query);
    let size = filter.page_size.map_or(25, |size| size.get() as usize);
    let mut after = filter.next.as_ref().map(|next| next.as_str().to_owned());
    let mut data = Vec::new();
    for _ in 0..LOOKED_AT / 100 {
        let page = call.writer().list::<Account>(project, after.as_deref(), 100).await?;
        for account in page.entities {
            let id = account.id.to_string();
            if filter.selects(&account) {
                data.push(shown(&call.app, account));
            }
            if data.len() == size {
                return Ok(Shown(Listed { data, next: Some(id) }));
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(Shown(Listed { data, next: after }))
}

/// One of the caller's accounts.
pub(super) async fn find(app: &App, project: &ProjectId, id: &str) -> Result<Account, HttpError> {
    Ok(app.writer.get(project, id).await?.ok_or(WriteError::NotFound)?)
}

async fn show(call: Call<Id>) -> Result<Shown<AccountShown>, HttpError> {
    let account = find(&call.app, &call.caller.project, &call.path.0).await?;
    Ok(Shown(shown(&call.app, account)))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Changes {
    #[serde(default)]
    status: Set<Known<AccountStatus>>,
    #[serde(default)]
    label: Change<Label>,
    #[serde(default)]
    origin_owner_id: Change<Name>,
    #[serde(default)]
    origin_owner_name: Change<Label>,
    #[serde(default)]
    origin_username: Change<Label>,
    #[serde(default)]
    setup: Set<setup::Given>,
}

async fn change(call: Call<Id, (), Given<Changes>>) -> Result<Shown<AccountShown>, HttpError> {
    let (app, changes) = (&call.app, &call.body.0);
    let apply = |account: &mut Account| {
        changes.label.apply(&mut account.label, text);
        changes.origin_owner_id.apply(&mut account.origin_owner_id, text);
        changes.origin_owner_name.apply(&mut account.origin_owner_name, text);
        changes.origin_username.apply(&mut account.origin_username, text);
        if let Some(given) = &changes.setup.0 {
            set_up(app, account, given)?;
        }
        if let Some(Known(status)) = changes.status.0
            && status != account.status
        {
            account.status = status;
            account.status_reasons.clear();
        }
        Ok::<_, HttpError>(())
    };
    let account = call.writer().update(&call.caller.project, &call.path.0, apply).await?;
    Ok(Shown(shown(app, account)))
}

/// Credentials that stay the same are not sealed anew: that would be a change.
fn set_up(app: &App, account: &mut Account, given: &setup::Given) -> Result<(), HttpError> {
    let connector =
        app.catalog.old(account.provider.as_str()).ok_or_else(|| anyhow::anyhow!("a connector is gone"))?;
    let context = Field::Credentials.of(&account.id);
    let held = app.keys.open(&context, &account.credentials)?;
    let secret: setup::Fields = serde_json::from_slice(held.expose()).map_err(anyhow::Error::from)?;
    let before = Setup { open: account.setup.clone(), secret };
    let after = before.changed(connector, given)?;
    if after.secret != before.secret {
        let bytes = serde_json::to_vec(&after.secret).map_err(anyhow::Error::from)?;
        account.credentials = app.keys.seal(&context, &Secret::new(bytes))?;
        // New credentials are given a chance.
        if account.status == AccountStatus::Error {
            account.status = AccountStatus::Active;
            account.status_reasons.clear();
        }
    }
    account.setup = after.open;
    Ok(())
}

async fn unlink(call: Call<Id>) -> Result<Done, HttpError> {
    let account: Account = call.writer().delete(&call.caller.project, &call.path.0).await?;
    call.app.stores.control.unindex(Lookup::Token, &account.native.token_hash).await?;
    Ok(Done)
}

fn shown(app: &App, account: Account) -> AccountShown {
    AccountShown {
        provider_name: app.catalog.old(account.provider.as_str()).map(|it| it.title().to_owned()),
        id: account.id.to_string(),
        project_id: account.project.to_string(),
        provider: account.provider.to_string(),
        status: account.status,
        status_reasons: account.status_reasons,
        label: account.label,
        origin_owner_id: account.origin_owner_id,
        origin_owner_name: account.origin_owner_name,
        origin_username: account.origin_username,
        setup_information: account.setup,
        version: account.version,
        created_at: account.created_at,
        updated_at: account.updated_at,
    }
}
