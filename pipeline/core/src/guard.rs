//! The guards of the protocol, by name, so that the simulation can take one out and must then find violations.
//!
//! Without the feature `simulation`, which no production build has, every guard holds and costs nothing.

/// What keeps the promise. Each has a row in `tests/README.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are told by `meaning`")]
pub enum Guard {
    StateAfterCommit,
    WalReplay,
    ReplayToTheEnd,
    StableOffsets,
    DrainOnRevoke,
    MonotonicTimestamps,
    TimestampFloor,
    ContiguousApplied,
    OverlayBeforeRead,
    BothTwinsMetadata,
    AssignmentNumbers,
    TimestampPerMutation,
    SumOfKnown,
    StaleRuns,
    Settle,
    TouchedAdopted,
    DoubtfulAbsence,
    CompleteScans,
    UnknownOutcomes,
    IdleTold,
    RunNotAhead,
    ClosedRefusals,
    ClockMeasured,
    ChangesSpeak,
}

impl Guard {
    /// All guards.
    pub const ALL: [Guard; 24] = [
        Self::StateAfterCommit,
        Self::WalReplay,
        Self::ReplayToTheEnd,
        Self::StableOffsets,
        Self::DrainOnRevoke,
        Self::MonotonicTimestamps,
        Self::TimestampFloor,
        Self::ContiguousApplied,
        Self::OverlayBeforeRead,
        Self::BothTwinsMetadata,
        Self::AssignmentNumbers,
        Self::TimestampPerMutation,
        Self::SumOfKnown,
        Self::StaleRuns,
        Self::Settle,
        Self::TouchedAdopted,
        Self::DoubtfulAbsence,
        Self::CompleteScans,
        Self::UnknownOutcomes,
        Self::IdleTold,
        Self::RunNotAhead,
        Self::ClosedRefusals,
        Self::ClockMeasured,
        Self::ChangesSpeak,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StateAfterCommit => "state-after-commit",
            Self::WalReplay => "wal-replay",
            Self::ReplayToTheEnd => "replay-to-the-end",
            Self::StableOffsets => "stable-offsets",
            Self::DrainOnRevoke => "drain-on-revoke",
            Self::MonotonicTimestamps => "monotonic-timestamps",
            Self::TimestampFloor => "timestamp-floor",
            Self::ContiguousApplied => "contiguous-applied",
            Self::OverlayBeforeRead => "overlay-before-read",
            Self::BothTwinsMetadata => "both-twins-metadata",
            Self::AssignmentNumbers => "assignment-numbers",
            Self::TimestampPerMutation => "timestamp-per-mutation",
            Self::SumOfKnown => "sum-of-known",
            Self::StaleRuns => "stale-runs",
            Self::Settle => "settle",
            Self::TouchedAdopted => "touched-adopted",
            Self::DoubtfulAbsence => "doubtful-absence",
            Self::CompleteScans => "complete-scans",
            Self::UnknownOutcomes => "unknown-outcomes",
            Self::IdleTold => "idle-told",
            Self::RunNotAhead => "run-not-ahead",
            Self::ClosedRefusals => "closed-refusals",
            Self::ClockMeasured => "clock-measured",
            Self::ChangesSpeak => "changes-speak",
        }
    }

    /// What is done without it.
    pub const fn without(self) -> &'static str {
        match self {
            Self::StateAfterCommit => "state is written before its transaction is committed",
            Self::WalReplay => "an assignment replays nothing",
            Self::ReplayToTheEnd => "the replay ends at the last stable offset, whatever is still open",
            Self::StableOffsets => "recovery takes committed offsets though a transaction is open on them",
            Self::DrainOnRevoke => "a revocation does not wait for the open transaction",
            Self::MonotonicTimestamps => "timestamps are the wall clock's",
            Self::TimestampFloor => "recovery does not restore the greatest timestamp given out",
            Self::ContiguousApplied => "the applied watermark passes what is still being written",
            Self::OverlayBeforeRead => "the overlay is looked at only once the store has answered",
            Self::BothTwinsMetadata => "metadata is kept beside one twin's offset only",
            Self::AssignmentNumbers => "messages that were read under an older assignment are taken",
            Self::TimestampPerMutation => "all mutations of a message have one timestamp",
            Self::SumOfKnown => "a range's row sums up the last message, not what is known",
            Self::StaleRuns => "a run speaks of what was learnt after it, or after a later one",
            Self::Settle => "a run speaks of records that a webhook has just told of",
            Self::TouchedAdopted => "a scan tells again what a webhook told",
            Self::DoubtfulAbsence => "a doubtful absence deletes at once",
            Self::CompleteScans => "a listing that broke off lands",
            Self::UnknownOutcomes => "a transaction whose outcome is not known is taken for aborted",
            Self::IdleTold => "nobody is told that all of a quiet partition was applied",
            Self::RunNotAhead => "a run began when its poller's wall clock says",
            Self::ClosedRefusals => "what a store refuses for good is decided all the same",
            Self::ClockMeasured => "a wall clock that is ahead is believed",
            Self::ChangesSpeak => "a change that a scan finds is adopted in silence",
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
