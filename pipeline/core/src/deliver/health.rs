//! Whether a webhook is asked at all (design §7): a share of failures closes its window, and then a probe, which is an
//! ordinary attempt, opens it again. Times are the process's uptime.

use std::time::Duration;

/// The span over which failures are counted, in parts of `PART`.
const PARTS: usize = 6;
const PART: Duration = Duration::from_secs(10);
/// From so many attempts on, half of them failed is failing.
const ENOUGH: u32 = 20;
/// With fewer, so many in a row are.
const IN_A_ROW: u32 = 5;
/// How long until the first probe; it doubles with each that fails.
const FIRST: Duration = Duration::from_secs(30);
/// The longest between two.
const MOST: Duration = Duration::from_secs(5 * 60);

/// One webhook's health, as its answers show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    parts: [Part; PARTS],
    in_a_row: u32,
    failing: Option<Failing>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Part {
    number: u64,
    attempts: u32,
    failures: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Failing {
    probe_at: Duration,
    wait: Duration,
}

/// What an answer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    None,
    /// It fails from now on: its window is closed.
    Failing,
    /// It is well again.
    Well,
}

impl Health {
    /// When the next probe may be made; `None` while it is well.
    pub fn probe_at(&self) -> Option<Duration> {
        self.failing.as_ref().map(|failing| failing.probe_at)
    }

    /// An attempt succeeded.
    pub fn succeeded(&mut self, now: Duration) -> Turn {
        self.in_a_row = 0;
        if self.failing.take().is_some() {
            self.parts = Default::default();
            self.count(now, 0);
            return Turn::Well;
        }
        self.count(now, 0);
        Turn::None
    }

    /// An attempt failed that began at `begun`.
    pub fn failed(&mut self, begun: Duration, now: Duration) -> Turn {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.count(now, 1);
        if let Some(failing) = &mut self.failing {
            // What was under way when the window closed says nothing about the probe.
            if begun >= failing.probe_at {
                failing.wait = (failing.wait * 2).min(MOST);
                failing.probe_at = now + failing.wait;
            }
            return Turn::None;
        }
        let since = number(now).saturating_sub(PARTS as u64 - 1);
        let recent = self.parts.iter().filter(|part| part.number >= since);
        let (attempts, failures) =
            recent.fold((0, 0), |(all, bad), part| (all + part.attempts, bad + part.failures));
        let fails = if attempts >= ENOUGH { failures * 2 >= attempts } else { self.in_a_row >= IN_A_ROW };
        if !fails {
            return Turn::None;
        }
        self.failing = Some(Failing { probe_at: now + FIRST, wait: FIRST });
        Turn::Failing
    }

    /// Another URL, secret or header: what was is forgotten.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    fn count(&mut self, now: Duration, failures: u32) {
        let number = number(now);
        let part = &mut self.parts[(number % PARTS as u64) as usize];
        if part.number != number {
            *part = Part { number, ..Part::default() };
        }
        part.attempts += 1;
        part.failures += failures;
    }
}

fn number(now: Duration) -> u64 {
    // From 1, so that a part that was never used is older than any.
    now.as_secs() / PART.as_secs() + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// `s` and `f` are attempts, one a second; gives when it was found failing.
    fn failing_after(history: &str) -> Option<usize> {
        let mut health = Health::default();
        history.chars().enumerate().find_map(|(at, ended)| {
            let now = second(at as u64);
            let turn = if ended == 's' { health.succeeded(now) } else { health.failed(now, now) };
            (turn == Turn::Failing).then_some(at + 1)
        })
    }

    #[test]
    fn a_share_counts_from_twenty_attempts_and_a_row_below() {
        for (history, expected) in [
            ("fffff", Some(5)),
            ("ffffsffff", None),
            ("sfsfsfsfsfsfsfsfsfsf", Some(20)),
            ("ssfssfssfssfssfssfssfssfssf", None),
            ("sssssssssssssssssssssffffff", None),
        ] {
            assert_eq!(failing_after(history), expected, "{history}");
        }
    }

    #[test]
    fn old_answers_do_not_count() {
        let mut health = Health::default();
        for _ in 0..30 {
            health.succeeded(second(0));
        }
        for _ in 0..4 {
            assert_eq!(health.failed(second(100), second(100)), Turn::None);
        }
        assert_eq!(health.failed(second(100), second(100)), Turn::Failing);
    }

    #[test]
    fn a_probe_that_fails_doubles_the_wait_and_one_that_succeeds_ends_it() {
        let mut health = Health::default();
        (0..5).for_each(|_| assert_ne!(health.failed(second(0), second(0)), Turn::Well));
        assert_eq!(health.probe_at(), Some(second(30)));
        health.failed(second(1), second(16));
        assert_eq!(health.probe_at(), Some(second(30)), "it was under way before");
        health.failed(second(30), second(31));
        assert_eq!(health.probe_at(), Some(second(91)));
        assert_eq!(health.succeeded(second(92)), Turn::Well);
        assert_eq!(health.probe_at(), None);
        assert_eq!(health.failed(second(93), second(93)), Turn::None, "what was is forgotten");
    }

    proptest! {
        /// However it went, the webhook is asked again in time.
        #[test]
        fn a_probe_is_never_far(history in "[fsw]{0,200}") {
            let (mut health, mut now) = (Health::default(), second(0));
            for step in history.chars() {
                match step {
                    'w' => now += second(7),
                    's' => { health.succeeded(now); }
                    _ => { health.failed(now, now); }
                }
                prop_assert!(health.probe_at().is_none_or(|at| at <= now + MOST));
            }
        }
    }
}
