//! What a provider's webhooks tell.

use std::fmt;

use serde_json::{Map as JsonMap, Value, json};
use tributary_schemas::resource::EventName;

use super::{
    keys::{Named, OneOrMore, Read, exactly_one, keys, words},
    map::Map,
    node::{Kind, Node},
    problem::Problem,
    resource::Id,
    text::{Expression, Template},
    verify::Verify,
};

keys! {
    /// What a provider's webhooks tell.
    pub struct Events {
        /// How they are known to be the provider's.
        verify: Verify,
        /// Questions that are answered before anything is verified.
        handshakes: Vec<Handshake>,
        /// The status that means success to the provider.
        answer: u16 = 200,
        /// Headers that go on.
        keep: Vec<String>,
        /// The items of a batch.
        items: Option<Expression>,
        /// Whose data an item is, over an app's URL: equals `identity`.
        account: Option<Expression>,
        /// The provider's name of what happened.
        event: Option<Expression>,
        /// When it happened.
        at: Option<Expression>,
        /// What tells a delivery from others.
        delivery: Option<Delivery>,
        /// What becomes of an item: all that match.
        rules: Vec<Rule>,
    }
    /// A question of the provider's, and its answer.
    pub struct Handshake {
        /// When it is this one.
        when: Expression,
        /// The answer.
        answer: HandshakeAnswer,
    }
    /// An answer to a question of the provider's.
    pub struct HandshakeAnswer {
        /// The status.
        status: u16 = 200,
        /// The body as text.
        text: Option<Template>,
        /// The body as JSON.
        json: Option<Template>,
        /// Headers.
        headers: Named<Template>,
    }
    /// What becomes of an item.
    pub struct Rule {
        /// The provider's names that it is for.
        event: OneOrMore<String>,
        /// When it is this one.
        when: Option<Expression>,
        /// The event that is told.
        emit: Option<Emits>,
        /// The resources whose change feed is run.
        trigger: Vec<String>,
        /// What it says of the subscription.
        lifecycle: Option<Lifecycle>,
        /// It tells nothing.
        ignore: bool = false,
        /// The records that it happened to.
        each: Option<Expression>,
        /// A record's id.
        id: Option<Id>,
        /// When it happened, where not as above.
        at: Option<Expression>,
        /// What of it maps to the unified record.
        map: Option<Map>,
        /// Whether the record is got before it is told.
        fetch: bool = false,
        /// What is asked for, where it is not `event`.
        subscribe: Option<Subscribe>,
        /// Whether a person registers it.
        by_hand: bool = false,
    }
    /// Several things that are asked for.
    pub struct SubscribeEach {
        /// One for each of these.
        each: Expression,
        /// What is asked for.
        value: Template,
    }
}

words! {
    /// What a request says of the subscription that it came by.
    pub enum Lifecycle {
        /// It wants to be renewed.
        Renew = "renew",
        /// It is no more.
        Lost = "lost",
    }
}

/// What is asked for at the provider.
#[derive(Debug, Clone, PartialEq)]
pub enum Subscribe {
    /// One thing.
    One(Template),
    /// One for each of a list.
    Each(SubscribeEach),
}

impl Read for Subscribe {
    fn read(node: &Node) -> Result<Self, Problem> {
        match node.get("each") {
            Some(_) => SubscribeEach::read(node).map(Self::Each),
            None => Template::read(node).map(Self::One),
        }
    }

    fn schema(_: &mut JsonMap<String, Value>) -> Value {
        json!({})
    }
}

/// What tells a delivery from others.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// The body's digest, as it holds its own time.
    Digest,
    /// Nothing: each speaks.
    None,
    /// A value, or several.
    Value(Expression),
}

impl Read for Delivery {
    fn read(node: &Node) -> Result<Self, Problem> {
        Ok(match &node.kind {
            Kind::Text { text, .. } if text == "digest" => Self::Digest,
            Kind::Text { text, .. } if text == "none" => Self::None,
            Kind::Null | Kind::Text { .. } | Kind::List(_) | Kind::Map(_) => {
                Self::Value(Expression::read(node)?)
            }
        })
    }

    fn schema(defs: &mut JsonMap<String, Value>) -> Value {
        json!({ "anyOf": [{ "enum": ["digest", "none"] }, Expression::schema(defs)] })
    }
}

/// The event that a rule tells: `hris_employees.updated`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Emits(pub EventName);

impl fmt::Debug for Emits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Read for Emits {
    fn read(node: &Node) -> Result<Self, Problem> {
        let text = String::read(node)?;
        let names: Vec<String> = EventName::all()
            .map(|event| event.to_string())
            .filter(|name| !name.starts_with("account."))
            .collect();
        let known = EventName::all().find(|event| event.to_string() == text && !text.starts_with("account."));
        known.map(Self).ok_or_else(|| Problem::unknown("event", &text, names.iter().map(String::as_str)))
    }

    fn schema(_: &mut JsonMap<String, Value>) -> Value {
        let names: Vec<String> = EventName::all()
            .map(|event| event.to_string())
            .filter(|name| !name.starts_with("account."))
            .collect();
        json!({ "enum": names })
    }
}

impl Rule {
    /// That it says one thing, and has what that needs.
    ///
    /// # Errors
    /// What is missing or too much.
    pub fn check(&self) -> Result<(), Problem> {
        exactly_one(&[
            ("emit", self.emit.is_some()),
            ("trigger", !self.trigger.is_empty()),
            ("lifecycle", self.lifecycle.is_some()),
            ("ignore", self.ignore),
        ])?;
        if self.event.0.is_empty() && self.when.is_none() {
            return Err(Problem::new("expected `event` or `when`: which items it is for"));
        }
        if self.emit.is_some() && self.id.is_none() {
            return Err(Problem::new("the key `id` is missing: which record it happened to"));
        }
        Ok(())
    }
}
