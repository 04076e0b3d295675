//! A deployment of a test's own on the shared services: a prefix for its topics, a keyspace for its state.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use scylla::{
    client::session_builder::SessionBuilder,
    value::{CqlValue, Row},
};
use tokio_util::sync::CancellationToken;
use tributary_connectors::Catalog;
use tributary_schemas::{
    entity::{Account, AccountStatus, NativeWebhook},
    event::UnifiedEvent,
    framing::{self, SchemaIds},
    id::{AccountId, ProjectId},
    resource::Resource,
    time::Timestamp,
};
use tributary_stages::{
    entity::Writer,
    kafka::{
        Cluster, Config as KafkaConfig, From, Group, GroupConfig, GroupEvent, Incoming, LogReader, Outgoing,
        Publisher,
        topics::{self, Overrides},
    },
    secret::{Field, KeyRing, Secret},
    store::{Config as StoreConfig, StateStore, Stores, cql},
    unify::{self, Unify},
};

pub(crate) fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests by tests/run"))
}

pub(crate) fn unique(name: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    format!("t_{name}_{now}")
}

/// A keyspace of a test's own, with the schema.
pub(crate) async fn keyspace(name: &str) -> cql::Config {
    let config = cql::Config {
        hosts: vec![env("TRIBUTARY_TEST_CQL")],
        keyspace: unique(name),
        replication: 1,
        ..Default::default()
    };
    cql::migrate::apply(&config).await.unwrap();
    config
}

/// An account of the demo provider.
pub(crate) fn account(id: &AccountId, project: &ProjectId, keys: &KeyRing, url: String) -> Account {
    let seal = |field: Field, secret: Secret| keys.seal(&field.of(id), &secret).unwrap();
    let at = Timestamp::from_micros(0);
    Account {
        id: id.clone(),
        project: project.clone(),
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
        schedules: BTreeMap::new(),
        told: Default::default(),
        created_at: at,
        updated_at: at,
    }
}

pub(crate) struct Deployment {
    keyspace: cql::Config,
    pub(crate) cluster: Cluster,
    pub(crate) stores: Stores,
    pub(crate) publisher: Publisher,
}

/// A running stage; it is stopped when asked, and must end well.
pub(crate) struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Running {
    pub(crate) fn new(task: tokio::task::JoinHandle<anyhow::Result<()>>, stop: CancellationToken) -> Self {
        Self { stop, task }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }
}

/// A test that fails ends what it has started, too.
impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

impl Deployment {
    pub(crate) async fn new(name: &str) -> Self {
        let prefix = format!("{}.", unique(name));
        let brokers = env("TRIBUTARY_TEST_KAFKA");
        let cluster = Cluster::new(KafkaConfig { brokers, prefix, ..KafkaConfig::default() });
        let overrides = Overrides { replication: Some(1), partitions: Some(2) };
        let wanted = topics::read(topics::BUILT_IN, cluster.topics(), overrides).unwrap();
        topics::apply(&cluster, &wanted).await.unwrap();
        assert_eq!(topics::check(&cluster, &wanted).await.unwrap(), [], "applying is all there is to do");
        let keyspace = keyspace(name).await;
        let stores = Stores::open(&StoreConfig::Cql(keyspace.clone())).await.unwrap();
        let publisher = Publisher::new(&cluster, "test").unwrap();
        Self { keyspace, cluster, stores, publisher }
    }

    pub(crate) fn writer(&self) -> Writer {
        Writer::new(self.stores.control.clone(), self.publisher.clone(), self.cluster.topics().clone())
    }

    /// Starts unify as instance `instance`.
    pub(crate) fn unify(&self, instance: u32) -> Running {
        self.unify_on(instance, self.stores.state.clone())
    }

    /// Starts unify with a state store of the test's own.
    pub(crate) fn unify_on(&self, instance: u32, state: Arc<dyn StateStore>) -> Running {
        let config = unify::Config { instance, ..Default::default() };
        let runtime = tokio::runtime::Handle::current();
        let catalog = Catalog::built_in().unwrap();
        let unify = Unify::build(config, self.cluster.clone(), state, catalog, runtime);
        let stop = CancellationToken::new();
        Running { task: tokio::spawn(unify.run(stop.clone())), stop }
    }

    pub(crate) async fn publish(&self, topic: String, account: &str, payload: Vec<u8>) {
        let key = account.as_bytes().to_vec().into();
        let record = Outgoing { topic, key, payload: Some(payload.into()), ..Default::default() };
        self.publisher.send(record).await.unwrap();
    }

    /// Takes all records away of the one partition of a topic that has committed any; says which.
    pub(crate) async fn trim(&self, topic: &str) -> i32 {
        let log = LogReader::new(&self.cluster, "test", topic.to_owned()).unwrap();
        let written = |partition: &i32| {
            let ((from, _), end) = (log.bounds(*partition).unwrap(), log.stable_end(*partition).unwrap());
            let mut records = 0;
            log.read(*partition, from, end, |_, _| {
                records += 1;
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            records > 0
        };
        let found: Vec<i32> = (0..log.partitions().unwrap()).filter(written).collect();
        let [partition] = found[..] else { panic!("one partition, not {found:?}") };
        let admin: AdminClient<DefaultClientContext> = self.cluster.client("test").create().unwrap();
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(topic, partition, Offset::End).unwrap();
        let trimmed = admin.delete_records(&all, &AdminOptions::new()).await.unwrap();
        trimmed.elements()[0].error().unwrap();
        partition
    }

    /// Runs a statement in the keyspace, which it names `ks`.
    pub(crate) async fn execute(&self, statement: &str) {
        let session = SessionBuilder::new().known_nodes(&self.keyspace.hosts).build().await.unwrap();
        let statement = statement.replace("ks.", &format!("{}.", self.keyspace.keyspace));
        session.query_unpaged(statement, ()).await.unwrap();
    }

    /// Every value of every table, one after the other.
    pub(crate) async fn dump(&self) -> Vec<u8> {
        let session = SessionBuilder::new().known_nodes(&self.keyspace.hosts).build().await.unwrap();
        let keyspace = &self.keyspace.keyspace;
        let tables = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
        let tables = session.query_unpaged(tables, (keyspace,)).await.unwrap().into_rows_result().unwrap();
        let mut dump = Vec::new();
        for (table,) in tables.rows::<(String,)>().unwrap().map(Result::unwrap) {
            let rows = session.query_unpaged(format!("SELECT * FROM {keyspace}.{table}"), ()).await.unwrap();
            let rows = rows.into_rows_result().unwrap();
            for row in rows.rows::<Row>().unwrap().map(Result::unwrap) {
                for value in row.columns.into_iter().flatten() {
                    match value {
                        CqlValue::Blob(bytes) => dump.extend(bytes),
                        other => dump.extend(format!("{other:?}").into_bytes()),
                    }
                    dump.push(0);
                }
            }
        }
        dump
    }

    /// A `read_committed` reader of a topic, from its beginning.
    pub(crate) fn reader(&self, topic: String) -> Reader {
        let config = GroupConfig {
            role: "test".into(),
            group: unique("reader"),
            instance: None,
            topics: vec![topic],
            twin: None,
            from: From::Committed,
            queue: 100,
        };
        let (group, events) = Group::join(&self.cluster, config).unwrap();
        Reader { _group: group, events }
    }

    pub(crate) fn unified(&self, resource: Resource) -> Reader {
        self.reader(self.cluster.topics().unified_shared(resource))
    }
}

pub(crate) struct Reader {
    _group: Group,
    events: tokio::sync::mpsc::Receiver<GroupEvent>,
}

impl Reader {
    pub(crate) async fn next(&mut self) -> Incoming {
        tokio::time::timeout(PATIENCE, async {
            loop {
                if let GroupEvent::Record(record) = self.events.recv().await.unwrap() {
                    return record;
                }
            }
        })
        .await
        .expect("a record within the minute")
    }

    pub(crate) async fn event(&mut self) -> UnifiedEvent {
        framing::decode(&self.next().await.payload.unwrap(), SchemaIds::default()).unwrap()
    }
}
