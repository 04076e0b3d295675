//! The OpenAPI 3.1 document, made of the routes themselves: what they read and give, and so what they refuse.

use http::{Method, StatusCode};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use tributary_schemas::{body::schema, resource::EventName};

use super::{caller::Caller, route::Route};

/// The document of these routes.
pub(super) fn document(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let operation = operation(route, &mut generator);
        let path = paths.entry(route.path.replace("{*", "{")).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation;
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Error".into(), error_schema());
    schemas.extend(schema::schemas("#/components/schemas/"));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tributary",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Providers' webhooks and polled changes in, one unified, exactly-once event stream out.",
        },
        "paths": paths,
        "webhooks": webhooks(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "basic": { "type": "http", "scheme": "basic", "description": "The API key as the user, no password." },
            },
        },
    })
}

/// What subscribers receive (contract §2, §3).
fn webhooks() -> Map<String, Value> {
    let header = |name: &str, about: &str| json!({ "name": name, "in": "header", "required": true, "schema": { "type": "string" }, "description": about });
    let headers = json!([
        header("webhook-id", "Stable over retries: what to drop repeats by."),
        header("webhook-timestamp", "Unix seconds of this attempt."),
        header(
            "webhook-signature",
            "Standard Webhooks: `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`, one for each live secret."
        ),
        header("x-tributary-event-id", "The event's id, as on the topics."),
        header("x-tributary-sequence", "Grows for each record: what to order by."),
        header("x-tributary-attempt", "1, or more for a retry."),
        header("x-tributary-mode", "`native_automatic`, `native_manual`, `synthetic`."),
    ]);
    let webhook = |(event, schema): (EventName, String)| {
        let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
        let post = json!({
            "operationId": event.to_string().replace('.', "_"),
            "summary": format!("Tells `{event}`"),
            "tags": ["events"],
            "parameters": headers,
            "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } },
            "responses": {
                "2XX": { "description": "Taken; the body is not read." },
                "410": { "description": "Gone: the webhook is disabled." },
                "default": { "description": "Tried again." },
            },
            "security": [],
        });
        (event.to_string(), json!({ "post": post }))
    };
    schema::events().map(webhook).collect()
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["statusCode", "message", "timestamp", "errorCode"],
        "additionalProperties": false,
        "properties": {
            "statusCode": { "type": "integer", "minimum": 400, "maximum": 599 },
            "message": { "type": "string", "description": "The field, and what was expected." },
            "timestamp": { "type": "string", "format": "date-time" },
            "errorCode": { "type": "string" },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let segments = route.path.split('/').filter(|it| !it.is_empty() && !it.starts_with('{'));
    let words: Vec<&str> = segments.collect();
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.about,
        "tags": words.first().copied().into_iter().collect::<Vec<_>>(),
        "parameters": parameters(route),
        "responses": responses(route, generator),
        "security": match route.caller {
            Caller::Anyone => json!([]),
            Caller::Tenant | Caller::Operator => json!([{ "bearer": [] }, { "basic": [] }]),
        },
    });
    if let Some((schema, required)) = (route.body)(generator) {
        let mut content = json!({ "schema": schema });
        if let Some(example) = &route.example {
            content["example"] = example.clone();
        }
        operation["requestBody"] =
            json!({ "required": required, "content": { "application/json": content } });
    }
    operation
}

fn operation_id(route: &Route) -> String {
    let path = route.path.replace(['{', '}', '*', '.', '-'], "_");
    let parts: Vec<&str> = path.split(['/', '_']).filter(|part| !part.is_empty()).collect();
    format!("{}_{}", route.method.as_str().to_ascii_lowercase(), parts.join("_"))
}

/// The names of a path's placeholders.
pub(super) fn placeholders(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|it| it.strip_prefix('{')).map(|it| it.trim_matches(['*', '}']))
}

fn parameters(route: &Route) -> Vec<Value> {
    let text = |most: usize| json!({ "type": "string", "minLength": 1, "maxLength": most });
    let mut parameters: Vec<Value> = placeholders(route.path)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text(2_048) }))
        .collect();
    for (name, schema) in &route.query {
        // A list is written with commas.
        parameters.push(json!({ "name": name, "in": "query", "required": false, "schema": not_null(schema),
            "style": "form", "explode": false }));
    }
    if route.is_repeatable() && route.caller == Caller::Tenant {
        parameters.push(json!({ "name": "Idempotency-Key", "in": "header", "required": false,
            "schema": { "type": "string", "pattern": "^[!-~]{1,255}$" } }));
    }
    if route.is_guarded() {
        parameters.push(json!({ "name": "If-Match", "in": "header", "required": false,
            "schema": { "type": "string", "pattern": "^(\\*|\"?[0-9]{1,15}\"?)$" } }));
    }
    parameters
}

/// A parameter is absent, never null.
fn not_null(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            schema["type"] = only.clone();
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    schema
}

/// The statuses of errors that a route may answer with, by its kind.
fn errors(route: &Route) -> Vec<u16> {
    let mut statuses = vec![422, 500, 503];
    if route.caller != Caller::Anyone {
        statuses.extend([401, 429]);
    }
    if placeholders(route.path).next().is_some() {
        statuses.push(404);
    }
    if route.method != Method::GET {
        statuses.extend([400, 404, 409, 413]);
    }
    if route.is_guarded() {
        statuses.push(412);
    }
    statuses.extend(route.more_errors);
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    let mut success = json!({ "description": route.means });
    if let Some(schema) = (route.answer)(generator) {
        success["content"] = json!({ "application/json": { "schema": schema } });
    }
    responses.insert(route.status.as_u16().to_string(), success);
    for status in errors(route) {
        let reason =
            StatusCode::from_u16(status).ok().and_then(|it| it.canonical_reason()).unwrap_or("Error");
        let mut answer = json!({
            "description": reason,
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
        });
        if matches!(status, 429 | 503) {
            answer["headers"] = json!({ "Retry-After": { "schema": { "type": "integer" } } });
        }
        responses.insert(status.to_string(), answer);
    }
    Value::Object(responses)
}
