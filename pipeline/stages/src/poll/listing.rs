//! Talking to a provider: sessions, pages, waiting when asked to.

use std::{collections::HashMap, num::NonZeroU32, sync::Mutex, time::Duration};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use rand::Rng;
use tributary_connectors::{
    Connector,
    polling::{Answer, Listing, Page, PollError, Request, Session},
};
use tributary_core::{
    poll::{outcome::Outcome, scheduler::Whose},
    retry_after,
};
use tributary_schemas::{id::AccountId, time::Timestamp};

use super::{metrics, run::Job};
use crate::{
    clock::{now, uptime},
    dial::{DialError, Dialer},
};

/// Tries of one request that gets no answer, before its run fails.
const TRIES: u32 = 5;
/// The longest wait for which a run keeps its place; for a longer one it ends, and begins anew.
const KEPT_MOST: Duration = Duration::from_secs(3_600);

/// Why a listing broke off: one of the outcomes, in words that hold no value of a record.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct Broken {
    pub(super) outcome: Outcome,
    pub(super) words: String,
    /// How long the provider asked us to wait.
    pub(super) wait: Option<Duration>,
}

impl Broken {
    pub(super) fn new(outcome: Outcome, words: impl Into<String>) -> Self {
        Self { outcome, words: words.into(), wait: None }
    }
}

/// An answer that is a page.
pub(super) struct Answered {
    pub(super) page: Page,
    /// The provider's clock when the request was sent, if its answer told it.
    pub(super) provider_clock: Option<Timestamp>,
}

/// Why one try failed.
enum Tried {
    /// The provider's answer says so.
    Answered(PollError),
    /// There was none.
    Unanswered(String),
}

impl From<PollError> for Tried {
    fn from(error: PollError) -> Self {
        Self::Answered(error)
    }
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

    /// The next page of a listing; logs in when there is no session, and again when it is refused. What the run keeps
    /// in memory meanwhile is `held`.
    pub(super) async fn page(
        &self,
        job: &Job<'_>,
        listing: &mut Listing<'_>,
        held: u64,
    ) -> Result<Answered, Broken> {
        let (connector, account) = (job.connector, &job.account.id);
        let (mut fresh, mut tries) = (false, 0);
        loop {
            let session = match self.session(account) {
                Some(session) => Some(session),
                None => {
                    fresh = true;
                    self.log_in(job, held).await?
                }
            };
            let request = listing
                .request(session.as_ref())
                .map_err(|error| Broken::new(Outcome::BadAnswer, error.to_string()))?;
            let answered = self.call(connector, account, request).await.and_then(|got| {
                let provider_clock = got.provider_clock;
                Ok(Answered { page: listing.answer(got.answer())?, provider_clock })
            });
            match answered {
                Ok(answered) => {
                    count(connector, "ok");
                    return Ok(answered);
                }
                Err(Tried::Answered(PollError::Unauthorized(_))) if !fresh && session.is_some() => {
                    self.forget_session(account);
                }
                Err(Tried::Answered(PollError::Unauthorized(403))) => {
                    count(connector, "forbidden");
                    return Err(Broken::new(Outcome::Forbidden, "the provider answered HTTP 403"));
                }
                Err(error) => {
                    tries += 1;
                    pause(job, error, tries, held).await?;
                }
            }
        }
    }

    async fn log_in(&self, job: &Job<'_>, held: u64) -> Result<Option<Session>, Broken> {
        let (connector, account) = (job.connector, &job.account.id);
        let mut tries = 0;
        loop {
            let request = connector
                .login(&job.setup)
                .map_err(|error| Broken::new(Outcome::BadAnswer, error.to_string()))?;
            let Some(request) = request else { return Ok(None) };
            let answered = self
                .call(connector, account, request)
                .await
                .and_then(|got| Ok(connector.read_login(got.answer())?));
            match answered {
                Ok(session) => {
                    self.sessions().insert(account.clone(), session.clone());
                    return Ok(Some(session));
                }
                Err(error) => {
                    tries += 1;
                    pause(job, error, tries, held).await?;
                }
            }
        }
    }

    async fn call(&self, connector: &Connector, account: &AccountId, request: Request) -> Result<Got, Tried> {
        self.limit(connector, account).until_ready().await;
        let broken = |reason: String| Tried::Answered(PollError::Broken(reason));
        let method = request.method.parse().map_err(|_| broken(format!("method `{}`", request.method)))?;
        let mut call =
            self.dialer.request(method, &request.url).map_err(|error| broken(error.to_string()))?;
        call = call.header(reqwest::header::USER_AGENT, USER_AGENT);
        for (name, value) in &request.headers {
            call = call.header(name, value);
        }
        if let Some(body) = request.body {
            call = call.body(body);
        }
        let sent = uptime();
        match self.dialer.send(call, self.page_bytes + 1).await {
            Ok((_, body)) if body.len() > self.page_bytes => Err(Tried::Answered(PollError::Broken(
                format!("a page larger than {} bytes (poll.page_bytes)", self.page_bytes),
            ))),
            Ok((parts, body)) => {
                let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
                let date = header("date").and_then(|text| httpdate::parse_http_date(text).ok());
                let took = uptime().saturating_sub(sent);
                let since = date.and_then(|date| date.duration_since(std::time::UNIX_EPOCH).ok());
                Ok(Got {
                    status: parts.status.as_u16(),
                    retry_after: header("retry-after").map(str::to_owned),
                    provider_clock: since.map(|since| Timestamp::from_micros(0).plus(since).minus(took)),
                    body,
                })
            }
            Err(DialError::Refused(refused)) => Err(broken(refused.to_string())),
            Err(error @ (DialError::Timeout | DialError::Failed(_))) => {
                Err(Tried::Unanswered(error.to_string()))
            }
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

/// What polls say that they are.
const USER_AGENT: &str = concat!("tributary/", env!("CARGO_PKG_VERSION"));

/// What came back.
struct Got {
    status: u16,
    retry_after: Option<String>,
    provider_clock: Option<Timestamp>,
    body: Vec<u8>,
}

impl Got {
    fn answer(&self) -> Answer<'_> {
        Answer { status: self.status, retry_after: self.retry_after.as_deref(), body: &self.body }
    }
}

/// Waits before the next try, without a worker, or says why there is none.
async fn pause(job: &Job<'_>, tried: Tried, tries: u32, held: u64) -> Result<(), Broken> {
    let backoff = Duration::from_millis(500) * 2_u32.pow(tries.min(6));
    let (outcome, words, wait) = match tried {
        Tried::Answered(PollError::Unauthorized(status)) => {
            count(job.connector, "unauthorized");
            let words = format!("the provider refuses our credentials (HTTP {status})");
            return Err(Broken::new(Outcome::Unauthorized, words));
        }
        Tried::Answered(PollError::Broken(reason)) => {
            count(job.connector, "broken");
            return Err(Broken::new(Outcome::BadAnswer, reason));
        }
        Tried::Answered(PollError::RateLimited { retry_after: asked }) => {
            count(job.connector, "rate_limited");
            let asked = asked.and_then(|text| retry_after::retry_after(&text, now()));
            (Outcome::Limited, "the provider asks us to wait".to_owned(), asked.unwrap_or(backoff))
        }
        Tried::Answered(PollError::Transient(status)) => {
            count(job.connector, "transient");
            (Outcome::Unreachable, format!("the provider answered HTTP {status}"), backoff)
        }
        Tried::Unanswered(words) => {
            count(job.connector, "unanswered");
            (Outcome::Unreachable, words, backoff)
        }
    };
    let late = job.lasted().saturating_add(wait) > job.lasts;
    if late || wait > KEPT_MOST || (outcome == Outcome::Unreachable && tries >= TRIES) {
        return Err(Broken { outcome, words, wait: Some(wait) });
    }
    let jitter = rand::rng().random_range(0.0..0.2);
    job.place.wait(wait.mul_f64(1.0 + jitter), Whose::Account, held).await;
    Ok(())
}

fn count(connector: &Connector, outcome: &'static str) {
    ::metrics::counter!(metrics::REQUESTS, "provider" => connector.name().to_owned(), "outcome" => outcome)
        .increment(1);
}
