//! An account of a row: linked, logged in, and run through the engine over HTTP.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tributary_connectors::{
    definition::auth::Purpose,
    engine::{
        auth::{AuthError, Consent, Credentials, Session, Step, Tokens},
        connector::Connector,
        listing::{Ended, Most, Next, RunScope},
        outcome::Answer,
        projection::Keyed,
        request::Request,
        run::{Asked, Digests, Keep, Run as EngineRun},
    },
};
use tributary_providers::{Row, Sim, Tenant, at_simulator};
use tributary_schemas::{resource::Resource, time::Timestamp};

use crate::book::{Book, Run};

/// Requests of a run at the most: one that goes on beyond has no end.
const REQUESTS_MOST: u32 = 400;
const CONSENT: Consent<'_> = Consent {
    redirect: "https://tributary.example/connect/callback",
    state: "state",
    verifier: "a-verifier-that-nobody-can-guess-of-forty-three-letters",
};

pub(crate) struct Account {
    pub(crate) row: &'static Row,
    pub(crate) sim: Sim,
    pub(crate) tenant: Tenant,
    pub(crate) connector: Arc<Connector>,
    credentials: Credentials,
    tokens: Tokens,
    pub(crate) books: BTreeMap<Resource, Book>,
    /// How far the tenant's clock has gone ahead of ours.
    ahead: Duration,
}

impl Account {
    pub(crate) async fn link(sim: &Sim, row: &'static Row, name: &str) -> Self {
        let tenant = sim.tenant(row, name).await.unwrap();
        let text = at_simulator(row, &tenant).unwrap();
        let connector = Connector::read(row.provider, &text).unwrap_or_else(|error| panic!("{error}"));
        let mut setup = BTreeMap::new();
        for (field, value) in row.setup {
            let mut value = (*value).to_owned();
            for (credential, given) in tenant.credentials.as_object().into_iter().flatten() {
                value = value.replace(&format!("{{{credential}}}"), given.as_str().unwrap_or_default());
            }
            let value = value.replace("{base}", &tenant.base).replace("{tenant}", &tenant.name);
            setup.insert((*field).to_owned(), value);
        }
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let app = [
            ("client_id", "client_id"),
            ("client_secret", "client_secret"),
            ("app_id", "id"),
            ("developer_key", "developer_key"),
        ];
        // A tenant of its own app has the app's id and secret among its credentials.
        let given = |theirs: &str| tenant.credentials.get(theirs).unwrap_or(&tenant.app[theirs]);
        let app = app.iter().map(|(ours, theirs)| ((*ours).to_owned(), text(given(theirs)))).collect();
        let credentials =
            connector.credentials(&setup, &app).unwrap_or_else(|it| panic!("{}: {it}", row.provider));
        let books = connector.resources().map(|resource| (resource.name(), Book::default())).collect();
        Self {
            row,
            sim: sim.clone(),
            tenant,
            connector: Arc::new(connector),
            credentials,
            tokens: Tokens::default(),
            books,
            ahead: Duration::ZERO,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + self.ahead;
        Timestamp::from_micros(i64::try_from(now.as_micros()).unwrap())
    }

    /// Runs a resource, and takes over what it found. Full unless it has a position and tells its changes.
    pub(crate) async fn poll(&mut self, resource: Resource, full: bool) -> (Run, Vec<String>) {
        let position = self.books[&resource].position.clone().filter(|_| !full);
        let position = position.filter(|_| self.connector.tells_changes(resource, &self.credentials));
        let scope = position.map_or(RunScope::Full, RunScope::Changes);
        let run = self.run(resource, scope).await;
        let told = self.books.get_mut(&resource).unwrap().land(&run);
        (run, told.into_iter().map(|told| format!("{resource} {told}")).collect())
    }

    async fn run(&mut self, resource: Resource, scope: RunScope) -> Run {
        let most = Most { pages: 200, held: 8 << 20 };
        let full = scope == RunScope::Full;
        let asked = Asked { resource, scope, credentials: &self.credentials, most, begun: self.now() };
        let keep = Keep::Records { id_prefix: "tr1!".into() };
        let digests = Digests { key: Keyed::new(b"suite"), ignored: Vec::new(), keep };
        let mut run = EngineRun::begin(&self.connector, asked, digests).unwrap();
        let (mut requests, mut found) = (0, Vec::new());
        let ended = loop {
            match run.next() {
                Next::Authorize(refused) => match self.session(refused.as_ref()).await {
                    Ok(session) => run.authorize(session),
                    Err(words) => run.unauthorized(words),
                },
                Next::Wait(wait) => self.pass(wait).await,
                Next::Done(ended) => break ended,
                Next::Request(request) => {
                    requests += 1;
                    assert!(requests < REQUESTS_MOST, "{}: {resource} does not end", self.row.provider);
                    match self.send(&request).await {
                        Ok((status, headers, body)) => {
                            run.answer(Answer { status, headers: &headers, body: &body }, self.now());
                        }
                        Err(why) => run.unanswered(&why),
                    }
                }
            }
            found.extend(run.take());
        };
        found.extend(run.take());
        if let Ended::Failed(failure) = &ended {
            // No value of a record, and something to go by.
            assert!(failure.words.len() > 5, "{failure:?}");
        }
        let troubles = run.troubles().map(|(words, _)| words.to_owned()).collect();
        Run { found, troubles, ended, full }
    }

    /// Time passes, at the provider's clock and ours.
    async fn pass(&mut self, wait: Duration) {
        let seconds = wait.as_secs() + 1;
        self.ahead += Duration::from_secs(seconds);
        let path = self.tenant.path("advance");
        self.sim.control("POST", &path, &json!({ "seconds": seconds })).await.unwrap();
    }

    async fn session(&mut self, refused: Option<&Session>) -> Result<Session, String> {
        for _ in 0..4 {
            match self.connector.step(Purpose::List, &self.credentials, &self.tokens, refused, self.now()) {
                Ok(Step::Use(session)) => return Ok(session),
                Ok(Step::Ask(request)) => {
                    let (status, headers, body) = self.send(&request).await?;
                    let answer = Answer { status, headers: &headers, body: &body };
                    let (connector, now) = (Arc::clone(&self.connector), self.now());
                    connector
                        .answered(Purpose::List, &self.credentials, &mut self.tokens, answer, now)
                        .map_err(|error| error.to_string())?;
                }
                Err(AuthError::Unconnected) => self.consent().await?,
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("logging in goes round in circles".into())
    }

    /// A person agrees: the consent page sends back with a code, which is exchanged.
    async fn consent(&mut self) -> Result<(), String> {
        let url = self.connector.consent_url(&self.credentials, &CONSENT).map_err(|it| it.to_string())?;
        let page = self.sim.client().get(url).send().await.map_err(|it| it.to_string())?;
        let back = page.headers().get("location").and_then(|it| it.to_str().ok()).ok_or("no way back")?;
        let back = url::Url::parse(back).map_err(|it| it.to_string())?;
        let code = back.query_pairs().find(|(name, _)| name == "code").ok_or("no code")?.1.into_owned();
        let request =
            self.connector.exchange(&self.credentials, &code, &CONSENT).map_err(|it| it.to_string())?;
        let (status, headers, body) = self.send(&request).await?;
        let answer = Answer { status, headers: &headers, body: &body };
        let (connector, now) = (Arc::clone(&self.connector), self.now());
        connector.connected(&self.credentials, &mut self.tokens, answer, now).map_err(|it| it.to_string())
    }

    async fn send(&self, request: &Request) -> Result<(u16, Vec<(String, String)>, Vec<u8>), String> {
        let method = request.method.parse::<reqwest::Method>().map_err(|it| it.to_string())?;
        // A path from the root of its host is one from the root of its place here.
        let (mut url, home) = (request.url.clone(), format!("/{}", self.tenant.path("")));
        if !url.path().starts_with(&home) {
            url.set_path(&format!("{}{}", home.trim_end_matches('/'), request.url.path()));
        }
        let mut made = self.sim.client().request(method, url);
        for (name, value) in &request.headers {
            made = made.header(name, value);
        }
        if let Some(body) = &request.body {
            made = made.body(body.clone());
        }
        let answer = made.send().await.map_err(|_| "no answer".to_owned())?;
        let status = answer.status().as_u16();
        let headers = answer.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
        let headers = headers.collect();
        let body = answer.bytes().await.map_err(|_| "the body broke off".to_owned())?;
        Ok((status, headers, body.to_vec()))
    }
}
