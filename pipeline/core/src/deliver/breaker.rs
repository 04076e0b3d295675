//! Whether a webhook that keeps failing is asked at all (design §7): closed, open, or half open with one probe, and then
//! a ramp, so that what has piled up does not fell a subscriber that has just come back. Times are the process's uptime: a
//! wall clock that is set back would keep a breaker open for as much longer.

use std::time::Duration;

/// Failures in a row that open a breaker.
const OPENS_AFTER: u32 = 20;
/// How long it stays open at first; it doubles with each probe that fails.
const OPEN_FIRST: Duration = Duration::from_secs(30);
/// The longest that it stays open.
const OPEN_MOST: Duration = Duration::from_secs(5 * 60);
/// A webhook that has failed for so long is disabled.
const HOPELESS: Duration = Duration::from_secs(5 * 24 * 3600);

/// One webhook's breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    state: State,
    /// The first failure since the last success.
    failing_since: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Attempts are made, at the most `ramp` at a time; `failures` failed in a row.
    Closed { failures: u32, ramp: usize },
    /// None is made before then.
    Open { until: Duration, wait: Duration },
    /// One is under way. If nothing is heard of it by then, another may be made.
    HalfOpen { until: Duration, wait: Duration },
}

/// Whether an attempt may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// It may.
    Go,
    /// Not now: park it, which is no attempt.
    Park,
}

/// What a failure means for the webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// It may come back.
    Hopeful,
    /// It has failed for 5 days: disable it.
    Hopeless,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed { failures: 0, ramp: usize::MAX }, failing_since: None }
    }
}

impl Breaker {
    /// Asks to make an attempt while `in_flight` others are under way; `patience` is how long one can take.
    pub fn ask(&mut self, now: Duration, in_flight: usize, patience: Duration) -> Permit {
        match self.state {
            State::Closed { ramp, .. } if in_flight < ramp => Permit::Go,
            State::Closed { .. } => Permit::Park,
            State::Open { until, wait } | State::HalfOpen { until, wait } if now >= until => {
                self.state = State::HalfOpen { until: now + patience, wait };
                Permit::Go
            }
            State::Open { .. } | State::HalfOpen { .. } => Permit::Park,
        }
    }

    /// An attempt succeeded. After a probe, attempts are ramped up: with each success one more at a time.
    pub fn succeeded(&mut self) {
        self.failing_since = None;
        let ramp = match self.state {
            State::Closed { ramp, .. } => ramp.saturating_add(1),
            State::Open { .. } | State::HalfOpen { .. } => 2,
        };
        self.state = State::Closed { failures: 0, ramp };
    }

    /// An attempt failed.
    pub fn failed(&mut self, now: Duration) -> Prospect {
        let since = *self.failing_since.get_or_insert(now);
        self.state = match self.state {
            State::Closed { failures, .. } if failures + 1 >= OPENS_AFTER => {
                State::Open { until: now + OPEN_FIRST, wait: OPEN_FIRST }
            }
            State::Closed { failures, ramp } => State::Closed { failures: failures + 1, ramp },
            State::HalfOpen { wait, .. } => {
                let wait = wait.saturating_mul(2).min(OPEN_MOST);
                State::Open { until: now + wait, wait }
            }
            // An attempt that was under way when it opened.
            State::Open { until, wait } => State::Open { until, wait },
        };
        if now.saturating_sub(since) >= HOPELESS { Prospect::Hopeless } else { Prospect::Hopeful }
    }

    /// Its state's name, as a metric label has it.
    pub const fn name(&self) -> &'static str {
        match self.state {
            State::Closed { .. } => "closed",
            State::Open { .. } => "open",
            State::HalfOpen { .. } => "half_open",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(15);

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..OPENS_AFTER {
            assert_eq!(breaker.ask(second(0), 0, PATIENCE), Permit::Go);
            let _ = breaker.failed(second(0));
        }
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_probe_through() {
        let mut breaker = opened();
        for (at, permit, name) in [
            (0, Permit::Park, "open"),
            (29, Permit::Park, "open"),
            (30, Permit::Go, "half_open"),
            (31, Permit::Park, "half_open"),
            (45, Permit::Go, "half_open"),
        ] {
            assert_eq!((breaker.ask(second(at), 0, PATIENCE), breaker.name()), (permit, name), "at {at} s");
        }
        let _ = breaker.failed(second(50));
        assert_eq!(breaker.ask(second(109), 0, PATIENCE), Permit::Park, "it waits twice as long");
        assert_eq!(breaker.ask(second(110), 0, PATIENCE), Permit::Go);
    }

    #[test]
    fn after_a_probe_that_succeeds_attempts_are_ramped_up() {
        let mut breaker = opened();
        assert_eq!(breaker.ask(second(30), 0, PATIENCE), Permit::Go);
        breaker.succeeded();
        assert_eq!(breaker.ask(second(31), 1, PATIENCE), Permit::Go);
        assert_eq!(breaker.ask(second(31), 2, PATIENCE), Permit::Park);
        breaker.succeeded();
        assert_eq!(breaker.ask(second(31), 2, PATIENCE), Permit::Go);
    }

    #[test]
    fn five_days_without_a_success_are_hopeless() {
        let (mut failing, days) = (Breaker::default(), |days: u64| second(days * 24 * 3600));
        assert_eq!(failing.failed(days(0)), Prospect::Hopeful);
        assert_eq!(failing.failed(days(4)), Prospect::Hopeful);
        assert_eq!(failing.clone().failed(days(5)), Prospect::Hopeless);
        failing.succeeded();
        assert_eq!(failing.failed(days(5)), Prospect::Hopeful);
    }

    proptest! {
        /// `f`: asks and fails, `s`: asks and succeeds, `w`: waits. However it went, the webhook is asked again in time.
        #[test]
        fn it_never_stays_open_for_ever(history in "[fsw]{0,200}") {
            let (mut breaker, mut now) = (Breaker::default(), second(0));
            for step in history.chars() {
                match step {
                    'w' => now += Duration::from_secs(7),
                    'f' if breaker.ask(now, 0, PATIENCE) == Permit::Go => { let _ = breaker.failed(now); }
                    's' if breaker.ask(now, 0, PATIENCE) == Permit::Go => breaker.succeeded(),
                    _ => {}
                }
            }
            prop_assert_eq!(breaker.ask(now + OPEN_MOST, 0, PATIENCE), Permit::Go);
        }
    }
}
