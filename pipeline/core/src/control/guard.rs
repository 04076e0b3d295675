//! The guards of the subscriptions' protocol, by name, so that the simulation can take one out and must then find
//! violations.
//!
//! Without the feature `simulation`, which no production build has, every guard holds and costs nothing.

/// What keeps the promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are told by `without`")]
pub enum Guard {
    IntentBeforeCall,
    LookupWaits,
    AdoptOnlyOurs,
    VersionFencesStep,
    CatchUpAfterGap,
    CredentialsLast,
}

impl Guard {
    /// All guards.
    pub const ALL: [Guard; 6] = [
        Self::IntentBeforeCall,
        Self::LookupWaits,
        Self::AdoptOnlyOurs,
        Self::VersionFencesStep,
        Self::CatchUpAfterGap,
        Self::CredentialsLast,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IntentBeforeCall => "intent-before-call",
            Self::LookupWaits => "lookup-waits",
            Self::AdoptOnlyOurs => "adopt-only-ours",
            Self::VersionFencesStep => "version-fences-step",
            Self::CatchUpAfterGap => "catch-up-after-gap",
            Self::CredentialsLast => "credentials-last",
        }
    }

    /// What is done without it.
    pub const fn without(self) -> &'static str {
        match self {
            Self::IntentBeforeCall => "a provider is called before anything is written",
            Self::LookupWaits => "a call without an answer is looked up at once, and not again",
            Self::AdoptOnlyOurs => "what is found is taken over though nobody knows its secret",
            Self::VersionFencesStep => "a step writes whatever has been written since it was planned",
            Self::CatchUpAfterGap => "a subscription that stands again is whole at once",
            Self::CredentialsLast => "credentials go when an account begins to leave",
        }
    }
}

#[cfg(not(feature = "simulation"))]
pub(crate) const fn holds(_: Guard) -> bool {
    true
}

#[cfg(feature = "simulation")]
pub(crate) use switch::holds;
#[cfg(feature = "simulation")]
pub use switch::off;

#[cfg(feature = "simulation")]
mod switch {
    use std::cell::Cell;

    use super::Guard;

    thread_local! {
        static OFF: Cell<Option<Guard>> = const { Cell::new(None) };
    }

    pub(crate) fn holds(guard: Guard) -> bool {
        OFF.get() != Some(guard)
    }

    /// Takes a guard out, on this thread, or puts it back.
    pub fn off(guard: Option<Guard>) {
        OFF.set(guard);
    }
}
