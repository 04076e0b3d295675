//! What an answer means beside its status: the first that holds, before the rules of status.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    keys::{Read, duration, keys, words},
    node::Node,
    problem::Problem,
    text::Expression,
};

keys! {
    /// An error that the provider tells in its own way.
    pub struct ErrorRule {
        /// When it is this one. What fails here does not hold.
        when: Expression,
        /// What it means.
        means: Means,
        /// How long to wait.
        wait: Option<Wait>,
        /// The provider's code for it: never a sentence.
        says: Option<Expression>,
    }
}

words! {
    /// What an error means.
    pub enum Means {
        /// Too many requests.
        Limited = "limited",
        /// The credentials are refused.
        Unauthorized = "unauthorized",
        /// This resource is refused: a scope is missing.
        Forbidden = "forbidden",
        /// It is there no more.
        Gone = "gone",
        /// Later perhaps.
        Transient = "transient",
        /// The token is refused: a new one, then again.
        Refresh = "refresh",
        /// The listing has to begin anew.
        Restart = "restart",
        /// The position is not kept any more: a full run.
        Expired = "expired",
        /// Nothing changed, or this parent has none; only in deltas, children and enrichment.
        None = "none",
        /// An answer that we can't use.
        Bad = "bad",
    }
}

/// How long an error asks to wait.
#[derive(Debug, Clone, PartialEq)]
pub enum Wait {
    /// So long.
    For(Duration),
    /// As the answer says, in seconds.
    Said(Expression),
}

impl Read for Wait {
    fn read(node: &Node) -> Result<Self, Problem> {
        let text = String::read(node)?;
        Ok(duration(&text).map_or_else(|| Self::Said(Expression::Text(text)), Self::For))
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": "string" })
    }
}
