//! A resource whose records change at every look: more than half of at least twenty, in three runs in a row. What looks like
//! change is mostly a field that is new at each look; it is said so, and polled daily until a run is calm (design §5).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Runs in a row after which it is churning.
const RUNS: u8 = 3;
/// Fewer records than these say nothing.
const LEAST: u64 = 20;
/// How often a churning resource is polled, at most.
const DAILY: Duration = Duration::from_secs(86_400);

/// How many full scans in a row have found most records changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Churn(u8);

impl Churn {
    /// After a full scan that was compared with what is known. A baseline is none: all of it is new.
    #[must_use]
    pub fn after(self, records: u64, changed: u64) -> Self {
        if records >= LEAST && changed > records / 2 { Self((self.0 + 1).min(RUNS)) } else { Self(0) }
    }

    /// Whether it is churning.
    pub const fn is_churning(self) -> bool {
        self.0 >= RUNS
    }

    /// Between two runs, where it is usually so long.
    pub fn interval(self, usual: Duration) -> Duration {
        if self.is_churning() { usual.max(DAILY) } else { usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_scans_in_a_row_that_change_most_are_churning_until_one_is_calm() {
        let hour = Duration::from_secs(3_600);
        for (what, scans, churning) in [
            ("nothing yet", &[][..], false),
            ("twice is a reorganisation", &[(100, 100), (100, 100)], false),
            ("three times is not", &[(100, 51), (100, 51), (100, 51)], true),
            ("half is not most", &[(100, 50), (100, 50), (100, 50)], false),
            ("few records say nothing", &[(19, 19), (19, 19), (19, 19)], false),
            ("in a row", &[(100, 99), (100, 99), (100, 0), (100, 99), (100, 99)], false),
            ("it goes on", &[(20, 11); 400], true),
            ("a calm one ends it", &[(20, 11), (20, 11), (20, 11), (20, 11), (20, 10)], false),
        ] {
            let churn =
                scans.iter().fold(Churn::default(), |it, (records, changed)| it.after(*records, *changed));
            assert_eq!(churn.is_churning(), churning, "{what}");
            assert_eq!(churn.interval(hour), if churning { DAILY } else { hour }, "{what}");
            assert_eq!(churn.interval(30 * DAILY), 30 * DAILY, "{what}: never sooner than it is asked for");
            let read: Churn = serde_json::from_str(&serde_json::to_string(&churn).unwrap()).unwrap();
            assert_eq!(read, churn);
        }
    }
}
