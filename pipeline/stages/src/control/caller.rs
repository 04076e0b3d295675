//! Who asks: a project by its API key, the operator by theirs, or anyone. Keys that are not known are remembered for a
//! moment, so that guessing does not reach the database.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::HashMapStateStore,
};
use http::{HeaderMap, header::AUTHORIZATION};
use quick_cache::sync::Cache;
use subtle::ConstantTimeEq;
use tributary_schemas::id::ProjectId;

use super::{
    api::{App, hash},
    keys, metrics,
};
use crate::{http_error::HttpError, store::Lookup};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// A project, by its API key.
    Tenant,
    /// The operator of the deployment.
    Operator,
    /// Anyone.
    Anyone,
}

/// How a caller is known.
pub(super) trait Asks: Sized + Send {
    /// Who it is.
    const CALLER: Caller;
    /// Finds out.
    fn identify(
        app: &App,
        headers: &HeaderMap,
    ) -> impl std::future::Future<Output = Result<Self, HttpError>> + Send;
    /// Its project, if it has one.
    fn project(&self) -> Option<&ProjectId> {
        None
    }
}

/// A project.
#[derive(Debug, Clone)]
pub(super) struct Tenant {
    pub(super) project: ProjectId,
}

/// The operator of the deployment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operator;

/// Anyone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anyone;

impl Asks for Tenant {
    const CALLER: Caller = Caller::Tenant;

    async fn identify(app: &App, headers: &HeaderMap) -> Result<Self, HttpError> {
        let key = key(headers).ok_or_else(|| {
            HttpError::unauthorized(
                "authorization: expected `Bearer <api key>` or `Basic base64(<api key>:)`",
            )
        })?;
        let hash = hash(&key);
        let unknown = || HttpError::unauthorized("this API key is not known");
        if app.gate.is_unknown(&hash) {
            ::metrics::counter!(metrics::UNKNOWN_KEYS, "kind" => "cache").increment(1);
            return Err(unknown());
        }
        app.gate.allow_look_up()?;
        let Some((project, id)) = app.stores.control.find(Lookup::ApiKey, &hash).await? else {
            app.gate.note_unknown(hash);
            ::metrics::counter!(metrics::UNKNOWN_KEYS, "kind" => "store").increment(1);
            return Err(unknown());
        };
        app.gate.allow(&project)?;
        keys::note_use(app, &project, &id);
        Ok(Self { project })
    }

    fn project(&self) -> Option<&ProjectId> {
        Some(&self.project)
    }
}

impl Asks for Operator {
    const CALLER: Caller = Caller::Operator;

    async fn identify(app: &App, headers: &HeaderMap) -> Result<Self, HttpError> {
        app.gate.allow_look_up()?;
        let Some(expected) = &app.operator_key else {
            return Err(HttpError::unauthorized(format!(
                "{OPERATOR_KEY} is not set: no one is the operator"
            )));
        };
        // Digests of the same length, in constant time.
        let same = hash(&key(headers).unwrap_or_default()).as_bytes().ct_eq(expected.as_bytes());
        if bool::from(same) {
            Ok(Self)
        } else {
            Err(HttpError::unauthorized("this is not the operator's key"))
        }
    }
}

/// The environment variable that holds the operator's key.
const OPERATOR_KEY: &str = "TRIBUTARY_OPERATOR_KEY";

/// The digest of the operator's key, if the deployment has one.
///
/// # Errors
/// When it is too short to be one.
pub(super) fn operator_key() -> anyhow::Result<Option<String>> {
    match std::env::var(OPERATOR_KEY) {
        Ok(key) if key.len() >= 24 => Ok(Some(hash(&key))),
        Ok(_) => anyhow::bail!("{OPERATOR_KEY}: expected at least 24 characters"),
        Err(_) => Ok(None),
    }
}

impl Asks for Anyone {
    const CALLER: Caller = Caller::Anyone;

    async fn identify(_: &App, _: &HeaderMap) -> Result<Self, HttpError> {
        Ok(Self)
    }
}

fn key(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(rest.trim().to_owned()),
        "basic" => {
            let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
            Some(text.split_once(':').map_or(text.as_str(), |(user, _)| user).to_owned())
        }
        _ => None,
    }
}

/// Keys that are remembered as unknown.
const UNKNOWN_KEYS: usize = 10_000;
/// For how long: a new key must work at once, and has not been guessed before it was made.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);
/// Look-ups of keys a second, of all callers together: what is left of the database is for those who have one.
const LOOK_UPS: u32 = 2_000;

/// What callers may ask: requests a minute by project, and no look-up of a key that was unknown a moment ago.
pub(super) struct Gate {
    unknown: Cache<String, Instant>,
    look_ups: DefaultDirectRateLimiter,
    projects: RateLimiter<ProjectId, HashMapStateStore<ProjectId>, DefaultClock>,
    clock: DefaultClock,
}

impl Gate {
    /// Lets each project ask so often.
    pub(super) fn new(requests_per_minute: NonZeroU32) -> Self {
        let look_ups = NonZeroU32::new(LOOK_UPS).unwrap_or(NonZeroU32::MIN);
        Self {
            unknown: Cache::new(UNKNOWN_KEYS),
            look_ups: RateLimiter::direct(Quota::per_second(look_ups)),
            projects: RateLimiter::hashmap(Quota::per_minute(requests_per_minute)),
            clock: DefaultClock::default(),
        }
    }

    fn is_unknown(&self, hash: &str) -> bool {
        self.unknown.get(hash).is_some_and(|since| since.elapsed() < UNKNOWN_FOR)
    }

    fn note_unknown(&self, hash: String) {
        self.unknown.insert(hash, Instant::now());
    }

    fn allow_look_up(&self) -> Result<(), HttpError> {
        self.look_ups.check().map_err(|_| {
            metrics::refused("key_look_ups");
            HttpError::unavailable("too many requests at a time: try again")
        })
    }

    fn allow(&self, project: &ProjectId) -> Result<(), HttpError> {
        if self.projects.len() > 100_000 {
            self.projects.retain_recent();
        }
        self.projects.check_key(project).map_err(|until| {
            metrics::refused("requests");
            let wait = until.wait_time_from(self.clock.now());
            HttpError::too_many("requests: this project asks too often", wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_that_asks_too_often_is_told_when_to_come_again_and_others_are_not_in_its_way() {
        let gate = Gate::new(NonZeroU32::new(5).unwrap());
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        for _ in 0..5 {
            gate.allow(&a).unwrap();
        }
        let refused = gate.allow(&a).unwrap_err();
        assert_eq!(refused.status(), 429);
        assert!((1..=12).contains(&refused.retry_after().unwrap().as_secs()), "{refused:?}");
        gate.allow(&b).unwrap();
    }

    #[test]
    fn unknown_keys_are_remembered_and_bounded() {
        let gate = Gate::new(NonZeroU32::MIN);
        for key in 0..3 * UNKNOWN_KEYS {
            gate.note_unknown(key.to_string());
        }
        assert!(gate.unknown.len() <= UNKNOWN_KEYS);
        gate.note_unknown("x".into());
        assert!(gate.is_unknown("x") && !gate.is_unknown("y"));
    }
}
