//! How what changed is asked for.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    gone::Gone,
    keys::{Read, exactly_one, keys},
    node::Node,
    page::Page,
    problem::Problem,
    request::{List, Request},
    resource::Id,
    text::Expression,
};

keys! {
    /// How what changed is asked for: by time, by a token, or by the parents that changed.
    pub struct Changed {
        /// The spelling of `$since` and `$until`.
        time: Option<TimeSpelling>,
        /// The next `$token`, in the last page.
        token: Option<Expression>,
        /// Whether the children of changed parents are asked for.
        parents: bool = false,
        /// Where a token is got before the full listing.
        start: Option<Start>,
        /// How far back beyond the last run's start one looks.
        overlap: Duration = Duration::from_secs(60),
        /// How far back the provider remembers; older is a full run.
        back: Option<Duration>,
        /// The answer's own next `$since`.
        covered: Option<Expression>,
        /// The most that a query gives, and where it goes on.
        cap: Option<Cap>,
        /// Only where this set-up field or expression is given.
        condition as "if": Option<Expression>,
        /// The request, where it is another than the full listing's.
        list: Option<List>,
        /// Its paging.
        page: Option<Page>,
        /// The record within an item, of the full listing's shape.
        record: Option<Expression>,
        /// An item's id.
        id: Option<Id>,
        /// Which items tell that a record is gone.
        gone: Option<Gone>,
        /// Whether items are ids: each is got by `get`.
        fetch: bool = false,
        /// Statuses that say that the position is not kept any more.
        expired: Vec<u16>,
    }
    /// Where a token is got before the full listing.
    pub struct Start {
        /// The token, in the answer.
        token: Expression;
        /// The request.
        ..request: Request
    }
    /// The most that one query gives.
    pub struct Cap {
        /// Records.
        records: u64,
        /// The value of the last record that the next query begins with.
        from: Expression,
    }
}

/// How moments are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeSpelling {
    /// RFC 3339.
    Rfc3339,
    /// Seconds since 1970.
    EpochSeconds,
    /// Milliseconds since 1970.
    EpochMillis,
    /// By `strftime`, in UTC.
    Format(String),
}

impl Read for TimeSpelling {
    fn read(node: &Node) -> Result<Self, Problem> {
        let text = String::read(node)?;
        match text.as_str() {
            "rfc3339" => Ok(Self::Rfc3339),
            "epoch_s" => Ok(Self::EpochSeconds),
            "epoch_ms" => Ok(Self::EpochMillis),
            format if format.contains('%') => Ok(Self::Format(text)),
            other => Err(Problem::unknown(
                "spelling of time",
                other,
                ["rfc3339", "epoch_s", "epoch_ms", "%Y-%m-%d …"],
            )),
        }
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "anyOf": [{ "enum": ["rfc3339", "epoch_s", "epoch_ms"] }, { "type": "string", "pattern": "%" }] })
    }
}

impl Changed {
    /// That it is one way to ask.
    ///
    /// # Errors
    /// What is missing or too much.
    pub fn check(&self) -> Result<(), Problem> {
        exactly_one(&[
            ("time", self.time.is_some()),
            ("token", self.token.is_some()),
            ("parents", self.parents),
        ])?;
        if self.start.is_some() && self.token.is_none() {
            return Err(Problem::new("stands only beside `token`").at("start"));
        }
        match &self.start {
            Some(start) => start.request.check().map_err(|problem| problem.at("start")),
            None => Ok(()),
        }
    }
}
