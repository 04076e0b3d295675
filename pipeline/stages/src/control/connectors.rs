//! What each connector can do.

use schemars::JsonSchema;
use serde::Serialize;
use tributary_connectors::Connector;
use tributary_schemas::resource::{EventName, Mode};

use super::{
    api::Listed,
    bounds::Known,
    route::{Call, Id, Route, Shown, get},
};
use crate::http_error::HttpError;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/connectors", "Lists the connectors, and what each can do", list),
        get("/connectors/{provider}", "Shows what a connector can do", show),
    ]
}

/// What a connector can do.
#[derive(Serialize, JsonSchema)]
struct ConnectorShown {
    provider: String,
    provider_name: String,
    category: String,
    events: Vec<EventShown>,
    setup_fields: Vec<FieldShown>,
}

/// An event that a connector can tell.
#[derive(Serialize, JsonSchema)]
struct EventShown {
    event: String,
    #[schemars(with = "Known<Mode>")]
    mode: Mode,
    /// Whether the provider can be asked for what changed since a time; null where it is not polled.
    time_filter: Option<bool>,
    /// Null where it is not polled.
    minimum_interval_seconds: Option<u64>,
}

/// A field that linking an account needs.
#[derive(Serialize, JsonSchema)]
struct FieldShown {
    name: String,
    label: String,
    secret: bool,
    optional: bool,
    help: String,
}

async fn list(call: Call) -> Result<Shown<Listed<ConnectorShown>>, HttpError> {
    Ok(Shown(Listed { data: call.app.catalog.olds().map(shown).collect(), next: None }))
}

async fn show(call: Call<Id>) -> Result<Shown<ConnectorShown>, HttpError> {
    let Id(provider) = &call.path;
    let found = call.app.catalog.old(provider).map(shown);
    found.map(Shown).ok_or_else(|| HttpError::not_found("no such connector: see /connectors"))
}

fn shown(connector: &Connector) -> ConnectorShown {
    let events = EventName::all().filter_map(|event| {
        let mode = connector.mode(event.resource, event.action)?;
        let polled = connector.polled(event.resource);
        Some(EventShown {
            event: event.to_string(),
            mode,
            time_filter: polled.map(|it| it.delta_overlap().is_some()),
            minimum_interval_seconds: polled.map(|_| connector.shortest_interval(event.resource).as_secs()),
        })
    });
    let field = |field: &tributary_connectors::legacy::SetupField| FieldShown {
        name: field.name.clone(),
        label: field.label.clone(),
        secret: field.secret,
        optional: field.optional,
        help: field.help.clone(),
    };
    ConnectorShown {
        provider: connector.name().to_owned(),
        provider_name: connector.title().to_owned(),
        category: connector.category().to_owned(),
        events: events.collect(),
        setup_fields: connector.setup_fields().iter().map(field).collect(),
    }
}
