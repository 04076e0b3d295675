//! What the operator of the deployment does: makes projects, and suspends them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tributary_schemas::{entity::Project, id::ProjectId};

use super::{
    bounds::Name,
    caller::Operator,
    projects::{ProjectShown, create_project, project, shown},
    route::{Call, Given, Id, Made, Route, Shown, get, post},
};
use crate::{clock::now, http_error::HttpError};

pub(super) fn routes() -> Vec<Route> {
    vec![
        post("/projects", "Makes a project; its first API key is shown this once", create)
            .example(json!({ "name": "Acme" })),
        get("/projects/{id}", "Shows a project", show),
        post(
            "/projects/{id}/suspend",
            "Suspends a project: nothing is polled, delivered or taken in",
            suspend,
        ),
        post("/projects/{id}/resume", "Ends a project's suspension", resume),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct New {
    name: Name,
}

/// A new project.
#[derive(Serialize, JsonSchema)]
struct ProjectMade {
    project: ProjectShown,
    /// Its first API key, shown this once.
    key: String,
}

async fn create(call: Call<(), (), Given<New>, Operator>) -> Result<Made<ProjectMade>, HttpError> {
    let made = create_project(&call.writer(), &*call.app.stores.control, call.body.0.name.as_str()).await?;
    Ok(Made(ProjectMade { project: shown(made.project), key: made.api_key }))
}

fn id(text: &str) -> Result<ProjectId, HttpError> {
    text.parse().map_err(|_| HttpError::not_found("not found"))
}

async fn show(call: Call<Id, (), (), Operator>) -> Result<Shown<ProjectShown>, HttpError> {
    Ok(Shown(shown(project(&call.app, &id(&call.path.0)?).await?)))
}

async fn suspend(call: Call<Id, (), (), Operator>) -> Result<Shown<ProjectShown>, HttpError> {
    let apply = |project: &mut Project| {
        project.suspended_at = project.suspended_at.or(Some(now()));
        Ok::<_, HttpError>(())
    };
    Ok(Shown(shown(call.writer().update(&id(&call.path.0)?, &call.path.0, apply).await?)))
}

async fn resume(call: Call<Id, (), (), Operator>) -> Result<Shown<ProjectShown>, HttpError> {
    let apply = |project: &mut Project| {
        project.suspended_at = None;
        Ok::<_, HttpError>(())
    };
    Ok(Shown(shown(call.writer().update(&id(&call.path.0)?, &call.path.0, apply).await?)))
}
