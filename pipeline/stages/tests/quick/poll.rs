//! poll over a broker in the process, against a provider that misbehaves. Nobody harms a neighbour.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tributary_connectors::Catalog;
use tributary_core::poll::{
    cadence::PollState,
    outcome::{Outcome, Standing},
};
use tributary_schemas::{
    codec,
    entity::{Account, AccountStatus, NativeWebhook, Project, Schedule, TopicWish},
    id::AccountId,
    observation::{Ask, Trigger, TriggerReason},
    resource::Resource,
    time::Timestamp,
};
use tributary_stages::{
    dial,
    kafka::Outgoing,
    poll::{Config, Poll},
    secret::{Field, Secret},
};

use crate::world::{World, project};

const PATIENCE: Duration = Duration::from_secs(30);

/// What the provider does to an account, by the first step of its path, and how often it was asked.
#[derive(Clone)]
struct Provider {
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
    /// Told when a request that hangs is given up.
    given_up: mpsc::UnboundedSender<()>,
    url: Arc<str>,
}

struct GivenUp(mpsc::UnboundedSender<()>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Provider {
    async fn serve() -> (Self, mpsc::UnboundedReceiver<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).into();
        let (given_up, told) = mpsc::unbounded_channel();
        let provider = Self { asked: Arc::default(), given_up, url };
        let router = Router::new().route("/{how}/employees", get(list)).with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (provider, told)
    }

    fn asked(&self, how: &str) -> usize {
        self.asked.lock().unwrap().get(how).copied().unwrap_or(0)
    }
}

async fn list(
    State(provider): State<Provider>,
    Path(how): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    assert!(headers["user-agent"].to_str().unwrap().starts_with("tributary/"));
    let times = {
        let mut asked = provider.asked.lock().unwrap();
        let times = asked.entry(how.clone()).or_default();
        *times += 1;
        *times
    };
    let person = |id: Value| json!({"id": id, "first_name": "J", "last_name": "D", "status": "active"});
    let page = |people: Vec<Value>, next: Value| {
        Json(json!({"employees": people, "next_after_id": next})).into_response()
    };
    let well = || page(vec![person(json!(1)), person(json!(2))], Value::Null);
    let cursor = query.get("after_id").map(String::as_str);
    match how.as_str() {
        "hangs" => {
            let _given_up = GivenUp(provider.given_up.clone());
            std::future::pending().await
        }
        "busy" if times == 1 => {
            (http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", "3000")]).into_response()
        }
        "moment" if times == 1 => {
            let in_a_second = std::time::SystemTime::now() + Duration::from_secs(1);
            let moment = in_a_second.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            (http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", moment.to_string())]).into_response()
        }
        // Page 2 fails once: the run goes on there, and page 1 is not read again.
        "halfway" => match (cursor, times) {
            (None, _) => page(vec![person(json!(1))], json!("2")),
            (Some(_), 2) => http::StatusCode::BAD_GATEWAY.into_response(),
            (Some(_), _) => page(vec![person(json!(2))], Value::Null),
        },
        "abab" => page(vec![person(json!(1))], json!(if cursor == Some("a") { "b" } else { "a" })),
        "nameless" => page(vec![person(json!(1)), person(Value::Null)], Value::Null),
        "forbidden" => http::StatusCode::FORBIDDEN.into_response(),
        "refused" => http::StatusCode::UNAUTHORIZED.into_response(),
        "garbage" => "<html>".into_response(),
        "empties" if times > 1 => page(Vec::new(), Value::Null),
        _ => well(),
    }
}

fn config() -> Config {
    let allow = vec!["127.0.0.0/8".parse().unwrap()];
    Config { dial: dial::Config { allow, ..dial::Config::default() }, ..Config::default() }
}

impl World {
    /// A project that wants everything, and poll.
    async fn polled(config: Config) -> (Self, tokio::task::JoinHandle<anyhow::Result<()>>) {
        let world = World::new().await;
        let zero = Timestamp::from_micros(0);
        let wanted = Project {
            id: project(),
            version: 0,
            name: "Acme".into(),
            native_payload: Default::default(),
            id_prefix: "tr1!".into(),
            topics: vec![TopicWish { events: vec!["*".parse().unwrap()], providers: None }],
            suspended_at: None,
            schedules: Vec::new(),
            created_at: zero,
            updated_at: zero,
        };
        world.writer.create(wanted).await.unwrap();
        let (cluster, stores) = (world.cluster.clone(), world.stores.clone());
        let poll =
            Poll::build(config, cluster, stores, Catalog::built_in().unwrap(), world.keys.clone()).unwrap();
        let stage = tokio::spawn(poll.run(world.stop.clone()));
        (world, stage)
    }

    async fn link(&self, id: &str, url: String, like: impl FnOnce(&mut Account)) {
        let id: AccountId = id.parse().unwrap();
        let seal = |field: Field, secret: Secret| self.keys.seal(&field.of(&id), &secret).unwrap();
        let zero = Timestamp::from_micros(0);
        let mut account = Account {
            id: id.clone(),
            project: project(),
            version: 0,
            provider: "demo".parse().unwrap(),
            status: AccountStatus::Active,
            status_reasons: Vec::new(),
            label: None,
            origin_owner_id: None,
            origin_owner_name: None,
            origin_username: None,
            setup: BTreeMap::from([("base_url".to_owned(), url)]),
            credentials: seal(Field::Credentials, Secret::new(r#"{"token":"t"}"#)),
            hash_key: seal(Field::HashKey, Secret::random(32)),
            native: NativeWebhook {
                token_hash: id.to_string(),
                token: seal(Field::NativeToken, Secret::new("t")),
                secrets: Vec::new(),
            },
            told: Default::default(),
            schedules: BTreeMap::new(),
            created_at: zero,
            updated_at: zero,
        };
        like(&mut account);
        self.writer.create(account).await.unwrap();
    }

    async fn state(&self, account: &str) -> Option<PollState> {
        let account = account.parse().unwrap();
        let stored = self.stores.control.poll_state(&account, Resource::HrisEmployees).await.unwrap();
        stored.map(|stored| serde_json::from_slice(&stored.doc).unwrap())
    }

    /// The state of the account's employees once it is so.
    async fn until(&self, account: &str, reached: impl Fn(&PollState) -> bool) -> PollState {
        let end = tokio::time::Instant::now() + PATIENCE;
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            let state = self.state(account).await;
            match state {
                Some(state) if reached(&state) => return state,
                state => assert!(tokio::time::Instant::now() < end, "{account}: {state:?}"),
            }
        }
    }

    async fn standing(&self, account: &str) -> Standing {
        self.until(account, |state| state.standing.is_some()).await.standing.unwrap()
    }

    async fn trigger(&self, account: &str, reason: TriggerReason) {
        let account: AccountId = account.parse().unwrap();
        let found: Account = self.writer.get(&project(), account.as_str()).await.unwrap().unwrap();
        let ask = Ask::Run { resources: Vec::new(), reason };
        let trigger = Trigger { source: found.source(), at: Timestamp::from_micros(0), ask };
        self.send(self.cluster.topics().poll_triggers(), account.as_str(), Some(codec::encode(&trigger)))
            .await;
    }

    async fn send(&self, topic: String, key: &str, payload: Option<Vec<u8>>) {
        let (key, payload) = (key.as_bytes().to_vec().into(), payload.map(Into::into));
        self.publisher.send(Outgoing { topic, key, payload, ..Default::default() }).await.unwrap();
    }

    async fn end(self, stage: tokio::task::JoinHandle<anyhow::Result<()>>) {
        self.stop.cancel();
        stage.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_whose_provider_hangs_do_not_stop_others() {
    let (world, stage) = World::polled(Config { concurrency: 8, per_host: 4, ..config() }).await;
    let ((hanging, _), (well, _)) = (Provider::serve().await, Provider::serve().await);
    for number in 0..40 {
        world.link(&format!("hangs-{number}"), format!("{}/hangs", hanging.url), |_| {}).await;
    }
    // On another host by name, though the same machine.
    let url = format!("{}/well", well.url.replace("127.0.0.1", "localhost"));
    world.link("well", url, |_| {}).await;
    let state = world.until("well", |state| state.full.is_some()).await;
    assert_eq!(state.full.unwrap().records, 2);
    assert!(hanging.asked("hangs") <= 3, "a project's share of a host of 4 is 3: {}", hanging.asked("hangs"));
    world.end(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_absurd_in_a_stored_schedule_harms_nobody() {
    let (world, stage) = World::polled(config()).await;
    let (provider, _) = Provider::serve().await;
    let ten_years = Some(Duration::from_secs(315_360_000));
    world
        .link("absurd", format!("{}/well", provider.url), |account| {
            let schedule = Schedule { interval: ten_years, full_interval: ten_years };
            account.schedules.insert(Resource::HrisEmployees, schedule);
        })
        .await;
    world.until("absurd", |state| state.full.is_some()).await;
    // The timer after its run is set: the next account is polled all the same.
    world.link("next", format!("{}/well", provider.url), |_| {}).await;
    world.until("next", |state| state.full.is_some()).await;
    world.end(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_holds_no_worker_and_a_person_ends_it() {
    let (world, stage) = World::polled(Config { concurrency: 1, ..config() }).await;
    let (provider, _) = Provider::serve().await;
    world.link("busy", format!("{}/busy", provider.url), |_| {}).await;
    let claimed = world.until("busy", |state| state.claimed.0 == 1).await;
    world.link("other", format!("{}/well", provider.url), |_| {}).await;
    world.until("other", |state| state.full.is_some()).await;
    assert_eq!(provider.asked("busy"), 1);
    world.trigger("busy", TriggerReason::RunNow).await;
    let landed = world.until("busy", |state| state.full.is_some()).await;
    assert!(landed.claimed >= claimed.claimed, "{landed:?}");
    assert_eq!(landed.full.unwrap().run.0, 1, "the run went on where it was");
    world.end(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_that_is_a_moment_is_waited_for_and_page_2_stays_page_2() {
    let (world, stage) = World::polled(config()).await;
    let (provider, _) = Provider::serve().await;
    for how in ["moment", "halfway"] {
        world.link(how, format!("{}/{how}", provider.url), |_| {}).await;
    }
    assert_eq!(world.until("moment", |state| state.full.is_some()).await.full.unwrap().run.0, 1);
    assert_eq!(world.until("halfway", |state| state.full.is_some()).await.full.unwrap().records, 2);
    assert_eq!(provider.asked("halfway"), 3, "page 1 once, page 2 twice");
    world.end(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_s_run_is_cancelled() {
    let (world, stage) = World::polled(config()).await;
    let (provider, mut given_up) = Provider::serve().await;
    world.link("hangs", format!("{}/hangs", provider.url), |_| {}).await;
    world.until("hangs", |state| state.claimed.0 == 1).await;
    world.send(world.cluster.topics().control_accounts(), "hangs", None).await;
    tokio::time::timeout(PATIENCE, given_up.recv()).await.expect("its request is given up at once");
    world.end(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_does_not_land_says_why_and_what_to_do() {
    let (world, stage) = World::polled(config()).await;
    let (provider, _) = Provider::serve().await;
    let closed = { tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    for how in ["abab", "nameless", "forbidden", "refused", "garbage"] {
        world.link(how, format!("{}/{how}", provider.url), |_| {}).await;
    }
    world.link("closed", format!("http://{closed}"), |_| {}).await;
    for (account, outcome, words) in [
        ("abab", Outcome::Endless, "a cursor came that was seen before"),
        ("nameless", Outcome::Partial, "a record without an id"),
        ("forbidden", Outcome::Forbidden, "HTTP 403"),
        ("refused", Outcome::Unauthorized, "HTTP 401"),
        ("garbage", Outcome::BadAnswer, "not JSON"),
        ("closed", Outcome::Unreachable, "refused"),
    ] {
        let standing = world.standing(account).await;
        let said = standing.words.unwrap_or_default();
        assert_eq!((standing.outcome, standing.times), (outcome, 1), "{account}: {said}");
        assert!(said.contains(words), "{account}: {said}");
        let found: Account = world.writer.get(&project(), account).await.unwrap().unwrap();
        let expected = if account == "refused" { AccountStatus::Error } else { AccountStatus::Active };
        assert_eq!(found.status, expected, "{account}");
    }
    world.end(stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_can_t_be_carried_out_is_set_aside() {
    let (world, stage) = World::polled(config()).await;
    let (provider, _) = Provider::serve().await;
    world.link("well", format!("{}/well", provider.url), |_| {}).await;
    let first = world.until("well", |state| state.full.is_some()).await.full.unwrap();
    let triggers = world.cluster.topics().poll_triggers();
    for key in ["well", "nobody"] {
        world.send(triggers.clone(), key, Some(b"\xffnonsense".to_vec())).await;
    }
    world.trigger("well", TriggerReason::ListNow).await;
    world.until("well", |state| state.full.is_some_and(|full| full.run > first.run)).await;
    world.end(stage).await;
}
