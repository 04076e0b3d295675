//! `connector.yaml`, as it is written. [`Connector`](crate::Connector) is what it compiles to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tributary_schemas::resource::{Action, Mode, Resource};

/// A definition that can't be used: which file, where, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct DefinitionError {
    /// The file, as the caller named it.
    pub file: String,
    /// What is wrong.
    pub problem: String,
}

/// A provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The provider's name: lower case, as in URLs.
    pub name: String,
    /// The name that people know.
    pub title: String,
    /// `hris`, `ats`, `crm`, `lms` or `documents`.
    pub category: String,
    /// What linking an account needs.
    #[serde(default)]
    pub setup: Vec<SetupField>,
    /// jq definitions that every expression may use.
    #[serde(default)]
    pub prelude: String,
    /// How long after a native event a run is not to be trusted about its record, in seconds.
    #[serde(default = "settle")]
    pub settle: u64,
    /// Requests a second that one account may make.
    #[serde(default = "rate")]
    pub rate: u32,
    /// What opens a session, for providers that want one.
    pub login: Option<Login>,
    /// Headers of every request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// An expression over an answer's body: a text if it is an error in spite of its status.
    pub error: Option<String>,
    /// What is polled.
    #[serde(default)]
    pub polled: BTreeMap<Resource, Polled>,
    /// What the provider's webhooks tell.
    pub native: Option<Native>,
}

fn settle() -> u64 {
    120
}

fn rate() -> u32 {
    10
}

/// A field that linking an account needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetupField {
    /// Its name in the API.
    pub name: String,
    /// Its name for people.
    pub label: String,
    /// Whether it is kept sealed and never shown.
    #[serde(default)]
    pub secret: bool,
    /// Whether it may be left out.
    #[serde(default)]
    pub optional: bool,
    /// Where to find it.
    #[serde(default)]
    pub help: String,
}

/// A request to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestForm {
    /// GET, unless it says otherwise.
    #[serde(default = "get")]
    pub method: String,
    /// A template.
    pub url: String,
    /// Templates; a parameter whose template gives null is left out.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Templates, beside the definition's.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// An expression that gives the JSON body.
    pub body: Option<String>,
}

fn get() -> String {
    "GET".into()
}

/// How a session is opened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// What to ask.
    pub request: RequestForm,
    /// An expression over the answer's body that gives the session; null means refused.
    pub session: String,
}

/// A resource that is polled.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Polled {
    /// Whether the listing can skip a record when another goes meanwhile.
    pub listing: ListingKind,
    /// Whether the request can ask for what changed since `.since`, and how far back beyond the last run's start it must
    /// look, in seconds.
    pub delta_overlap: Option<u64>,
    /// The most records of a page: `.limit`.
    #[serde(default = "page_size")]
    pub page_size: u32,
    /// One page.
    pub request: RequestForm,
    /// An expression over the answer's body: the records.
    pub records: String,
    /// An expression over `{body, records, cursor, limit}`: the next page's cursor; null is the end.
    pub next: String,
    /// A record's remote id.
    pub id: String,
    /// The name of the key field in `record_id`.
    #[serde(default = "key")]
    pub key: String,
    /// An expression over a record: true if it could not be read whole.
    pub unread: Option<String>,
    /// The unified record.
    pub fields: BTreeMap<String, FieldForm>,
    /// Fields whose change is no change, beside the ones that never are.
    #[serde(default)]
    pub volatile: Vec<String>,
    /// Fields whose order means nothing.
    #[serde(default)]
    pub sets: Vec<String>,
}

fn page_size() -> u32 {
    200
}

fn key() -> String {
    "id".into()
}

/// Whether a listing can skip a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListingKind {
    /// By since-id, or a cursor that the server keeps: it can't.
    Keyed,
    /// By offset or page number: it can.
    Unkeyed,
}

/// A field of the unified model.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FieldForm {
    /// An expression.
    Plain(String),
    /// An expression whose result is turned into one of an enum's values.
    Enum(EnumForm),
}

/// A field that is one of an enum's values.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnumForm {
    /// The expression.
    pub from: String,
    /// The provider's value, and ours.
    pub values: BTreeMap<String, String>,
}

/// What the provider's webhooks tell.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Native {
    /// Who registers them.
    pub mode: Mode,
    /// How they are signed.
    pub signature: crate::signature::SignatureForm,
    /// The status that means success to the provider.
    #[serde(default = "ok")]
    pub success: u16,
    /// Where a delivery's id is.
    #[serde(default)]
    pub delivery_id: DeliveryIdForm,
    /// Headers that go on, in lower case.
    #[serde(default)]
    pub keep_headers: Vec<String>,
    /// An expression over the body: true if the request is only a test of the URL.
    pub ping: Option<String>,
    /// The steps for the person who registers it; `{url}` and `{secret}` stand for the account's.
    #[serde(default)]
    pub instructions: Vec<String>,
    /// Field maps that events share.
    #[serde(default)]
    pub models: BTreeMap<String, BTreeMap<String, FieldForm>>,
    /// What becomes of which request.
    pub events: Vec<EventForm>,
}

fn ok() -> u16 {
    200
}

/// Where a delivery's id is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DeliveryIdForm {
    /// In a header.
    Header(String),
    /// In the body: an expression.
    Body(String),
    /// The body's digest will do, because it holds its own time.
    Digest,
    /// Nowhere: each delivery speaks.
    #[default]
    None,
}

/// One event that a request may mean.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventForm {
    /// An expression over the body: whether the request means this.
    pub when: String,
    /// The resource.
    pub resource: Resource,
    /// What happened.
    pub action: Action,
    /// An expression over the body: the records that it happened to.
    pub each: String,
    /// An expression over the body, for batches: the record's element in the provider's wrapping, as a function of
    /// `{body, item}`. Without it the whole body is this record's.
    pub element: Option<String>,
    /// An expression over a record: its remote id.
    pub id: String,
    /// The name of the key field in `record_id`.
    #[serde(default = "key")]
    pub key: String,
    /// An expression over the body: when it happened.
    pub at: Option<String>,
    /// Which of `models` maps a record to `event_data`.
    pub model: Option<String>,
}

impl Definition {
    /// Reads a definition.
    ///
    /// # Errors
    /// Where the YAML is malformed or a field is not as expected.
    pub fn read(file: &str, text: &str) -> Result<Self, DefinitionError> {
        serde_saphyr::from_str(text)
            .map_err(|error| DefinitionError { file: file.to_owned(), problem: error.to_string() })
    }
}
