//! How we register webhooks at a provider, step by step.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    changed::TimeSpelling,
    keys::{Named, Read, keys, words},
    node::{Kind, Node},
    over::Over,
    problem::Problem,
    request::{List, Request},
    short::{Short, Shorthand},
    text::Expression,
};

keys! {
    /// How webhooks are registered at the provider.
    pub struct Subscription {
        /// What there is one of.
        per: Per,
        /// What it is repeated over.
        over: Vec<Over>,
        /// What goes before the first.
        prepare: Option<Short<Request>>,
        /// Makes one.
        create: Create,
        /// What it takes to make it speak.
        activate: Option<Step>,
        /// Changes its events or its URL; else it is replaced.
        update: Option<Step>,
        /// Lists those that there are: ours are known by the token in their URL.
        list: Option<Listed>,
        /// Looks at one, where there is no list.
        look: Option<Look>,
        /// Makes it live longer.
        renew: Option<Renew>,
        /// Makes one speak that the provider paused.
        resume: Option<Step>,
        /// Gives it another secret.
        rotate: Option<Rotate>,
        /// Ends one.
        delete: Step,
        /// The most that there may be.
        limit: Option<u32>,
        /// What credentials must allow.
        scopes: Vec<String>,
        /// Why a step is refused, where neither `errors` nor the status says it.
        refused: Vec<RefusedRule>,
    }
    /// Why a step is refused.
    pub struct RefusedRule {
        /// When it is this one: `.` is the body of the answer.
        when: Expression,
        /// What it is called.
        reason: RefusedAs,
    }
    /// Makes a subscription.
    pub struct Create {
        /// Its id, in the answer.
        id: Option<Expression>,
        /// Whose secret it is signed with: `ours`, or where the answer has it.
        secret: Option<SecretOf>,
        /// How long it lives.
        expires: Option<ExpiresAt>,
        /// What else of the answer is kept: `$subscription`.
        take: Named<Expression>,
        /// What the provider answers if there is one already.
        duplicate: Option<Duplicate>,
        ; /// The request.
        ..request: Request
    }
    /// What a provider answers if there is one already.
    pub struct Duplicate {
        /// The status.
        status: u16,
        /// Its id, in the answer.
        id: Option<Expression>,
    }
    /// How long a subscription lives.
    pub struct ExpiresAt {
        /// How long we ask for: `$expires`.
        ask: Option<Duration>,
        /// How moments are written.
        spelling as "as": TimeSpelling = TimeSpelling::Rfc3339,
        /// When it ends, in the answer.
        at: Option<Expression>,
    }
    /// A step at a subscription.
    pub struct Step {
        /// Statuses that say that it is there no more.
        gone: Vec<u16>,
        ; /// The request.
        ..request: Request
    }
    /// A step that makes a subscription live longer.
    pub struct RenewBy {
        /// When it ends now, in the answer.
        expires: Option<Expression>,
        /// Statuses that say that it is there no more.
        gone: Vec<u16>,
        ; /// The request.
        ..request: Request
    }
    /// A step that gives a subscription another secret.
    pub struct Rotate {
        /// Where the answer has it, or `ours`.
        secret: Option<SecretOf>,
        /// Statuses that say that it is there no more.
        gone: Vec<u16>,
        ; /// The request.
        ..request: Request
    }
    /// Lists the subscriptions that there are.
    pub struct Listed {
        /// Its id.
        id: Expression,
        /// The URL that it calls.
        url: Option<Expression>,
        /// The event that it tells.
        event: Option<Expression>,
        /// The events that it tells.
        events: Option<Expression>,
        /// Whether the provider paused it.
        paused: Option<Expression>,
        /// Why.
        says: Option<Expression>,
        /// When it ends.
        expires: Option<Expression>,
        ; /// The listing.
        ..list: List
    }
    /// Looks at one subscription.
    pub struct Look {
        /// The URL that it calls.
        url: Option<Expression>,
        /// The event that it tells.
        event: Option<Expression>,
        /// The events that it tells.
        events: Option<Expression>,
        /// Whether the provider paused it.
        paused: Option<Expression>,
        /// Why.
        says: Option<Expression>,
        /// When it ends.
        expires: Option<Expression>,
        /// Statuses that say that it is there no more.
        gone: Vec<u16>,
        ; /// The request.
        ..request: Request
    }
}

words! {
    /// Why a provider refuses (contract §5).
    pub enum RefusedAs {
        /// The credentials don't allow it.
        MissingScope = "missing_scope",
        /// The credentials are refused.
        CredentialsRefused = "credentials_refused",
        /// What it is about is not there.
        NotFound = "not_found",
        /// There are as many as there may be.
        Quota = "quota",
        /// The provider is in trouble, or limits us, or what we ask is wrong.
        ProviderError = "provider_error",
        /// Our URL did not answer as the provider wants.
        HandshakeFailed = "handshake_failed",
    }
    /// What there is one subscription of.
    pub enum Per {
        /// An account: it asks for `$events`.
        Account = "account",
        /// An event of an account: it asks for `$event`.
        Event = "event",
        /// The app: for all its accounts.
        App = "app",
    }
}

impl Shorthand for Step {
    const KEY: &str = "call";
}

/// Whose secret a subscription has.
#[derive(Debug, Clone, PartialEq)]
pub enum SecretOf {
    /// Ours: `$secret`.
    Ours,
    /// The provider's, in the answer.
    Theirs(Expression),
}

impl Read for SecretOf {
    fn read(node: &Node) -> Result<Self, Problem> {
        let text = String::read(node)?;
        Ok(match text.as_str() {
            "ours" => Self::Ours,
            _ if text.starts_with(['.', '$']) => Self::Theirs(Expression::Text(text)),
            _ => {
                return Err(Problem::new(format!("expected `ours` or a path of the answer, found `{text}`")));
            }
        })
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": "string" })
    }
}

/// How a subscription lives longer.
#[derive(Debug, Clone, PartialEq)]
pub enum Renew {
    /// A new one, then the old one is deleted.
    Again,
    /// By a request.
    By(Box<RenewBy>),
}

impl Read for Renew {
    fn read(node: &Node) -> Result<Self, Problem> {
        match &node.kind {
            Kind::Text { text, .. } if text == "again" => Ok(Self::Again),
            Kind::Map(_) => RenewBy::read(node).map(|by| Self::By(Box::new(by))),
            Kind::Null | Kind::Text { .. } | Kind::List(_) => {
                Err(Problem::new(format!("expected `again` or a request, found {}", node.found())))
            }
        }
    }

    fn schema(defs: &mut Map<String, Value>) -> Value {
        json!({ "anyOf": [{ "const": "again" }, RenewBy::schema(defs)] })
    }
}

impl Subscription {
    /// That its steps can be made.
    ///
    /// # Errors
    /// What is missing.
    pub fn check(&self) -> Result<(), Problem> {
        let step = |name: &'static str, request: Option<&Request>| {
            request.map_or(Ok(()), |request| request.check().map_err(|problem| problem.at(name)))
        };
        step("prepare", self.prepare.as_deref())?;
        step("create", Some(&self.create.request))?;
        step("activate", self.activate.as_ref().map(|it| &it.request))?;
        step("update", self.update.as_ref().map(|it| &it.request))?;
        step("list", self.list.as_ref().map(|it| &it.list.request))?;
        step("look", self.look.as_ref().map(|it| &it.request))?;
        step("resume", self.resume.as_ref().map(|it| &it.request))?;
        step("rotate", self.rotate.as_ref().map(|it| &it.request))?;
        step("delete", Some(&self.delete.request))?;
        let renew = match &self.renew {
            Some(Renew::By(by)) => Some(&by.request),
            Some(Renew::Again) | None => None,
        };
        step("renew", renew)
    }
}
