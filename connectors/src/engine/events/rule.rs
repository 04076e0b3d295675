//! A rule, compiled: which items it is for, and what becomes of them.

use std::fmt;

use tributary_schemas::resource::{Action, EventName, Mode, Resource};

use super::RawBody;
use crate::{
    definition::events::Lifecycle,
    engine::{
        Trouble, TroubleKind, expression::Expression, listing::Id, map::Mapping, names::Names, value::Value,
    },
};

#[derive(Debug)]
pub(super) struct Rule {
    /// The provider's names that it is for; none means all.
    pub(super) events: Vec<String>,
    pub(super) when: Option<Expression>,
    pub(super) becomes: Becomes,
    pub(super) by_hand: bool,
}

/// What becomes of an item.
#[derive(Debug)]
pub(super) enum Becomes {
    Event(Box<Emits>),
    Trigger(Vec<Resource>),
    Lifecycle(Lifecycle),
    Ignored,
}

/// An event that is told.
#[derive(Debug)]
pub(super) struct Emits {
    pub(super) event: EventName,
    pub(super) each: Option<Expression>,
    pub(super) id: Id,
    pub(super) key_name: String,
    pub(super) at: Option<Expression>,
    pub(super) mapping: Option<Mapping>,
    pub(super) with: Value,
    pub(super) fetch: bool,
}

/// An element of a request, as one that is set aside is found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element {
    /// Its item's place in the batch.
    pub item: u32,
    /// Its own place among the item's, and what it was to be told as; nothing where the item itself can't be told.
    pub part: Option<(u32, EventName)>,
}

/// An element that can't be told, and why.
#[derive(Debug, Clone)]
pub struct SetAside {
    /// Which; nothing means the request whole.
    pub element: Option<Element>,
    /// Why.
    pub reason: SetAsideReason,
    /// The field and the kind of trouble, never a value.
    pub trouble: Option<Trouble>,
    /// What of the body is its own.
    pub raw: RawBody,
}

/// Why an element can't be told: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum SetAsideReason {
    /// The body can't be read.
    #[error("the body can't be read")]
    Unreadable,
    /// A batch without a list of items.
    #[error("the batch has no items where the definition has them")]
    NoItems,
    /// An expression failed on it.
    #[error("an expression of the definition fails on it")]
    Failed,
    /// A record without an id.
    #[error("the record has no id")]
    NoId,
    /// It does not map.
    #[error("the record does not map")]
    Unmapped,
    /// More events than one request may tell.
    #[error("more events than one request may tell: expected at most 16384")]
    TooMany,
}

impl SetAsideReason {
    /// The reason's name, as metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NoItems => "no_items",
            Self::Failed => "failed",
            Self::NoId => "no_id",
            Self::Unmapped => "unmapped",
            Self::TooMany => "too_many",
        }
    }
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Element { item, part }) = self.element {
            write!(f, "item {item}")?;
            if let Some((place, event)) = part {
                write!(f, ", {event} {place}")?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{}", self.reason)?;
        match &self.trouble {
            Some(trouble) => write!(f, " ({trouble})"),
            None => Ok(()),
        }
    }
}

impl SetAside {
    /// The request whole.
    pub(super) fn whole(reason: SetAsideReason, trouble: Option<Trouble>) -> Self {
        Self { element: None, reason, trouble, raw: RawBody::whole() }
    }

    /// An element of it.
    pub(super) fn part(
        element: Element,
        raw: RawBody,
        reason: SetAsideReason,
        trouble: Option<Trouble>,
    ) -> Self {
        // What is too deep to be read is the same trouble wherever it is met.
        let reason = match trouble.as_ref().map(|trouble| trouble.kind) {
            Some(TroubleKind::TooDeep { .. }) => SetAsideReason::Unreadable,
            _ => reason,
        };
        Self { element: Some(element), reason, trouble, raw }
    }
}

impl Rule {
    /// The event that it tells.
    pub(super) fn tells(&self) -> Option<(Resource, Action)> {
        match &self.becomes {
            Becomes::Event(emits) => Some((emits.event.resource, emits.event.action)),
            Becomes::Trigger(_) | Becomes::Lifecycle(_) | Becomes::Ignored => None,
        }
    }

    /// Who registers for it.
    pub(super) fn mode(&self) -> Mode {
        if self.by_hand { Mode::NativeManual } else { Mode::NativeAutomatic }
    }

    /// Whether it is for an item of that name.
    pub(super) fn is_for(&self, event: Option<&str>, item: &Value, names: &Names) -> Result<bool, Trouble> {
        let named =
            self.events.is_empty() || event.is_some_and(|event| self.events.iter().any(|it| it == event));
        match &self.when {
            Some(when) if named => when.holds(item, names),
            Some(_) | None => Ok(named),
        }
    }
}
