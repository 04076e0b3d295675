//! Projects: settings, topic wishes, and the first one of a deployment.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::{Value, json};
use tributary_schemas::{
    entity::{Project, TopicWish},
    id::ProjectId,
    observation::NativePayload,
};

use super::api::{App, Body, Caller, hash, new_id};
use crate::{
    clock::now,
    entity::{ApiKey, WriteError, Writer},
    http_error::HttpError,
    secret::Secret,
    store::{ControlStore, Lookup},
};

/// A new project and its first API key, which is shown this once.
#[derive(Debug)]
pub struct NewProject {
    /// The project.
    pub project: Project,
    /// Its API key.
    pub api_key: String,
}

/// Makes a project with an API key.
///
/// # Errors
/// When the store does not answer.
pub async fn create_project(
    writer: &Writer,
    store: &dyn ControlStore,
    name: &str,
) -> Result<NewProject, WriteError> {
    let at = now();
    let id: ProjectId = new_id().parse().map_err(|_| WriteError::Exists)?;
    let project = Project {
        id: id.clone(),
        version: 0,
        name: name.to_owned(),
        native_payload: NativePayload::default(),
        id_prefix: "tr1!".into(),
        topics: Vec::new(),
        schedules: Vec::new(),
        created_at: at,
        updated_at: at,
    };
    let project = writer.create(project).await?;
    let api_key = format!("tr_live_{}", hex::encode(Secret::random(32).expose()));
    let key = ApiKey {
        id: new_id(),
        project: id.clone(),
        version: 0,
        name: "first".into(),
        hash: hash(&api_key),
        created_at: at,
        updated_at: at,
    };
    let key = writer.create(key).await?;
    store.index(Lookup::ApiKey, &key.hash, &id, &key.id).await?;
    Ok(NewProject { project, api_key })
}

pub(super) async fn project(app: &App, id: &ProjectId) -> Result<Project, HttpError> {
    Ok(app.writer.get(id, id.as_str()).await?.ok_or(WriteError::NotFound)?)
}

pub(super) async fn show(Caller(id): Caller, State(app): State<App>) -> Result<Json<Value>, HttpError> {
    Ok(Json(shown(&project(&app, &id).await?)))
}

fn shown(project: &Project) -> Value {
    json!({
        "id": project.id, "name": project.name, "native_payload": project.native_payload,
        "id_prefix": project.id_prefix, "created_at": project.created_at, "updated_at": project.updated_at,
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    name: Option<String>,
    native_payload: Option<NativePayload>,
    id_prefix: Option<String>,
}

pub(super) async fn patch(
    Caller(id): Caller,
    State(app): State<App>,
    Body(change): Body<Change>,
) -> Result<Json<Value>, HttpError> {
    if let Some(prefix) = &change.id_prefix
        && (prefix.len() > 16 || prefix.contains(':') || !(prefix.is_empty() || prefix.ends_with('!')))
    {
        return Err(HttpError::unprocessable(
            "id_prefix: expected at most 16 characters, no `:`, and `!` at the end",
        ));
    }
    let apply = |project: &mut Project| {
        if let Some(name) = &change.name {
            project.name.clone_from(name);
        }
        if let Some(payload) = change.native_payload {
            project.native_payload = payload;
        }
        if let Some(prefix) = &change.id_prefix {
            project.id_prefix.clone_from(prefix);
        }
        Ok::<_, HttpError>(())
    };
    Ok(Json(shown(&app.writer.update(&id, id.as_str(), apply).await?)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wishes {
    topics: Vec<TopicWish>,
}

pub(super) async fn topics(Caller(id): Caller, State(app): State<App>) -> Result<Json<Value>, HttpError> {
    Ok(Json(json!({ "topics": project(&app, &id).await?.topics })))
}

pub(super) async fn put_topics(
    Caller(id): Caller,
    State(app): State<App>,
    Body(wishes): Body<Wishes>,
) -> Result<Json<Value>, HttpError> {
    let apply = |project: &mut Project| {
        project.topics.clone_from(&wishes.topics);
        Ok::<_, HttpError>(())
    };
    let project = app.writer.update(&id, id.as_str(), apply).await?;
    Ok(Json(json!({ "topics": project.topics })))
}
