//! The one shape of a route: its method, path, and a handler whose types say what it takes and gives. Everything else
//! follows from these: how a request is read, what is refused and how it is named, who may call, `If-Match`,
//! `Idempotency-Key`, and the operation in the OpenAPI document.
//!
//! A handler is `async fn(Call<Path, Query, Body, Caller>) -> Result<Answer, HttpError>`:
//! - `Path`: `()`, [`Id`] or [`Ids`], by the placeholders of the path;
//! - `Query`: `()` or a struct of options ([`Deserialize`](serde::Deserialize) and [`JsonSchema`]), names not listed are refused;
//! - `Body`: `()`, [`Given<T>`] or [`Maybe<T>`], where `T` has `deny_unknown_fields` and the types of [`bounds`](super::bounds);
//! - `Caller`: [`Tenant`](super::caller::Tenant) unless it says otherwise;
//! - `Answer`: [`Shown<T>`], [`Made<T>`], [`Each<T>`], [`Accepted`] or [`Done`].

use std::{future::Future, pin::Pin, sync::Arc};

use axum::{
    Json,
    body::Body as Bytes,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tributary_schemas::entity::Version;

use super::{
    api::App,
    caller::{Asks, Caller, Tenant},
    idempotency, read,
};
use crate::{entity::Writer, http_error::HttpError};

/// A request, read.
pub(super) struct Call<P = (), Q = (), B = (), C = Tenant> {
    pub(super) app: App,
    pub(super) caller: C,
    pub(super) path: P,
    pub(super) query: Q,
    pub(super) body: B,
    if_match: Option<Version>,
}

impl<P, Q, B, C> Call<P, Q, B, C> {
    /// What writes entities for this call: with `If-Match`, only the version that it names.
    pub(super) fn writer(&self) -> Writer {
        self.app.writer.expecting(self.if_match)
    }
}

/// The one placeholder of a path.
#[derive(Debug, Clone)]
pub(super) struct Id(pub(super) String);

/// The two placeholders of a path.
#[derive(Debug, Clone)]
pub(super) struct Ids(pub(super) String, pub(super) String);

/// What a path's placeholders are read into.
pub(super) trait Places: Sized + Send {
    /// From the values, in the path's order.
    fn from_values(values: Vec<String>) -> Option<Self>;
}

impl Places for () {
    fn from_values(_: Vec<String>) -> Option<Self> {
        Some(())
    }
}
impl Places for Id {
    fn from_values(values: Vec<String>) -> Option<Self> {
        values.into_iter().next().map(Id)
    }
}
impl Places for Ids {
    fn from_values(values: Vec<String>) -> Option<Self> {
        let mut values = values.into_iter();
        Some(Ids(values.next()?, values.next()?))
    }
}

/// A JSON body.
pub(super) struct Given<T>(pub(super) T);

/// A JSON body that may be left out: then it is the default.
pub(super) struct Maybe<T>(pub(super) T);

/// What a body is read into.
pub(super) trait Taken: Sized + Send {
    /// Reads it.
    ///
    /// # Errors
    /// When it is not as expected.
    fn from_bytes(bytes: &[u8]) -> Result<Self, HttpError>;
    /// Its schema, and whether it must be there; `None` when no body is taken.
    fn schema(generator: &mut SchemaGenerator) -> Option<(Schema, bool)>;
}

/// Whether a body says nothing.
fn is_nothing(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii(), b"" | b"null" | b"{}")
}

impl Taken for () {
    fn from_bytes(bytes: &[u8]) -> Result<Self, HttpError> {
        if is_nothing(bytes) {
            return Ok(());
        }
        read::json::<Nothing>(bytes).map(drop)
    }
    fn schema(_: &mut SchemaGenerator) -> Option<(Schema, bool)> {
        None
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl<T: DeserializeOwned + JsonSchema + Send> Taken for Given<T> {
    fn from_bytes(bytes: &[u8]) -> Result<Self, HttpError> {
        read::json(bytes).map(Self)
    }
    fn schema(generator: &mut SchemaGenerator) -> Option<(Schema, bool)> {
        Some((generator.subschema_for::<T>(), true))
    }
}

impl<T: DeserializeOwned + JsonSchema + Default + Send> Taken for Maybe<T> {
    fn from_bytes(bytes: &[u8]) -> Result<Self, HttpError> {
        if is_nothing(bytes) { Ok(Self(T::default())) } else { read::json(bytes).map(Self) }
    }
    fn schema(generator: &mut SchemaGenerator) -> Option<(Schema, bool)> {
        Some((generator.subschema_for::<T>(), false))
    }
}

/// 200 with this. A `version` in it is the `ETag`.
pub(super) struct Shown<T>(pub(super) T);
/// 201 with this.
pub(super) struct Made<T>(pub(super) T);
/// 207 with an outcome for each element of the request.
#[expect(dead_code, reason = "for routes that fire many things at once")]
pub(super) struct Each<T>(pub(super) Vec<T>);
/// 202: it is under way.
pub(super) struct Accepted;
/// 204: it is done, and there is nothing to show.
pub(super) struct Done;

/// What a handler gives.
pub(super) trait Answer: Send {
    /// Its status.
    const STATUS: StatusCode;
    /// What it means.
    const MEANS: &'static str;
    /// The body's schema, if there is one.
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema>;
    /// The body, if there is one.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    fn body(self) -> Result<Option<Value>, serde_json::Error>;
}

macro_rules! answers {
    ($($type:ty, $status:ident, $means:literal, $shown:ty;)*) => {$(
        impl<T: Serialize + JsonSchema + Send> Answer for $type {
            const STATUS: StatusCode = StatusCode::$status;
            const MEANS: &'static str = $means;
            fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
                Some(generator.subschema_for::<$shown>())
            }
            fn body(self) -> Result<Option<Value>, serde_json::Error> {
                serde_json::to_value(self.0).map(Some)
            }
        }
    )*};
}
answers! {
    Shown<T>, OK, "As it is now", T;
    Made<T>, CREATED, "Made", T;
    Each<T>, MULTI_STATUS, "What became of each", Vec<T>;
}

macro_rules! silent {
    ($($type:ty, $status:ident, $means:literal;)*) => {$(
        impl Answer for $type {
            const STATUS: StatusCode = StatusCode::$status;
            const MEANS: &'static str = $means;
            fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
                None
            }
            fn body(self) -> Result<Option<Value>, serde_json::Error> {
                Ok(None)
            }
        }
    )*};
}
silent! {
    Accepted, ACCEPTED, "Under way";
    Done, NO_CONTENT, "Done";
}

type Answering = Pin<Box<dyn Future<Output = Result<Response, HttpError>> + Send>>;
type Handler = Arc<dyn Fn(App, Incoming) -> Answering + Send + Sync>;

/// A request as it came.
pub(super) struct Incoming {
    pub(super) values: Vec<String>,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A route, and what the document says of it.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) about: &'static str,
    pub(super) caller: Caller,
    pub(super) query: Map<String, Value>,
    pub(super) body: fn(&mut SchemaGenerator) -> Option<(Schema, bool)>,
    pub(super) status: StatusCode,
    pub(super) means: &'static str,
    pub(super) answer: fn(&mut SchemaGenerator) -> Option<Schema>,
    pub(super) more_errors: &'static [u16],
    pub(super) example: Option<Value>,
    /// Tells whether a body is one that the route takes.
    #[cfg(test)]
    pub(super) reads: fn(&[u8]) -> Result<(), HttpError>,
    handler: Handler,
}

impl Route {
    /// A body that the route takes: for the document, and for the tests that call every route.
    pub(super) fn example(mut self, body: Value) -> Self {
        self.example = Some(body);
        self
    }

    /// Further statuses that it may answer with, beside those of its kind.
    #[expect(dead_code, reason = "for routes that answer 501 or 502")]
    pub(super) fn also(mut self, statuses: &'static [u16]) -> Self {
        self.more_errors = statuses;
        self
    }

    /// Whether `Idempotency-Key` means something: a POST makes something new each time.
    pub(super) fn is_repeatable(&self) -> bool {
        self.method == Method::POST
    }

    /// Whether `If-Match` means something.
    pub(super) fn is_guarded(&self) -> bool {
        matches!(self.method, Method::PUT | Method::PATCH | Method::DELETE)
    }

    /// Answers a request.
    pub(super) async fn answer(&self, app: App, incoming: Incoming) -> Response {
        (self.handler)(app, incoming).await.unwrap_or_else(IntoResponse::into_response)
    }
}

/// A route of any method. The functions named after methods are shorter.
pub(super) fn route<P, Q, B, C, A, H, F>(
    method: Method,
    path: &'static str,
    about: &'static str,
    handle: H,
) -> Route
where
    P: Places + 'static,
    Q: DeserializeOwned + JsonSchema + Send + 'static,
    B: Taken + 'static,
    C: Asks + 'static,
    A: Answer,
    H: Fn(Call<P, Q, B, C>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<A, HttpError>> + Send + 'static,
{
    let query = parameters::<Q>();
    let handle = Arc::new(handle);
    let (names, repeatable, takes) = (query.clone(), method == Method::POST, method != Method::GET);
    let guarded = matches!(method, Method::PUT | Method::PATCH | Method::DELETE);
    let handler = move |app: App, incoming: Incoming| -> Answering {
        let (handle, names) = (handle.clone(), names.clone());
        Box::pin(async move {
            let Incoming { values, query, headers, body } = incoming;
            let caller = C::identify(&app, &headers).await?;
            let named = (path, values.clone());
            let place = P::from_values(values).ok_or_else(no_such_path)?;
            let query = if names.is_empty() && query.is_empty() {
                read::typed(Value::Object(Map::new()), "query").or_else(|_| read::typed(Value::Null, "query"))
            } else {
                read::query(&query, &names)
            }?;
            let if_match = if guarded { if_match(&headers)? } else { None };
            let bytes = if takes { read::bytes(&headers, body).await? } else { axum::body::Bytes::new() };
            let body = B::from_bytes(&bytes)?;
            let key = if repeatable { idempotency::Key::of(&headers)? } else { None };
            let claim = match (key, caller.project()) {
                (Some(key), Some(project)) => {
                    match idempotency::claim(&app, project, &named, &bytes, key).await? {
                        idempotency::Claimed::New(claim) => Some(claim),
                        idempotency::Claimed::Known(response) => return Ok(response),
                    }
                }
                _ => None,
            };
            let call = Call { app: app.clone(), caller, path: place, query, body, if_match };
            let answered =
                handle(call).await.and_then(|answer| Ok(answer.body().map_err(anyhow::Error::from)?));
            if let Some(claim) = claim {
                claim.settle(&app, A::STATUS, answered.as_ref().ok()).await?;
            }
            answered.map(|body| respond(A::STATUS, body))
        })
    };
    Route {
        method,
        path,
        about,
        caller: C::CALLER,
        query,
        body: B::schema,
        status: A::STATUS,
        means: A::MEANS,
        answer: A::schema,
        more_errors: &[],
        example: None,
        #[cfg(test)]
        reads: |bytes| B::from_bytes(bytes).map(drop),
        handler: Arc::new(handler),
    }
}

/// A JSON answer; the version of what is shown is its `ETag`.
pub(super) fn respond(status: StatusCode, body: Option<Value>) -> Response {
    let Some(body) = body else { return status.into_response() };
    let tag = body.get("version").and_then(Value::as_u64).map(|version| format!("\"{version}\""));
    let mut response = (status, Json(body)).into_response();
    if let Some(tag) = tag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

pub(super) fn no_such_path() -> HttpError {
    HttpError::not_found("no such path: see /openapi.json")
}

/// The version that `If-Match` names; `*` is any.
fn if_match(headers: &HeaderMap) -> Result<Option<Version>, HttpError> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let expected = || HttpError::unprocessable("if-match: expected the version, such as \"3\"");
    text.trim_matches('"').parse().map(Some).map_err(|_| expected())
}

/// The schemas of a query's parameters, by name.
fn parameters<Q: JsonSchema>() -> Map<String, Value> {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|it| it.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<Q>();
    match schema.get("properties") {
        Some(Value::Object(properties)) => properties.clone(),
        _ => Map::new(),
    }
}

macro_rules! methods {
    ($($name:ident $method:ident;)*) => {$(
        /// A route of this method.
        pub(super) fn $name<P, Q, B, C, A, H, F>(path: &'static str, about: &'static str, handle: H) -> Route
        where
            P: Places + 'static,
            Q: DeserializeOwned + JsonSchema + Send + 'static,
            B: Taken + 'static,
            C: Asks + 'static,
            A: Answer,
            H: Fn(Call<P, Q, B, C>) -> F + Send + Sync + 'static,
            F: Future<Output = Result<A, HttpError>> + Send + 'static,
        {
            route(Method::$method, path, about, handle)
        }
    )*};
}
methods! {
    get GET;
    post POST;
    put PUT;
    patch PATCH;
    delete DELETE;
}
