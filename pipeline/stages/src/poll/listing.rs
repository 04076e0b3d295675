//! Talking to a provider: sessions, pages, waiting when asked to.

use std::{collections::HashMap, num::NonZeroU32, sync::Mutex, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use rand::Rng;
use tributary_connectors::{
    Connector,
    polling::{Answer, Listing, Page, PollError, Request, Session, Setup},
};
use tributary_core::retry_after;
use tributary_schemas::id::AccountId;

use super::metrics;
use crate::{
    clock::now,
    dial::{DialError, Dialer},
};

/// Tries of one request before its run fails.
const TRIES: u32 = 5;
/// The longest that a run waits when a provider asks it to; a longer wait ends the run.
const WAIT_MOST: Duration = Duration::from_secs(120);

/// Why a listing broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The provider refuses our credentials, also after a new login.
    #[error("the provider refuses our credentials")]
    Unauthorized,
    /// The provider wants us to wait longer than a run may.
    #[error("the provider asks us to wait for {} s", .0.as_secs())]
    Wait(Duration),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// What talking to providers needs: one for the process.
pub(super) struct Caller {
    dialer: Dialer,
    page_bytes: usize,
    sessions: Mutex<HashMap<AccountId, Session>>,
    limits: Mutex<HashMap<AccountId, std::sync::Arc<DefaultDirectRateLimiter>>>,
}

impl Caller {
    pub(super) fn new(dialer: Dialer, page_bytes: usize) -> Self {
        Self { dialer, page_bytes, sessions: Mutex::default(), limits: Mutex::default() }
    }

    /// The next page of a listing; logs in when there is no session, and again when it is refused.
    pub(super) async fn page(
        &self,
        connector: &Connector,
        account: &AccountId,
        setup: &Setup,
        listing: &mut Listing<'_>,
    ) -> Result<Page, Broken> {
        let mut fresh = false;
        let mut tries = 0;
        loop {
            let session = match self.session(account) {
                Some(session) => Some(session),
                None => {
                    fresh = true;
                    self.log_in(connector, account, setup).await?
                }
            };
            let request =
                listing.request(session.as_ref()).map_err(|error| Broken::Other(error.to_string()))?;
            let answered =
                self.call(connector, account, request).await.and_then(|(status, retry_after, body)| {
                    listing.answer(Answer { status, retry_after: retry_after.as_deref(), body: &body })
                });
            match answered {
                Ok(page) => {
                    count(connector, "ok");
                    return Ok(page);
                }
                Err(PollError::Unauthorized(_)) if !fresh && session.is_some() => {
                    self.forget_session(account)
                }
                Err(error) => {
                    tries += 1;
                    pause(connector, error, tries).await?;
                }
            }
        }
    }

    async fn log_in(
        &self,
        connector: &Connector,
        account: &AccountId,
        setup: &Setup,
    ) -> Result<Option<Session>, Broken> {
        let mut tries = 0;
        loop {
            let request = connector.login(setup).map_err(|error| Broken::Other(error.to_string()))?;
            let Some(request) = request else { return Ok(None) };
            let answered =
                self.call(connector, account, request).await.and_then(|(status, retry_after, body)| {
                    connector.read_login(Answer { status, retry_after: retry_after.as_deref(), body: &body })
                });
            match answered {
                Ok(session) => {
                    self.sessions().insert(account.clone(), session.clone());
                    return Ok(Some(session));
                }
                Err(error) => {
                    tries += 1;
                    pause(connector, error, tries).await?;
                }
            }
        }
    }

    async fn call(
        &self,
        connector: &Connector,
        account: &AccountId,
        request: Request,
    ) -> Result<(u16, Option<String>, Vec<u8>), PollError> {
        self.limit(connector, account).until_ready().await;
        let broken = |reason: String| PollError::Broken(reason);
        let method = request.method.parse().map_err(|_| broken(format!("method `{}`", request.method)))?;
        let mut call =
            self.dialer.request(method, &request.url).map_err(|error| broken(error.to_string()))?;
        for (name, value) in &request.headers {
            call = call.header(name, value);
        }
        if let Some(body) = request.body {
            call = call.body(body);
        }
        match self.dialer.send(call, self.page_bytes + 1).await {
            Ok((_, body)) if body.len() > self.page_bytes => {
                Err(broken(format!("a page larger than {} bytes", self.page_bytes)))
            }
            Ok((parts, body)) => {
                let retry_after = parts.headers.get("retry-after").and_then(|value| value.to_str().ok());
                Ok((parts.status.as_u16(), retry_after.map(str::to_owned), body))
            }
            Err(DialError::Refused(refused)) => Err(broken(refused.to_string())),
            // No answer is like a gateway's.
            Err(DialError::Timeout | DialError::Failed(_)) => Err(PollError::Transient(504)),
        }
    }

    /// Every account has a bucket of its own, so that none can spend another's.
    fn limit(&self, connector: &Connector, account: &AccountId) -> std::sync::Arc<DefaultDirectRateLimiter> {
        let mut limits = self.limits.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let rate = NonZeroU32::new(connector.rate()).unwrap_or(NonZeroU32::MIN);
        let make = || std::sync::Arc::new(RateLimiter::direct(Quota::per_second(rate)));
        limits.entry(account.clone()).or_insert_with(make).clone()
    }

    fn session(&self, account: &AccountId) -> Option<Session> {
        self.sessions().get(account).cloned()
    }

    /// Forgets an account's session: its credentials changed, or it is refused.
    pub(super) fn forget_session(&self, account: &AccountId) {
        self.sessions().remove(account);
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<AccountId, Session>> {
        self.sessions.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Waits before the next try, or says why there is none.
async fn pause(connector: &Connector, error: PollError, tries: u32) -> Result<(), Broken> {
    let backoff = Duration::from_millis(500) * 2_u32.pow(tries.min(6));
    let wait = match error {
        PollError::Unauthorized(_) => {
            count(connector, "unauthorized");
            return Err(Broken::Unauthorized);
        }
        PollError::Broken(reason) => {
            count(connector, "broken");
            return Err(Broken::Other(reason));
        }
        PollError::RateLimited { retry_after: asked } => {
            count(connector, "rate_limited");
            asked.and_then(|text| retry_after::retry_after(&text, now())).unwrap_or(backoff)
        }
        PollError::Transient(_) => {
            count(connector, "transient");
            backoff
        }
    };
    if wait > WAIT_MOST || tries >= TRIES {
        return Err(Broken::Wait(wait));
    }
    let jitter = rand::rng().random_range(0.8..1.2);
    tokio::time::sleep(wait.mul_f64(jitter)).await;
    Ok(())
}

fn count(connector: &Connector, outcome: &'static str) {
    ::metrics::counter!(metrics::REQUESTS, "provider" => connector.name().to_owned(), "outcome" => outcome)
        .increment(1);
}
