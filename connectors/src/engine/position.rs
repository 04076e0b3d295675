//! Where a run of changes goes on: what is kept between runs, sealed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tributary_schemas::time::Timestamp;

use super::value::Value;
use crate::definition::changed::TimeSpelling;

/// The largest position that is kept, in bytes of JSON.
pub const POSITION_MOST: usize = 16 << 10;

/// Where a run of changes goes on. `Debug` shows its kind only.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// A token of the provider's.
    Token(serde_json::Value),
    /// What began then is covered; what the answers said of it themselves wins.
    Since {
        /// When the run began, by the provider's clock where that is known.
        begun: Timestamp,
        /// The changes' own next `$since`.
        covered: Option<String>,
        /// The deletions' own.
        gone_covered: Option<String>,
    },
}

impl std::fmt::Debug for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(***)",
            Self::Since { .. } => "Since(…)",
        })
    }
}

impl Position {
    /// Whether it can be kept.
    pub fn fits(&self) -> bool {
        serde_json::to_vec(self).is_ok_and(|bytes| bytes.len() <= POSITION_MOST)
    }

    /// Whether the provider may have forgotten it: it is older than it looks back.
    pub fn is_older_than(&self, back: Option<Duration>, now: Timestamp) -> bool {
        match (self, back) {
            (Self::Since { begun, .. }, Some(back)) => now.since(*begun) > back,
            (Self::Since { .. } | Self::Token(_), _) => false,
        }
    }
}

/// A moment as the provider writes it.
pub(crate) fn spelt(moment: Timestamp, spelling: &TimeSpelling) -> Value {
    let number = |number: i64| Value::from_json(&serde_json::Value::from(number));
    match spelling {
        TimeSpelling::Rfc3339 => Value::text(&moment.to_string()),
        TimeSpelling::EpochSeconds => number(moment.as_seconds()),
        TimeSpelling::EpochMillis => number(moment.as_millis()),
        TimeSpelling::Format(format) => match jiff::Timestamp::from_microsecond(moment.as_micros()) {
            Ok(instant) => Value::text(&instant.strftime(format).to_string()),
            Err(_) => Value::text(&moment.to_string()),
        },
    }
}
