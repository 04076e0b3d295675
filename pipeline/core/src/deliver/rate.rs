//! A webhook's rate: requests spread evenly over a second, of which a tenth may be made at once. Each process takes its
//! share of it, by how many processes claim one (design §7). Times are the process's uptime.

use std::time::Duration;

/// A limit on requests a second.
#[derive(Debug, Clone, PartialEq)]
pub struct Rate {
    /// Requests a second, for all processes together.
    whole: u32,
    /// How many processes share it.
    claims: u32,
    tokens: f64,
    filled: Duration,
}

impl Rate {
    /// So many a second, all of them ours until others claim some.
    pub fn new(whole: u32, now: Duration) -> Self {
        let mut rate = Self { whole: whole.max(1), claims: 1, tokens: 0.0, filled: now };
        rate.tokens = rate.burst();
        rate
    }

    /// Requests a second, for all processes together.
    pub const fn whole(&self) -> u32 {
        self.whole
    }

    /// So many processes share it now.
    pub fn shared(&mut self, claims: u32, now: Duration) {
        self.fill(now);
        self.claims = claims.max(1);
    }

    /// Takes a request out of what the rate allows, if it allows one.
    pub fn take(&mut self, now: Duration) -> bool {
        self.fill(now);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }

    /// When it allows the next.
    pub fn next(&mut self, now: Duration) -> Duration {
        self.fill(now);
        now + Duration::from_secs_f64(((1.0 - self.tokens) / self.share()).max(1e-6))
    }

    /// How many may wait in memory: what goes out in a second.
    pub fn room(&self) -> usize {
        (self.share() as usize).max(1)
    }

    fn share(&self) -> f64 {
        f64::from(self.whole) / f64::from(self.claims)
    }

    fn burst(&self) -> f64 {
        (self.share() / 10.0).ceil().max(1.0)
    }

    fn fill(&mut self, now: Duration) {
        let since = now.saturating_sub(self.filled);
        self.tokens = (self.tokens + since.as_secs_f64() * self.share()).min(self.burst());
        self.filled = self.filled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Over any span no more goes out than the rate and one burst, and a share is a share.
        #[test]
        fn no_more_than_the_rate_and_a_burst(whole in 1_u32..2_000, claims in 1_u32..5, steps in prop::collection::vec(0_u64..50, 1..300)) {
            let (mut now, mut sent) = (Duration::ZERO, 0_u32);
            let mut rate = Rate::new(whole, now);
            rate.shared(claims, now);
            let share = f64::from(whole) / f64::from(claims);
            for step in steps {
                now += Duration::from_millis(step);
                while rate.take(now) { sent += 1; }
                let most = f64::from(whole) / 10.0 + 1.0 + share * now.as_secs_f64() + 1.0;
                prop_assert!(f64::from(sent) <= most, "{sent} in {now:?}");
                prop_assert!(rate.next(now) > now);
            }
        }
    }

    #[test]
    fn ten_a_second_is_one_each_tenth() {
        let mut rate = Rate::new(10, Duration::ZERO);
        assert!(rate.take(Duration::ZERO));
        assert!(!rate.take(Duration::from_millis(99)));
        assert_eq!(rate.next(Duration::from_millis(99)).as_millis(), 100);
        assert!(rate.take(Duration::from_millis(101)));
    }
}
