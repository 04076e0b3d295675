//! deliver over a broker in the process, to subscribers on loopback.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{Router, body::Bytes, extract::State, response::IntoResponse};
use http::{HeaderMap, StatusCode};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tributary_core::sign;
use tributary_schemas::{
    delivery::{Attempt, AttemptOutcome},
    entity::{Ordering, RecordType, SecretRole, Webhook, WebhookSecret, WebhookStatus},
    event::{Subject, UnifiedEvent},
    framing::{self, SchemaIds},
    id::{EventId, ProjectId, RemoteId, Sequence},
    resource::{Mode, Resource},
    time::Timestamp,
};
use tributary_stages::{
    deliver::{Config, Deliver},
    entity::Writer,
    kafka::{
        Cluster, Config as KafkaConfig, From, Group, GroupConfig, GroupEvent, Mock, Outgoing, Publisher,
    },
    secret::{Field, KeyRing, Secret},
    store::{Config as StoreConfig, Stores},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A deployment of one stage.
struct World {
    cluster: Cluster,
    publisher: Publisher,
    stores: Stores,
    writer: Writer,
    keys: Arc<KeyRing>,
    stop: CancellationToken,
    _broker: Mock,
    _folder: TempDir,
}

/// One request that a subscriber got.
struct Got {
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// A subscriber that gives `answer` to its requests, by their number from 0.
async fn subscriber<F, A>(answer: F) -> (u16, mpsc::UnboundedReceiver<Got>)
where
    F: Fn(usize) -> A + Send + Sync + 'static,
    A: Future<Output = axum::response::Response> + Send + 'static,
{
    type Shared<F> = Arc<(F, std::sync::atomic::AtomicUsize, mpsc::UnboundedSender<Got>)>;
    async fn take<F, A>(
        State(shared): State<Shared<F>>,
        headers: HeaderMap,
        body: Bytes,
    ) -> axum::response::Response
    where
        F: Fn(usize) -> A + Send + Sync + 'static,
        A: Future<Output = axum::response::Response> + Send + 'static,
    {
        let number = shared.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let _ = shared.2.send(Got { headers, body });
        (shared.0)(number).await
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared: Shared<F> = Arc::new((answer, Default::default(), sender));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().fallback(take::<F, A>).with_state(shared);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (port, receiver)
}

async fn says(status: u16) -> axum::response::Response {
    StatusCode::from_u16(status).unwrap().into_response()
}

/// The next request, within a time that is long enough for a group to be joined.
async fn next(inbox: &mut mpsc::UnboundedReceiver<Got>) -> Got {
    tokio::time::timeout(Duration::from_secs(30), inbox.recv()).await.expect("a request in time").unwrap()
}

fn config() -> Config {
    let mut config = Config { test_retry_scale: Some(0.02), ..Config::default() };
    config.dial.allow = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    config
}

fn project() -> ProjectId {
    "acme".parse().unwrap()
}

fn event(number: u8) -> UnifiedEvent {
    UnifiedEvent {
        event_id: EventId([number; 16]),
        sequence: Sequence(i64::from(number)),
        previous_sequence: None,
        project: project(),
        account: "account".parse().unwrap(),
        provider: "demo".parse().unwrap(),
        event: "hris_employees.updated".parse().unwrap(),
        event_date: Timestamp::from_micros(1_000),
        detected_at: Timestamp::from_micros(1_000),
        mode: Mode::Synthetic,
        subject: Subject::Record {
            record_id: "r".into(),
            remote_id: RemoteId::new(number.to_string()),
            raw_event: None,
            event_data: None,
        },
    }
}

impl World {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let broker = Mock::start(&Default::default(), 2).unwrap();
        let cluster = Cluster::new(KafkaConfig { brokers: broker.brokers().into(), ..Default::default() });
        let publisher = Publisher::new(&cluster, "test").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::open(&StoreConfig::Embedded { path: folder.path().into() }).await.unwrap();
        let writer = Writer::new(stores.control.clone(), publisher.clone(), cluster.topics().clone());
        let keys = Arc::new(KeyRing::parse(&KeyRing::generate()).unwrap());
        let stop = CancellationToken::new();
        Self { cluster, publisher, stores, writer, keys, stop, _broker: broker, _folder: folder }
    }

    /// A webhook that wants everything.
    async fn webhook(&self, id: &str, url: String) {
        let sealed = self.keys.seal(&Field::WebhookSecret.of(id), &Secret::new(SECRET)).unwrap();
        let zero = Timestamp::from_micros(0);
        let secret =
            WebhookSecret { id: "s".into(), secret: sealed, role: SecretRole::Active, created_at: zero };
        let webhook = Webhook {
            id: id.parse().unwrap(),
            project: project(),
            version: 1,
            url,
            name: None,
            events: vec!["*".parse().unwrap()],
            providers: None,
            accounts: None,
            modes: None,
            record_type: RecordType::Full,
            ordering: Ordering::Unordered,
            rate: None,
            headers: Default::default(),
            status: WebhookStatus::Enabled,
            secrets: vec![secret],
            enabled_at: zero,
            created_at: zero,
            updated_at: zero,
        };
        self.writer.create(webhook).await.unwrap();
    }

    /// Starts deliver; it ends when the world is dropped, or fails the test.
    fn start(&self, config: Config) -> tokio::task::JoinHandle<anyhow::Result<()>> {
        let deliver =
            Deliver::build(config, self.cluster.clone(), self.stores.clone(), self.keys.clone()).unwrap();
        tokio::spawn(deliver.run(self.stop.clone()))
    }

    async fn put(&self, payload: Vec<u8>) {
        let topic = self.cluster.topics().unified_shared(Resource::HrisEmployees);
        let record = Outgoing {
            topic,
            key: b"account".to_vec().into(),
            payload: Some(payload.into()),
            ..Default::default()
        };
        self.publisher.send(record).await.unwrap();
    }

    async fn announce(&self, number: u8) {
        self.put(framing::encode(&event(number), SchemaIds::default()).unwrap()).await;
    }

    /// The attempts of a webhook, the first first, once there are so many.
    async fn attempts(&self, webhook: &str, count: usize) -> Vec<Attempt> {
        let webhook = webhook.parse().unwrap();
        let end = tokio::time::Instant::now() + Duration::from_secs(30);
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            let late = Timestamp::from_micros(i64::MAX);
            let rows = self.stores.control.attempts(&webhook, late, 100).await.unwrap();
            if rows.len() >= count {
                return rows.iter().rev().map(|row| serde_json::from_slice(&row.doc).unwrap()).collect();
            }
            assert!(tokio::time::Instant::now() < end, "{} attempts, expected {count}", rows.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_comes_again_later_signed_and_under_the_same_id() {
    let world = World::new().await;
    let (port, mut inbox) = subscriber(|number| says(if number == 0 { 500 } else { 204 })).await;
    world.webhook("w", format!("http://127.0.0.1:{port}/hook")).await;
    let stage = world.start(config());
    world.announce(1).await;
    let (first, second) = (next(&mut inbox).await, next(&mut inbox).await);
    for (attempt, got) in [("1", &first), ("2", &second)] {
        let (id, at) = (got.header("webhook-id"), got.header("webhook-timestamp"));
        sign::verify_standard(SECRET, id, at, &got.body, got.header("webhook-signature")).unwrap();
        sign::verify_compat(SECRET, &got.body, got.header("x-stackone-signature")).unwrap();
        assert_eq!(got.header("x-tributary-attempt"), attempt);
        assert_eq!(got.header("x-tributary-sequence"), "1");
        assert_eq!(got.header("content-type"), "application/json");
        assert!(
            got.body.starts_with(
                br#"{"project_id":"acme","account_id":"account","event":"hris_employees.updated""#
            )
        );
    }
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_ne!(first.body, second.body, "each attempt has its own sent_at");
    let outcomes: Vec<_> =
        world.attempts("w", 2).await.into_iter().map(|it| (it.attempt, it.status, it.outcome)).collect();
    assert_eq!(outcomes, [(1, Some(500), AttemptOutcome::Failed), (2, Some(204), AttemptOutcome::Delivered)]);
    world.stop.cancel();
    stage.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_hangs_holds_up_nobody_else() {
    let world = World::new().await;
    let (hanging, _asked) = subscriber(|_| std::future::pending()).await;
    let (quick, mut inbox) = subscriber(|_| says(200)).await;
    world.webhook("hanging", format!("http://127.0.0.1:{hanging}/")).await;
    world.webhook("quick", format!("http://127.0.0.1:{quick}/")).await;
    let stage = world.start(Config { per_webhook: 1, queue: 2, deadline_seconds: 60, ..config() });
    for number in 0..50 {
        world.announce(number).await;
    }
    let mut told = std::collections::BTreeSet::new();
    while told.len() < 50 {
        told.insert(next(&mut inbox).await.header("webhook-id").to_owned());
    }
    stage.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_disables_and_a_redirect_is_not_followed() {
    let world = World::new().await;
    let (target, mut reached) = subscriber(|_| says(200)).await;
    let (gone, _) = subscriber(|_| says(410)).await;
    let location = format!("http://127.0.0.1:{target}/");
    let moved = move |_| {
        let location = location.clone();
        async move { (StatusCode::TEMPORARY_REDIRECT, [("location", location)]).into_response() }
    };
    let (moved, _) = subscriber(moved).await;
    world.webhook("gone", format!("http://127.0.0.1:{gone}/")).await;
    world.webhook("moved", format!("http://127.0.0.1:{moved}/")).await;
    let stage = world.start(config());
    world.announce(1).await;
    let attempt = world.attempts("moved", 1).await.remove(0);
    assert_eq!((attempt.status, attempt.outcome), (Some(307), AttemptOutcome::Failed));
    let attempt = world.attempts("gone", 1).await.remove(0);
    assert_eq!((attempt.status, attempt.outcome), (Some(410), AttemptOutcome::GivenUp));
    let webhook: Webhook = world.writer.get(&project(), "gone").await.unwrap().unwrap();
    assert_eq!(webhook.status, WebhookStatus::Disabled { reason: "gone (410)".into() });
    assert!(reached.try_recv().is_err(), "the redirect was not followed");
    stage.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_inside_is_refused_unless_listed() {
    let world = World::new().await;
    let (port, mut reached) = subscriber(|_| says(200)).await;
    for (id, url) in
        [("name", format!("https://localhost:{port}/")), ("literal", format!("https://127.1:{port}/"))]
    {
        world.webhook(id, url).await;
    }
    let mut config = config();
    config.dial = Default::default();
    let stage = world.start(config);
    world.announce(1).await;
    // A name is not told where it leads; an address that was given may be named.
    for (id, said) in [("name", "may be called"), ("literal", "127.0.0.1 is not a global address")] {
        let attempt = world.attempts(id, 1).await.remove(0);
        let error = attempt.error.unwrap();
        assert!(error.contains(said), "{error}");
        assert_eq!((attempt.status, attempt.outcome), (None, AttemptOutcome::Failed));
    }
    assert!(reached.try_recv().is_err());
    stage.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_set_aside_and_the_partition_goes_on() {
    let world = World::new().await;
    let (port, mut inbox) = subscriber(|_| says(200)).await;
    world.webhook("w", format!("http://127.0.0.1:{port}/")).await;
    let stage = world.start(config());
    world.put(b"no event".to_vec()).await;
    world.announce(1).await;
    assert_eq!(next(&mut inbox).await.header("x-tributary-sequence"), "1");
    let dead = GroupConfig {
        role: "test".into(),
        group: "test".into(),
        instance: None,
        topics: vec![world.cluster.topics().deliver_dead()],
        twin: None,
        from: From::Beginning,
        queue: 10,
    };
    let (_group, mut events) = Group::join(&world.cluster, dead).unwrap();
    let letter = loop {
        match events.recv().await.unwrap() {
            GroupEvent::Record(record) => break record.payload.unwrap(),
            GroupEvent::Assigned(_) | GroupEvent::Revoked(..) => {}
        }
    };
    let letter: serde_json::Value = serde_json::from_slice(&letter).unwrap();
    assert_eq!((&letter["topic"], &letter["offset"]), (&"unified.hris_employees".into(), &0.into()));
    assert!(letter["reason"].as_str().unwrap().contains("Confluent framing"), "{letter}");
    stage.abort();
}
