//! How many requests a webhook may have in flight (design §7, bulkheads): it starts small, grows only when it limits and
//! the answers are quick, and halves when they do not come.

use std::time::Duration;

/// What a window starts with, also after a probe.
const FIRST: usize = 2;
/// The most.
const MOST: usize = 32;
/// An answer within this is quick.
pub const QUICK: Duration = Duration::from_secs(1);

/// A webhook's window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    size: usize,
    /// A time-out of an attempt that began before then has been answered for.
    halved: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Self { size: FIRST, halved: Duration::ZERO }
    }
}

impl Window {
    /// How many requests may be in flight.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// An answer came after `took`, while `in_flight` requests were under way, this one included.
    pub fn answered(&mut self, took: Duration, in_flight: usize) {
        if in_flight >= self.size && took <= QUICK {
            self.size = (self.size + 1).min(MOST);
        }
    }

    /// None came in time. `begun` and `now` are the attempt's.
    pub fn timed_out(&mut self, begun: Duration, now: Duration) {
        if begun >= self.halved {
            self.size = (self.size / 2).max(1);
            self.halved = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_grows_only_where_it_limits_and_answers_are_quick() {
        for (took, in_flight, size, rule) in [
            (second(0), 2, 3, "it limited"),
            (second(0), 1, 2, "it did not limit"),
            (second(2), 2, 2, "the answer was slow"),
        ] {
            let mut window = Window::default();
            window.answered(took, in_flight);
            assert_eq!(window.size(), size, "{rule}");
        }
        let mut window = Window::default();
        (0..100).for_each(|_| window.answered(second(0), MOST));
        assert_eq!(window.size(), MOST);
    }

    #[test]
    fn a_window_of_time_outs_halves_it_once() {
        let mut window = Window::default();
        (0..30).for_each(|_| window.answered(second(0), MOST));
        assert_eq!(window.size(), 32);
        for _ in 0..32 {
            window.timed_out(second(1), second(16));
        }
        assert_eq!(window.size(), 16);
        for _ in 0..5 {
            window.timed_out(second(17 + 1), second(33));
            window.timed_out(second(34), second(49));
            window.timed_out(second(50), second(65));
            window.timed_out(second(66), second(81));
        }
        assert_eq!(window.size(), 1, "it never closes");
    }
}
