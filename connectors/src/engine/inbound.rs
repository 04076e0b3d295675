//! A webhook as it came in, and what expressions see of it.

use super::{
    names::{Name, Names},
    read::{self, Bounds},
    trouble::Trouble,
    value::Value,
};
use crate::definition::request::Format;

/// A request as it came in. Header names are in lower case.
#[derive(Clone, Copy)]
pub struct Inbound<'a> {
    /// The method.
    pub method: &'a str,
    /// The URL as the provider called it, with its query.
    pub url: &'a str,
    /// The headers.
    pub headers: &'a [(String, String)],
    /// The body, byte for byte.
    pub body: &'a [u8],
}

/// What expressions over a webhook may name, beside what the account gave.
pub(super) const NAMES: [Name; 5] = [Name::Method, Name::Url, Name::Query, Name::Headers, Name::Body];

impl Inbound<'_> {
    /// The body as JSON; an empty one is null. Ingest and unify read it alike.
    ///
    /// # Errors
    /// Where it is no JSON, or too deep.
    pub fn json(&self) -> Result<Value, Trouble> {
        json(self.body)
    }

    /// `names`, with what the request says. The body as text only where somebody asks for it, as it is a copy.
    pub(super) fn names(&self, names: Names, body: Asked) -> Names {
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        let query = query.split_once('#').map_or(query, |(query, _)| query);
        let query = url::form_urlencoded::parse(query.as_bytes());
        let names = names
            .with(Name::Method, Value::text(self.method))
            .with(Name::Url, Value::text(self.url))
            .with(Name::Query, texts(query))
            .with(Name::Headers, headers(self.headers));
        match body {
            Asked::For => names.with(Name::Body, Value::text(&String::from_utf8_lossy(self.body))),
            Asked::Not => names,
        }
    }
}

/// Whether somebody asks for a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Somebody does.
    For,
    /// Nobody does.
    Not,
}

impl Asked {
    pub(super) fn of(asked: bool) -> Self {
        if asked { Self::For } else { Self::Not }
    }
}

/// A webhook's body.
pub(super) fn json(body: &[u8]) -> Result<Value, Trouble> {
    read::body(Format::Json, body, Bounds::whole(body.len()))
}

/// `$headers`.
pub(super) fn headers(given: &[(String, String)]) -> Value {
    texts(given.iter().map(|(name, value)| (name.into(), value.into())))
}

/// An object of texts; of a name that comes twice the first counts, so that nothing behind the provider's own says otherwise.
fn texts<'t>(given: impl Iterator<Item = (std::borrow::Cow<'t, str>, std::borrow::Cow<'t, str>)>) -> Value {
    let mut seen: Vec<(std::borrow::Cow<'t, str>, Value)> = Vec::new();
    for (name, value) in given {
        if !seen.iter().any(|(known, _)| *known == name) {
            seen.push((name, Value::text(&value)));
        }
    }
    Value::object(seen.iter().map(|(name, value)| (&**name, value.clone()))).unwrap_or(Value::null())
}
