//! The messages of `poll.triggers`: what poll is asked for, beside what is due.

use serde::{Deserialize, Serialize};

use super::{NativeRequest, Notification, RecordName, Source};
use crate::{codec::Format, resource::Resource, time::Timestamp};

/// A message of `poll.triggers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Trigger {
    /// Whose records.
    pub source: Source,
    /// When it was asked for.
    pub at: Timestamp,
    /// What is asked for.
    pub ask: Ask,
}

impl Format for Trigger {
    const FORMAT: u8 = 2;
    const NAME: &'static str = "trigger";
}

/// What poll is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum Ask {
    /// A run of each of these resources.
    Run {
        /// Which resources; empty means all that are polled.
        resources: Vec<Resource>,
        /// Why.
        reason: TriggerReason,
    },
    /// The records that a provider's request names: it goes on to `ingest.native` with what of them came in time.
    Fetch(Box<Fetch>),
}

/// Records to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Fetch {
    /// Which, each once.
    pub records: Vec<RecordName>,
    /// The request, to go on with its first `received_at`.
    pub request: NativeRequest,
}

/// Why a run is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[serde(rename_all = "snake_case")]
pub enum TriggerReason {
    /// A provider's notification that names no record: what the run finds is told as native, with it.
    Notified(Notification),
    /// A person: poll now.
    RunNow,
    /// A person: list everything now.
    ListNow,
    /// A person: announce every record as created again.
    Resync,
    /// A person: confirm doubtful absences with a full scan now.
    Release,
}
