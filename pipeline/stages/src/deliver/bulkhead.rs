//! Each webhook's share: so many in flight, so many waiting, so many a second, and whether it is asked at all. What waits
//! for a webhook waits here, so others notice nothing.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tributary_core::deliver::breaker::Breaker;
use tributary_schemas::{entity::Webhook, id::WebhookId};

use super::Config;

/// The bulkheads of this process.
pub(super) struct Bulkheads {
    per_webhook: usize,
    queue: usize,
    by_webhook: Mutex<HashMap<WebhookId, Arc<Bulkhead>>>,
}

/// One webhook's.
pub(super) struct Bulkhead {
    pub(super) in_flight: Semaphore,
    pub(super) waiting: Semaphore,
    breaker: Mutex<Breaker>,
    pace: Mutex<Option<Pace>>,
}

/// How fast a webhook may be asked.
struct Pace {
    rate: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

impl Bulkheads {
    pub(super) fn new(config: &Config) -> Self {
        Self { per_webhook: config.per_webhook, queue: config.queue, by_webhook: Mutex::default() }
    }

    pub(super) fn of(&self, webhook: &WebhookId) -> Arc<Bulkhead> {
        let mut all = self.by_webhook.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let make = || Arc::new(Bulkhead::new(self.per_webhook, self.queue));
        all.entry(webhook.clone()).or_insert_with(make).clone()
    }
}

impl Bulkhead {
    fn new(per_webhook: usize, queue: usize) -> Self {
        let (in_flight, waiting) = (Semaphore::new(per_webhook), Semaphore::new(queue));
        Self { in_flight, waiting, breaker: Mutex::default(), pace: Mutex::default() }
    }

    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// One of the process's slots, as soon as the webhook's rate allows a request; none is taken while it does not.
    pub(super) async fn slot<'a>(
        &self,
        webhook: &Webhook,
        slots: &'a Semaphore,
    ) -> anyhow::Result<SemaphorePermit<'a>> {
        loop {
            let slot = slots.acquire().await?;
            match self.too_early(webhook.rate.and_then(NonZeroU32::new)) {
                None => return Ok(slot),
                Some(wait) => {
                    drop(slot);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Takes a request out of what the rate allows, or says how long there is none. Another rate begins anew.
    fn too_early(&self, rate: Option<NonZeroU32>) -> Option<Duration> {
        let mut pace = self.pace.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if pace.as_ref().map(|pace| pace.rate) != rate {
            *pace = rate.map(|rate| Pace { rate, limiter: RateLimiter::direct(quota(rate)) });
        }
        let early = pace.as_ref()?.limiter.check().err()?;
        Some(early.wait_time_from(DefaultClock::default().now()))
    }
}

/// Evenly spread over a second; at most a tenth of a second's requests, and one at least, are made at once.
fn quota(rate: NonZeroU32) -> Quota {
    let burst = NonZeroU32::new(rate.get().div_ceil(10)).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(rate).allow_burst(burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(a_second: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(a_second)
    }

    #[test]
    fn a_rate_allows_a_tenth_of_a_second_s_requests_at_once() {
        for (a_second, at_once) in [(1, 1), (10, 1), (11, 2), (100, 10), (10_000, 1_000)] {
            let quota = quota(rate(a_second).unwrap());
            assert_eq!(quota.burst_size().get(), at_once, "{a_second}/s");
        }
    }

    #[test]
    fn a_changed_rate_holds_from_the_next_request() {
        let bulkhead = Bulkhead::new(1, 1);
        assert_eq!(bulkhead.too_early(rate(1)), None);
        let wait = bulkhead.too_early(rate(1)).expect("one a second");
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(bulkhead.too_early(rate(2)), None, "another rate");
        assert!(bulkhead.too_early(rate(2)).is_some());
        for _ in 0..100 {
            assert_eq!(bulkhead.too_early(None), None, "no rate");
        }
    }
}
