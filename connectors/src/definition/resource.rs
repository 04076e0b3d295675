//! A resource: how it is listed, what of it a record is, and what becomes of one.

use std::time::Duration;

use serde_json::{Map as JsonMap, Value, json};

use super::{
    changed::Changed,
    gone::Gone,
    keys::{Named, Read, keys, words},
    map::Map,
    node::{Kind, Node},
    over::Over,
    page::Page,
    problem::Problem,
    request::{List, Request},
    short::{Short, Shorthand},
    text::Expression,
};

keys! {
    /// A resource, with what it inherits.
    pub struct Resource {
        /// Constants: `$with`.
        with: Named<Value>,
        /// The full listing.
        list: Option<List>,
        /// Its paging.
        page: Option<Page>,
        /// How what changed is asked for.
        changed: Option<Changed>,
        /// What the listing is repeated over, from left to right.
        over: Vec<Over>,
        /// Which records are this resource's.
        filter as "where": Option<Expression>,
        /// A record's id.
        id: Option<Id>,
        /// How deletions are told.
        gone: Option<Gone>,
        /// How one record is got.
        get: Option<Short<Get>>,
        /// What else is asked for of each record.
        enrich: Vec<Enrich>,
        /// Texts within a record that are read.
        decode: Named<Decode>,
        /// Where the fields that are asked for stand.
        fields: Option<Short<Selected>>,
        /// The unified record.
        map: Option<Map>,
        /// Paths of the unified record whose change is no change.
        volatile: Vec<String>,
        /// Paths of the unified record whose order means nothing.
        sets: Vec<String>,
        /// How often it is looked at.
        every: Option<Duration>,
        /// How long after a native event a run is not to be trusted about its record.
        settle: Option<Duration>,
        /// How dates are written.
        dates: Option<Dates>,
        /// What an object says where the model wants text.
        label: Vec<Expression>,
    }
    /// How one record is got.
    pub struct Get {
        /// The record, in the answer.
        record: Option<Expression>,
        /// Statuses that say that it is gone.
        gone: Vec<u16>,
        ; /// The request.
        ..request: Request
    }
    /// What else is asked for of each record.
    pub struct Enrich {
        /// The key of the record that it is put under.
        into: String,
        /// What is put there, in the answer.
        record: Option<Expression>,
        /// Only where this is absent or false.
        unless: Option<Expression>,
        /// Statuses that say that there is none.
        missing: Vec<u16>,
        ; /// The request.
        ..request: Request
    }
    /// A text within a record that is read.
    pub struct Decode {
        /// Where it is.
        at: Expression,
        /// What it is.
        format as "as": DecodeAs,
    }
    /// Where the fields that are asked for stand.
    pub struct Selected {
        /// What `map`, `id`, `where` and overlays read right under it is `$fields`.
        at: Expression,
        /// What is asked for besides.
        also: Vec<String>,
    }
    /// How dates are written.
    pub struct Dates {
        /// What a number counts.
        numbers: Option<Numbers>,
        /// The zone of dates that have none.
        zone: Option<String>,
        /// What is no date.
        never: Vec<Value>,
        /// Other spellings, by `strptime`.
        also: Vec<String>,
    }
}

words! {
    /// What a text within a record is.
    pub enum DecodeAs {
        /// JSON.
        Json = "json",
        /// Comma-separated values.
        Csv = "csv",
        /// XML.
        Xml = "xml",
        /// vCard's and iCalendar's lines.
        ContentLines = "content_lines",
    }
    /// What a number of a date counts.
    pub enum Numbers {
        /// Seconds since 1970.
        EpochSeconds = "epoch_s",
        /// Milliseconds since 1970.
        EpochMillis = "epoch_ms",
    }
}

impl Shorthand for Get {
    const KEY: &str = "call";
}

impl Shorthand for Selected {
    const KEY: &str = "at";
}

/// A record's id.
#[derive(Debug, Clone, PartialEq)]
pub enum Id {
    /// One value.
    One(Expression),
    /// The first that is there.
    First(Vec<Expression>),
    /// Named parts of `record_id`.
    Parts(Named<Expression>),
}

impl Read for Id {
    fn read(node: &Node) -> Result<Self, Problem> {
        match &node.kind {
            Kind::Map(entries) => match entries.as_slice() {
                [(key, values)] if key == "first" => {
                    Vec::read(values).map(Self::First).map_err(|problem| problem.at("first"))
                }
                [] => Err(Problem::new("expected a path or named parts, found nothing")),
                _ => Named::read(node).map(Self::Parts),
            },
            Kind::Null | Kind::Text { .. } | Kind::List(_) => {
                String::read(node).map(|text| Self::One(Expression::Text(text)))
            }
        }
    }

    fn schema(_: &mut JsonMap<String, Value>) -> Value {
        json!({ "type": ["string", "object"] })
    }
}
