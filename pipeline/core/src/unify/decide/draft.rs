//! A decision in the making: mutations with their timestamps, events, and the rows of the ranges that were changed.

use std::collections::BTreeMap;

use tributary_schemas::{
    id::{RecordKey, Sequence},
    state::{Bucket, Known, State},
    time::Timestamp,
    wal::Mutation,
};

use super::{
    decision::Decision,
    event::Telling,
    limits::{MAX_EVENT_BYTES, MAX_EVENTS, MAX_WAL_BYTES},
};
use crate::{
    cells::Cells,
    guard::{Guard, holds},
    range::Editor,
    record::{Note, Seen},
    unify::{rejection::Rejection, wal::mutation_weight},
};

/// A decision in the making.
pub(super) struct Draft<'a> {
    pub(super) known: &'a Cells,
    pub(super) now: Timestamp,
    pub(super) ranges: Editor<'a>,
    ts: i64,
    /// What this decision has made of records, over `known`: one delivery may tell of a record twice.
    records: BTreeMap<(Bucket, RecordKey), Known>,
    decision: Decision,
}

impl<'a> Draft<'a> {
    pub(super) fn new(known: &'a Cells, now: Timestamp, ts: i64) -> Self {
        let (records, ranges) = (BTreeMap::new(), Editor::new(known));
        Self { known, now, ranges, ts, records, decision: Decision::default() }
    }

    pub(super) fn note(&mut self, note: Note) {
        self.decision.notes.push(note);
    }

    /// Writes something that is of no range. Each mutation has a timestamp of its own.
    pub(super) fn push(&mut self, mutation: Mutation) {
        self.ranges.push(mutation);
    }

    /// What is known of a record by now.
    pub(super) fn record(&self, bucket: &Bucket, key: RecordKey) -> Option<&Known> {
        self.records.get(&(bucket.clone(), key)).or_else(|| self.known.record(bucket, key))
    }

    /// Takes in what an observation of a record means, which the same decision may observe again.
    pub(super) fn take(&mut self, bucket: &Bucket, key: RecordKey, seen: Seen, telling: Telling<'_>) {
        let before = self.record(bucket, key).map_or(State::Gone, |known| known.state);
        if let Some(now) = self.tell(bucket, key, before, seen, telling) {
            self.records.insert((bucket.clone(), key), now);
        }
    }

    /// Writes what is known of a record now, and announces the change, if any. `before`: as which the bucket counts it.
    pub(super) fn tell(
        &mut self,
        bucket: &Bucket,
        key: RecordKey,
        before: State,
        seen: Seen,
        telling: Telling<'_>,
    ) -> Option<Known> {
        self.decision.notes.extend(seen.note);
        let mut now = seen.now?;
        if let Some(action) = seen.change {
            let place = if holds(Guard::TimestampPerMutation) { self.ranges.len() } else { 0 };
            let sequence = Sequence(self.ts + place as i64);
            self.decision.events.push(telling.event(action, key, &now, sequence, self.now));
            now.sequence = Some(sequence);
        }
        self.ranges.write(bucket, key, before, Some(now.clone()));
        Some(now)
    }

    /// The decision, with the rows of the ranges that were changed.
    pub(super) fn finish(self) -> Result<Decision, Rejection> {
        let Decision { events, notes, .. } = self.decision;
        let mutations = self.ranges.finish();
        let wal: usize = mutations.iter().map(mutation_weight).sum();
        let requests: usize = events.iter().map(Telling::payload).sum();
        if events.len() > MAX_EVENTS || wal > MAX_WAL_BYTES || requests > MAX_EVENT_BYTES {
            return Err(Rejection::TooManyChanges);
        }
        Ok(Decision { mutations, events, notes })
    }
}
