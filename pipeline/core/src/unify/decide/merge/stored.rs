//! What is kept of a listing's range: in its own bucket, or still in those of the cut before.

use std::collections::BTreeMap;

use tributary_schemas::{
    id::{Bits, RecordKey},
    observation::{RangeListing, Run},
    state::{Bucket, Head, Known, RangeRow},
};

use crate::{
    cells::Cells,
    range::{Ground, overlapping},
    record::{Hashes, Pass, Standing},
    unify::decide::draft::Draft,
};

/// What is kept of a listing's range.
pub(super) struct Stored<'a> {
    bucket: Bucket,
    head: Head,
    place: Place<'a>,
    records: Vec<Kept<'a>>,
}

/// A record where it is kept.
pub(super) struct Kept<'a> {
    pub(super) key: RecordKey,
    pub(super) known: &'a Known,
    pub(super) bucket: Bucket,
}

/// Where the range's records are.
enum Place<'a> {
    /// In the range's own bucket.
    Here(Option<&'a RangeRow>),
    /// In buckets of the cut before: this listing moves them.
    Before { bits: Bits, rows: BTreeMap<u32, Option<&'a RangeRow>> },
}

impl<'a> Stored<'a> {
    /// Finds the range's records: in its own bucket if that has a row, else in the cut before.
    pub(super) fn read(listing: &RangeListing, head: Head, known: &'a Cells) -> Self {
        let run = &listing.run;
        let ground = Ground::of(known, &run.source.account, run.resource);
        let bucket = ground.bucket(run.bits, listing.range);
        let row = known.range(&bucket);
        let (place, records) = match head.bits_before {
            Some(bits) if row.is_none() => {
                let mut records = Vec::new();
                let mut leave = |range| {
                    let old = ground.bucket(bits, range);
                    let ours = |key: &RecordKey| key.range(run.bits) == listing.range;
                    records.extend(kept(known, &old).filter(|kept| ours(&kept.key)));
                    (range, known.range(&old))
                };
                let rows = overlapping(bits, run.bits, listing.range).map(&mut leave).collect();
                (Place::Before { bits, rows }, records)
            }
            Some(_) | None => (Place::Here(row), kept(known, &bucket).collect()),
        };
        Self { bucket, head, place, records }
    }

    /// The range's own bucket.
    pub(super) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// The range's records, sorted by key.
    pub(super) fn records(&self) -> &[Kept<'a>] {
        &self.records
    }

    /// The run, as seen from this key.
    pub(super) fn pass(&self, run: &Run, key: RecordKey) -> Pass {
        let row = self.row(key);
        Pass {
            run: run.run,
            begun_at: run.begun_at,
            settle: run.settle,
            last_full_run: self.head.last_full_run,
            standing: standing(run, row),
            hashes: hashes(run, row),
        }
    }

    /// Whether the range's row must be written, even if no record changed.
    pub(super) fn stands_otherwise(&self, run: &Run) -> bool {
        match self.place {
            Place::Here(row) => {
                standing(run, row) != Standing::Compared || hashes(run, row) != Hashes::Comparable
            }
            Place::Before { .. } => true,
        }
    }

    /// Whether the range has had no row of its own up to now.
    pub(super) fn has_no_row(&self) -> bool {
        matches!(self.place, Place::Here(None) | Place::Before { .. })
    }

    /// With the last range the rows of the cut before go. Returns how the (account, resource) stands then, if anything was
    /// moved.
    pub(super) fn leave(&self, draft: &mut Draft<'_>) -> Option<Head> {
        let Place::Before { bits, .. } = &self.place else { return None };
        let moved = self.head.moved + 1;
        if moved < self.head.bits.ranges() {
            return Some(Head { moved, ..self.head });
        }
        draft.ranges.leave(&self.bucket, *bits);
        Some(Head { bits_before: None, moved: 0, ..self.head })
    }

    /// The row of the range that the key has been in up to now.
    fn row(&self, key: RecordKey) -> Option<&RangeRow> {
        match &self.place {
            Place::Here(row) => *row,
            Place::Before { bits, rows } => *rows.get(&key.range(*bits))?,
        }
    }
}

fn kept<'a>(known: &'a Cells, bucket: &Bucket) -> impl Iterator<Item = Kept<'a>> {
    let bucket = bucket.clone();
    known.slice(&bucket).map(move |(key, known)| Kept { key, known, bucket: bucket.clone() })
}

/// A range whose row has no run, or one before the baseline's, has had no baseline.
fn standing(run: &Run, row: Option<&RangeRow>) -> Standing {
    let based = row.filter(|row| row.run.is_some_and(|last| last >= run.baseline.from));
    match based.map(|row| row.projection) {
        Some(Some(projection)) if projection.identity != run.projection.identity => Standing::Rebased,
        Some(_) => Standing::Compared,
        None => Standing::Baseline(run.baseline.announce),
    }
}

/// Hashes of another projection say nothing.
fn hashes(run: &Run, row: Option<&RangeRow>) -> Hashes {
    match row.and_then(|row| row.projection) {
        Some(projection) if projection == run.projection => Hashes::Comparable,
        Some(_) | None => Hashes::Incomparable,
    }
}
