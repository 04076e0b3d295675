//! Subscriptions at a provider, compiled: what can be asked for, in which terms, and the requests of each step.
//!
//! [`Walk`] carries a step out as a state machine: requests out, answers in. What is not answered, or answered so that
//! nobody can tell whether it was done, is never taken for done or refused: [`Outcome::Unclear`]. What was made and can't
//! be made to speak is taken away again before it is called refused. No clock and no chance: URL, secret, UUID and
//! moments come in as values. Nothing here shows a secret.

mod compile;
#[cfg(test)]
mod tests;
mod walk;

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use tributary_schemas::resource::EventName;

use self::compile::{Action, Create, Listed, Look, Whose};
pub use self::walk::{Next, Step, Walk};
use super::{
    Trouble, expression::Expression, listing::Resource, names::Names, request::Call, template::Template,
    value::Value,
};
pub use crate::definition::subscription::{Per, RefusedAs};

/// A definition's `subscription`, compiled.
#[derive(Debug)]
pub struct Subscriptions {
    per: Per,
    prepare: Option<Call>,
    create: Create,
    activate: Option<Action>,
    update: Option<Action>,
    list: Option<Listed>,
    look: Option<Look>,
    renew: Renewal,
    resume: Option<Action>,
    rotate: Option<Action>,
    delete: Action,
    limit: Option<u32>,
    scopes: Vec<String>,
    refused: Vec<(Expression, RefusedAs)>,
    rules: Vec<Rule>,
    /// Whose change feed's `start` gives `$token`, where a request asks for that.
    token: Option<Arc<Resource>>,
    settle: Duration,
}

#[derive(Debug)]
enum Renewal {
    Endless,
    Again,
    By(Box<Action>),
}

/// A rule that is automatic: what is asked for, and what it is told as.
#[derive(Debug)]
struct Rule {
    asks: Asking,
    emits: Vec<EventName>,
}

#[derive(Debug)]
enum Asking {
    Names(Vec<String>),
    One(Template),
    Each(Expression, Template),
}

/// What is asked for at a provider, as one text: a name, or the JSON of what is more than a name. Equal texts are one thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Asked(pub Arc<str>);

impl Asked {
    fn of(value: &Value) -> Self {
        match value.as_text() {
            Some(text) => Self(text.into()),
            // Parsed and written again: the order of keys means nothing.
            None => Self(value.to_json().to_string().into()),
        }
    }

    fn value(&self) -> Value {
        match self.0.starts_with(['{', '[']) {
            true => Value::parse(self.0.clone()).unwrap_or_else(|_| Value::text(&self.0)),
            false => Value::text(&self.0),
        }
    }
}

/// What can be asked for, and an event that it is told as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Automatic {
    /// What is asked for.
    pub asked: Asked,
    /// What it is told as.
    pub emits: EventName,
}

/// What is known of one that was made: `$subscription`. `Debug` shows its id only.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Registered {
    /// The provider's id.
    pub id: String,
    /// What else of the answer is kept.
    #[serde(default)]
    pub taken: Map<String, Json>,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registered({})", self.id)
    }
}

/// What a step is about. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// The URL that is to be called.
    pub url: String,
    /// The secret that is to sign, where it is ours.
    pub secret: Option<String>,
    /// What is asked for.
    pub asks: Vec<Asked>,
    /// A UUID that was chosen before.
    pub uuid: String,
    /// What is known of it, once it was made.
    pub registered: Option<Registered>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("asks", &self.asks).field("registered", &self.registered).finish()
    }
}

/// One that a look or a list showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The provider's id.
    pub id: String,
    /// The URL that it calls.
    pub url: Option<String>,
    /// What it asks for.
    pub asks: Vec<Asked>,
    /// Whether the provider has paused it.
    pub paused: bool,
    /// The provider's code for why.
    pub says: Option<String>,
    /// How long it lives yet, by the provider's clock.
    pub life: Option<Duration>,
}

/// What a step came to.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// One was made.
    Made {
        /// What is known of it.
        registered: Registered,
        /// The secret that the provider gave it.
        secret: Option<String>,
        /// How long it lives.
        life: Option<Duration>,
    },
    /// There is one already.
    Duplicate {
        /// Its id, where the provider says it.
        id: Option<String>,
    },
    /// It was renewed, resumed, changed or deleted.
    Done {
        /// How long it lives now, if that is said.
        life: Option<Duration>,
        /// Its new secret, if it was given one.
        secret: Option<String>,
    },
    /// There is none of that id.
    Gone,
    /// All of the account's.
    Listed(Vec<Shown>),
    /// It was not done.
    Refused(Refused),
    /// Nobody can tell whether it was done.
    Unclear(String),
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made { registered, life, .. } => write!(f, "Made({}, {life:?})", registered.id),
            Self::Duplicate { id } => write!(f, "Duplicate({id:?})"),
            Self::Done { life, .. } => write!(f, "Done({life:?})"),
            Self::Gone => f.write_str("Gone"),
            Self::Listed(shown) => f.debug_tuple("Listed").field(shown).finish(),
            Self::Refused(refused) => f.debug_tuple("Refused").field(refused).finish(),
            Self::Unclear(words) => f.debug_tuple("Unclear").field(words).finish(),
        }
    }
}

/// Why a step was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The kind.
    pub reason: RefusedAs,
    /// How long the provider asks to wait.
    pub wait: Option<Duration>,
    /// What happened, in words, with the provider's code, without values.
    pub words: String,
}

impl Subscriptions {
    /// What there is one of.
    pub fn per(&self) -> Per {
        self.per
    }

    /// The most that there may be.
    pub fn limit(&self) -> Option<u32> {
        self.limit
    }

    /// What credentials must allow.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Whether all are listed, and ours known by their URL.
    pub fn lists(&self) -> bool {
        self.list.as_ref().is_some_and(|list| list.seen.tells_url())
    }

    /// Whether one can be looked at by its id.
    pub fn looks(&self) -> bool {
        self.look.is_some()
    }

    /// Whether a second one with the same URL is refused, and the first one named.
    pub fn refuses_duplicates(&self) -> bool {
        self.create.duplicate.as_ref().is_some_and(|(_, id)| id.is_some())
    }

    /// Whether its secret is ours.
    pub fn secret_is_ours(&self) -> bool {
        matches!(self.create.secret, None | Some(Whose::Ours))
    }

    /// Whether one can be made to live longer by a call; none: it does not end.
    pub fn renewed_by_call(&self) -> Option<bool> {
        match self.renew {
            Renewal::Endless => None,
            Renewal::Again => Some(false),
            Renewal::By(_) => Some(true),
        }
    }

    /// Whether one that is paused can be resumed.
    pub fn resumes(&self) -> bool {
        self.resume.is_some()
    }

    /// Whether what one asks for, and where it calls, can be changed.
    pub fn updates(&self) -> bool {
        self.update.is_some()
    }

    /// Whether one can be given another secret.
    pub fn rotates(&self) -> bool {
        self.rotate.is_some()
    }

    /// How long a list may lag.
    pub fn settle(&self) -> Duration {
        self.settle
    }

    /// The longest that a step may take.
    pub fn deadline(&self, otherwise: Duration) -> Duration {
        let requests = 1
            + u32::from(self.prepare.is_some())
            + u32::from(self.token.is_some())
            + 2 * u32::from(self.activate.is_some());
        otherwise * requests
    }

    /// What can be asked for, with what it is told as.
    ///
    /// # Errors
    /// The rule that gives none, and why.
    pub(crate) fn automatic(&self, names: &Names) -> Result<Vec<Automatic>, Trouble> {
        let nothing = Value::null();
        let mut automatic = Vec::new();
        for rule in &self.rules {
            let asked: Vec<Asked> = match &rule.asks {
                Asking::Names(asked) => asked.iter().map(|it| Asked(it.as_str().into())).collect(),
                Asking::One(template) => template.json(&nothing, names)?.iter().map(Asked::of).collect(),
                Asking::Each(each, template) => {
                    let mut asked = Vec::new();
                    for item in each.each(&nothing, names)? {
                        asked.extend(template.json(&item, names)?.iter().map(Asked::of));
                    }
                    asked
                }
            };
            for asked in asked {
                automatic
                    .extend(rule.emits.iter().map(|emits| Automatic { asked: asked.clone(), emits: *emits }));
            }
        }
        Ok(automatic)
    }
}
