//! What follows an attempt (design §7): a retry topic for each delay, 75 hours in all.

use std::time::Duration;

use tributary_schemas::topic::{RETRY_DELAYS, RetryDelay};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// An answer came.
    Answered {
        /// Its status.
        status: u16,
        /// `Retry-After`, if it had one that could be read.
        retry_after: Option<Duration>,
    },
    /// None came in time.
    TimedOut,
    /// The connection failed, or the address is not allowed.
    Failed,
}

/// What to do then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is delivered.
    Delivered,
    /// Wait in this topic for so long, and try again.
    Retry {
        /// The topic.
        topic: RetryDelay,
        /// The wait, with its jitter.
        wait: Duration,
    },
    /// It is over.
    GiveUp,
    /// It is over, and the webhook is to be disabled: its URL is gone (410).
    Gone,
}

/// The least wait after an answer that says the receiver is overloaded or away.
const OVERLOADED: Duration = Duration::from_secs(60);
/// The longest `Retry-After` that is honoured.
const RETRY_AFTER_MOST: Duration = Duration::from_secs(24 * 3600);

/// Decides what follows attempt number `attempt` (the first is 1). `jitter` in 0..1 spreads waits by ±20 %.
pub fn after(attempt: u32, ended: &Ended, jitter: f64) -> Verdict {
    let least = match ended {
        Ended::Answered { status: 200..=299, .. } => return Verdict::Delivered,
        Ended::Answered { status: 410, .. } => return Verdict::Gone,
        Ended::Answered { status: 429, retry_after } => asked(*retry_after).max(OVERLOADED),
        Ended::Answered { status: 503, retry_after } => asked(*retry_after),
        Ended::Answered { status: 502 | 504, .. } | Ended::TimedOut => OVERLOADED,
        Ended::Answered { .. } | Ended::Failed => Duration::ZERO,
    };
    let scheduled = RETRY_DELAYS.get(attempt.saturating_sub(1) as usize);
    let Some(scheduled) = scheduled else { return Verdict::GiveUp };
    let topic =
        RETRY_DELAYS.into_iter().find(|it| it.delay >= least.max(scheduled.delay)).unwrap_or(*scheduled);
    let spread = 0.8 + 0.4 * jitter.clamp(0.0, 1.0);
    Verdict::Retry { topic, wait: topic.delay.mul_f64(spread).max(least) }
}

fn asked(retry_after: Option<Duration>) -> Duration {
    retry_after.unwrap_or(Duration::ZERO).min(RETRY_AFTER_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, retry_after: Option<u64>) -> Ended {
        Ended::Answered { status, retry_after: retry_after.map(Duration::from_secs) }
    }

    fn told(attempt: u32, ended: &Ended) -> String {
        match after(attempt, ended, 0.5) {
            Verdict::Delivered => "delivered".into(),
            Verdict::GiveUp => "given up".into(),
            Verdict::Gone => "gone".into(),
            Verdict::Retry { topic, wait } => format!("{} {}", topic.name, wait.as_secs()),
        }
    }

    #[test]
    fn each_ending_has_its_verdict() {
        for (attempt, ended, expected) in [
            (1, answered(200, None), "delivered"),
            (1, answered(299, None), "delivered"),
            (1, answered(301, None), "5s 5"),
            (1, answered(404, None), "5s 5"),
            (1, answered(410, None), "gone"),
            (1, answered(500, None), "5s 5"),
            (2, answered(500, None), "5m 300"),
            (9, answered(500, None), "24h 86400"),
            (10, answered(500, None), "given up"),
            (1, answered(502, None), "5m 300"),
            (1, answered(429, Some(7)), "5m 300"),
            (1, answered(503, None), "5s 5"),
            (1, answered(503, Some(1_000)), "30m 1800"),
            (2, answered(503, Some(10_000_000)), "24h 86400"),
            (1, Ended::TimedOut, "5m 300"),
            (1, Ended::Failed, "5s 5"),
        ] {
            assert_eq!(told(attempt, &ended), expected, "{attempt} {ended:?}");
        }
    }

    #[test]
    fn waits_are_spread_by_a_fifth_but_never_below_what_was_asked() {
        let wait = |ended, jitter| match after(1, &ended, jitter) {
            Verdict::Retry { wait, .. } => wait.as_millis(),
            _ => unreachable!("it is tried again"),
        };
        assert_eq!((wait(Ended::Failed, 0.0), wait(Ended::Failed, 1.0)), (4_000, 6_000));
        assert_eq!(wait(answered(503, Some(290)), 0.0), 290_000);
    }

    #[test]
    fn all_attempts_together_take_75_hours() {
        let total: Duration = RETRY_DELAYS.iter().map(|it| it.delay).sum();
        assert_eq!(total.as_secs() / 3600, 75);
    }
}
