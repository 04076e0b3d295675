//! An intent: what was written before a call, so that a call without an answer is known of and looked for.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tributary_schemas::time::Timestamp;

use super::{
    guard::{Guard, holds},
    terms::Terms,
};

/// Names a thing that we made up by chance: a registration, or a call. The registration's stands in its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Nonce(pub u64);

/// A call that was meant, and whose result is not written yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Its name: a result is taken only for the intent that asked.
    pub nonce: Nonce,
    /// When it was written. The call's deadline counts from here.
    pub written_at: Timestamp,
    /// How often it was looked for.
    pub looks: u8,
}

/// After the first look: two owners may overlap for a moment, and lists lag.
const AGAIN: [Duration; 3] = [Duration::from_secs(60), Duration::from_secs(600), Duration::from_secs(3_600)];

impl Intent {
    /// Written now.
    pub const fn new(nonce: Nonce, now: Timestamp) -> Self {
        Self { nonce, written_at: now, looks: 0 }
    }

    /// When it is looked for next: no sooner than the call's deadline and `settle`, then after 1 min, 10 min and 1 h. None: it
    /// has been looked for often enough.
    pub fn due(&self, terms: &Terms) -> Option<Timestamp> {
        if !holds(Guard::LookupWaits) {
            return (self.looks == 0).then_some(self.written_at);
        }
        let first = self.written_at.plus(terms.landed_by());
        match self.looks {
            0 => Some(first),
            looks => AGAIN.get(usize::from(looks) - 1).map(|wait| first.plus(*wait)),
        }
    }

    /// Whether its call may be on its way still.
    pub fn is_under_way(&self, terms: &Terms, now: Timestamp) -> bool {
        now < self.written_at.plus(terms.deadline)
    }
}
