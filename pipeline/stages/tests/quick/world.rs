//! A deployment of one stage over a broker in the process, and subscribers on loopback.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, response::IntoResponse};
use http::{HeaderMap, StatusCode};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tributary_schemas::{
    delivery::Attempt,
    entity::{Ordering, RecordType, SecretRole, Webhook, WebhookSecret, WebhookStatus},
    event::{Subject, UnifiedEvent},
    framing::{self, SchemaIds},
    id::{EventId, ProjectId, RemoteId, Sequence},
    resource::{Mode, Resource},
    time::Timestamp,
};
use tributary_stages::{
    deliver::{Config, Deliver},
    entity::{WriteError, Writer},
    kafka::{
        Cluster, Config as KafkaConfig, From, Group, GroupConfig, GroupEvent, Mock, Outgoing, Publisher,
    },
    secret::{Field, KeyRing, Secret},
    store::{Config as StoreConfig, Stores},
};

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A deployment of one stage.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) publisher: Publisher,
    pub(crate) stores: Stores,
    pub(crate) writer: Writer,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) stop: CancellationToken,
    _broker: Mock,
    _folder: TempDir,
}

/// One request that a subscriber got.
pub(crate) struct Got {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at: Instant,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// A subscriber that gives `answer` to its requests, by their number from 0.
pub(crate) async fn subscriber<F, A>(answer: F) -> (u16, mpsc::UnboundedReceiver<Got>)
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
        let _ = shared.2.send(Got { headers, body, at: Instant::now() });
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

pub(crate) async fn says(status: u16) -> axum::response::Response {
    StatusCode::from_u16(status).unwrap().into_response()
}

/// The next request, within a time that is long enough for a group to be joined.
pub(crate) async fn next(inbox: &mut mpsc::UnboundedReceiver<Got>) -> Got {
    tokio::time::timeout(Duration::from_secs(30), inbox.recv()).await.expect("a request in time").unwrap()
}

pub(crate) fn config() -> Config {
    let mut config = Config { test_retry_scale: Some(0.02), ..Config::default() };
    config.dial.allow = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    config
}

pub(crate) fn project() -> ProjectId {
    "acme".parse().unwrap()
}

/// An event of a record.
pub(crate) fn event(record: &str, sequence: i64) -> UnifiedEvent {
    UnifiedEvent {
        event_id: EventId::digest(&[record.as_bytes(), &sequence.to_be_bytes()]),
        sequence: Sequence(sequence),
        previous_sequence: None,
        project: project(),
        account: "account".parse().unwrap(),
        provider: "demo".parse().unwrap(),
        origin_owner_id: None,
        event: "hris_employees.updated".parse().unwrap(),
        event_date: Timestamp::from_micros(1_000),
        detected_at: Timestamp::from_micros(1_000),
        mode: Mode::Synthetic,
        subject: Subject::Record {
            record_id: "r".into(),
            remote_id: RemoteId::new(record),
            raw_event: None,
            event_data: None,
        },
    }
}

impl World {
    pub(crate) async fn new() -> Self {
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
    pub(crate) async fn webhook(&self, id: &str, url: String) {
        self.webhook_with(id, url, |_| {}).await;
    }

    /// A webhook that wants everything, and is like this.
    pub(crate) async fn webhook_with(&self, id: &str, url: String, like: impl FnOnce(&mut Webhook)) {
        let sealed = self.keys.seal(&Field::WebhookSecret.of(id), &Secret::new(SECRET)).unwrap();
        let zero = Timestamp::from_micros(0);
        let secret =
            WebhookSecret { id: "s".into(), secret: sealed, role: SecretRole::Active, created_at: zero };
        let mut webhook = Webhook {
            id: id.parse().unwrap(),
            project: project(),
            version: 1,
            url,
            name: None,
            events: vec!["*".parse().unwrap()],
            providers: None,
            accounts: None,
            origin_owner_id: None,
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
        like(&mut webhook);
        self.writer.create(webhook).await.unwrap();
    }

    /// Changes the webhook `w`.
    pub(crate) async fn change(&self, apply: impl Fn(&mut Webhook)) {
        let apply = |webhook: &mut Webhook| {
            apply(webhook);
            Ok::<_, WriteError>(())
        };
        self.writer.update(&project(), "w", apply).await.unwrap();
    }

    /// Returns when a webhook is like this.
    pub(crate) async fn until_webhook(&self, id: &str, like: impl Fn(&Webhook) -> bool) {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let reached = async {
            while !self.writer.get::<Webhook>(&project(), id).await.unwrap().is_some_and(|it| like(&it)) {
                tick.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.expect("the webhook in time");
    }

    /// Starts deliver; it ends when the world is dropped, or fails the test.
    pub(crate) fn start(&self, config: Config) -> tokio::task::JoinHandle<anyhow::Result<()>> {
        let deliver =
            Deliver::build(config, self.cluster.clone(), self.stores.clone(), self.keys.clone()).unwrap();
        tokio::spawn(deliver.run(self.stop.clone()))
    }

    /// What was set aside first.
    pub(crate) async fn letter(&self) -> serde_json::Value {
        let dead = GroupConfig {
            role: "test".into(),
            group: "test".into(),
            instance: None,
            topics: vec![self.cluster.topics().deliver_dead()],
            twin: None,
            from: From::Beginning,
            queue: 10,
        };
        let (_group, mut events) = Group::join(&self.cluster, dead).unwrap();
        loop {
            match events.recv().await.unwrap() {
                GroupEvent::Record(record) => {
                    return serde_json::from_slice(&record.payload.unwrap()).unwrap();
                }
                GroupEvent::Assigned(_) | GroupEvent::Revoked(..) => {}
            }
        }
    }

    /// The project is suspended since then, or is not, as its webhooks are told.
    pub(crate) async fn project(&self, suspended_at: Option<Timestamp>) {
        let document = serde_json::json!({
            "kind": "project", "id": project(), "version": 1, "name": "Acme", "suspended_at": suspended_at,
            "created_at": Timestamp::from_micros(0), "updated_at": Timestamp::from_micros(0),
        });
        let record = Outgoing {
            topic: self.cluster.topics().control_webhooks(),
            key: project().as_str().as_bytes().to_vec().into(),
            payload: Some(document.to_string().into_bytes().into()),
            ..Default::default()
        };
        self.publisher.send(record).await.unwrap();
    }

    pub(crate) async fn put(&self, payload: Vec<u8>) {
        let topic = self.cluster.topics().unified_shared(Resource::HrisEmployees);
        let record = Outgoing {
            topic,
            key: b"account".to_vec().into(),
            payload: Some(payload.into()),
            ..Default::default()
        };
        self.publisher.send(record).await.unwrap();
    }

    /// Announces the first event of a record of its own.
    pub(crate) async fn announce(&self, number: u8) {
        self.announce_of(&number.to_string(), number.into()).await;
    }

    /// Announces an event of a record.
    pub(crate) async fn announce_of(&self, record: &str, sequence: i64) {
        self.put(framing::encode(&event(record, sequence), SchemaIds::default())).await;
    }

    /// The attempts of a webhook, the first first, once there are so many.
    pub(crate) async fn attempts(&self, webhook: &str, count: usize) -> Vec<Attempt> {
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
