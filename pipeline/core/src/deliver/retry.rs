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
    /// It was not asked: one before it in its line is parked, and due in so long.
    Held {
        /// Until that is due.
        ahead: Duration,
    },
    /// It was not asked, or in vain, by a fault of ours: it says nothing of the webhook.
    Ours,
    /// Our own code failed over it.
    Panicked,
    /// It was cut off, as its partition is another's: that one asks.
    Abandoned,
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
    /// It was no attempt: wait in this topic behind one that is parked.
    Behind {
        /// The topic.
        topic: RetryDelay,
        /// The wait.
        wait: Duration,
    },
    /// It was no attempt: it is read again later.
    Again,
    /// It is over, and is kept aside with its body.
    SetAside,
    /// It is over.
    GiveUp,
    /// It is over, and the webhook is to be disabled: its URL is gone (410).
    Gone,
}

/// The least wait after an answer that says the receiver is overloaded or away.
const OVERLOADED: Duration = Duration::from_secs(60);
/// A wait's jitter is ±20 % of its topic's delay.
const SHORTEST: f64 = 0.8;
const LONGEST: f64 = 1.2;
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
        Ended::Held { ahead } => {
            let (topic, wait) = behind(*ahead);
            return Verdict::Behind { topic, wait };
        }
        Ended::Ours | Ended::Abandoned => return Verdict::Again,
        Ended::Panicked => return Verdict::SetAside,
    };
    let scheduled = RETRY_DELAYS.get(attempt.saturating_sub(1) as usize);
    let Some(scheduled) = scheduled else { return Verdict::GiveUp };
    let topic =
        RETRY_DELAYS.into_iter().find(|it| it.delay >= least.max(scheduled.delay)).unwrap_or(*scheduled);
    let spread = SHORTEST + (LONGEST - SHORTEST) * jitter.clamp(0.0, 1.0);
    Verdict::Retry { topic, wait: topic.delay.mul_f64(spread).max(least) }
}

/// Where a delivery waits that is held back by one which is due in `ahead`, and for how long.
///
/// A retry topic's partition is read in order, so what waits in it may come as late as the topic's longest wait. The longest
/// topic is taken where that is at most as long again as the wait, so a delivery comes late by at most what it waited; but
/// never before the shortest topic's delay, nor longer than a topic's own deliveries wait, as that would hold those up. It
/// may have to be parked more than once.
pub fn behind(ahead: Duration) -> (RetryDelay, Duration) {
    let [shortest, ..] = RETRY_DELAYS;
    let fits = |it: &RetryDelay| it.delay.mul_f64(LONGEST) <= ahead * 2;
    let topic = RETRY_DELAYS.into_iter().rfind(fits).unwrap_or(shortest);
    (topic, ahead.clamp(shortest.delay, topic.delay.mul_f64(LONGEST)))
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
            Verdict::Again => "again".into(),
            Verdict::SetAside => "set aside".into(),
            Verdict::Behind { topic, wait } => format!("behind {} {}", topic.name, wait.as_secs()),
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
            (1, Ended::Held { ahead: Duration::from_secs(180) }, "behind 5m 180"),
            (9, Ended::Ours, "again"),
            (9, Ended::Abandoned, "again"),
            (1, Ended::Panicked, "set aside"),
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
    fn what_is_held_back_waits_about_as_long_as_what_is_ahead() {
        for (ahead, expected) in [
            (0, "5s 5"),
            (5, "5s 5"),
            (6, "5s 6"),
            (179, "5s 6"),
            (180, "5m 180"),
            (360, "5m 360"),
            (1_079, "5m 360"),
            (1_080, "30m 1080"),
            (86_400, "24h 86400"),
            (103_680, "24h 103680"),
            (1_000_000, "24h 103680"),
        ] {
            let (topic, wait) = behind(Duration::from_secs(ahead));
            assert_eq!(format!("{} {}", topic.name, wait.as_secs()), expected, "behind {ahead} s");
        }
    }

    #[test]
    fn all_attempts_together_take_75_hours() {
        let total: Duration = RETRY_DELAYS.iter().map(|it| it.delay).sum();
        assert_eq!(total.as_secs() / 3600, 75);
    }
}
