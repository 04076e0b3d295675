//! How often one may ask.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    keys::{Read, keys, words},
    node::Node,
    problem::Problem,
    text::Expression,
};

keys! {
    /// A limit.
    pub struct Limit {
        /// Requests in a window.
        requests: Option<u32>,
        /// The window.
        per: Option<Duration>,
        /// Whose limit it is.
        of: LimitOf = LimitOf::Account,
        /// The paths that it is over, `*` standing for anything; all unless said.
        paths: Vec<String>,
        /// Requests at a time.
        concurrent: Option<u32>,
        /// How many are left, as the answer says.
        remaining: Option<Expression>,
        /// When there are more, as the answer says.
        reset: Option<Expression>,
        /// What `reset` counts.
        reset_as as "as": ResetAs = ResetAs::Seconds,
        /// The share that is left for others.
        reserve: Option<Percent>,
    }
}

words! {
    /// Whose limit it is.
    pub enum LimitOf {
        /// One account's.
        Account = "account",
        /// The app's: all accounts of a project share it.
        App = "app",
    }
    /// What says when a window begins anew.
    pub enum ResetAs {
        /// Seconds from now.
        Seconds = "seconds",
        /// Seconds since 1970.
        EpochSeconds = "epoch_s",
        /// Milliseconds since 1970.
        EpochMillis = "epoch_ms",
        /// A date as in HTTP, or of RFC 3339.
        Date = "date",
    }
}

/// A share: `10%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percent(pub u32);

impl Read for Percent {
    fn read(node: &Node) -> Result<Self, Problem> {
        let text = String::read(node)?;
        let share =
            text.strip_suffix('%').and_then(|number| number.parse().ok()).filter(|share| *share < 100);
        share.map(Self).ok_or_else(|| Problem::new(format!("expected a share such as `10%`, found `{text}`")))
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": "string", "pattern": "^[0-9]{1,2}%$" })
    }
}

impl Limit {
    /// That it limits something.
    ///
    /// # Errors
    /// What is missing.
    pub fn check(&self) -> Result<(), Problem> {
        let limits = self.requests.is_some() || self.concurrent.is_some() || self.remaining.is_some();
        if !limits {
            return Err(Problem::new("expected `requests` with `per`, `concurrent` or `remaining`"));
        }
        let positive = |number: Option<u32>| number != Some(0);
        if !positive(self.requests) || !positive(self.concurrent) || self.per == Some(Duration::ZERO) {
            return Err(Problem::new("expected at least 1 of `requests`, `concurrent` and `per`"));
        }
        match (self.requests, self.per) {
            (Some(_), None) => Err(Problem::new("the key `per` is missing: the window of `requests`")),
            (Some(_) | None, Some(_)) | (None, None) => Ok(()),
        }
    }
}
