//! What can be wrong with what a provider sent: the field and the kind of trouble, never a value.

use std::{fmt, sync::Arc};

/// What a JSON value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`, or nothing.
    Null,
    /// True or false.
    Boolean,
    /// A number.
    Number,
    /// A text.
    Text,
    /// A list.
    List,
    /// An object.
    Object,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Null => "nothing",
            Kind::Boolean => "true or false",
            Kind::Number => "a number",
            Kind::Text => "a text",
            Kind::List => "a list",
            Kind::Object => "an object",
        })
    }
}

/// Kinds of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TroubleKind {
    /// A body that is not what its format says.
    #[error("not {0}")]
    Malformed(&'static str),
    /// A body that breaks off.
    #[error("{0} that breaks off")]
    Truncated(&'static str),
    /// Values in each other.
    #[error("more than {most} values in each other")]
    TooDeep {
        /// How many there may be.
        most: usize,
    },
    /// More bytes than there may be.
    #[error("more than {most} bytes {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: u64,
    },
    /// A value of the wrong kind.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What was asked for.
        expected: &'static str,
        /// What it is.
        found: Kind,
    },
    /// A text that is not what it should be.
    #[error("expected {0}, found another text")]
    Unlike(&'static str),
    /// A number where a date is wanted, and the definition does not say what it counts.
    #[error("a number where a date is wanted: the definition has to say what it counts (`dates.numbers`)")]
    NumberDate,
    /// A date that is out of range.
    #[error("a date before year 0 or after 9999")]
    DateRange,
    /// An expression that failed.
    #[error("the expression failed")]
    Failed,
    /// An expression that took too many steps.
    #[error("the expression took too many steps")]
    Fuel,
    /// A null in a place that can't be left out.
    #[error("nothing where a value is needed")]
    Absent,
    /// A line break where none may be.
    #[error("a line break or another control character in a header")]
    Control,
}

/// Trouble with what a provider sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The field, where it is one's.
    pub field: Option<Arc<str>>,
    /// What is wrong.
    pub kind: TroubleKind,
}

impl Trouble {
    /// The trouble as this field's, unless it is already of one further in.
    #[must_use]
    pub fn of(self, field: &str) -> Self {
        Self { field: self.field.or_else(|| Some(field.into())), ..self }
    }

    pub(crate) fn expected(expected: &'static str, found: Kind) -> Self {
        TroubleKind::Expected { expected, found }.into()
    }
}

impl From<TroubleKind> for Trouble {
    fn from(kind: TroubleKind) -> Self {
        Self { field: None, kind }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.kind),
            None => self.kind.fmt(f),
        }
    }
}

impl std::error::Error for Trouble {}
