//! Talking to a provider: what a run asks for is sent, what comes back is told to it, and it waits when it is asked to.
//!
//! What logging in gave is kept in this process alone, by account, until the account changes or the provider refuses it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::Rng;
use tributary_connectors::{
    definition::{auth::Purpose, errors::Means, limits::LimitOf},
    engine::{
        auth::{AuthError, Credentials, Session, Step, Tokens},
        connector::Connector,
        limits::Budget,
        listing::{Complete, Ended, Failure, FailureKind, Next},
        outcome::{Answer, Refusal},
        request::Request,
        run::{self, Sighting},
    },
};
use tributary_core::poll::{listing::Checked, outcome::Outcome, scheduler::Whose};
use tributary_schemas::id::{AccountId, ProjectId};

use super::{metrics, run::Job};
use crate::{
    clock::now,
    dial::{DialError, Dialer},
};

/// Tries of one request for a token that gets no answer, before its run fails.
const TRIES: u32 = 5;
/// The longest wait for which a run keeps its place; for a longer one it ends, and begins anew.
const KEPT_MOST: Duration = Duration::from_secs(3_600);
/// A wait shorter than this keeps its worker: giving it back would cost more.
const SHORT: Duration = Duration::from_millis(250);
/// What polls say that they are.
const USER_AGENT: &str = concat!("tributary/", env!("CARGO_PKG_VERSION"));

/// Why a run broke off: one of the outcomes, in words that hold no value of a record.
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

    fn endless() -> Self {
        Self::new(Outcome::Endless, "the listing takes longer than a run may (poll.run_seconds)")
    }
}

impl From<Failure> for Broken {
    fn from(Failure { kind, words, wait }: Failure) -> Self {
        let outcome = match kind {
            FailureKind::Unauthorized => Outcome::Unauthorized,
            FailureKind::Forbidden => Outcome::Forbidden,
            FailureKind::Limited => Outcome::Limited,
            FailureKind::Unreachable | FailureKind::Restart | FailureKind::Expired => Outcome::Unreachable,
            FailureKind::BadAnswer => Outcome::BadAnswer,
            FailureKind::Endless => Outcome::Endless,
            FailureKind::TooLarge => Outcome::TooLarge,
        };
        Self { outcome, words, wait }
    }
}

/// What a run came to.
pub(super) enum Turn {
    /// It was told of these.
    Told(Vec<Sighting>),
    /// Every listing in it ended properly.
    Complete(Complete),
    /// The position is not kept any more.
    Expired(String),
}

/// A run, and what it wants next where that is known already.
pub(super) struct Driven {
    run: run::Run,
    next: Option<Next>,
}

impl Driven {
    pub(super) fn new(run: run::Run) -> Self {
        Self { run, next: None }
    }

    pub(super) fn run(&self) -> &run::Run {
        &self.run
    }
}

/// What is kept of an account between requests.
#[derive(Default)]
struct Talks {
    tokens: tokio::sync::Mutex<Tokens>,
    budget: Mutex<Budget>,
}

/// What talking to providers needs: one for the process.
pub(super) struct Caller {
    dialer: Dialer,
    page_bytes: usize,
    /// The longest that any request may take, whatever the definition says.
    deadline: Duration,
    accounts: Mutex<HashMap<AccountId, Arc<Talks>>>,
    /// What the accounts of a project at a provider share.
    apps: Mutex<HashMap<(ProjectId, String), Arc<Talks>>>,
}

impl Caller {
    pub(super) fn new(dialer: Dialer, page_bytes: usize, deadline: Duration) -> Self {
        Self { dialer, page_bytes, deadline, accounts: Mutex::default(), apps: Mutex::default() }
    }

    /// Goes on with a run until it has been told of records, or is over. What it keeps in memory meanwhile is `held`.
    pub(super) async fn turn(&self, job: &Job<'_>, driven: &mut Driven, held: u64) -> Result<Turn, Broken> {
        loop {
            let run = &mut driven.run;
            let next = driven.next.take().unwrap_or_else(|| run.next());
            let told = run.take();
            if !told.is_empty() {
                driven.next = Some(next);
                return Ok(Turn::Told(told));
            }
            match next {
                Next::Done(Ended::Complete(complete)) => return Ok(Turn::Complete(complete)),
                Next::Done(Ended::Failed(Failure { kind: FailureKind::Expired, words, .. })) => {
                    return Ok(Turn::Expired(words));
                }
                Next::Done(Ended::Failed(failure)) => return Err(failure.into()),
                _ if job.lasted() >= job.lasts => return Err(Broken::endless()),
                Next::Wait(wait) => {
                    wait_for(job, "the provider asks us to wait", wait, Whose::Account, held).await?;
                }
                Next::Authorize(refused) => match self.session(job, refused.as_ref(), held).await? {
                    Ok(session) => run.authorize(session),
                    Err(words) => run.unauthorized(words),
                },
                Next::Request(request) => match self.send(job, request, held).await? {
                    Ok(got) => run.answer(got.answer(), now()),
                    Err(words) => run.unanswered(&words),
                },
            }
        }
    }

    /// Whether the definition's `check` passes now.
    pub(super) async fn check(&self, job: &Job<'_>, held: u64) -> Result<Checked, Broken> {
        let Ok(session) = self.session(job, None, held).await? else { return Ok(Checked::No) };
        let Some(request) = job.connector.check(&job.credentials, &session) else { return Ok(Checked::No) };
        let Ok(request) = request else { return Ok(Checked::No) };
        Ok(match self.send(job, request, held).await? {
            Ok(got) if job.connector.checked(&job.credentials, got.answer(), now()).is_ok() => {
                Checked::Passed
            }
            Ok(_) | Err(_) => Checked::No,
        })
    }

    /// The account's session; why it can't log in, in words. One request for a token at a time.
    async fn session(
        &self,
        job: &Job<'_>,
        refused: Option<&Session>,
        held: u64,
    ) -> Result<Result<Session, String>, Broken> {
        let talks = self.talks(&job.account.id);
        let (connector, credentials) = (&job.connector, &job.credentials);
        let mut tries = 0;
        loop {
            let mut tokens = talks.tokens.lock().await;
            let request = match connector.step(Purpose::List, credentials, &tokens, refused, now()) {
                Ok(Step::Use(session)) => return Ok(Ok(session)),
                Ok(Step::Ask(request)) => request,
                Err(error) => return refusal(error),
            };
            // The lock is kept over the request, and no longer: a wait gives the worker back.
            let answered = self.send(job, request, held).await?;
            tries += 1;
            let wait = match answered {
                Ok(got) => {
                    match connector.answered(Purpose::List, credentials, &mut tokens, got.answer(), now()) {
                        Ok(()) => continue,
                        Err(AuthError::Later(Refusal { wait: Some(wait), .. })) => wait,
                        Err(AuthError::Later(_)) if tries < TRIES => backoff(tries),
                        Err(error) => return refusal(error),
                    }
                }
                Err(_) if tries < TRIES => backoff(tries),
                Err(words) => {
                    let words = format!("logging in: the provider does not answer: {words}");
                    return Err(Broken::new(Outcome::Unreachable, words));
                }
            };
            drop(tokens);
            wait_for(job, "the provider asks us to wait before we log in", wait, Whose::Account, held)
                .await?;
        }
    }

    /// Sends a request within the limits; what has no answer is said in words.
    async fn send(&self, job: &Job<'_>, request: Request, held: u64) -> Result<Result<Got, String>, Broken> {
        let path = request.url.path().to_owned();
        let spent = self.spend(job, &path, held).await?;
        let broken = |words: String| Broken::new(Outcome::BadAnswer, words);
        let method = request.method.parse().map_err(|_| broken(format!("method `{}`", request.method)))?;
        let call = self.dialer.request(method, request.url.as_str()).map_err(|it| broken(it.to_string()))?;
        let mut call =
            call.timeout(request.timeout.min(self.deadline)).header(reqwest::header::USER_AGENT, USER_AGENT);
        for (name, value) in &request.headers {
            call = call.header(name, value);
        }
        if let Some(body) = request.body {
            call = call.body(body);
        }
        match self.dialer.send(call, self.page_bytes + 1).await {
            Ok((_, body)) if body.len() > self.page_bytes => {
                count(&job.connector, "broken");
                let words = format!("a page larger than {} bytes (poll.page_bytes)", self.page_bytes);
                Err(Broken::new(Outcome::TooLarge, words))
            }
            Ok((parts, body)) => {
                let headers = parts.headers.iter().filter_map(|(name, value)| {
                    Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
                });
                let got = Got { status: parts.status.as_u16(), headers: headers.collect(), body };
                spent.answered(got.answer());
                count(&job.connector, got.label());
                Ok(Ok(got))
            }
            Err(DialError::Refused(refused)) => {
                count(&job.connector, "broken");
                Err(broken(refused.to_string()))
            }
            Err(error @ (DialError::Timeout | DialError::Failed(_))) => {
                count(&job.connector, "unanswered");
                Ok(Err(error.to_string()))
            }
        }
    }

    /// Takes a request from what the account and its project may ask, once there is room for it.
    async fn spend(&self, job: &Job<'_>, path: &str, held: u64) -> Result<Spent, Broken> {
        let account = self.talks(&job.account.id);
        let app = job.connector.limits().has_apps().then(|| self.app(job));
        let shares = std::iter::once((LimitOf::Account, Whose::Account, account))
            .chain(app.map(|app| (LimitOf::App, Whose::Shared, app)));
        let mut spent = Spent { connector: job.connector.clone(), path: path.to_owned(), of: Vec::new() };
        for (of, whose, talks) in shares {
            loop {
                let room = job.connector.limits().spend(&mut talks.budget(), of, path, now());
                match room {
                    Ok(()) => break,
                    Err(wait) if wait <= SHORT => tokio::time::sleep(wait).await,
                    Err(wait) => {
                        wait_for(job, "the provider's limit is reached", wait, whose, held).await?;
                    }
                }
            }
            spent.of.push((of, talks));
        }
        Ok(spent)
    }

    fn talks(&self, account: &AccountId) -> Arc<Talks> {
        lock(&self.accounts).entry(account.clone()).or_default().clone()
    }

    fn app(&self, job: &Job<'_>) -> Arc<Talks> {
        let key = (job.account.project.clone(), job.connector.name().to_owned());
        lock(&self.apps).entry(key).or_default().clone()
    }

    /// Forgets what logging in gave: the account's credentials changed, or it was deleted.
    pub(super) fn forget_session(&self, account: &AccountId) {
        lock(&self.accounts).remove(account);
    }
}

impl Talks {
    fn budget(&self) -> MutexGuard<'_, Budget> {
        lock(&self.budget)
    }
}

/// A request that was taken from what may be asked. When it is dropped it is over, however it ended.
struct Spent {
    connector: Arc<Connector>,
    path: String,
    of: Vec<(LimitOf, Arc<Talks>)>,
}

impl Spent {
    fn answered(mut self, answer: Answer<'_>) {
        self.settle(Some(answer));
    }

    fn settle(&mut self, answer: Option<Answer<'_>>) {
        for (of, talks) in self.of.drain(..) {
            self.connector.limits().answered(&mut talks.budget(), of, &self.path, answer, now());
        }
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        self.settle(None);
    }
}

/// What came back.
struct Got {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Got {
    fn answer(&self) -> Answer<'_> {
        Answer { status: self.status, headers: &self.headers, body: &self.body }
    }

    fn label(&self) -> &'static str {
        match self.status {
            200..=299 | 304 => "ok",
            401 => "unauthorized",
            403 => "forbidden",
            429 => "rate_limited",
            408 | 425 | 500..=599 => "transient",
            _ => "broken",
        }
    }
}

/// Why one can't log in: the account's words, or why the run ends.
fn refusal(error: AuthError) -> Result<Result<Session, String>, Broken> {
    let words = format!("logging in: {error}");
    match error {
        // An answer that is no answer to a login says nothing of the credentials.
        AuthError::Refused(Refusal { means: Means::Bad, status: 200..=299, .. })
        | AuthError::Refused(Refusal { means: Means::Gone, .. })
        | AuthError::Unmade(_) => Err(Broken::new(Outcome::BadAnswer, words)),
        AuthError::Refused(_) | AuthError::Incomplete(_) | AuthError::Unconnected => Ok(Err(words)),
        AuthError::Later(Refusal { wait, .. }) => Err(Broken { outcome: Outcome::Unreachable, words, wait }),
    }
}

/// Waits without a worker, or says why the run ends instead.
async fn wait_for(job: &Job<'_>, words: &str, wait: Duration, whose: Whose, held: u64) -> Result<(), Broken> {
    let late = job.lasted().saturating_add(wait) > job.lasts;
    if late || wait > KEPT_MOST {
        return Err(Broken { outcome: Outcome::Limited, words: words.to_owned(), wait: Some(wait) });
    }
    let jitter = rand::rng().random_range(0.0..0.2);
    job.place.wait(wait.mul_f64(1.0 + jitter), whose, held).await;
    Ok(())
}

fn backoff(tries: u32) -> Duration {
    Duration::from_millis(500) * 2_u32.pow(tries.min(6))
}

fn count(connector: &Connector, outcome: &'static str) {
    ::metrics::counter!(metrics::REQUESTS, "provider" => connector.name().to_owned(), "outcome" => outcome)
        .increment(1);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The set-up as requests need it.
pub(super) fn credentials(
    connector: &Connector,
    setup: &std::collections::BTreeMap<String, String>,
) -> Result<Credentials, Broken> {
    // A field that the definition has no more is no reason to stop.
    let known = |name: &str| connector.definition().setup.get(name).is_some();
    let setup = setup.iter().filter(|(name, _)| known(name));
    let setup = setup.map(|(name, value)| (name.clone(), value.clone())).collect();
    connector
        .credentials(&setup, &std::collections::BTreeMap::new())
        .map_err(|problem| Broken::new(Outcome::BadAnswer, format!("the account's set-up: {problem}")))
}
