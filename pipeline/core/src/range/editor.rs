//! The one editor of ranges: whoever changes a record, of a scan, a delta or a native event, changes it here, and its range's
//! row with it.

use std::collections::BTreeMap;

use tributary_schemas::{
    id::{Bits, ProjectionVersion, RecordKey, RunId},
    state::{Bucket, Known, RangeRow, State},
    wal::Mutation,
};

use super::count::{add, counted, remove};
use crate::cells::Cells;

/// Ranges in the making, and what is written of them.
pub(crate) struct Editor<'a> {
    known: &'a Cells,
    /// The rows of the ranges that were changed; `None`: there is none.
    rows: BTreeMap<Bucket, Option<RangeRow>>,
    mutations: Vec<Mutation>,
}

/// Whether a range's row counted what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Right,
    Wrong,
}

impl<'a> Editor<'a> {
    pub(crate) fn new(known: &'a Cells) -> Self {
        Self { known, rows: BTreeMap::new(), mutations: Vec::new() }
    }

    /// How many mutations there are: the place of the next.
    pub(crate) fn len(&self) -> usize {
        self.mutations.len()
    }

    /// Writes something that is of no range.
    pub(crate) fn push(&mut self, mutation: Mutation) {
        self.mutations.push(mutation);
    }

    /// Writes what is known of a record now, or that nothing is any more. `before`: as which it was counted in this bucket.
    pub(crate) fn write(&mut self, bucket: &Bucket, key: RecordKey, before: State, now: Option<Known>) {
        let after = now.as_ref().map_or(State::Gone, |known| known.state);
        let row = self.entry(bucket);
        match row {
            // Nothing is there that could have been counted.
            None if after == State::Gone && now.is_none() => {}
            row => {
                let row = row.get_or_insert(RangeRow::EMPTY);
                remove(row, key, before);
                add(row, key, after);
            }
        }
        self.mutations.push(Mutation::Record { bucket: bucket.clone(), key, known: now });
    }

    /// A range's row by now.
    pub(crate) fn row(&self, bucket: &Bucket) -> Option<&RangeRow> {
        self.rows.get(bucket).map_or_else(|| self.known.range(bucket), Option::as_ref)
    }

    /// A run has changed something of a range, or taken it over.
    pub(crate) fn stand(&mut self, bucket: &Bucket, projection: ProjectionVersion, run: RunId) {
        let row = self.entry(bucket).get_or_insert(RangeRow::EMPTY);
        (row.projection, row.run) = (Some(projection), Some(run));
    }

    /// Counts a range anew, of whose records these are all that are there.
    pub(crate) fn count(
        &mut self,
        bucket: &Bucket,
        records: impl IntoIterator<Item = (RecordKey, State)>,
    ) -> Count {
        let row = self.row(bucket).unwrap_or(&RangeRow::EMPTY);
        let counted = counted(row, records);
        if counted == *row {
            return Count::Right;
        }
        *self.entry(bucket) = Some(counted);
        Count::Wrong
    }

    /// A cut is left: its rows go, those too that were not read.
    pub(crate) fn leave(&mut self, of: &Bucket, bits: Bits) {
        for range in 0..bits.ranges() {
            let bucket = Bucket { bits, range, ..of.clone() };
            self.rows.remove(&bucket);
            self.mutations.push(Mutation::Range { bucket, row: None });
        }
    }

    /// Everything that is written, with the rows of the ranges that were changed.
    pub(crate) fn finish(mut self) -> Vec<Mutation> {
        for (bucket, row) in self.rows {
            if self.known.range(&bucket) != row.as_ref() {
                self.mutations.push(Mutation::Range { bucket, row });
            }
        }
        self.mutations
    }

    fn entry(&mut self, bucket: &Bucket) -> &mut Option<RangeRow> {
        if !self.rows.contains_key(bucket) {
            self.rows.insert(bucket.clone(), self.known.range(bucket).cloned());
        }
        self.rows.get_mut(bucket).expect("put in above")
    }
}
