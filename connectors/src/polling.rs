//! A listing, without doing it: which request comes next, and what an answer means.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::{Map, Value, json};
use tributary_schemas::{id::RemoteId, time::Timestamp};

use crate::{
    expression::{Expression, Failed},
    legacy::{ListingKind, Login as LoginForm, Polled as PolledForm, RequestForm},
    mapping::Mapping,
    native::id_text,
    projection::Projection,
    template::Template,
};

/// An account's set-up fields, secret ones too. `Debug` shows their names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Setup(pub BTreeMap<String, String>);

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a login gave: headers and bodies refer to it.
#[derive(Clone, PartialEq)]
pub struct Session(Value);

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(***)")
    }
}

/// A request to make. `Debug` shows neither headers nor body.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The URL, with its query.
    pub url: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body, JSON.
    pub body: Option<Vec<u8>>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url.split('?').next().unwrap_or_default())
    }
}

/// An answer.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// `Retry-After`, as it came.
    pub retry_after: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// Why a listing can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// Too many requests.
    #[error("the provider asks us to wait")]
    RateLimited {
        /// `Retry-After`, as it came.
        retry_after: Option<String>,
    },
    /// The credentials or the session are refused.
    #[error("the provider refuses our credentials (HTTP {0})")]
    Unauthorized(u16),
    /// The provider is in trouble: again later.
    #[error("the provider answered HTTP {0}")]
    Transient(u16),
    /// An answer that we can't use.
    #[error("{0}")]
    Broken(String),
}

impl From<Failed> for PollError {
    fn from(failed: Failed) -> Self {
        Self::Broken(failed.to_string())
    }
}

/// What to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Full,
    /// What changed since then.
    Since(Timestamp),
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Its records.
    pub records: Vec<PolledRecord>,
    /// Records on it that have no id.
    pub nameless: usize,
    /// The cursor of the next page, as text; `None`: there is none.
    pub next: Option<String>,
    /// Whether the listing has ended properly.
    pub more: More,
}

/// Whether a listing goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// There is another page; this one may have been empty.
    Yes,
    /// It ended properly.
    No,
}

/// A record of a page.
#[derive(Debug, Clone, PartialEq)]
pub struct PolledRecord {
    /// The provider's name for it.
    pub remote_id: RemoteId,
    /// The unified record; `None` if it could not be read whole.
    pub mapped: Option<Map<String, Value>>,
}

/// A compiled request.
#[derive(Debug)]
pub(crate) struct RequestBuilder {
    method: String,
    url: Template,
    query: Vec<(String, Template)>,
    headers: Vec<(String, Template)>,
    body: Option<Expression>,
}

impl RequestBuilder {
    pub(crate) fn compile(
        form: &RequestForm,
        shared: &BTreeMap<String, String>,
        prelude: &str,
    ) -> Result<Self, String> {
        let template =
            |(name, text): (&String, &String)| Ok((name.clone(), Template::compile(text, prelude)?));
        Ok(Self {
            method: form.method.clone(),
            url: Template::compile(&form.url, prelude)?,
            query: form.query.iter().map(template).collect::<Result<_, String>>()?,
            headers: shared.iter().chain(&form.headers).map(template).collect::<Result<_, String>>()?,
            body: form.body.as_ref().map(|text| Expression::compile(text, prelude)).transpose()?,
        })
    }

    fn build(&self, context: &Value) -> Result<Request, PollError> {
        let url = self
            .url
            .fill(context)?
            .ok_or_else(|| PollError::Broken("the URL lacks a set-up field".into()))?;
        let mut url = url::Url::parse(&url)
            .map_err(|error| PollError::Broken(format!("the URL made of the set-up: {error}")))?;
        for (name, template) in &self.query {
            if let Some(value) = template.fill(context)? {
                url.query_pairs_mut().append_pair(name, &value);
            }
        }
        let mut headers = Vec::new();
        for (name, template) in &self.headers {
            headers.extend(template.fill(context)?.map(|value| (name.to_ascii_lowercase(), value)));
        }
        let body = match &self.body {
            Some(body) => {
                headers.push(("content-type".into(), "application/json".into()));
                Some(body.first(context)?.to_string().into_bytes())
            }
            None => None,
        };
        Ok(Request { method: self.method.clone(), url: url.into(), headers, body })
    }
}

/// A compiled login.
#[derive(Debug)]
pub(crate) struct Login {
    request: RequestBuilder,
    session: Expression,
}

impl Login {
    pub(crate) fn compile(form: &LoginForm, prelude: &str) -> Result<Self, String> {
        let request = RequestBuilder::compile(&form.request, &BTreeMap::new(), prelude)?;
        Ok(Self { request, session: Expression::compile(&form.session, prelude)? })
    }

    pub(crate) fn request(&self, setup: &Setup) -> Result<Request, PollError> {
        self.request.build(&json!({ "setup": setup.0 }))
    }

    pub(crate) fn read(&self, answer: Answer<'_>, error: Option<&Expression>) -> Result<Session, PollError> {
        let body = read(answer, error)?;
        match self.session.first(&body)? {
            Value::Null => Err(PollError::Unauthorized(answer.status)),
            session => Ok(Session(session)),
        }
    }
}

/// A polled resource, compiled.
#[derive(Debug)]
pub struct Polled {
    form: PolledForm,
    request: RequestBuilder,
    records: Expression,
    next: Expression,
    id: Expression,
    unread: Option<Expression>,
    mapping: Mapping,
    source: String,
    error: Option<Expression>,
}

impl Polled {
    pub(crate) fn compile(
        form: &PolledForm,
        headers: &BTreeMap<String, String>,
        error: Option<&String>,
        prelude: &str,
    ) -> Result<Self, String> {
        let expression = |text: &String| Expression::compile(text, prelude);
        // What makes the record, and nothing else: paging and requests don't change a projection.
        let source = json!([prelude, form.id, form.unread, form.fields]).to_string();
        Ok(Self {
            request: RequestBuilder::compile(&form.request, headers, prelude)?,
            records: expression(&form.records)?,
            next: expression(&form.next)?,
            id: expression(&form.id)?,
            unread: form.unread.as_ref().map(expression).transpose()?,
            mapping: Mapping::compile(&form.fields, prelude)?,
            error: error.map(expression).transpose()?,
            form: form.clone(),
            source,
        })
    }

    /// Whether the listing can skip a record.
    pub fn listing(&self) -> ListingKind {
        self.form.listing
    }

    /// How far back beyond the last run's start a delta must look; `None`: no time filter.
    pub fn delta_overlap(&self) -> Option<Duration> {
        self.form.delta_overlap.map(Duration::from_secs)
    }

    /// The name of the key field in `record_id`.
    pub fn key_name(&self) -> &str {
        &self.form.key
    }

    /// The unified fields that the resource fills.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.form.fields.keys().map(String::as_str)
    }

    /// What is hashed; `ignored` are the fields that the project calls noise.
    pub fn projection(&self, ignored: &[String]) -> Projection {
        Projection::new(&self.form.id, &self.source, &self.form.volatile, &self.form.sets, ignored)
    }

    /// Begins a listing.
    pub fn list(&self, scope: Scope, setup: Setup) -> Listing<'_> {
        Listing { resource: self, scope, setup, cursor: Value::Null }
    }
}

/// A listing under way.
#[derive(Debug)]
pub struct Listing<'a> {
    resource: &'a Polled,
    scope: Scope,
    setup: Setup,
    cursor: Value,
}

impl Listing<'_> {
    /// The next page's request.
    ///
    /// # Errors
    /// When the set-up does not make one.
    pub fn request(&self, session: Option<&Session>) -> Result<Request, PollError> {
        let since = match self.scope {
            Scope::Full => Value::Null,
            Scope::Since(at) => json!(at.to_string()),
        };
        let session = session.map_or(Value::Null, |session| session.0.clone());
        let limit = self.resource.form.page_size;
        self.resource.request.build(&json!({
            "setup": self.setup.0, "session": session, "cursor": self.cursor, "since": since, "limit": limit,
        }))
    }

    /// Reads a page, and moves on to the next.
    ///
    /// # Errors
    /// [`PollError`] says whether to wait, log in, try again or give up.
    pub fn answer(&mut self, answer: Answer<'_>) -> Result<Page, PollError> {
        let body = read(answer, self.resource.error.as_ref())?;
        let items = self.resource.records.first(&body)?;
        let Value::Array(items) = items else {
            return Err(PollError::Broken("the answer holds no list of records".into()));
        };
        let named: Vec<Option<PolledRecord>> =
            items.iter().map(|item| self.resource.record(item)).collect::<Result<_, _>>()?;
        let nameless = named.iter().filter(|record| record.is_none()).count();
        let records = named.into_iter().flatten().collect();
        let limit = self.resource.form.page_size;
        let context = json!({ "body": body, "records": items, "cursor": self.cursor, "limit": limit });
        let next = self.resource.next.first(&context)?;
        if next.is_null() {
            return Ok(Page { records, nameless, next: None, more: More::No });
        }
        if next == self.cursor {
            return Err(PollError::Broken("paging does not advance: the same cursor twice".into()));
        }
        let text = next.to_string();
        self.cursor = next;
        Ok(Page { records, nameless, next: Some(text), more: More::Yes })
    }
}

impl Polled {
    /// `None`: it has no id.
    fn record(&self, item: &Value) -> Result<Option<PolledRecord>, PollError> {
        let Some(id) = id_text(&self.id.first(item)?) else { return Ok(None) };
        let unread = match &self.unread {
            Some(unread) => unread.first(item)? == Value::Bool(true),
            None => false,
        };
        let mapped = if unread { None } else { Some(self.mapping.map(item)?) };
        Ok(Some(PolledRecord { remote_id: RemoteId::new(id), mapped }))
    }
}

fn read(answer: Answer<'_>, error: Option<&Expression>) -> Result<Value, PollError> {
    match answer.status {
        200..=299 => {}
        401 | 403 => return Err(PollError::Unauthorized(answer.status)),
        429 => return Err(PollError::RateLimited { retry_after: answer.retry_after.map(str::to_owned) }),
        503 if answer.retry_after.is_some() => {
            return Err(PollError::RateLimited { retry_after: answer.retry_after.map(str::to_owned) });
        }
        408 | 500..=599 => return Err(PollError::Transient(answer.status)),
        status => return Err(PollError::Broken(format!("the provider answered HTTP {status}"))),
    }
    let body: Value = match answer.body {
        [] => Value::Null,
        bytes => serde_json::from_slice(bytes)
            .map_err(|error| PollError::Broken(format!("the answer is not JSON: {error}")))?,
    };
    if let Some(error) = error
        && let Value::String(reason) = error.first(&body)?
    {
        return Err(PollError::Broken(reason));
    }
    Ok(body)
}
