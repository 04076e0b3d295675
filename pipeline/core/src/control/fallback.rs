//! Whether the changes of a resource are told by webhooks, by polling, or by both for a while, so that none falls between.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tributary_schemas::time::Timestamp;

use super::intent::Nonce;

/// `Native → Broken(since) → Polling → Returning → Native`. Poll scans while it is `Polling` or `Returning`: the untold field
/// of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Native {
    /// Webhooks tell everything.
    Whole {
        /// By which registration.
        by: Nonce,
        /// And since when that one speaks: another moment is another gap.
        since: Timestamp,
        /// What can't be told, where nothing can be polled.
        gap: Option<(Timestamp, Timestamp)>,
    },
    /// Webhooks tell nothing, which may pass.
    Broken {
        /// Since when nothing is sure.
        since: Timestamp,
    },
    /// Polling has taken over.
    Polling {
        /// Since when webhooks tell nothing.
        since: Timestamp,
    },
    /// Webhooks tell again; polling goes on until it has seen what they did not tell.
    Returning {
        /// Since when nothing was sure.
        since: Timestamp,
        /// A scan begun then or later that has landed ends it.
        from: Timestamp,
        /// The registration that speaks again.
        by: Nonce,
        /// And since when.
        speaks: Timestamp,
    },
}

/// How long a break may pass by itself.
pub const PATIENCE: Duration = Duration::from_secs(300);

impl Native {
    /// Whether poll scans.
    pub const fn polls(&self) -> bool {
        match self {
            Self::Polling { .. } | Self::Returning { .. } => true,
            Self::Whole { .. } | Self::Broken { .. } => false,
        }
    }

    /// Since when nothing is sure, if that is so.
    pub const fn unsure_since(&self) -> Option<Timestamp> {
        match self {
            Self::Whole { .. } => None,
            Self::Broken { since } | Self::Polling { since } | Self::Returning { since, .. } => Some(*since),
        }
    }
}
