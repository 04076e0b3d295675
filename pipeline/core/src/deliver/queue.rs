//! What waits for a webhook in memory: first attempts and retries, each in the order in which they were offered. With
//! `ordering: record` one of a line is out at a time; those behind it wait here.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use tributary_schemas::{
    delivery::Line,
    entity,
    id::{AccountId, RecordKey},
    resource::Resource,
};

use super::record::{Reader, Record, TenureId};

/// An offered record.
#[derive(Debug, Clone)]
pub struct Queued {
    /// The partition's assignment under which it was read.
    pub tenure: TenureId,
    /// Who reads it.
    pub reader: Reader,
    /// What is told.
    pub record: Arc<Record>,
    /// Its line, if its webhook keeps a record's order.
    pub line: Option<Line>,
    /// It was read by the head, not behind it.
    pub live: bool,
    /// The webhook as it was when the record was offered.
    pub(super) then: Option<Arc<entity::Webhook>>,
}

/// First attempts, or retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// First attempts.
    First,
    /// Retries.
    Retry,
}

impl Kind {
    /// Both, first attempts first.
    pub const ALL: [Kind; 2] = [Self::First, Self::Retry];

    /// Which one a record's attempt is.
    pub const fn of(record: &Record) -> Self {
        if record.attempt > 1 { Self::Retry } else { Self::First }
    }
}

/// A line, apart for each replay: those are in order within themselves only.
type Key = (AccountId, Resource, RecordKey, Option<Arc<str>>);

/// What waits for a webhook.
#[derive(Debug, Default)]
pub struct Queue {
    first: VecDeque<Queued>,
    retry: VecDeque<Queued>,
    /// The lines of which one is out or next, with those behind it.
    lines: BTreeMap<Key, VecDeque<Queued>>,
    count: usize,
    bytes: usize,
}

impl Queue {
    /// How many wait.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether none does.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Their bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes one in.
    pub fn push(&mut self, queued: Queued) {
        self.count += 1;
        self.bytes += queued.record.bytes;
        if let Some(key) = key(&queued) {
            if let Some(behind) = self.lines.get_mut(&key) {
                behind.push_back(queued);
                return;
            }
            self.lines.insert(key, VecDeque::new());
        }
        self.ready(queued);
    }

    /// Whether one of a kind can go out.
    pub fn has(&self, kind: Kind) -> bool {
        !self.of(kind).is_empty()
    }

    /// Takes the next of a kind out.
    pub fn pop(&mut self, kind: Kind) -> Option<Queued> {
        let queued = match kind {
            Kind::First => self.first.pop_front(),
            Kind::Retry => self.retry.pop_front(),
        }?;
        self.count -= 1;
        self.bytes -= queued.record.bytes;
        Some(queued)
    }

    /// One that was out comes back, before all others of its kind.
    pub fn unpop(&mut self, queued: Queued) {
        self.count += 1;
        self.bytes += queued.record.bytes;
        match Kind::of(&queued.record) {
            Kind::First => self.first.push_front(queued),
            Kind::Retry => self.retry.push_front(queued),
        }
    }

    /// One that was out is settled, or given to the next owner: the next of its line may go.
    pub fn leave(&mut self, queued: &Queued) {
        let Some(key) = key(queued) else { return };
        let Some(behind) = self.lines.get_mut(&key) else { return };
        match behind.pop_front() {
            Some(next) => self.ready(next),
            None => {
                self.lines.remove(&key);
            }
        }
    }

    /// Everything that waits, in no order; what is out stays out.
    pub fn clear(&mut self) -> Vec<Queued> {
        let mut all: Vec<Queued> = self.first.drain(..).chain(self.retry.drain(..)).collect();
        // Of a line whose first was next, not out, nothing is left.
        let next: Vec<Key> = all.iter().filter_map(key).collect();
        for key in next {
            all.extend(self.lines.remove(&key).unwrap_or_default());
        }
        for behind in self.lines.values_mut() {
            all.extend(behind.drain(..));
        }
        (self.count, self.bytes) = (0, 0);
        all
    }

    fn ready(&mut self, queued: Queued) {
        match Kind::of(&queued.record) {
            Kind::First => self.first.push_back(queued),
            Kind::Retry => self.retry.push_back(queued),
        }
    }

    fn of(&self, kind: Kind) -> &VecDeque<Queued> {
        match kind {
            Kind::First => &self.first,
            Kind::Retry => &self.retry,
        }
    }
}

fn key(queued: &Queued) -> Option<Key> {
    let line = queued.line.as_ref()?;
    Some((line.account.clone(), line.resource, line.record, queued.reader.replay.clone()))
}
