//! The guards of delivery, by name, so that the simulation can take one out and must then find violations.
//!
//! Without the feature `simulation`, which no production build has, every guard holds and costs nothing.

/// What keeps the promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are told by `without`")]
pub enum Guard {
    OwnerFencedRows,
    CrossingByReadPosition,
    RowBeforeCommit,
    BeginBehind,
    ProbeIsAnAttempt,
    SentAsItIsNow,
    AttemptsBeforeCommit,
    ResetIsError,
}

impl Guard {
    /// All guards.
    pub const ALL: [Guard; 8] = [
        Self::OwnerFencedRows,
        Self::CrossingByReadPosition,
        Self::RowBeforeCommit,
        Self::BeginBehind,
        Self::ProbeIsAnAttempt,
        Self::SentAsItIsNow,
        Self::AttemptsBeforeCommit,
        Self::ResetIsError,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OwnerFencedRows => "owner-fenced-rows",
            Self::CrossingByReadPosition => "crossing-by-read-position",
            Self::RowBeforeCommit => "row-before-commit",
            Self::BeginBehind => "begin-behind",
            Self::ProbeIsAnAttempt => "probe-is-an-attempt",
            Self::SentAsItIsNow => "sent-as-it-is-now",
            Self::AttemptsBeforeCommit => "attempts-before-commit",
            Self::ResetIsError => "reset-is-error",
        }
    }

    /// What is done without it.
    pub const fn without(self) -> &'static str {
        match self {
            Self::OwnerFencedRows => "rows are written whoever owns the partition",
            Self::CrossingByReadPosition => "a webhook is live again when it has reached what is committed",
            Self::RowBeforeCommit => "an offset is committed over a row that is not acknowledged",
            Self::BeginBehind => "a webhook begins with what the head brings once it is known",
            Self::ProbeIsAnAttempt => "a probe that failed is asked again with the same event",
            Self::SentAsItIsNow => "what waits is sent as the webhook was when it was read",
            Self::AttemptsBeforeCommit => {
                "an offset is committed before its attempts are logged and its retries parked"
            }
            Self::ResetIsError => "a reader whose offset is gone goes on at the log's end",
        }
    }
}

#[cfg(not(feature = "simulation"))]
pub(crate) const fn holds(_: Guard) -> bool {
    true
}

#[cfg(feature = "simulation")]
pub use switch::{holds, off};

#[cfg(feature = "simulation")]
mod switch {
    use std::cell::Cell;

    use super::Guard;

    thread_local! {
        static OFF: Cell<Option<Guard>> = const { Cell::new(None) };
    }

    /// Whether a guard is in, on this thread.
    pub fn holds(guard: Guard) -> bool {
        OFF.get() != Some(guard)
    }

    /// Takes a guard out, on this thread, or puts it back.
    pub fn off(guard: Option<Guard>) {
        OFF.set(guard);
    }
}
