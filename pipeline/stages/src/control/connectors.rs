//! What each connector can do.

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::{Value, json};
use tributary_connectors::Connector;
use tributary_schemas::resource::EventName;

use super::api::{App, Caller};
use crate::http_error::HttpError;

pub(super) async fn list(_: Caller, State(app): State<App>) -> Json<Value> {
    Json(json!({ "data": app.catalog.iter().map(describe).collect::<Vec<_>>(), "next": null }))
}

pub(super) async fn show(
    _: Caller,
    State(app): State<App>,
    Path(provider): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let found = app.catalog.get(&provider).map(describe);
    found.map(Json).ok_or_else(|| HttpError::not_found(format!("no connector `{provider}`")))
}

fn describe(connector: &Connector) -> Value {
    let events: Vec<Value> = EventName::all()
        .filter_map(|event| {
            let mode = connector.mode(event.resource, event.action)?;
            let polled = connector.polled(event.resource);
            Some(json!({
                "event": event,
                "mode": mode,
                "time_filter": polled.map(|it| it.delta_overlap().is_some()),
                "minimum_interval_seconds": polled.map(|_| connector.shortest_interval(event.resource).as_secs()),
            }))
        })
        .collect();
    json!({
        "provider": connector.name(),
        "provider_name": connector.title(),
        "category": connector.category(),
        "events": events,
        "setup_fields": connector.setup_fields(),
    })
}
