//! What a provider can do with subscriptions, as its definition says, in the terms that plans are made in.

use std::time::Duration;

/// How subscriptions behave at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// How one is found again.
    pub finds: Finds,
    /// Whether the same URL twice is refused, naming the one that there is.
    pub refuses_duplicates: bool,
    /// Whose secret signs what it sends.
    pub secret: SecretOf,
    /// How one lives longer.
    pub renewal: Renewal,
    /// Whether one that the provider paused can be resumed; else it is replaced.
    pub resumes: bool,
    /// Whether its events and its URL can be changed; else it is replaced.
    pub updates: bool,
    /// The most that an account may have.
    pub limit: Option<u32>,
    /// When a call that has no answer is given up.
    pub deadline: Duration,
    /// How long after that a call may still land, and how long a list may lag.
    pub settle: Duration,
}

/// How a subscription is found again at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finds {
    /// All are listed, and ours are known by the token in their URL.
    List,
    /// One is looked at by its id: what has none yet is not found.
    Look,
    /// Not at all.
    Nothing,
}

/// Whose secret a subscription is signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretOf {
    /// Ours: it was written with the intent.
    Ours,
    /// The provider's, which can be read again.
    Readable,
    /// The provider's, in the answer of the call that made it and nowhere else.
    InTheAnswer,
}

/// How a subscription lives longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It does not end.
    Endless,
    /// By a call.
    Call,
    /// A new one, then the old one is deleted.
    Again,
}

impl Terms {
    /// Whether one that was found, but whose making nobody answered, can be verified.
    pub const fn knows_secret_of_found(&self) -> bool {
        match self.secret {
            SecretOf::Ours | SecretOf::Readable => true,
            SecretOf::InTheAnswer => false,
        }
    }

    /// Whether nothing tells what became of a call without an answer: neither a list nor a refusal.
    pub const fn is_blind(&self) -> bool {
        !matches!(self.finds, Finds::List) && !self.refuses_duplicates
    }

    /// How long after its intent a call can't land any more, by what we may hope.
    pub const fn landed_by(&self) -> Duration {
        self.deadline.saturating_add(self.settle)
    }
}
