//! A message, decoded and, where it is native, mapped by its connector.

use std::collections::HashMap;

use tributary_connectors::Catalog;
use tributary_core::{
    unify::Dead,
    unify::decide::{Input, NativeChange, NativeInput},
};
use tributary_schemas::{
    codec,
    observation::{NativePayload, NativeRequest, RecordName, Snapshot},
    time::Timestamp,
    wal::Twin,
};

/// Why a message can't be decided.
pub(super) enum Unread {
    /// It is to be set aside.
    Dead(Dead),
    /// A later release wrote it, and must read it.
    Newer(codec::Undecodable),
}

/// Reads a message of either twin.
///
/// # Errors
/// Why it can't be decided.
pub(super) fn read(
    catalog: &Catalog,
    twin: Twin,
    payload: &[u8],
    appended_at: Option<Timestamp>,
) -> Result<Input, Unread> {
    match twin {
        Twin::Snapshots => codec::decode::<Snapshot>(payload)
            .map(|snapshot| Input::of_poll(snapshot, appended_at))
            .map_err(undecodable),
        Twin::Native => {
            let request = codec::decode::<NativeRequest>(payload).map_err(undecodable)?;
            map(catalog, request).map(Input::Native).map_err(Unread::Dead)
        }
    }
}

fn undecodable(error: codec::Undecodable) -> Unread {
    match error {
        codec::Undecodable::Newer { .. } => Unread::Newer(error),
        codec::Undecodable::Empty { .. }
        | codec::Undecodable::Older { .. }
        | codec::Undecodable::Unknown { .. }
        | codec::Undecodable::Body { .. } => {
            Unread::Dead(Dead { reason: "undecodable", detail: error.to_string() })
        }
    }
}

fn map(catalog: &Catalog, request: NativeRequest) -> Result<NativeInput, Dead> {
    let unmappable = |detail: String| Dead { reason: "unmappable", detail };
    let provider = request.source.provider.as_str();
    let native = catalog
        .old(provider)
        .and_then(|connector| connector.native())
        .ok_or_else(|| unmappable(format!("no connector `{provider}` with native events")))?;
    let events =
        native.events(&request.headers, &request.body).map_err(|error| unmappable(error.to_string()))?;
    // A record that was fetched because of the request is more than what the request holds of it.
    let mut fetched: HashMap<RecordName, String> =
        request.fetched.into_iter().map(|it| (it.record, it.event_data)).collect();
    let changes = events.into_iter().zip(0..).map(|(event, index)| NativeChange {
        event_data: match request.payload {
            NativePayload::Full | NativePayload::EventData => {
                let (resource, remote_id) = (event.resource, event.remote_id.clone());
                let mapped = || event.event_data.map(|fields| serde_json::Value::Object(fields).to_string());
                fetched.remove(&RecordName { resource, remote_id }).or_else(mapped)
            }
            NativePayload::None => None,
        },
        resource: event.resource,
        action: event.action,
        remote_id: event.remote_id,
        key_name: event.key_name,
        occurred_at: event.occurred_at,
        raw_event: (request.payload == NativePayload::Full).then_some(event.raw_event),
        index,
    });
    Ok(NativeInput {
        changes: changes.collect(),
        source: request.source,
        received_at: request.received_at,
        mode: request.mode,
        settle: request.settle,
        id_prefix: request.id_prefix,
        delivery: request.delivery,
    })
}
