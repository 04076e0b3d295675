//! When a lane may begin its next transaction.

use std::time::Duration;

/// After the first transaction that came to nothing; each one more doubles it.
const FIRST: Duration = Duration::from_millis(10);
/// The longest pause after transactions that come to nothing.
const LONGEST: Duration = Duration::from_secs(1);

/// When a lane may begin its next transaction: behind one that was committed the gap that spares it a wait for the markers,
/// behind one that came to nothing longer and longer, as the reason may be with us for a while.
#[derive(Debug, Default)]
pub(super) struct Timer {
    not_before: Duration,
    aborts: u32,
}

impl Timer {
    pub(super) fn committed(&mut self, now: Duration, linger: Duration) {
        *self = Self { not_before: now + linger, aborts: 0 };
    }

    pub(super) fn aborted(&mut self, now: Duration) {
        let pause = FIRST.saturating_mul(1 << self.aborts.min(10)).min(LONGEST);
        self.aborts = self.aborts.saturating_add(1);
        self.not_before = now + pause;
    }

    /// The uptime before which nothing is begun.
    pub(super) fn not_before(&self) -> Duration {
        self.not_before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_to_nothing_is_tried_again_later_and_later_but_within_a_second() {
        let mut timer = Timer::default();
        let pauses: Vec<_> = (0..10)
            .map(|_| {
                timer.aborted(Duration::ZERO);
                timer.not_before().as_millis()
            })
            .collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
        timer.committed(Duration::ZERO, Duration::from_millis(5));
        assert_eq!(timer.not_before(), Duration::from_millis(5));
        timer.aborted(Duration::ZERO);
        assert_eq!(timer.not_before(), Duration::from_millis(10));
    }
}
