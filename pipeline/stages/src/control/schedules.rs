//! How often accounts are polled, and runs that people ask for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tributary_connectors::Connector;
use tributary_core::poll::cadence::PollState;
use tributary_schemas::{
    codec,
    entity::{Account, Project, Schedule, ScheduleDefault},
    id::ProjectId,
    observation::{Ask, Trigger, TriggerReason},
    resource::Resource,
    time::Timestamp,
};

use super::{
    accounts::find,
    api::{App, Listed},
    bounds::{FullIntervalSeconds, IntervalSeconds, Known, LONGEST_SECONDS, List, Moment, Slug, Text},
    projects::project,
    read::advice,
    route::{Accepted, Call, Given, Id, Ids, Maybe, Route, Shown, get, post, put},
};
use crate::{clock::now, http_error::HttpError, kafka::Outgoing};

pub(super) fn routes() -> Vec<Route> {
    let hourly = json!({ "interval": 3_600, "full_interval": 86_400 });
    let default = json!({ "provider": "tryton", "resource": "hris_employees", "interval": 3_600 });
    vec![
        get("/accounts/{id}/schedules", "Lists how an account is polled", list),
        get("/accounts/{id}/schedules/{resource}", "Shows how a resource of an account is polled", show),
        put("/accounts/{id}/schedules/{resource}", "Sets how a resource of an account is polled", replace)
            .example(hourly),
        post(
            "/accounts/{id}/schedules/{resource}/run",
            "Polls now; `full` lists everything, deletions too",
            run,
        )
        .example(json!({ "full": true })),
        post("/accounts/{id}/schedules/{resource}/resync", "Announces every record as created again", resync),
        post(
            "/accounts/{id}/schedules/{resource}/release",
            "Confirms doubtful absences with a full scan now",
            release,
        ),
        get("/schedules", "Shows a project's defaults", defaults),
        put("/schedules", "Sets a project's defaults", put_defaults)
            .example(json!({ "schedules": [default] })),
    ]
}

fn connector<'a>(app: &'a App, account: &Account) -> Result<&'a Connector, HttpError> {
    Ok(app.catalog.old(account.provider.as_str()).ok_or_else(|| anyhow::anyhow!("a connector is gone"))?)
}

fn resource(connector: &Connector, name: &str) -> Result<Resource, HttpError> {
    let polled = name.parse().ok().filter(|resource| connector.polled(*resource).is_some());
    polled.ok_or_else(|| {
        let known: Vec<String> = connector.polled_resources().map(|(it, _)| it.name().to_owned()).collect();
        HttpError::not_found(format!(
            "no such polled resource of {}: {}",
            connector.name(),
            advice(name, &known)
        ))
    })
}

/// How a resource of an account is polled, and how the last runs went.
#[derive(Serialize, JsonSchema)]
struct ScheduleShown {
    #[schemars(with = "Known<Resource>")]
    resource: Resource,
    /// Seconds; null: the next wider default.
    interval: Option<u64>,
    /// Seconds; null: the next wider default.
    full_interval: Option<u64>,
    #[schemars(with = "Option<Moment>")]
    last_run_at: Option<Timestamp>,
    #[schemars(with = "Option<Moment>")]
    last_full_scan_at: Option<Timestamp>,
    records_known: Option<u64>,
    /// How the last run ended, if any has.
    outcome: Option<OutcomeShown>,
    failures: u32,
}

/// How runs end, since when, how often, and what to do.
#[derive(Serialize, JsonSchema)]
struct OutcomeShown {
    name: &'static str,
    #[schemars(with = "Moment")]
    since: Timestamp,
    times: u64,
    words: Option<String>,
    next_step: Option<&'static str>,
}

async fn list(call: Call<Id>) -> Result<Shown<Listed<ScheduleShown>>, HttpError> {
    let account = find(&call.app, &call.caller.project, &call.path.0).await?;
    let mut data = Vec::new();
    for (resource, _) in connector(&call.app, &account)?.polled_resources() {
        data.push(shown(&call.app, &account, resource).await?);
    }
    Ok(Shown(Listed { data, next: None }))
}

async fn show(call: Call<Ids>) -> Result<Shown<ScheduleShown>, HttpError> {
    let Ids(id, name) = &call.path;
    let account = find(&call.app, &call.caller.project, id).await?;
    let resource = resource(connector(&call.app, &account)?, name)?;
    Ok(Shown(shown(&call.app, &account, resource).await?))
}

async fn shown(app: &App, account: &Account, resource: Resource) -> Result<ScheduleShown, HttpError> {
    let stored = app.stores.control.poll_state(&account.id, resource).await?;
    let state: Option<PollState> =
        stored.map(|stored| serde_json::from_slice(&stored.doc)).transpose().map_err(anyhow::Error::from)?;
    let schedule = account.schedules.get(&resource).copied().unwrap_or_default();
    let last = state.as_ref().and_then(|state| state.last);
    let full = state.as_ref().and_then(|state| state.full);
    Ok(ScheduleShown {
        resource,
        interval: schedule.interval.map(|it| it.as_secs()),
        full_interval: schedule.full_interval.map(|it| it.as_secs()),
        last_run_at: last.map(|it| it.begun_at),
        last_full_scan_at: full.map(|it| it.begun_at),
        records_known: full.map(|it| it.records),
        outcome: state.as_ref().and_then(|state| state.standing.as_ref()).map(|it| OutcomeShown {
            name: it.outcome.name(),
            since: it.since,
            times: it.times.into(),
            words: it.words.clone(),
            next_step: it.outcome.next_step(),
        }),
        failures: state.as_ref().map_or(0, |state| state.failures),
    })
}

/// A PUT gives the whole: what it leaves out, or null, is the next wider default.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Replacement {
    /// Seconds.
    interval: Option<IntervalSeconds>,
    /// Seconds.
    full_interval: Option<FullIntervalSeconds>,
}

async fn replace(call: Call<Ids, (), Given<Replacement>>) -> Result<Shown<ScheduleShown>, HttpError> {
    let (app, Ids(id, name)) = (&call.app, &call.path);
    let account = find(app, &call.caller.project, id).await?;
    let connector = connector(app, &account)?;
    let resource = resource(connector, name)?;
    let schedule = schedule(call.body.0.interval, call.body.0.full_interval);
    check(connector, resource, schedule)?;
    // An account's schedule is none of its facts: who reads `account.updated` hears nothing of it.
    let apply = |account: &mut Account| {
        if schedule == Schedule::default() {
            account.schedules.remove(&resource);
        } else {
            account.schedules.insert(resource, schedule);
        }
        Ok::<_, HttpError>(())
    };
    let account = call.writer().update(&call.caller.project, id, apply).await?;
    Ok(Shown(shown(app, &account, resource).await?))
}

fn schedule(interval: Option<IntervalSeconds>, full: Option<FullIntervalSeconds>) -> Schedule {
    Schedule {
        interval: interval.map(IntervalSeconds::seconds),
        full_interval: full.map(FullIntervalSeconds::seconds),
    }
}

/// The floors of design §5: 5 minutes with a time filter, an hour without.
fn check(connector: &Connector, resource: Resource, schedule: Schedule) -> Result<(), HttpError> {
    let shortest = connector.shortest_interval(resource);
    if schedule.interval.is_some_and(|given| given < shortest) {
        return Err(HttpError::unprocessable(format!(
            "interval: expected a whole number from {} to {LONGEST_SECONDS} for {resource} of {}",
            shortest.as_secs(),
            connector.name()
        )));
    }
    Ok(())
}

/// What a run is asked for.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Running {
    /// A run where the provider can filter by time asks for what changed, and learns of no deletion: `true` lists everything.
    #[serde(default)]
    full: bool,
}

async fn run(call: Call<Ids, (), Maybe<Running>>) -> Result<Accepted, HttpError> {
    let reason = if call.body.0.full { TriggerReason::ListNow } else { TriggerReason::RunNow };
    ask(&call.app, &call.caller.project, &call.path, reason).await
}

async fn resync(call: Call<Ids>) -> Result<Accepted, HttpError> {
    ask(&call.app, &call.caller.project, &call.path, TriggerReason::Resync).await
}

async fn release(call: Call<Ids>) -> Result<Accepted, HttpError> {
    ask(&call.app, &call.caller.project, &call.path, TriggerReason::Release).await
}

async fn ask(
    app: &App,
    project: &ProjectId,
    Ids(id, name): &Ids,
    reason: TriggerReason,
) -> Result<Accepted, HttpError> {
    let account = find(app, project, id).await?;
    let resource = resource(connector(app, &account)?, name)?;
    let trigger =
        Trigger { source: account.source(), at: now(), ask: Ask::Run { resources: vec![resource], reason } };
    let record = Outgoing {
        topic: app.topics.poll_triggers(),
        key: account.id.as_str().as_bytes().to_vec().into(),
        payload: Some(codec::encode(&trigger).into()),
        ..Outgoing::default()
    };
    app.publisher.send(record).await.map_err(|_| HttpError::unavailable("the broker is away: try again"))?;
    Ok(Accepted)
}

/// A project's defaults.
#[derive(Serialize, JsonSchema)]
struct DefaultsShown {
    schedules: Vec<DefaultShown>,
}

/// A default for the accounts of a provider.
#[derive(Serialize, JsonSchema)]
struct DefaultShown {
    provider: String,
    #[schemars(with = "Known<Resource>")]
    resource: Resource,
    interval: Option<u64>,
    full_interval: Option<u64>,
    ignored_fields: Vec<String>,
}

async fn defaults(call: Call) -> Result<Shown<DefaultsShown>, HttpError> {
    Ok(Shown(defaults_shown(&project(&call.app, &call.caller.project).await?)))
}

fn defaults_shown(project: &Project) -> DefaultsShown {
    let shown = |it: &ScheduleDefault| DefaultShown {
        provider: it.provider.to_string(),
        resource: it.resource,
        interval: it.schedule.interval.map(|it| it.as_secs()),
        full_interval: it.schedule.full_interval.map(|it| it.as_secs()),
        ignored_fields: it.ignored_fields.clone(),
    };
    DefaultsShown { schedules: project.schedules.iter().map(shown).collect() }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Defaults {
    schedules: List<Default, 0, 500>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Default {
    provider: Slug,
    resource: Known<Resource>,
    /// Seconds.
    interval: Option<IntervalSeconds>,
    /// Seconds.
    full_interval: Option<FullIntervalSeconds>,
    /// Fields whose change is noise.
    ignored_fields: Option<List<Text<1, 128>, 0, 100>>,
}

async fn put_defaults(call: Call<(), (), Given<Defaults>>) -> Result<Shown<DefaultsShown>, HttpError> {
    let app = &call.app;
    let mut schedules = Vec::new();
    for (index, default) in call.body.0.schedules.as_slice().iter().enumerate() {
        schedules.push(taken(app, default).map_err(|error| error.within(&format!("schedules[{index}]")))?);
    }
    let apply = |project: &mut Project| {
        project.schedules.clone_from(&schedules);
        Ok::<_, HttpError>(())
    };
    let id = &call.caller.project;
    let project = call.writer().update(id, id.as_str(), apply).await?;
    Ok(Shown(defaults_shown(&project)))
}

fn taken(app: &App, default: &Default) -> Result<ScheduleDefault, HttpError> {
    let connector = app.catalog.old(default.provider.as_str()).ok_or_else(|| {
        let known: Vec<String> = app.catalog.olds().map(|it| it.name().to_owned()).collect();
        let advice = advice(default.provider.as_str(), &known);
        HttpError::unprocessable(format!("provider: no such connector: {advice}"))
    })?;
    let schedule = schedule(default.interval, default.full_interval);
    check(connector, default.resource.0, schedule)?;
    let ignored = default.ignored_fields.as_ref().map_or(&[][..], List::as_slice);
    Ok(ScheduleDefault {
        provider: connector.name().parse().map_err(|_| anyhow::anyhow!("a connector's name"))?,
        resource: default.resource.0,
        schedule,
        ignored_fields: ignored.iter().map(|field| field.as_str().to_owned()).collect(),
    })
}
