//! How many accounts and webhooks a project may have, and make. They are counted by the database now and then, and by this
//! process in between: a quota holds to within what all processes make in a minute.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::HashMapStateStore,
};
use quick_cache::sync::Cache;
use tributary_schemas::id::ProjectId;

use super::{Config, api::App, metrics};
use crate::{http_error::HttpError, store::Kind};

/// How long a count is believed.
const BELIEVED: Duration = Duration::from_secs(60);

/// What projects may have, and make.
pub(super) struct Quotas {
    accounts: usize,
    webhooks: usize,
    made: RateLimiter<ProjectId, HashMapStateStore<ProjectId>, DefaultClock>,
    clock: DefaultClock,
    counts: Cache<(Kind, ProjectId), (Instant, usize)>,
}

impl Quotas {
    pub(super) fn new(config: &Config) -> Self {
        let at_once =
            NonZeroU32::new(config.made_per_minute.get().saturating_mul(10)).unwrap_or(NonZeroU32::MIN);
        let made = Quota::per_minute(config.made_per_minute).allow_burst(at_once);
        Self {
            accounts: config.accounts,
            webhooks: config.webhooks,
            made: RateLimiter::hashmap(made),
            clock: DefaultClock::default(),
            counts: Cache::new(10_000),
        }
    }

    fn make(&self, project: &ProjectId) -> Result<(), HttpError> {
        if self.made.len() > 100_000 {
            self.made.retain_recent();
        }
        self.made.check_key(project).map_err(|until| {
            metrics::refused("made");
            let wait = until.wait_time_from(self.clock.now());
            HttpError::too_many("requests: this project makes too many accounts and webhooks", wait)
        })
    }
}

/// Lets a project make one more of a kind.
///
/// # Errors
/// 429 when it has, or makes, too many.
pub(super) async fn check(app: &App, project: &ProjectId, kind: Kind) -> Result<(), HttpError> {
    let quotas = &app.quotas;
    let most = match kind {
        Kind::Account => quotas.accounts,
        Kind::Webhook => quotas.webhooks,
        Kind::Project | Kind::ApiKey => return Ok(()),
    };
    quotas.make(project)?;
    let key = (kind, project.clone());
    let (counted_at, count) = match quotas.counts.get(&key).filter(|(at, _)| at.elapsed() < BELIEVED) {
        Some(counted) => counted,
        None => (Instant::now(), app.stores.api.count(kind, project).await?),
    };
    if count >= most {
        // Whoever makes room is not kept waiting by an old count.
        quotas.counts.remove(&key);
        let name = kind.name();
        metrics::refused(if kind == Kind::Account { "accounts" } else { "webhooks" });
        let wait = Duration::from_secs(3_600);
        return Err(HttpError::too_many(
            format!("{name}s: this project has {most}, and may not have more"),
            wait,
        ));
    }
    quotas.counts.insert(key, (counted_at, count + 1));
    Ok(())
}
