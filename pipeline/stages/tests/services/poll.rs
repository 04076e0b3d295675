//! poll and unify together, against a provider of the test's own.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    routing::get,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tributary_connectors::Catalog;
use tributary_core::{
    cells::{Cell, Want},
    poll::{cadence::PollState, outcome::Outcome},
};
use tributary_schemas::{
    codec,
    entity::{Account, AccountStatus, Project, TopicWish},
    id::AccountId,
    observation::{Ask, NativePayload, Trigger, TriggerReason},
    resource::Resource,
    state::Bucket,
    time::Timestamp,
};
use tributary_stages::{
    control::create_project,
    dial,
    entity::Writer,
    kafka::{LogReader, Outgoing},
    poll::{Config, Poll},
    secret::KeyRing,
};

use crate::deployment::{Deployment, PATIENCE, Running, account, unique};

/// Speaks as `connectors/definitions/demo` says.
#[derive(Clone, Default)]
struct Provider {
    employees: Arc<Mutex<BTreeMap<u64, String>>>,
    broken_after: Arc<Mutex<Option<u64>>>,
    refused: Arc<Mutex<bool>>,
    asked: Arc<AtomicU64>,
}

impl Provider {
    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/employees", get(list)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }

    /// Until nobody has asked for three intervals.
    async fn quiet(&self) {
        let begun = Instant::now();
        loop {
            let before = self.asked.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(3)).await;
            if self.asked.load(Ordering::Relaxed) == before {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "it is asked on and on");
        }
    }

    fn employ(&self, ids: impl IntoIterator<Item = u64>, name: &str) {
        self.employees.lock().unwrap().extend(ids.into_iter().map(|id| (id, name.to_owned())));
    }
}

async fn list(
    State(provider): State<Provider>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, StatusCode> {
    provider.asked.fetch_add(1, Ordering::Relaxed);
    if *provider.refused.lock().unwrap() {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<u64>().ok());
    let (after, limit) = (number("after_id").unwrap_or(0), number("limit").unwrap() as usize);
    if query.contains_key("updated_since") {
        // Nothing has ever changed: only full scans see anything.
        return Ok(Json(json!({"employees": [], "next_after_id": null})));
    }
    if provider.broken_after.lock().unwrap().is_some_and(|last| after >= last) {
        return Err(StatusCode::NOT_IMPLEMENTED);
    }
    let employees = provider.employees.lock().unwrap();
    let page: Vec<Value> = employees
        .range(after + 1..)
        .take(limit)
        .map(|(id, name)| json!({"id": id, "first_name": name, "last_name": "Doe", "work_email": format!("{name}@x.example"), "status": "active"}))
        .collect();
    let next = (page.len() == limit).then(|| page.last().unwrap()["id"].clone());
    Ok(Json(json!({"employees": page, "next_after_id": next})))
}

struct World {
    deployment: Deployment,
    provider: Provider,
    writer: Writer,
    keys: Arc<KeyRing>,
    project: Project,
}

impl World {
    async fn new(name: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let deployment = Deployment::new(name).await;
        let writer = deployment.writer();
        let project = create_project(&writer, &*deployment.stores.control, name).await.unwrap().project;
        let keys = Arc::new(KeyRing::parse(&KeyRing::generate()).unwrap());
        Self { deployment, provider: Provider::default(), writer, keys, project }
    }

    fn poll(&self) -> Running {
        let config = Config {
            test_interval_ms: Some(500),
            test_full_interval_ms: Some(1_000),
            dial: dial::Config { allow: vec!["127.0.0.0/8".parse().unwrap()], ..Default::default() },
            ..Config::default()
        };
        let (cluster, stores) = (self.deployment.cluster.clone(), self.deployment.stores.clone());
        let poll =
            Poll::build(config, cluster, stores, Catalog::built_in().unwrap(), self.keys.clone()).unwrap();
        let stop = CancellationToken::new();
        Running::new(tokio::spawn(poll.run(stop.clone())), stop)
    }

    /// Events on the topics without any webhook.
    async fn wish(&self) {
        let wish = TopicWish { events: vec!["*".parse().unwrap()], providers: None };
        let apply = |project: &mut Project| {
            project.topics = vec![wish.clone()];
            Ok::<_, tributary_stages::entity::WriteError>(())
        };
        self.writer.update(&self.project.id, self.project.id.as_str(), apply).await.unwrap();
    }

    async fn link(&self) -> AccountId {
        let url = self.provider.serve().await;
        let id: AccountId = unique("a").parse().unwrap();
        let account = account(&id, &self.project.id, &self.keys, url);
        assert_eq!(self.project.native_payload, NativePayload::Full);
        self.writer.create(account).await.unwrap();
        id
    }

    async fn state(&self, account: &AccountId) -> Option<PollState> {
        let stored =
            self.deployment.stores.control.poll_state(account, Resource::HrisEmployees).await.unwrap();
        stored.map(|stored| serde_json::from_slice(&stored.doc).unwrap())
    }

    /// Waits until the state of the account's employees is so.
    async fn until(
        &self,
        account: &AccountId,
        what: &str,
        reached: impl Fn(&PollState) -> bool,
    ) -> PollState {
        let begun = Instant::now();
        loop {
            if let Some(state) = self.state(account).await
                && reached(&state)
            {
                return state;
            }
            assert!(begun.elapsed() < 3 * PATIENCE, "{what}: {:?}", self.state(account).await);
        }
    }

    async fn suspended_at(&self, at: Option<Timestamp>) {
        let apply = |project: &mut Project| {
            project.suspended_at = at;
            Ok::<_, tributary_stages::entity::WriteError>(())
        };
        self.writer.update(&self.project.id, self.project.id.as_str(), apply).await.unwrap();
    }

    /// A person confirms that what is absent is gone.
    async fn release(&self, account: &AccountId) {
        let found: Account = self.writer.get(&self.project.id, account.as_str()).await.unwrap().unwrap();
        let ask = Ask::Run { resources: Vec::new(), reason: TriggerReason::Release };
        let trigger = Trigger { source: found.source(), at: Timestamp::from_micros(0), ask };
        let record = Outgoing {
            topic: self.deployment.cluster.topics().poll_triggers(),
            key: account.as_str().as_bytes().to_vec().into(),
            payload: Some(codec::encode(&trigger).into()),
            ..Outgoing::default()
        };
        self.deployment.publisher.send(record).await.unwrap();
    }

    /// Everything that is known of the account's employees, record by record.
    async fn known(&self, account: &AccountId) -> Vec<Cell> {
        let ranges = self.deployment.stores.state.ranges(account, Resource::HrisEmployees).await.unwrap();
        let bucket = |(bits, range, _): &(_, u32, _)| {
            Want::Slice(Bucket {
                account: account.clone(),
                resource: Resource::HrisEmployees,
                bits: *bits,
                range: *range,
            })
        };
        let wants: Vec<Want> = ranges.rows.iter().map(bucket).collect();
        let mut cells = self.deployment.stores.state.read(&wants).await.unwrap();
        cells.sort_by(|a, b| a.key.cmp(&b.key));
        cells
    }

    /// How many records both partitions of `poll.snapshots` have had.
    fn snapshots(&self) -> i64 {
        let topic = self.deployment.cluster.topics().poll_snapshots();
        let log = LogReader::new(&self.deployment.cluster, "test", topic).unwrap();
        (0..2).map(|partition| log.bounds(partition).unwrap().1).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_full_scan_of_100_000_records_is_one_message_and_writes_no_record() {
    let world = World::new("quiet").await;
    world.provider.employ(1..=100_000, "Jane");
    world.wish().await;
    let (poll, unify) = (world.poll(), world.deployment.unify(0));
    let account = world.link().await;
    world.until(&account, "the first scan lands", |state| state.full.is_some()).await;
    let begun = Instant::now();
    while world.known(&account).await.len() < 100_000 + 64 {
        assert!(begun.elapsed() < 3 * PATIENCE, "{} cells", world.known(&account).await.len());
    }
    // The scan that was compared with what was known before may still send ranges: the one after it is quiet.
    let settled = world.until(&account, "a scan", |state| state.full.is_some()).await.full.unwrap();
    let quiet = world
        .until(&account, "the next scan", |state| state.full.unwrap().run > settled.run)
        .await
        .full
        .unwrap();
    let (before, messages) = (world.known(&account).await, world.snapshots());
    let next = world.until(&account, "a quiet scan", |state| state.full.unwrap().run > quiet.run).await;
    let scans = i64::try_from(next.full.unwrap().run.0 - quiet.run.0).unwrap();
    poll.stop().await;
    let sent = world.snapshots() - messages;
    assert!(sent <= scans + 1, "{sent} messages for {scans} runs, one of which may have landed after");
    assert!(sent >= 1);
    assert_eq!(world.known(&account).await, before, "no cell was written: all have their old timestamps");
    unify.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_off_baseline_announces_nothing_then_or_later_and_no_polled_value_is_kept() {
    let world = World::new("baseline").await;
    let secret_name = "Zyxwvutsrq";
    world.provider.employ(1..=250, secret_name);
    *world.provider.broken_after.lock().unwrap() = Some(100);
    world.wish().await;
    let (poll, unify) = (world.poll(), world.deployment.unify(0));
    let mut events = world.deployment.unified(Resource::HrisEmployees);
    let account = world.link().await;
    let failed = world.until(&account, "the listing breaks off", |state| state.failures > 0).await;
    assert!(failed.full.is_none(), "what broke off has not landed");
    assert_eq!(failed.standing.unwrap().outcome, Outcome::Unreachable);
    assert_eq!(world.snapshots(), 0, "nothing at all was sent");
    *world.provider.broken_after.lock().unwrap() = None;
    world.until(&account, "the baseline lands", |state| state.full.is_some()).await;
    // One more is the first to be told of; then one goes.
    world.provider.employ([1_000], secret_name);
    let first = events.event().await;
    assert_eq!(first.event.to_string(), "hris_employees.created", "{first:?}");
    assert!(format!("{:?}", first.subject).contains("1000"), "{first:?}");
    world.provider.employees.lock().unwrap().remove(&1_000);
    assert_eq!(events.event().await.event.to_string(), "hris_employees.deleted");
    poll.stop().await;
    unify.stop().await;

    let mut searched = 0;
    for topic in world.deployment.cluster.topics().all() {
        let log = LogReader::new(&world.deployment.cluster, "test", topic.clone()).unwrap();
        for partition in 0..2 {
            let (from, end) = log.bounds(partition).unwrap();
            let search = |_, payload: &[u8]| {
                searched += 1;
                for needle in [secret_name, "x.example"] {
                    let found = payload.windows(needle.len()).any(|window| window == needle.as_bytes());
                    anyhow::ensure!(!found, "a polled value in {topic}");
                }
                Ok(ControlFlow::Continue(()))
            };
            log.read(partition, from, end, search).unwrap();
        }
    }
    assert!(searched > 5, "{searched} records were searched");
    let dumped = world.deployment.dump().await;
    assert!(dumped.len() > 1_000, "the tables hold something");
    for needle in [secret_name, "x.example"] {
        assert!(
            !dumped.windows(needle.len()).any(|window| window == needle.as_bytes()),
            "a polled value in a table"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_turn_the_account_to_error_and_say_so() {
    let world = World::new("refused").await;
    *world.provider.refused.lock().unwrap() = true;
    world.wish().await;
    let poll = world.poll();
    let mut events = world.deployment.unified(Resource::Account);
    let account = world.link().await;
    assert_eq!(events.event().await.event.to_string(), "account.created");
    assert_eq!(events.event().await.event.to_string(), "account.updated");
    let found: Account = world.writer.get(&world.project.id, account.as_str()).await.unwrap().unwrap();
    assert_eq!((found.status, found.status_reasons.len()), (AccountStatus::Error, 1));
    poll.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_grows_past_the_mark_and_loses_its_last_record_without_a_wrong_event() {
    let world = World::new("grows").await;
    world.provider.employ(1..=5, "Jane");
    world.wish().await;
    let (poll, unify) = (world.poll(), world.deployment.unify(0));
    let mut events = world.deployment.unified(Resource::HrisEmployees);
    let account = world.link().await;
    world.until(&account, "the baseline lands", |state| state.full.is_some()).await;
    world.provider.employ(6..=10_000, "Jane");
    let mut seen = std::collections::HashSet::new();
    for _ in 6..=10_000 {
        let event = events.event().await;
        assert_eq!(event.event.to_string(), "hris_employees.created", "{event:?}");
        assert_eq!(event.previous_sequence, None, "{event:?}");
        assert!(seen.insert(format!("{:?}", event.subject)), "{event:?}");
    }
    let ranges = world.deployment.stores.state.ranges(&account, Resource::HrisEmployees).await.unwrap();
    assert!(ranges.head.unwrap().bits.get() > 0, "it was cut finer: {:?}", ranges.head);
    // One goes: nothing else is told, though the ranges have just been moved.
    world.provider.employees.lock().unwrap().remove(&77);
    let gone = events.event().await;
    assert_eq!(gone.event.to_string(), "hris_employees.deleted", "{gone:?}");
    poll.stop().await;
    unify.stop().await;

    let world = World::new("last").await;
    world.provider.employ([1], "Jane");
    world.wish().await;
    let (poll, unify) = (world.poll(), world.deployment.unify(0));
    let mut events = world.deployment.unified(Resource::HrisEmployees);
    let account = world.link().await;
    world.until(&account, "the baseline lands", |state| state.full.is_some()).await;
    world.provider.employees.lock().unwrap().clear();
    // Nothing where something was is not believed until a person confirms it.
    let emptied =
        |state: &PollState| state.standing.as_ref().is_some_and(|it| it.outcome == Outcome::Emptied);
    world.until(&account, "an empty listing is doubted", emptied).await;
    world.release(&account).await;
    assert_eq!(events.event().await.event.to_string(), "hris_employees.deleted");
    poll.stop().await;
    unify.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_a_project_is_suspended_is_told_once_when_it_is_resumed() {
    let mut world = World::new("suspended").await;
    world.provider.employ(1..=3, "Jane");
    world.wish().await;
    let (poll, unify) = (world.poll(), world.deployment.unify(0));
    let mut events = world.deployment.unified(Resource::HrisEmployees);
    let account = world.link().await;
    world.until(&account, "the baseline lands", |state| state.full.is_some()).await;

    world.suspended_at(Some(Timestamp::from_micros(1))).await;
    world.provider.quiet().await;
    world.provider.employ([4], "Jane");
    world.provider.employ([2], "Jill");
    world.provider.employees.lock().unwrap().remove(&3);
    // A neighbour of the same process is polled as before.
    let ours = (std::mem::take(&mut world.provider), world.project.clone());
    world.project =
        create_project(&world.writer, &*world.deployment.stores.control, "Theirs").await.unwrap().project;
    world.provider.employ([10], "Joan");
    world.wish().await;
    let theirs = world.link().await;
    world.until(&theirs, "the neighbour's baseline lands", |state| state.full.is_some()).await;
    world.provider.employ([11], "Joan");
    let told = events.event().await;
    assert_eq!((told.account, told.event.to_string()), (theirs, "hris_employees.created".into()));

    // A process that starts meanwhile knows it too.
    poll.stop().await;
    (world.provider, world.project) = ours;
    let asked = world.provider.asked.load(Ordering::Relaxed);
    let poll = world.poll();
    world.provider.quiet().await;
    assert_eq!(world.provider.asked.load(Ordering::Relaxed), asked, "nothing is asked while it is suspended");

    world.suspended_at(None).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        let event = events.event().await;
        assert_eq!(event.account, account);
        told.push(event.event.to_string());
    }
    told.sort();
    assert_eq!(told, ["hris_employees.created", "hris_employees.deleted", "hris_employees.updated"]);
    world.provider.employ([5], "Jane");
    let next = events.event().await;
    assert!(
        format!("{:?}", next.subject).contains('5') && next.event.to_string().ends_with("created"),
        "{next:?}"
    );
    poll.stop().await;
    unify.stop().await;
}
