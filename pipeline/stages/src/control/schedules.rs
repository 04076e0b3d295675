//! How often accounts are polled, and runs that people ask for.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tributary_connectors::Connector;
use tributary_core::poll::cadence::PollState;
use tributary_schemas::{
    codec,
    entity::{Account, Project, Schedule, ScheduleDefault},
    observation::{Ask, Trigger, TriggerReason},
    resource::Resource,
};

use super::{
    accounts::find,
    api::{App, Body, Caller},
    projects::project,
};
use crate::{clock::now, http_error::HttpError, kafka::Outgoing};

fn connector<'a>(app: &'a App, account: &Account) -> Result<&'a Connector, HttpError> {
    Ok(app.catalog.get(account.provider.as_str()).ok_or_else(|| anyhow::anyhow!("a connector is gone"))?)
}

fn resource(connector: &Connector, name: &str) -> Result<Resource, HttpError> {
    let resource: Resource = name.parse().map_err(|error| HttpError::not_found(format!("{error}")))?;
    match connector.polled(resource) {
        Some(_) => Ok(resource),
        None => Err(HttpError::not_found(format!("{resource} of {} is not polled", connector.name()))),
    }
}

pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let account = find(&app, &caller, &id).await?;
    let mut data = Vec::new();
    for (resource, _) in connector(&app, &account)?.polled_resources() {
        data.push(shown(&app, &account, resource).await?);
    }
    Ok(Json(json!({ "data": data, "next": null })))
}

pub(super) async fn show(
    caller: Caller,
    State(app): State<App>,
    Path((id, name)): Path<(String, String)>,
) -> Result<Json<Value>, HttpError> {
    let account = find(&app, &caller, &id).await?;
    let resource = resource(connector(&app, &account)?, &name)?;
    Ok(Json(shown(&app, &account, resource).await?))
}

async fn shown(app: &App, account: &Account, resource: Resource) -> Result<Value, HttpError> {
    let stored = app.stores.control.poll_state(&account.id, resource).await?;
    let state: Option<PollState> =
        stored.map(|stored| serde_json::from_slice(&stored.doc)).transpose().map_err(anyhow::Error::from)?;
    let schedule = account.schedules.get(&resource).copied().unwrap_or_default();
    let last = state.as_ref().and_then(|state| state.last);
    let full = state.as_ref().and_then(|state| state.full);
    Ok(json!({
        "resource": resource,
        "interval": schedule.interval.map(|it| it.as_secs()),
        "full_interval": schedule.full_interval.map(|it| it.as_secs()),
        "last_run_at": last.map(|it| it.begun_at),
        "last_full_scan_at": full.map(|it| it.begun_at),
        "records_known": full.map(|it| it.records),
        "outcome": state.as_ref().and_then(|state| state.standing.as_ref()).map(|it| json!({
            "name": it.outcome.name(), "since": it.since, "times": it.times, "words": it.words,
            "next_step": it.outcome.next_step(),
        })),
        "failures": state.as_ref().map_or(0, |state| state.failures),
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    /// Seconds.
    interval: Option<u64>,
    /// Seconds.
    full_interval: Option<u64>,
}

pub(super) async fn put(
    caller: Caller,
    State(app): State<App>,
    Path((id, name)): Path<(String, String)>,
    Body(change): Body<Change>,
) -> Result<Json<Value>, HttpError> {
    let account = find(&app, &caller, &id).await?;
    let connector = connector(&app, &account)?;
    let resource = resource(connector, &name)?;
    let schedule = Schedule {
        interval: change.interval.map(Duration::from_secs),
        full_interval: change.full_interval.map(Duration::from_secs),
    };
    check(connector, resource, schedule)?;
    let apply = |account: &mut Account| {
        account.schedules.insert(resource, schedule);
        Ok::<_, HttpError>(())
    };
    let account = app.writer.update(&caller.0, &id, apply).await?;
    Ok(Json(shown(&app, &account, resource).await?))
}

/// The longest interval (contract §5).
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// The floors of design §5: 5 minutes with a time filter, an hour without.
fn check(connector: &Connector, resource: Resource, schedule: Schedule) -> Result<(), HttpError> {
    let shortest = connector.shortest_interval(resource);
    for (name, given, floor) in [
        ("interval", schedule.interval, shortest),
        ("full_interval", schedule.full_interval, Duration::from_secs(3_600)),
    ] {
        if given.is_some_and(|given| given < floor || given > LONGEST) {
            let (floor, longest) = (floor.as_secs(), LONGEST.as_secs());
            return Err(HttpError::unprocessable(format!(
                "{name}: expected {floor} to {longest} seconds for {resource}"
            )));
        }
    }
    Ok(())
}

pub(super) async fn ask(
    caller: Caller,
    State(app): State<App>,
    Path((id, name, action)): Path<(String, String, String)>,
) -> Result<StatusCode, HttpError> {
    let account = find(&app, &caller, &id).await?;
    let resource = resource(connector(&app, &account)?, &name)?;
    let reason = match action.as_str() {
        "run" => TriggerReason::RunNow,
        "resync" => TriggerReason::Resync,
        "release" => TriggerReason::Release,
        _ => return Err(HttpError::not_found("expected run, resync or release")),
    };
    let trigger =
        Trigger { source: account.source(), at: now(), ask: Ask::Run { resources: vec![resource], reason } };
    let record = Outgoing {
        topic: app.topics.poll_triggers(),
        key: account.id.as_str().as_bytes().to_vec().into(),
        payload: Some(codec::encode(&trigger).into()),
        ..Outgoing::default()
    };
    app.publisher.send(record).await.map_err(|_| HttpError::unavailable("the broker is away: try again"))?;
    Ok(StatusCode::ACCEPTED)
}

pub(super) async fn defaults(Caller(id): Caller, State(app): State<App>) -> Result<Json<Value>, HttpError> {
    Ok(Json(json!({ "schedules": project(&app, &id).await?.schedules })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Defaults {
    schedules: Vec<ScheduleDefault>,
}

pub(super) async fn put_defaults(
    Caller(id): Caller,
    State(app): State<App>,
    Body(new): Body<Defaults>,
) -> Result<Json<Value>, HttpError> {
    for default in &new.schedules {
        let connector = app.catalog.get(default.provider.as_str()).ok_or_else(|| {
            HttpError::unprocessable(format!("schedules: no connector `{}`", default.provider))
        })?;
        check(connector, default.resource, default.schedule)?;
    }
    let apply = |project: &mut Project| {
        project.schedules.clone_from(&new.schedules);
        Ok::<_, HttpError>(())
    };
    let project = app.writer.update(&id, id.as_str(), apply).await?;
    Ok(Json(json!({ "schedules": project.schedules })))
}
