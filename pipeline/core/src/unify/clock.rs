//! Whether the wall clock may be believed: timestamps out of the future can't be taken back, and each record's later ones
//! would have to follow them.
//!
//! The broker's clock is measured once, and carried on by uptime, which does not jump. A wall clock that is ahead of that is
//! measured again before anything is decided by it; one that is behind does no harm, as timestamps go on from the last.

use std::time::Duration;

use tributary_schemas::time::Timestamp;

use super::now::Now;
use crate::guard::{Guard, holds};

/// How far the wall clock may be ahead.
const MOST: Duration = Duration::from_secs(30);
/// For how long it may be ahead of that before the lane gives up.
const BEARABLE: Duration = Duration::from_secs(10);
/// Between two measurements, while it is ahead or the broker does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// What is known of the wall clock.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The broker's time at an uptime of ours.
    measured: Option<(Duration, Timestamp)>,
    /// Since when measurements say that the wall clock is ahead.
    ahead_since: Option<Duration>,
    /// No measurement before.
    not_before: Duration,
}

/// What the wall clock is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It may be decided by.
    Full,
    /// It must be measured first, not before this uptime.
    Measure(Duration),
    /// It has been ahead for too long.
    Lost,
}

impl Clock {
    /// Whether the wall clock may be decided by now.
    pub(super) fn trust(&self, now: Now) -> Trust {
        if !holds(Guard::ClockMeasured) || !self.is_ahead(now) {
            return Trust::Full;
        }
        match self.ahead_since {
            Some(since) if now.uptime >= since + BEARABLE => Trust::Lost,
            Some(_) | None => Trust::Measure(self.not_before),
        }
    }

    /// The uptime before which it is not measured again; in the past, as long as it may be believed.
    pub(super) fn not_before(&self) -> Duration {
        if self.ahead_since.is_some() || self.measured.is_none() { self.not_before } else { Duration::ZERO }
    }

    /// Takes in what the broker's clock showed in a measurement that was begun at an uptime; `None` if it did not come to it.
    pub(super) fn measured(&mut self, begun: Duration, shown: Option<Timestamp>, now: Now) {
        self.not_before = now.uptime + AGAIN;
        if let Some(shown) = shown {
            self.measured = Some((begun, shown));
            self.ahead_since = self.is_ahead(now).then(|| self.ahead_since.unwrap_or(now.uptime));
        }
    }

    fn is_ahead(&self, now: Now) -> bool {
        let Some((at, shown)) = self.measured else { return true };
        now.wall > shown.plus(now.uptime.saturating_sub(at)).plus(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many seconds after the start, with a wall clock that is so far ahead.
    fn at(uptime: u64, ahead: i64) -> Now {
        let wall = Timestamp::from_micros((1_000_000 + uptime as i64 + ahead) * 1_000_000);
        Now { wall, uptime: Duration::from_secs(uptime) }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_is_measured_first_and_again_when_it_has_jumped_ahead() {
        let mut clock = Clock::default();
        assert_eq!(clock.trust(at(0, 0)), Trust::Measure(seconds(0)));
        clock.measured(seconds(0), Some(at(0, 0).wall), at(1, 0));
        for (uptime, ahead) in [(1, 0), (9_000, 29), (9_000, -3_600)] {
            assert_eq!(clock.trust(at(uptime, ahead)), Trust::Full, "{ahead} after {uptime}");
        }
        assert_eq!(clock.trust(at(9_000, 31)), Trust::Measure(seconds(2)));
        clock.measured(seconds(9_000), Some(at(9_000, 31).wall), at(9_000, 31));
        assert_eq!(clock.trust(at(9_000, 31)), Trust::Full, "it was our uptime that had stood still");
    }

    #[test]
    fn one_that_stays_ahead_is_given_up_and_one_that_is_set_right_is_not() {
        let mut clock = Clock::default();
        let measure = |clock: &mut Clock, uptime, ahead| {
            clock.measured(seconds(uptime), Some(at(uptime, 0).wall), at(uptime, ahead));
            clock.trust(at(uptime, ahead))
        };
        assert_eq!(measure(&mut clock, 0, 3_600), Trust::Measure(seconds(1)));
        assert_eq!(measure(&mut clock, 9, 3_600), Trust::Measure(seconds(10)));
        assert_eq!(measure(&mut clock, 10, 3_600), Trust::Lost);
        assert_eq!(measure(&mut clock, 10, 3), Trust::Full);
        assert_eq!(measure(&mut clock, 20, 3_600), Trust::Measure(seconds(21)), "counted anew");
    }

    #[test]
    fn a_broker_that_does_not_answer_is_asked_again_later() {
        let mut clock = Clock::default();
        clock.measured(seconds(3), None, at(5, 0));
        assert_eq!(clock.trust(at(5, 0)), Trust::Measure(seconds(6)));
    }
}
