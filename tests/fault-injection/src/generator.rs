//! Knows the truth: accounts whose records come, change and go, told by full scans; and webhooks, some of them twice.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tributary_schemas::{
    codec::{self, Format},
    id::{AccountId, Bits, ProjectionDigest, ProjectionVersion, RecordHash, RemoteId, RunId},
    observation::{
        Absence, Announce, Baseline, Content, DeliveryId, Listed, NativePayload, NativeRequest, RangeListing,
        Run, Snapshot, Source, Summary,
    },
    resource::{Action, Mode, Resource},
    time::Timestamp,
};
use tributary_stages::kafka::{Cluster, Outgoing, Publisher};

pub(crate) const PARTITIONS: i32 = 4;
const ACCOUNTS: usize = 24;
/// Between two messages.
const PACE: Duration = Duration::from_millis(10);

/// A record of an account: its resource and remote id.
pub(crate) type Record = (AccountId, Resource, String);

/// What was made, and must be told.
#[derive(Debug, Default, Clone)]
pub(crate) struct Made {
    /// What happened to each record, in order.
    pub(crate) expected: BTreeMap<Record, Vec<Action>>,
    /// What is there in the end, of what is scanned.
    pub(crate) truth: BTreeMap<AccountId, BTreeMap<u32, RecordHash>>,
}

impl Made {
    pub(crate) fn records(&self) -> usize {
        self.expected.len()
    }
    pub(crate) fn changes(&self) -> usize {
        self.expected.values().map(Vec::len).sum()
    }
}

pub(crate) struct Generator {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<anyhow::Result<Made>>,
}

impl Generator {
    pub(crate) fn start(cluster: &Cluster, seed: u64) -> anyhow::Result<Self> {
        let publisher = Publisher::new(cluster, "faults")?;
        let topics = cluster.topics();
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let source = TheWorld {
            publisher,
            snapshots: topics.poll_snapshots(),
            native: topics.ingest_native(),
            chance: StdRng::seed_from_u64(seed ^ 0x5eed),
            made: Made::default(),
            runs: vec![0; ACCOUNTS],
            contents: 0,
            deliveries: 0,
        };
        let task = tokio::spawn(source.go_round(stop.clone(), made.clone()));
        Ok(Self { stop, made, task })
    }

    /// Changes made so far.
    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    pub(crate) async fn stop(self) -> anyhow::Result<Made> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

struct TheWorld {
    publisher: Publisher,
    snapshots: String,
    native: String,
    chance: StdRng,
    made: Made,
    runs: Vec<u64>,
    contents: u32,
    deliveries: u64,
}

impl TheWorld {
    async fn go_round(mut self, stop: Arc<AtomicBool>, made: Arc<AtomicUsize>) -> anyhow::Result<Made> {
        let mut changes = 0;
        while !stop.load(Ordering::Relaxed) {
            let account = self.chance.random_range(0..ACCOUNTS);
            changes += if self.chance.random_bool(0.5) {
                self.scan(account).await?
            } else {
                self.webhook(account).await?
            };
            made.store(changes, Ordering::Relaxed);
            tokio::time::sleep(PACE).await;
        }
        Ok(self.made)
    }

    fn source(account: usize) -> anyhow::Result<Source> {
        Ok(Source {
            project: "faults".parse()?,
            account: format!("account-{account}").parse()?,
            provider: "demo".parse()?,
            origin_owner_id: None,
        })
    }

    /// Some records come, change or go, and a full scan tells of it.
    async fn scan(&mut self, account: usize) -> anyhow::Result<usize> {
        let source = Self::source(account)?;
        let records = self.made.truth.entry(source.account.clone()).or_default();
        let changes = self.chance.random_range(0..4);
        let mut touched = BTreeMap::new();
        for _ in 0..changes {
            let id = self.chance.random_range(0..20_u32);
            if touched.contains_key(&id) {
                continue;
            }
            self.contents += 1;
            let mut hash = [3; 16];
            hash[..4].copy_from_slice(&self.contents.to_be_bytes());
            let there = records.contains_key(&id);
            let action = match (there, self.chance.random_bool(0.3)) {
                (true, true) => Action::Deleted,
                (true, false) => Action::Updated,
                (false, _) => Action::Created,
            };
            match action {
                Action::Deleted => drop(records.remove(&id)),
                Action::Created | Action::Updated => drop(records.insert(id, RecordHash(hash))),
            }
            touched.insert(id, action);
        }
        let mut listed: Vec<Listed> = records
            .iter()
            .map(|(id, hash)| Listed {
                remote_id: RemoteId::new(id.to_string()),
                content: Content::Hash(*hash),
            })
            .collect();
        listed.sort_by_key(|listed| listed.remote_id.key());
        self.runs[account] += 1;
        let number = self.runs[account];
        let run = Run {
            source: source.clone(),
            resource: Resource::HrisEmployees,
            run: RunId(number),
            begun_at: Timestamp::from_micros(1_700_000_000_000_000 + number as i64 * 1_000_000),
            lasted: Duration::ZERO,
            projection: ProjectionVersion {
                identity: ProjectionDigest([1; 8]),
                content: ProjectionDigest([1; 8]),
            },
            baseline: Baseline { from: RunId(1), announce: Announce::Created },
            settle: Duration::ZERO,
            bits: Bits::new(0).ok_or_else(|| anyhow::anyhow!("0 bits"))?,
            id_prefix: "tr1!".into(),
            key_name: "id".into(),
        };
        let summary = Summary { run: run.clone(), records: listed.len() as u64, ranges_sent: 1 };
        let range = RangeListing { run, range: 0, absence: Absence::Sure, records: listed };
        let topic = self.snapshots.clone();
        self.publish(&topic, &source.account, &Snapshot::Summary(summary)).await;
        self.publish(&topic, &source.account, &Snapshot::Range(range)).await;
        for (id, action) in &touched {
            let record = (source.account.clone(), Resource::HrisEmployees, id.to_string());
            self.made.expected.entry(record).or_default().push(*action);
        }
        Ok(touched.len())
    }

    /// A provider tells of an employment; one in five deliveries comes twice.
    async fn webhook(&mut self, account: usize) -> anyhow::Result<usize> {
        let source = Self::source(account)?;
        let id = self.chance.random_range(0..50_u32);
        self.deliveries += 1;
        let body =
            format!(r#"{{"type":"employment.updated","employment":{{"id":{id},"job_title":"Engineer"}}}}"#);
        let request = NativeRequest {
            source: source.clone(),
            received_at: Timestamp::from_micros(1_700_000_000_000_000 + self.deliveries as i64),
            mode: Mode::NativeManual,
            headers: vec![("user-agent".into(), "demo".into())],
            body: body.into_bytes().into(),
            delivery: DeliveryId::Declared(self.deliveries.to_string()),
            payload: NativePayload::Full,
            id_prefix: "tr1!".into(),
            settle: Duration::from_secs(2),
            fetched: Vec::new(),
        };
        let topic = self.native.clone();
        self.publish(&topic, &source.account, &request).await;
        if self.chance.random_bool(0.2) {
            self.publish(&topic, &source.account, &request).await;
        }
        let record = (source.account, Resource::HrisEmployments, id.to_string());
        self.made.expected.entry(record).or_default().push(Action::Updated);
        Ok(1)
    }

    /// Until the broker has it: perhaps twice, as ingest and poll do.
    async fn publish(&self, topic: &str, account: &AccountId, message: &impl Message) {
        let record = || Outgoing {
            topic: topic.to_owned(),
            key: account.as_str().as_bytes().to_vec().into(),
            payload: Some(message.encoded().into()),
            ..Outgoing::default()
        };
        while self.publisher.send(record()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

trait Message {
    fn encoded(&self) -> Vec<u8>;
}

impl<T: Format> Message for T {
    fn encoded(&self) -> Vec<u8> {
        codec::encode(self)
    }
}
