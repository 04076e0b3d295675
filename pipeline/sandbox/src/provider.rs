//! The demo provider: a small HR system of its own, that hires, edits and dismisses people, and now and then sends a
//! webhook about an employment. `connectors/definitions/demo` describes it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::Context;
use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    routing::get,
};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio_util::sync::CancellationToken;

/// The provider's API token.
pub const TOKEN: &str = "demo-token";

#[derive(Debug, Clone, Serialize)]
struct Employee {
    id: u64,
    first_name: &'static str,
    last_name: &'static str,
    work_email: String,
    job_title: &'static str,
    department: &'static str,
    status: &'static str,
    start_date: &'static str,
    updated_at: jiff::Timestamp,
}

const FIRST: [&str; 8] = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia", "Leslie"];
const LAST: [&str; 7] = ["King", "Hopper", "Turing", "Dijkstra", "Liskov", "Knuth", "Perlman"];
const TITLES: [&str; 5] = ["Engineer", "Senior Engineer", "Designer", "Team Lead", "Analyst"];
const DEPARTMENTS: [&str; 3] = ["Product", "Research", "Operations"];

/// People who work there when the account is linked: the baseline, which is silent.
const AT_FIRST: u64 = 6;

/// The provider.
#[derive(Clone, Default)]
pub struct Provider {
    people: Arc<Mutex<People>>,
}

#[derive(Default)]
struct People {
    employees: BTreeMap<u64, Employee>,
    hired: u64,
    steps: u64,
    webhook: Option<Webhook>,
    employments: u64,
}

/// Where the provider sends its webhooks, once somebody has registered it.
#[derive(Debug, Clone)]
struct Webhook {
    url: String,
    secret: String,
}

#[derive(Debug, Deserialize)]
struct Listing {
    after_id: Option<u64>,
    limit: Option<usize>,
    updated_since: Option<jiff::Timestamp>,
}

impl Provider {
    /// Opens the doors, with a few people in the house.
    pub fn open() -> Self {
        let provider = Self::default();
        (0..AT_FIRST).for_each(|_| provider.people().hire());
        provider
    }

    /// Serves its API until told to stop.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn serve(self, listen: SocketAddr, shutdown: CancellationToken) -> anyhow::Result<()> {
        let listener = tokio::net::TcpListener::bind(listen)
            .await
            .with_context(|| format!("the demo provider's port {listen} is taken"))?;
        let router = Router::new().route("/employees", get(list)).with_state(self);
        axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await?;
        Ok(())
    }

    /// Registers the URL for its webhooks, as a person would by hand.
    pub fn register(&self, url: &str, secret: &str) {
        self.people().webhook = Some(Webhook { url: url.to_owned(), secret: secret.to_owned() });
    }

    /// Lives: every `pace` somebody is hired, edited or dismissed; every fourth step tells a webhook.
    pub async fn live(self, pace: Duration, shutdown: CancellationToken) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let mut tick = tokio::time::interval(pace);
        while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
            let told = self.people().step();
            if let Some((webhook, body)) = told {
                let body = body.to_string();
                let signature = sign(&webhook.secret, body.as_bytes());
                let request = client
                    .post(&webhook.url)
                    .header("content-type", "application/json")
                    .header("x-demo-signature", format!("sha256={signature}"))
                    .body(body);
                if let Err(error) = request.send().await {
                    tracing::warn!(%error, "the demo provider's webhook did not arrive");
                }
            }
        }
        Ok(())
    }

    fn people(&self) -> MutexGuard<'_, People> {
        self.people.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl People {
    /// The next step of the story: hire, edit, edit, dismiss, and again.
    fn step(&mut self) -> Option<(Webhook, Value)> {
        self.steps += 1;
        match self.steps % 4 {
            1 => self.hire(),
            3 if self.employees.len() as u64 > AT_FIRST => self.dismiss(),
            _ => self.edit(),
        }
        (self.steps.is_multiple_of(4)).then(|| self.tell()).flatten()
    }

    fn hire(&mut self) {
        self.hired += 1;
        let (id, at) = (self.hired, self.hired as usize);
        let (first_name, last_name) = (FIRST[at % FIRST.len()], LAST[at % LAST.len()]);
        let employee = Employee {
            id,
            first_name,
            last_name,
            work_email: format!(
                "{}.{}{id}@demo.example",
                first_name.to_lowercase(),
                last_name.to_lowercase()
            ),
            job_title: TITLES[0],
            department: DEPARTMENTS[at % DEPARTMENTS.len()],
            status: "active",
            start_date: "2026-01-01",
            updated_at: jiff::Timestamp::now(),
        };
        self.employees.insert(id, employee);
    }

    fn edit(&mut self) {
        let steps = self.steps as usize;
        let count = self.employees.len().max(1);
        if let Some(employee) = self.employees.values_mut().nth(steps % count) {
            let at = TITLES.iter().position(|title| *title == employee.job_title).unwrap_or(0);
            employee.job_title = TITLES[(at + 1) % TITLES.len()];
            employee.updated_at = jiff::Timestamp::now();
        }
    }

    fn dismiss(&mut self) {
        if let Some(first) = self.employees.keys().next().copied() {
            self.employees.remove(&first);
        }
    }

    fn tell(&mut self) -> Option<(Webhook, Value)> {
        let webhook = self.webhook.clone()?;
        self.employments += 1;
        let number = self.employments;
        let kind = match number % 3 {
            1 => "created",
            2 => "updated",
            _ => "deleted",
        };
        let body = json!({
            "id": format!("evt-{number}"),
            "type": format!("employment.{kind}"),
            "occurred_at": jiff::Timestamp::now().to_string(),
            "employment": {
                "id": number.div_ceil(3), "employee_id": self.hired, "job_title": TITLES[0], "pay_rate": "5000",
                "effective_date": "2026-01-01",
            },
        });
        Some((webhook, body))
    }
}

async fn list(
    State(provider): State<Provider>,
    Query(listing): Query<Listing>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let authorized =
        headers.get("authorization").is_some_and(|it| it.as_bytes() == format!("Bearer {TOKEN}").as_bytes());
    if !authorized {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let limit = listing.limit.unwrap_or(100).min(100);
    let people = provider.people();
    let after = listing.after_id.map_or(0, |id| id + 1);
    let changed = |it: &&Employee| listing.updated_since.is_none_or(|since| it.updated_at >= since);
    let page: Vec<&Employee> =
        people.employees.range(after..).map(|(_, it)| it).filter(changed).take(limit).collect();
    let next = (page.len() == limit).then(|| page.last().map(|it| it.id)).flatten();
    Ok(Json(json!({ "employees": page, "next_after_id": next })))
}

fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    mac.finalize().into_bytes().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
