//! A message, decoded and, where it is native, mapped by its connector.

use tributary_connectors::Catalog;
use tributary_core::{
    unify::Dead,
    unify::decide::{Input, NativeChange, NativeInput},
};
use tributary_schemas::{
    codec,
    observation::{NativePayload, NativeRequest, Snapshot},
    wal::Twin,
};

/// Reads a message of either twin.
///
/// # Errors
/// Why it is to be set aside.
pub(super) fn read(catalog: &Catalog, twin: Twin, payload: &[u8]) -> Result<Input, Dead> {
    match twin {
        Twin::Snapshots => {
            codec::decode::<Snapshot>(payload).map(Input::Snapshot).map_err(|error| undecodable(&error))
        }
        Twin::Native => {
            let request = codec::decode::<NativeRequest>(payload).map_err(|error| undecodable(&error))?;
            map(catalog, request).map(Input::Native)
        }
    }
}

fn undecodable(error: &codec::Undecodable) -> Dead {
    Dead { reason: "undecodable", detail: error.to_string() }
}

fn map(catalog: &Catalog, request: NativeRequest) -> Result<NativeInput, Dead> {
    let unmappable = |detail: String| Dead { reason: "unmappable", detail };
    let provider = request.source.provider.as_str();
    let native = catalog
        .get(provider)
        .and_then(|connector| connector.native())
        .ok_or_else(|| unmappable(format!("no connector `{provider}` with native events")))?;
    let events =
        native.events(&request.headers, &request.body).map_err(|error| unmappable(error.to_string()))?;
    let changes = events.into_iter().zip(0..).map(|(event, index)| NativeChange {
        resource: event.resource,
        action: event.action,
        remote_id: event.remote_id,
        key_name: event.key_name,
        occurred_at: event.occurred_at,
        raw_event: (request.payload == NativePayload::Full).then_some(event.raw_event),
        event_data: match request.payload {
            NativePayload::Full | NativePayload::EventData => {
                event.event_data.map(|fields| serde_json::Value::Object(fields).to_string())
            }
            NativePayload::None => None,
        },
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
