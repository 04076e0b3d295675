//! A `read_committed` reader, there all along: it checks each event as it comes, and in the end that all came.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{bail, ensure};
use tributary_schemas::{
    event::{Subject, UnifiedEvent},
    framing::{self, SchemaIds},
    id::Sequence,
    resource::{Action, Resource},
};
use tributary_stages::kafka::{Cluster, From, Group, GroupConfig, GroupEvent};

use crate::generator::{Made, Record};

#[derive(Default)]
struct Seen {
    told: BTreeMap<Record, Vec<Action>>,
    last: HashMap<Record, Sequence>,
    ids: HashSet<String>,
    offsets: HashMap<(Arc<str>, i32), i64>,
    events: usize,
    wrong: Option<String>,
    /// When something was last read of each partition, and the longest silence since a fault.
    heard: HashMap<i32, Instant>,
    silence: Duration,
}

pub(crate) struct Reader {
    _group: Group,
    seen: Arc<Mutex<Seen>>,
}

impl Reader {
    pub(crate) fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let topics = cluster.topics();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        let config = GroupConfig {
            role: "faults".into(),
            group: format!("faults-{now}"),
            instance: None,
            topics: [Resource::HrisEmployees, Resource::HrisEmployments]
                .map(|resource| topics.unified_shared(resource))
                .to_vec(),
            twin: None,
            from: From::Beginning,
            queue: 1_000,
        };
        let (group, mut events) = Group::join(cluster, config)?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let GroupEvent::Record(record) = event {
                    let mut seen = shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    seen.hear(record.at.partition);
                    // The reader's own reassignments read from the beginning: what it has read it passes over.
                    let next =
                        seen.offsets.entry((record.at.topic.clone(), record.at.partition)).or_default();
                    if record.offset < *next {
                        continue;
                    }
                    *next = record.offset + 1;
                    let event = record
                        .payload
                        .as_deref()
                        .ok_or("an event without a value".to_owned())
                        .and_then(|bytes| {
                            framing::decode(bytes, SchemaIds::default()).map_err(|error| error.to_string())
                        })
                        .and_then(|event| seen.take(event));
                    if let Err(wrong) = event {
                        let (at, offset) = (record.at, record.offset);
                        seen.wrong.get_or_insert(format!(
                            "{} [{}] at offset {offset}: {wrong}",
                            at.topic, at.partition
                        ));
                    }
                }
            }
        });
        Ok(Self { _group: group, seen })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What is wrong with what was told so far.
    pub(crate) fn wrong(&self) -> Option<String> {
        self.seen().wrong.clone()
    }

    pub(crate) fn told(&self) -> usize {
        self.seen().events
    }

    /// Waits for the first event.
    pub(crate) async fn first(&self, limit: Duration) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.told() == 0 {
            ensure!(begun.elapsed() < limit, "no event within {limit:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Measures the silence from now on.
    pub(crate) fn measure(&self) {
        self.seen().silence = Duration::ZERO;
    }

    /// The longest silence of a partition since, also one that goes on.
    pub(crate) fn stall(&self) -> Duration {
        let seen = self.seen();
        let going_on = seen.heard.values().map(Instant::elapsed).max().unwrap_or_default();
        seen.silence.max(going_on)
    }

    /// Waits until all that was made has been told, and nothing else.
    pub(crate) async fn settle(&self, made: &Made, limit: Duration) -> anyhow::Result<usize> {
        let begun = Instant::now();
        loop {
            {
                let seen = self.seen();
                if let Some(wrong) = &seen.wrong {
                    bail!("{wrong}");
                }
                if seen.events >= made.changes() || begun.elapsed() > limit {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // What is told too often would come now: the processes are still there, and decide what they have read.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let seen = self.seen();
        if let Some(wrong) = &seen.wrong {
            bail!("{wrong}");
        }
        let nothing = Vec::new();
        let different = |record: &&Record| {
            made.expected.get(*record).unwrap_or(&nothing) != seen.told.get(*record).unwrap_or(&nothing)
        };
        let records: HashSet<&Record> = made.expected.keys().chain(seen.told.keys()).collect();
        let wrong: Vec<&Record> = records.into_iter().filter(different).collect();
        if let Some(record) = wrong.first() {
            bail!(
                "{} records were told otherwise than made; {record:?}: made {:?}, told {:?}",
                wrong.len(),
                made.expected.get(*record),
                seen.told.get(*record)
            );
        }
        Ok(seen.events)
    }
}

impl Seen {
    fn hear(&mut self, partition: i32) {
        let silence =
            self.heard.insert(partition, Instant::now()).map_or(Duration::ZERO, |last| last.elapsed());
        self.silence = self.silence.max(silence);
    }

    fn take(&mut self, event: UnifiedEvent) -> Result<(), String> {
        let Subject::Record { remote_id, .. } = &event.subject else {
            return Err("an account's event".into());
        };
        let record = (event.account, event.event.resource, remote_id.as_str().to_owned());
        if !self.ids.insert(event.event_id.to_string()) {
            return Err(format!("{record:?}: event id {} came twice", event.event_id));
        }
        let before = self.last.insert(record.clone(), event.sequence);
        if before != event.previous_sequence {
            let told = event.previous_sequence;
            return Err(format!("{record:?}: the chain is broken: {told:?} after {before:?}"));
        }
        self.told.entry(record).or_default().push(event.event.action);
        self.events += 1;
        Ok(())
    }
}
