//! A project's API keys: several, named, each shown once, with when it was last used, and revoked at once.

use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tributary_schemas::{id::ProjectId, time::Timestamp};

use super::{
    api::{App, Listed, hash, new_id},
    bounds::{Cursor, Moment, Name, PageSize},
    route::{Call, Done, Given, Id, Made, Route, Shown, delete, get, post},
};
use crate::{
    clock::now,
    entity::{ApiKey, WriteError, Writer},
    http_error::HttpError,
    secret::Secret,
    store::{ControlStore, Lookup},
};

/// Keys of one project.
const MOST: usize = 50;
/// How often a key's use is written down, by each process.
const NOTED_EVERY: Duration = Duration::from_secs(60);

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/keys", "Lists the project's API keys", list),
        post("/keys", "Makes an API key, which is shown this once", create)
            .example(serde_json::json!({ "name": "deployer" })),
        delete("/keys/{id}", "Revokes an API key, from now on", revoke),
    ]
}

/// When keys were used, as far as this process has written it down.
pub(super) struct Uses(Cache<String, Instant>);

impl Default for Uses {
    fn default() -> Self {
        Self(Cache::new(10_000))
    }
}

/// Notes that a key was used, at most once a minute. The caller does not wait.
pub(super) fn note_use(app: &App, project: &ProjectId, id: &str) {
    if app.uses.0.get(id).is_some_and(|noted| noted.elapsed() < NOTED_EVERY) {
        return;
    }
    app.uses.0.insert(id.to_owned(), Instant::now());
    let (app, project, id) = (app.clone(), project.clone(), id.to_owned());
    tokio::spawn(async move {
        if let Err(error) = app.stores.api.note_key_use(&project, &id, now()).await {
            tracing::warn!(error = format!("{:#}", anyhow::Error::from(error)), "noting a key's use");
        }
    });
}

/// Makes a key; gives it, and its text.
pub(super) async fn make(
    writer: &Writer,
    store: &dyn ControlStore,
    project: &ProjectId,
    name: &str,
) -> Result<(ApiKey, String), WriteError> {
    let at = now();
    let text = format!("tr_live_{}", hex::encode(Secret::random(32).expose()));
    let key = ApiKey {
        id: new_id(),
        project: project.clone(),
        version: 0,
        name: name.to_owned(),
        hash: hash(&text),
        created_at: at,
        updated_at: at,
    };
    let key = writer.create(key).await?;
    store.index(Lookup::ApiKey, &key.hash, project, &key.id).await?;
    Ok((key, text))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Paging {
    page_size: Option<PageSize>,
    next: Option<Cursor>,
}

/// An API key, without its text.
#[derive(Serialize, JsonSchema)]
struct KeyShown {
    id: String,
    name: String,
    #[schemars(with = "Moment")]
    created_at: Timestamp,
    /// To the minute; absent when it was never used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Moment>")]
    last_used_at: Option<Timestamp>,
}

async fn list(call: Call<(), Paging>) -> Result<Shown<Listed<KeyShown>>, HttpError> {
    let project = &call.caller.project;
    let size = call.query.page_size.map_or(25, |size| size.get() as usize);
    let found =
        call.writer().list::<ApiKey>(project, call.query.next.as_ref().map(Cursor::as_str), size).await?;
    let uses = call.app.stores.api.key_uses(project).await?;
    let shown = |key: ApiKey| KeyShown {
        last_used_at: uses.iter().find(|(id, _)| *id == key.id).map(|(_, at)| *at),
        id: key.id,
        name: key.name,
        created_at: key.created_at,
    };
    Ok(Shown(found.map(shown).into()))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewKey {
    name: Name,
}

/// A new API key.
#[derive(Serialize, JsonSchema)]
struct KeyMade {
    id: String,
    name: String,
    /// The key itself, shown this once.
    key: String,
    #[schemars(with = "Moment")]
    created_at: Timestamp,
}

async fn create(call: Call<(), (), Given<NewKey>>) -> Result<Made<KeyMade>, HttpError> {
    let project = &call.caller.project;
    if all(&call.writer(), project).await?.len() >= MOST {
        return Err(HttpError::conflict(format!("keys: expected at most {MOST}: revoke an old one first")));
    }
    let name = call.body.0.name.as_str();
    let (key, text) = make(&call.writer(), &*call.app.stores.control, project, name).await?;
    Ok(Made(KeyMade { id: key.id, name: key.name, key: text, created_at: key.created_at }))
}

async fn all(writer: &Writer, project: &ProjectId) -> Result<Vec<ApiKey>, HttpError> {
    Ok(writer.list::<ApiKey>(project, None, 2 * MOST).await?.entities)
}

/// First the look-up goes, so that a key which is not listed any more can't be one that works.
async fn revoke(call: Call<Id>) -> Result<Done, HttpError> {
    let project = &call.caller.project;
    let Id(id) = &call.path;
    let key: ApiKey = call.writer().get(project, id).await?.ok_or(WriteError::NotFound)?;
    if all(&call.writer(), project).await?.len() <= 1 {
        return Err(HttpError::conflict("keys: the last one can't be revoked: make another first"));
    }
    call.app.stores.control.unindex(Lookup::ApiKey, &key.hash).await?;
    let _: ApiKey = call.writer().delete(project, id).await?;
    Ok(Done)
}
