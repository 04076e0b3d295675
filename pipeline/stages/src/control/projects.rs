//! A project: its settings, topic wishes, and the first one of a deployment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tributary_schemas::{
    entity::{Project, TopicWish, Version},
    id::ProjectId,
    observation::NativePayload,
    resource::EventPattern,
    time::Timestamp,
};

use super::{
    api::{App, new_id},
    bounds::{Known, List, Moment, Name, Patterns, Providers, Set, Slug, Text},
    keys,
    route::{Call, Given, Route, Shown, get, patch, put},
};
use crate::{
    clock::now,
    entity::{WriteError, Writer},
    http_error::HttpError,
    store::ControlStore,
};

pub(super) fn routes() -> Vec<Route> {
    let wish = json!({ "events": ["hris_*"], "providers": ["tryton"] });
    vec![
        get("/project", "Shows the project", show),
        patch("/project", "Changes the project's settings", change).example(json!({ "name": "Acme" })),
        get("/topics", "Shows which events the project wants on its topics without any webhook", topics),
        put("/topics", "Sets which events the project wants on its topics", put_topics)
            .example(json!({ "topics": [wish] })),
    ]
}

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
        suspended_at: None,
        created_at: at,
        updated_at: at,
    };
    let project = writer.create(project).await?;
    let (_, api_key) = keys::make(writer, store, &id, "first").await?;
    Ok(NewProject { project, api_key })
}

pub(super) async fn project(app: &App, id: &ProjectId) -> Result<Project, HttpError> {
    Ok(app.writer.get(id, id.as_str()).await?.ok_or(WriteError::NotFound)?)
}

/// A project's settings.
#[derive(Serialize, JsonSchema)]
pub(super) struct ProjectShown {
    id: String,
    name: String,
    #[schemars(with = "Known<NativePayload>")]
    native_payload: NativePayload,
    id_prefix: String,
    /// Since when the operator has suspended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Moment>")]
    suspended_at: Option<Timestamp>,
    version: Version,
    #[schemars(with = "Moment")]
    created_at: Timestamp,
    #[schemars(with = "Moment")]
    updated_at: Timestamp,
}

async fn show(call: Call) -> Result<Shown<ProjectShown>, HttpError> {
    Ok(Shown(shown(project(&call.app, &call.caller.project).await?)))
}

pub(super) fn shown(project: Project) -> ProjectShown {
    ProjectShown {
        id: project.id.to_string(),
        name: project.name,
        native_payload: project.native_payload,
        id_prefix: project.id_prefix,
        suspended_at: project.suspended_at,
        version: project.version,
        created_at: project.created_at,
        updated_at: project.updated_at,
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Changes {
    #[serde(default)]
    name: Set<Name>,
    #[serde(default)]
    native_payload: Set<Known<NativePayload>>,
    #[serde(default)]
    id_prefix: Set<Text<0, 16>>,
}

async fn change(call: Call<(), (), Given<Changes>>) -> Result<Shown<ProjectShown>, HttpError> {
    let changes = &call.body.0;
    if let Some(prefix) = changes.id_prefix.0.as_ref().map(Text::as_str)
        && (prefix.contains(':') || !(prefix.is_empty() || prefix.ends_with('!')))
    {
        return Err(HttpError::unprocessable(
            "id_prefix: expected at most 16 characters, no `:`, and `!` at the end",
        ));
    }
    let apply = |project: &mut Project| {
        if let Some(name) = &changes.name.0 {
            project.name = name.as_str().to_owned();
        }
        if let Some(payload) = &changes.native_payload.0 {
            project.native_payload = payload.0;
        }
        if let Some(prefix) = &changes.id_prefix.0 {
            project.id_prefix = prefix.as_str().to_owned();
        }
        Ok::<_, HttpError>(())
    };
    let id = &call.caller.project;
    Ok(Shown(shown(call.writer().update(id, id.as_str(), apply).await?)))
}

/// Which events a project wants on its topics.
#[derive(Serialize, JsonSchema)]
struct WishesShown {
    topics: Vec<WishShown>,
}

/// Events of some providers, or of all.
#[derive(Serialize, JsonSchema)]
struct WishShown {
    #[schemars(with = "Vec<Known<EventPattern>>")]
    events: Vec<EventPattern>,
    #[serde(skip_serializing_if = "Option::is_none")]
    providers: Option<Vec<String>>,
}

fn wishes_shown(project: &Project) -> WishesShown {
    let shown = |wish: &TopicWish| WishShown {
        events: wish.events.clone(),
        providers: wish.providers.as_ref().map(|it| it.iter().map(ToString::to_string).collect()),
    };
    WishesShown { topics: project.topics.iter().map(shown).collect() }
}

async fn topics(call: Call) -> Result<Shown<WishesShown>, HttpError> {
    Ok(Shown(wishes_shown(&project(&call.app, &call.caller.project).await?)))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wishes {
    topics: List<Wish, 0, 100>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wish {
    events: Patterns,
    /// Absent means all.
    providers: Option<Providers>,
}

async fn put_topics(call: Call<(), (), Given<Wishes>>) -> Result<Shown<WishesShown>, HttpError> {
    let wish = |wish: &Wish| TopicWish {
        events: wish.events.as_slice().iter().map(|it| it.0.clone()).collect(),
        providers: wish.providers.as_ref().map(|it| it.as_slice().iter().filter_map(Slug::id).collect()),
    };
    let wishes: Vec<TopicWish> = call.body.0.topics.as_slice().iter().map(wish).collect();
    let apply = |project: &mut Project| {
        project.topics.clone_from(&wishes);
        Ok::<_, HttpError>(())
    };
    let id = &call.caller.project;
    let project = call.writer().update(id, id.as_str(), apply).await?;
    Ok(Shown(wishes_shown(&project)))
}
