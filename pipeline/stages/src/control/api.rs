//! All routes, and the router that is made of them.

use std::sync::Arc;

use axum::{
    Router,
    extract::{MatchedPath, RawPathParams, Request, State, rejection::RawPathParamsRejection},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tributary_schemas::{framing, record_id};

use super::{
    Shared, accounts,
    bounds::{Name, UrlText},
    caller::Anyone,
    connectors, deliveries, keys, metrics, native, openapi, operator, projects,
    route::{Call, Id, Incoming, Route, Shown, get, no_such_path},
    schedules, webhooks,
};
use crate::{entity::Page, http_error::HttpError};

pub(super) type App = Arc<Shared>;

/// All routes of the API. A new family adds its own here.
pub(super) fn routes() -> Vec<Route> {
    [
        connectors::routes(),
        accounts::routes(),
        native::routes(),
        schedules::routes(),
        webhooks::routes(),
        deliveries::routes(),
        projects::routes(),
        keys::routes(),
        operator::routes(),
        vec![
            get("/ids/{record_id}", "Tells a record id's key and the provider's own id", id),
            get("/subjects", "Lists the subjects, as a schema registry does", subjects),
            get("/subjects/{*rest}", "Answers as a schema registry does", registry_subjects),
            get("/schemas/{*rest}", "Answers as a schema registry does", registry_schemas),
            get("/openapi.json", "Shows this document", document),
        ],
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub(super) fn router(shared: App) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let path = route.path;
        let filter = MethodFilter::try_from(route.method.clone()).unwrap_or(MethodFilter::TRACE);
        let route = Arc::new(route);
        let handler = move |State(app): State<App>,
                            params: Result<RawPathParams, RawPathParamsRejection>,
                            request: Request| async move {
            let Ok(params) = params else { return no_such_path().into_response() };
            let values: Vec<String> = params.iter().map(|(_, value)| value.to_owned()).collect();
            if values.iter().any(|value| value.is_empty() || value.len() > 2_048 || value.contains('\0')) {
                return HttpError::not_found("not found").into_response();
            }
            let (parts, body) = request.into_parts();
            let query = parts.uri.query().unwrap_or_default().to_owned();
            route.answer(app, Incoming { values, query, headers: parts.headers, body }).await
        };
        router = router.route(path, on(filter, handler));
    }
    router
        .fallback(|| async { no_such_path() })
        .method_not_allowed_fallback(|| async { HttpError::method_not_allowed() })
        .layer(middleware::from_fn(count))
        .with_state(shared)
}

async fn count(request: Request, next: Next) -> Response {
    let begun = std::time::Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    // A method may be any word: only those that there are become labels.
    let method = match request.method().as_str() {
        known @ ("GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    ::metrics::counter!(metrics::REQUESTS, "route" => route.clone(), "method" => method, "status" => status)
        .increment(1);
    ::metrics::histogram!(metrics::REQUEST_SECONDS, "route" => route).record(begun.elapsed().as_secs_f64());
    response
}

/// What a secret is looked up by: SHA-256 in hex.
pub(super) fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

/// A new id: 21 random characters.
pub(super) fn new_id() -> String {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(21).map(char::from).collect()
}

/// A page of a list. It may be empty, and is no end of the list: only the lack of `next` is.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Listed<T> {
    pub(super) data: Vec<T>,
    /// Give it as `next` to get the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

impl<T> From<Page<T>> for Listed<T> {
    fn from(page: Page<T>) -> Self {
        Self { data: page.entities, next: page.next }
    }
}

/// What a record id stands for.
#[derive(Serialize, JsonSchema)]
struct IdShown {
    key: String,
    remote_id: String,
}

async fn id(call: Call<Id>) -> Result<Shown<IdShown>, HttpError> {
    let decoded = record_id::decode(&call.path.0)
        .map_err(|error| HttpError::unprocessable(format!("record_id: {error}")))?;
    Ok(Shown(IdShown { key: decoded.key.to_string(), remote_id: decoded.remote.to_string() }))
}

/// What registries' clients add to their read calls. There is one version of each schema, so none of it changes the answer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "it is taken and changes nothing")]
struct RegistryQuery {
    subject: Option<UrlText>,
    format: Option<Name>,
    reference_format: Option<Name>,
    fetch_max_id: Option<Name>,
    deleted: Option<Name>,
    deleted_only: Option<Name>,
    lookup_deleted_schema: Option<Name>,
    subject_prefix: Option<UrlText>,
    verbose: Option<Name>,
}

async fn subjects(call: Call<(), RegistryQuery, (), Anyone>) -> Result<Shown<Value>, HttpError> {
    registry(&call.app, "/subjects")
}

async fn registry_subjects(call: Call<Id, RegistryQuery, (), Anyone>) -> Result<Shown<Value>, HttpError> {
    registry(&call.app, &format!("/subjects/{}", call.path.0))
}

async fn registry_schemas(call: Call<Id, RegistryQuery, (), Anyone>) -> Result<Shown<Value>, HttpError> {
    registry(&call.app, &format!("/schemas/{}", call.path.0))
}

/// The registry's read calls, for stock deserialisers where no registry is configured. Schemas are no secret.
fn registry(app: &App, path: &str) -> Result<Shown<Value>, HttpError> {
    let topic = |resource| app.topics.unified_shared(resource);
    let answer = framing::registry_answer(path, topic);
    answer.map(Shown).ok_or_else(|| HttpError::not_found("no such schema or subject"))
}

async fn document(call: Call<(), (), (), Anyone>) -> Result<Shown<Value>, HttpError> {
    Ok(Shown(call.app.document.clone()))
}

/// The OpenAPI document of all routes.
pub(super) fn described() -> Value {
    openapi::document(&routes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_has_its_own_place_and_an_example_that_it_takes() {
        let mut places = BTreeSet::new();
        for route in routes() {
            assert!(
                places.insert((route.method.to_string(), route.path)),
                "{} {} twice",
                route.method,
                route.path
            );
            let mut generator = schemars::SchemaGenerator::default();
            let required = (route.body)(&mut generator).is_some_and(|(_, required)| required);
            assert!(!required || route.example.is_some(), "{} {} lacks an example", route.method, route.path);
            if let Some(example) = &route.example {
                (route.reads)(example.to_string().as_bytes()).unwrap();
            }
        }
    }

    #[test]
    fn the_document_says_every_range() {
        let document = described();
        assert_eq!(document["openapi"], "3.1.0");
        // Every number and text that a body or a parameter holds has an end.
        let mut bare = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let body = &operation["requestBody"]["content"]["application/json"]["schema"];
                let mut schemas = vec![body.clone()];
                schemas.extend(
                    operation["parameters"].as_array().unwrap().iter().map(|it| it["schema"].clone()),
                );
                for schema in &schemas {
                    boundless(&document, schema, &format!("{method} {path}"), &mut bare);
                }
            }
        }
        assert!(bare.is_empty(), "no range: {bare:#?}");
    }

    fn boundless(document: &Value, schema: &Value, at: &str, found: &mut Vec<String>) {
        if let Some(reference) = schema["$ref"].as_str() {
            let pointer = reference.trim_start_matches('#');
            return boundless(document, document.pointer(pointer).unwrap(), at, found);
        }
        let is = |kind: &str| match &schema["type"] {
            Value::Array(kinds) => kinds.iter().any(|it| it == kind),
            single => single == kind,
        };
        let has = |name: &str| schema.get(name).is_some();
        let bounded = has("enum")
            || has("pattern")
            || has("format")
            || has("const")
            || (has("maxLength") || !is("string"))
                && (has("maximum") || !(is("integer") || is("number")))
                && (has("maxItems") || !is("array"))
                && (has("maxProperties") || has("properties") || !is("object"));
        if !bounded {
            found.push(at.to_owned());
        }
        if is("object") && has("properties") && schema["additionalProperties"] != false {
            found.push(format!("{at}: takes unknown fields"));
        }
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            boundless(document, schema, &format!("{at} {name}"), found);
        }
        for inner in ["items", "additionalProperties"] {
            if let Some(schema) = schema.get(inner).filter(|it| it.is_object()) {
                boundless(document, schema, &format!("{at} {inner}"), found);
            }
        }
        for schema in ["anyOf", "oneOf", "allOf"].iter().filter_map(|it| schema[*it].as_array()).flatten() {
            boundless(document, schema, at, found);
        }
    }
}
