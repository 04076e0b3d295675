//! The unified event: what the unified topics carry (contract §4) and bodies are made of (contract §2).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    id::{AccountId, EventId, ProjectId, ProviderId, RemoteId, Sequence},
    resource::{EventName, Mode},
    time::Timestamp,
};

/// A change, announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct UnifiedEvent {
    /// Stable: a repeat has the same.
    pub event_id: EventId,
    /// Its place among its record's events. For account events, the account's version.
    pub sequence: Sequence,
    /// The record's event before this one; `None` for the first.
    pub previous_sequence: Option<Sequence>,
    /// The tenant.
    pub project: ProjectId,
    /// The linked connection.
    pub account: AccountId,
    /// The provider it links to.
    pub provider: ProviderId,
    /// The end customer's id in the project's own system: what readers filter by.
    pub origin_owner_id: Option<Arc<str>>,
    /// What happened to which kind of record.
    pub event: EventName,
    /// When it happened by the provider's clock (native), or was detected (synthetic).
    pub event_date: Timestamp,
    /// When Tributary decided it.
    pub detected_at: Timestamp,
    /// How it reached us.
    pub mode: Mode,
    /// What it is about.
    pub subject: Subject,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum Subject {
    /// A record of an account.
    Record {
        /// The unified, reversible id (contract §2).
        record_id: String,
        /// The provider's name for it.
        remote_id: RemoteId,
        /// The provider's request as JSON text: `{"headers":{…},"body":…}`. Native events only.
        raw_event: Option<String>,
        /// What of it maps to the unified model, as JSON text. Native events only.
        event_data: Option<String>,
    },
    /// An account.
    Account(AccountFacts),
}

/// What an account event tells, beside the ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct AccountFacts {
    /// The end customer's name.
    pub origin_owner_name: Option<String>,
    /// Who linked the account.
    pub origin_username: Option<String>,
    /// The non-secret set-up fields, as JSON text.
    pub setup_information: Option<String>,
}
