//! What the simulator can be told to do wrong.

use crate::provider::{Route, What};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A fault: which requests it counts, and from which on it bites.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Fault {
    #[serde(flatten)]
    pub(crate) kind: FaultKind,
    /// `token`, `list`, `feed`, `get`, `subscribe`, `other`, `all`, or a unified resource; by default lists and feeds.
    pub(crate) on: Option<String>,
    /// The first of those requests that it bites, from 1.
    pub(crate) at: u64,
    /// How many it bites; 0 is all from then on.
    pub(crate) times: u64,
    /// How many it has counted, and bitten.
    pub(crate) seen: u64,
    pub(crate) bitten: u64,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum FaultKind {
    /// The listing breaks off: 500 in the provider's form, or this status.
    Break {
        #[serde(default = "broken")]
        status: u16,
    },
    /// The next page is this one again.
    RepeatCursor,
    /// All access tokens end before the request is looked at.
    ExpireToken,
    /// 403 in the provider's form.
    LoseScope,
    /// Nothing is listed, and the answer looks well.
    Empty,
    /// The listing's order is turned round.
    Order,
    /// A record that was on the pages before is deleted just before this one is made.
    SkipWhileDeleting,
    /// The answer is so late.
    Delay { milliseconds: u64 },
    /// The `Date` header is off by so many seconds.
    Date { seconds: i64 },
    /// 429 (or another status) with `Retry-After`.
    Limited {
        seconds: i64,
        #[serde(default)]
        retry_after: RetryAfter,
        #[serde(default = "too_many")]
        status: u16,
    },
    /// The connection ends in the middle of the body.
    HalfBody,
    /// 200 with an error in the body.
    ErrorBody,
    /// 200 with an HTML page.
    Html,
    /// The total that the answer tells is off by so much.
    Total { by: i64 },
    /// All cursors and sync tokens that were given out are forgotten before the request is looked at.
    ForgetCursors,
}

fn broken() -> u16 {
    500
}

fn too_many() -> u16 {
    429
}

/// How `Retry-After` is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RetryAfter {
    #[default]
    Seconds,
    Date,
    Epoch,
    None,
}

impl Fault {
    /// Of a control call's body.
    pub(crate) fn read(mut body: Map<String, Value>) -> Result<Self, String> {
        let on = body.remove("on").map(|on| crate::world::text(&on));
        let mut number = |name: &str| match body.remove(name) {
            None => Ok(1),
            Some(n) => n.as_u64().ok_or_else(|| format!("{name} is not a number")),
        };
        let (at, times) = (number("at")?, number("times")?);
        let kind = serde_json::from_value(Value::Object(body)).map_err(|error| error.to_string())?;
        Ok(Self { kind, on, at, times, seen: 0, bitten: 0 })
    }

    /// Counts a request; what bites it.
    pub(crate) fn meets(&mut self, route: &Route) -> Option<FaultKind> {
        let counted = match self.on.as_deref() {
            None => matches!(route.what, What::List | What::Feed),
            Some("all") => true,
            Some(on) => on == route.what.word() || on == route.resource,
        };
        if !counted {
            return None;
        }
        self.seen += 1;
        let bites = self.seen >= self.at && (self.times == 0 || self.seen < self.at + self.times);
        bites.then(|| {
            self.bitten += 1;
            self.kind.clone()
        })
    }
}

/// What goes wrong with a tenant's webhooks, until it is told otherwise.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mishaps {
    /// They wait: batches grow.
    pub(crate) hold: bool,
    /// Each is sent twice.
    pub(crate) double: bool,
    /// The last first.
    pub(crate) reverse: bool,
    /// The next so many are not sent.
    pub(crate) lose: u64,
    /// The signature is another's.
    pub(crate) forge: bool,
}
