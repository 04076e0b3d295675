//! What was set aside, looked at and sent again by an operator.
//!
//! An input is sent again once, however often that is asked and by how many at a time: the transaction that sends it leaves
//! a mark behind its letter, and whoever asks has first ended what another was about to send.

use std::{collections::HashMap, ops::ControlFlow};

use anyhow::Context;
use bytes::Bytes;
use tributary_schemas::{
    dead::{DeadLetter, Redriven},
    id::AccountId,
    time::Timestamp,
};

use crate::{
    clock::now,
    kafka::{Cluster, Incoming, LogReader, Outgoing, Position, Transactional},
};

/// What one transaction sends again, at most: inputs, and bytes.
const CHUNK: (usize, usize) = (200, 4 << 20);
/// Names the one who sends again: a second ends what the first has open.
const TRANSACTIONAL_ID: &str = "unify.redrive";

/// Which inputs are meant: those for which all that is given holds.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this account.
    pub account: Option<AccountId>,
    /// Set aside for this reason.
    pub reason: Option<String>,
    /// Set aside then or later.
    pub since: Option<Timestamp>,
    /// Set aside before that.
    pub until: Option<Timestamp>,
}

/// An input that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where its letter stands in `unify.dead`.
    pub place: Position,
    /// The account, as the input's key has it.
    pub account: String,
    /// What is wrong with it.
    pub letter: DeadLetter,
    /// What its value weighs; none is there where the input was too large even for `unify.dead`.
    pub bytes: usize,
    /// When it was sent again, if it was.
    pub redriven: Option<Timestamp>,
}

/// What became of a wish to send again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resent {
    /// So many were sent again.
    pub sent: usize,
    /// So many had been before.
    pub before: usize,
    /// Of so many there is nothing to send.
    pub empty: usize,
}

impl Filter {
    fn takes(&self, it: &SetAside) -> bool {
        self.account.as_ref().is_none_or(|account| account.as_str() == it.account)
            && self.reason.as_ref().is_none_or(|reason| *reason == it.letter.reason)
            && self.since.is_none_or(|since| it.letter.at >= since)
            && self.until.is_none_or(|until| it.letter.at < until)
    }
}

/// What was set aside, the first first.
///
/// # Errors
/// When the broker is away for long.
pub fn list(cluster: &Cluster, filter: &Filter) -> anyhow::Result<Vec<SetAside>> {
    let mut found = Vec::new();
    each_partition(cluster, |log, partition| {
        let mut ours: HashMap<i64, SetAside> = HashMap::new();
        read(log, partition, |record| match Found::of(&record) {
            Some(Found::Letter(letter)) => {
                let it = set_aside(&record, letter);
                if filter.takes(&it) {
                    ours.insert(record.offset, it);
                }
                Ok(ControlFlow::Continue(()))
            }
            Some(Found::Redriven(mark)) => {
                if let Some(it) = ours.get_mut(&mark.offset) {
                    it.redriven = Some(mark.at);
                }
                Ok(ControlFlow::Continue(()))
            }
            None => Ok(ControlFlow::Continue(())),
        })?;
        found.extend(ours.into_values());
        Ok(())
    })?;
    found.sort_by_key(|it| (it.letter.at, it.place.partition, it.place.offset));
    Ok(found)
}

/// Sends again what was set aside and has not been sent again yet, whole, to the topic that it came by.
///
/// # Errors
/// When the broker is away, or another sends again at the same time. What was sent is marked: asking again is safe.
pub fn redrive(cluster: &Cluster, filter: &Filter) -> anyhow::Result<Resent> {
    // First: whatever another has open is decided before we look, and it can commit nothing more.
    let producer = Transactional::new(cluster, TRANSACTIONAL_ID)?;
    let meant = list(cluster, filter)?;
    let mut resent = Resent::default();
    let mut due: HashMap<i32, HashMap<i64, SetAside>> = HashMap::new();
    for it in meant {
        match it {
            SetAside { redriven: Some(_), .. } => resent.before += 1,
            SetAside { bytes: 0, .. } => resent.empty += 1,
            it => {
                due.entry(it.place.partition).or_default().insert(it.place.offset, it);
            }
        }
    }
    let mut chunk = Chunk::default();
    each_partition(cluster, |log, partition| {
        let Some(due) = due.get(&partition) else { return Ok(()) };
        read(log, partition, |record| {
            if let Some(it) = due.get(&record.offset) {
                chunk.push(cluster, it, record)?;
                if chunk.inputs >= CHUNK.0 || chunk.bytes >= CHUNK.1 {
                    resent.sent += chunk.send(&producer)?;
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    })?;
    resent.sent += chunk.send(&producer)?;
    Ok(resent)
}

/// What one transaction sends again.
#[derive(Default)]
struct Chunk {
    records: Vec<Outgoing>,
    inputs: usize,
    bytes: usize,
}

impl Chunk {
    fn push(&mut self, cluster: &Cluster, it: &SetAside, record: Incoming) -> anyhow::Result<()> {
        let topics = cluster.topics();
        let twins = [topics.ingest_native(), topics.poll_snapshots()];
        let DeadLetter { topic, .. } = &it.letter;
        anyhow::ensure!(twins.contains(topic), "a letter of `{topic}`, which is no input of unify");
        self.inputs += 1;
        self.bytes += it.bytes;
        self.records.push(Outgoing {
            topic: topic.clone(),
            key: record.key.clone(),
            payload: record.payload,
            ..Outgoing::default()
        });
        self.records.push(Outgoing {
            topic: topics.unify_dead(),
            partition: Some(it.place.partition),
            key: record.key,
            headers: Redriven { offset: it.place.offset, at: now() }.to_headers(),
            ..Outgoing::default()
        });
        Ok(())
    }

    fn send(&mut self, producer: &Transactional) -> anyhow::Result<usize> {
        let Self { records, inputs, .. } = std::mem::take(self);
        if inputs > 0 {
            producer.write(&records).context(
                "sending again: what was sent is marked, so ask again; if it goes on, another sends at the same time",
            )?;
        }
        Ok(inputs)
    }
}

/// A record of `unify.dead`.
enum Found {
    Letter(DeadLetter),
    Redriven(Redriven),
}

impl Found {
    /// What is neither is passed over, and said.
    fn of(record: &Incoming) -> Option<Self> {
        let headers = || record.headers.iter().map(|(name, value)| (name.as_str(), &value[..]));
        match (Redriven::from_headers(headers()), DeadLetter::from_headers(headers())) {
            (Some(mark), _) => Some(Self::Redriven(mark)),
            (None, Ok(letter)) => Some(Self::Letter(letter)),
            (None, Err(error)) => {
                tracing::warn!(partition = record.at.partition, offset = record.offset, %error, "no letter");
                None
            }
        }
    }
}

fn set_aside(record: &Incoming, letter: DeadLetter) -> SetAside {
    SetAside {
        place: Position { partition: record.at.partition, offset: record.offset },
        account: String::from_utf8_lossy(&record.key).into_owned(),
        letter,
        bytes: record.payload.as_ref().map_or(0, Bytes::len),
        redriven: None,
    }
}

fn each_partition(
    cluster: &Cluster,
    mut look: impl FnMut(&LogReader, i32) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let log = LogReader::new(cluster, "dead", cluster.topics().unify_dead())?;
    (0..log.partitions()?).try_for_each(|partition| look(&log, partition))
}

fn read(
    log: &LogReader,
    partition: i32,
    take: impl FnMut(Incoming) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let (begins, _) = log.bounds(partition)?;
    let end = log.stable_end(partition)?;
    log.records(partition, begins, end, take).map(drop)
}
