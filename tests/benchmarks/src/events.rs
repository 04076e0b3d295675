//! Native requests, each of a record of its own, and the events that they become.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use anyhow::ensure;
use tokio::{sync::Semaphore, task::JoinSet};
use tributary_schemas::{
    codec,
    event::Subject,
    framing::{self, SchemaIds},
    observation::{DeliveryId, NativePayload, NativeRequest, Source},
    resource::{Mode, Resource},
    time::Timestamp,
};
use tributary_stages::kafka::{Cluster, From, Group, GroupConfig, GroupEvent, Outgoing, Publisher};

const ACCOUNTS: usize = 64;

/// Writes native requests, as ingest does.
pub(crate) struct Writer {
    publisher: Publisher,
    topic: String,
    /// A backlog is written no faster than the broker takes it.
    room: Arc<Semaphore>,
    acknowledgements: JoinSet<anyhow::Result<(usize, Instant)>>,
}

impl Writer {
    pub(crate) fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let (publisher, topic) = (Publisher::new(cluster, "bench")?, cluster.topics().ingest_native());
        let room = Arc::new(Semaphore::new(5_000));
        Ok(Self { publisher, topic, room, acknowledgements: JoinSet::new() })
    }

    /// Begins to write the request with a number.
    pub(crate) async fn begin(&mut self, number: usize) -> anyhow::Result<()> {
        let account = format!("account-{}", number % ACCOUNTS);
        let body = format!(
            r#"{{"type":"employment.updated","employment":{{"id":{number},"job_title":"Engineer"}}}}"#
        );
        let request = NativeRequest {
            source: Source {
                project: "bench".parse()?,
                account: account.parse()?,
                provider: "demo".parse()?,
                origin_owner_id: None,
            },
            received_at: Timestamp::from_micros(1_700_000_000_000_000 + number as i64),
            mode: Mode::NativeManual,
            headers: vec![("user-agent".into(), "demo".into())],
            body: body.into_bytes().into(),
            delivery: DeliveryId::Declared(number.to_string()),
            payload: NativePayload::Full,
            id_prefix: "tr1!".into(),
            settle: Duration::ZERO,
            fetched: Vec::new(),
        };
        let (publisher, topic) = (self.publisher.clone(), self.topic.clone());
        let record = Outgoing {
            topic,
            key: account.into_bytes().into(),
            payload: Some(codec::encode(&request).into()),
            ..Outgoing::default()
        };
        let room = self.room.clone().acquire_owned().await?;
        self.acknowledgements.spawn(async move {
            publisher.send(record).await?;
            drop(room);
            Ok((number, Instant::now()))
        });
        Ok(())
    }

    /// Waits until all are written; says when each was acknowledged.
    pub(crate) async fn written(&mut self) -> anyhow::Result<HashMap<usize, Instant>> {
        let mut times = HashMap::new();
        while let Some(acknowledged) = self.acknowledgements.join_next().await {
            let (number, at) = acknowledged??;
            times.insert(number, at);
        }
        Ok(times)
    }
}

#[derive(Default)]
struct Seen {
    times: HashMap<usize, Instant>,
    /// When something was last read of each partition.
    partitions: HashMap<i32, Instant>,
}

/// A `read_committed` reader of the unified topic.
pub(crate) struct Reader {
    _group: Group,
    seen: Arc<Mutex<Seen>>,
}

impl Reader {
    pub(crate) fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let config = GroupConfig {
            role: "bench".into(),
            group: "bench".into(),
            instance: None,
            topics: vec![cluster.topics().unified_shared(Resource::HrisEmployments)],
            twin: None,
            from: From::Beginning,
            queue: 10_000,
        };
        let (group, mut events) = Group::join(cluster, config)?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let GroupEvent::Record(record) = event else { continue };
                let at = Instant::now();
                let bytes = record.payload.as_deref().unwrap_or_default();
                let Ok(event) = framing::decode(bytes, SchemaIds::default()) else { continue };
                let Subject::Record { remote_id, .. } = &event.subject else { continue };
                let Ok(number) = remote_id.as_str().parse() else { continue };
                let mut seen = shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                seen.times.entry(number).or_insert(at);
                seen.partitions.insert(record.at.partition, at);
            }
        });
        Ok(Self { _group: group, seen })
    }

    /// Waits until so many were told.
    pub(crate) async fn told(&self, number: usize, limit: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.seen().times.len() < number {
            let told = self.seen().times.len();
            ensure!(begun.elapsed() < limit, "{told} events of {number} within {limit:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    pub(crate) fn times(&self) -> HashMap<usize, Instant> {
        self.seen().times.clone()
    }

    pub(crate) fn partitions(&self) -> HashMap<i32, Instant> {
        self.seen().partitions.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
