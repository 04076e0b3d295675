//! A decision in the making: mutations with their timestamps, events, and the rows of the ranges that were changed.

use std::collections::BTreeMap;

use tributary_schemas::{
    id::{RecordKey, Sequence},
    state::{Bucket, Known, RangeRow, State},
    time::Timestamp,
    wal::Mutation,
};

use super::{Decision, event::Telling};
use crate::{
    cells::Cells,
    guard::{Guard, holds},
    range,
    record::{Note, Seen},
    unify::{rejection::Rejection, wal::mutation_weight},
};

/// How many events one input message may make.
pub const MAX_EVENTS: usize = 20_000;
/// How large one input message's WAL record may be: less than the 8 MiB of a message (design §3).
pub const MAX_WAL_BYTES: usize = 7 << 20;
/// How much of the provider's request one input message's events may hold together: each holds its own part of at most
/// 1 MiB, but in the provider's wrapping, which is repeated.
pub const MAX_EVENT_BYTES: usize = 32 << 20;

/// A decision in the making.
pub(crate) struct Draft<'a> {
    pub(crate) known: &'a Cells,
    pub(crate) now: Timestamp,
    ts: i64,
    /// What this decision has made of records and rows, over `known`.
    records: BTreeMap<(Bucket, RecordKey), Known>,
    rows: BTreeMap<Bucket, RangeRow>,
    decision: Decision,
}

impl<'a> Draft<'a> {
    pub(super) fn new(known: &'a Cells, now: Timestamp, ts: i64) -> Self {
        let (records, rows) = (BTreeMap::new(), BTreeMap::new());
        Self { known, now, ts, records, rows, decision: Decision::default() }
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.decision.notes.push(note);
    }

    /// Each mutation has a timestamp of its own.
    pub(crate) fn push(&mut self, mutation: Mutation) {
        self.decision.mutations.push(mutation);
    }

    /// What is known of a record by now.
    pub(super) fn record(&self, bucket: &Bucket, key: RecordKey) -> Option<Known> {
        let slot = (bucket.clone(), key);
        self.records.get(&slot).or_else(|| self.known.record(bucket, key)).cloned()
    }

    /// A range's row by now.
    pub(super) fn row(&self, bucket: &Bucket) -> Option<RangeRow> {
        self.rows.get(bucket).or_else(|| self.known.range(bucket)).cloned()
    }

    /// Takes in what an observation of a record means, and counts it in its range's row.
    pub(super) fn take(&mut self, bucket: &Bucket, key: RecordKey, seen: Seen, telling: Telling<'_>) {
        let before = self.record(bucket, key);
        let Some(now) = self.tell(bucket, key, seen, telling) else { return };
        let mut row = self.row(bucket).unwrap_or(RangeRow::EMPTY);
        range::remove(&mut row, key, before.map_or(State::Gone, |known| known.state));
        range::add(&mut row, key, now.state);
        self.rows.insert(bucket.clone(), row);
        self.records.insert((bucket.clone(), key), now);
    }

    /// Writes what is known of a record now, and announces the change, if any. The row is the caller's.
    pub(crate) fn tell(
        &mut self,
        bucket: &Bucket,
        key: RecordKey,
        seen: Seen,
        telling: Telling<'_>,
    ) -> Option<Known> {
        self.decision.notes.extend(seen.note);
        let mut now = seen.now?;
        if let Some(action) = seen.change {
            let place = if holds(Guard::TimestampPerMutation) { self.decision.mutations.len() } else { 0 };
            let sequence = Sequence(self.ts + place as i64);
            self.decision.events.push(telling.event(action, key, &now, sequence, self.now));
            now.sequence = Some(sequence);
        }
        self.push(Mutation::Record { bucket: bucket.clone(), key, known: Some(now.clone()) });
        Some(now)
    }

    /// The decision, with the rows of the ranges that were changed.
    pub(super) fn finish(mut self) -> Result<Decision, Rejection> {
        for (bucket, row) in std::mem::take(&mut self.rows) {
            if self.known.range(&bucket) != Some(&row) {
                self.push(Mutation::Range { bucket, row: Some(row) });
            }
        }
        let Decision { mutations, events, .. } = &self.decision;
        let wal: usize = mutations.iter().map(mutation_weight).sum();
        let requests: usize = events.iter().map(Telling::payload).sum();
        if events.len() > MAX_EVENTS || wal > MAX_WAL_BYTES || requests > MAX_EVENT_BYTES {
            return Err(Rejection::TooManyChanges);
        }
        Ok(self.decision)
    }
}
