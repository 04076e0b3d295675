//! A full scan, buffered as (remote id, hash) until the listing has ended, then compared with what unify knows: only
//! the ranges that differ are sent (design §5).

use std::{collections::HashMap, iter::Peekable, vec};

use tributary_schemas::{
    id::{Bits, ProjectionVersion, RemoteId},
    observation::{Absence, Baseline, Content, Listed, RangeListing, Run, Summary},
    state::{Head, RangeRow, weight},
};

use super::{cadence::Doubted, records::Records};
use crate::{
    guard::{Guard, holds},
    range::FINEST,
};

/// Records a range, when a cut is chosen.
const RECORDS_WANTED: u64 = 2_048;
/// Records a range on average, past which the next full run cuts finer.
const RECORDS_MOST: u64 = 8_192;
/// Bytes a range on average, past which a cut is too coarse: a message stays below 512 KB.
const BYTES_MOST: u64 = 256 * 1024;
/// Bytes of a listed record in a message, beside its remote id.
const BYTES_OVERHEAD: u64 = 24;

/// The records that a listing has named so far. The same id twice: the later page wins.
#[derive(Debug, Default)]
pub struct Scan {
    records: Records,
    ended: bool,
}

/// The listing has not ended: what it did not name may be there all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the listing broke off: a full scan lands only when every page was read")]
pub struct BrokenOff;

impl Scan {
    /// Takes a record in. Says whether it had not been named before.
    pub fn add(&mut self, listed: Listed) -> bool {
        self.records.add(&listed)
    }

    /// Takes in that the listing ended properly: the cursor chain is at its end, and every page was read.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// What it keeps in memory, in bytes.
    pub fn held(&self) -> u64 {
        self.records.held()
    }

    /// How many records have been named.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.records.len() == 0
    }

    /// The cut for this scan: the one that stands while it is fine enough, a finer one otherwise.
    ///
    /// A cut that only native events have made is not kept: the first scan chooses its own.
    pub fn cut(&self, head: Option<Head>) -> Bits {
        let ranges = |records| self.count().div_ceil(records).max(self.bytes().div_ceil(BYTES_MOST)).max(1);
        let bits = |ranges: u64| {
            let needed = u8::try_from(ranges.next_power_of_two().trailing_zeros()).unwrap_or(u8::MAX);
            FINEST.min(Bits::new(needed).unwrap_or(FINEST))
        };
        match head {
            // One move at a time: unify drops a run of another cut when some ranges have been moved, but not all.
            Some(Head { moved: 1.., bits: stands, .. }) => stands,
            Some(Head { last_full_run: Some(_), bits: stands, .. })
                if bits(ranges(RECORDS_MOST)) <= stands =>
            {
                stands
            }
            Some(_) | None => bits(ranges(RECORDS_WANTED)),
        }
    }

    /// Compares with what unify knows, and gives the messages to send: the summary, then the ranges that differ.
    /// `run.bits` is the scan's [`cut`](Self::cut).
    ///
    /// # Errors
    /// [`BrokenOff`] unless the listing [ended](Self::end).
    pub fn compare(
        self,
        run: &Run,
        rows: &HashMap<(Bits, u32), RangeRow>,
        absence: Absence,
    ) -> Result<Compared, BrokenOff> {
        if !self.ended && holds(Guard::CompleteScans) {
            return Err(BrokenOff);
        }
        let mut found: Vec<Found> = (0..run.bits.ranges()).map(|_| Found::default()).collect();
        for (key, content) in self.records.iter() {
            let range = &mut found[key.range(run.bits) as usize];
            match content {
                Content::Hash(hash) => {
                    range.hashed += 1;
                    range.sum = range.sum.wrapping_add(weight(key, hash));
                }
                Content::Unread => range.unread += 1,
            }
        }
        let differs = |range: &u32| {
            let row = rows.get(&(run.bits, *range));
            found[*range as usize].differs(row, run.projection, run.baseline)
        };
        let differing: Vec<u32> = (0..run.bits.ranges()).filter(differs).collect();
        let records = self.count();
        let doubts = differing.iter().map(|range| match rows.get(&(run.bits, *range)) {
            Some(row) => doubts(row, found[*range as usize].listed(), absence),
            None if rows.is_empty() => Doubted::Nothing,
            // Its records are in ranges of another cut.
            None => Doubted::Perhaps,
        });
        let doubted = doubts.max().unwrap_or_default();
        let ranges_sent = differing.len() as u32;
        let mut sent = vec![false; found.len()];
        differing.iter().for_each(|range| sent[*range as usize] = true);
        let sorted = self.records.sorted(|key| sent[key.range(run.bits) as usize]);
        let ranges = Ranges {
            records: self.records,
            sorted: sorted.into_iter().peekable(),
            differing: differing.into_iter(),
            run: run.clone(),
            absence,
        };
        let summary = Summary { run: run.clone(), records, ranges_sent };
        Ok(Compared { summary, ranges, doubted, differing: sent })
    }

    fn bytes(&self) -> u64 {
        self.records.id_bytes() + self.count() * BYTES_OVERHEAD
    }

    fn count(&self) -> u64 {
        self.records.len() as u64
    }
}

/// Whether unify will doubt what a range that differs has lost. The numbers alone show no more than by how many it became
/// fewer: all of it may have gone, and as many come.
fn doubts(row: &RangeRow, listed: u32, absence: Absence) -> Doubted {
    let there = row.live + row.touched;
    let doubtful = |lost: u32| match absence {
        Absence::Sure => too_much(lost, row),
        Absence::Doubtful => lost > 0,
        Absence::Partial | Absence::Released => false,
    };
    match (doubtful(there.saturating_sub(listed)), doubtful(there)) {
        (true, _) => Doubted::Absences,
        (false, true) => Doubted::Perhaps,
        (false, false) => Doubted::Nothing,
    }
}

/// Whether a range would lose so much at once that even a keyed listing is doubted: more than 20 % and more than 10.
fn too_much(lost: u32, row: &RangeRow) -> bool {
    lost > 10 && u64::from(lost) * 5 > u64::from(row.live) + u64::from(row.touched) + u64::from(row.missing)
}

/// What a complete scan has to say.
#[derive(Debug)]
pub struct Compared {
    /// Goes first.
    pub summary: Summary,
    /// The ranges that differ, in order, each made when it is asked for.
    pub ranges: Ranges,
    /// Whether some absence will be doubted: then the next full run should come soon.
    pub doubted: Doubted,
    /// Which ranges differ.
    pub differing: Vec<bool>,
}

/// The ranges that a scan sends, one after the other.
#[derive(Debug)]
pub struct Ranges {
    records: Records,
    sorted: Peekable<vec::IntoIter<u32>>,
    differing: vec::IntoIter<u32>,
    run: Run,
    absence: Absence,
}

impl Iterator for Ranges {
    type Item = RangeListing;

    fn next(&mut self) -> Option<RangeListing> {
        let range = self.differing.next()?;
        let here = |at: &u32| self.records.key(*at).range(self.run.bits) == range;
        let mut records = Vec::new();
        while let Some(at) = self.sorted.next_if(here) {
            records.push(self.records.listed(at));
        }
        Some(RangeListing { run: self.run.clone(), range, absence: self.absence, records })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.differing.size_hint()
    }
}

impl ExactSizeIterator for Ranges {}

/// What a scan found in a range, added up.
#[derive(Debug, Default)]
struct Found {
    hashed: u32,
    unread: u32,
    sum: u128,
}

impl Found {
    fn listed(&self) -> u32 {
        self.hashed + self.unread
    }

    fn differs(&self, row: Option<&RangeRow>, projection: ProjectionVersion, baseline: Baseline) -> bool {
        let Some(row) = row else { return true };
        row.run.is_none_or(|run| run < baseline.from)
            || row.projection != Some(projection)
            || (row.live, row.sum) != (self.hashed, self.sum)
            || (self.unread, row.touched, row.missing) != (0, 0, 0)
    }
}

/// A listed record, for who builds a scan.
pub fn listed(remote_id: RemoteId, content: Content) -> Listed {
    Listed { remote_id, content }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tributary_schemas::{
        id::{ProjectionDigest, RecordHash, RunId},
        observation::{Announce, Source},
        resource::Resource,
        time::Timestamp,
    };

    use super::*;

    fn run(bits: Bits) -> Run {
        Run {
            source: Source {
                project: "p".parse().unwrap(),
                account: "a".parse().unwrap(),
                provider: "demo".parse().unwrap(),
                origin_owner_id: None,
            },
            resource: Resource::HrisEmployees,
            run: RunId(7),
            begun_at: Timestamp::from_micros(0),
            lasted: Duration::ZERO,
            projection: projection(1),
            baseline: Baseline { from: RunId(1), announce: Announce::Nothing },
            settle: Duration::from_secs(120),
            bits,
            id_prefix: "tr1!".into(),
            key_name: "id".into(),
        }
    }

    fn projection(content: u8) -> ProjectionVersion {
        ProjectionVersion { identity: ProjectionDigest([1; 8]), content: ProjectionDigest([content; 8]) }
    }

    fn scan(ids: impl IntoIterator<Item = u32>) -> Scan {
        let mut scan = Scan::default();
        for id in ids {
            scan.add(listed(RemoteId::new(id.to_string()), Content::Hash(RecordHash([id as u8; 16]))));
        }
        scan.end();
        scan
    }

    /// The rows that unify would keep of these records.
    fn rows(scan: &Scan, run: &Run) -> HashMap<(Bits, u32), RangeRow> {
        let mut rows: HashMap<_, _> = (0..run.bits.ranges())
            .map(|range| {
                (
                    (run.bits, range),
                    RangeRow { projection: Some(run.projection), run: Some(run.run), ..RangeRow::EMPTY },
                )
            })
            .collect();
        for (key, content) in scan.records.iter() {
            let Content::Hash(hash) = content else { unreachable!("all are hashed here") };
            let row = rows.get_mut(&(run.bits, key.range(run.bits))).unwrap();
            row.live += 1;
            row.sum = row.sum.wrapping_add(weight(key, hash));
        }
        rows
    }

    #[test]
    fn the_first_scan_cuts_for_2_048_records_a_range_and_sends_every_range() {
        for (records, bits) in [(0, 0), (1, 0), (2_048, 0), (2_049, 1), (5_000, 2), (100_000, 6)] {
            assert_eq!(scan(0..records).cut(None).get(), bits, "{records} records");
        }
        let scan = scan(0..10);
        let bits = Bits::new(3).unwrap();
        let compared = scan.compare(&run(bits), &HashMap::new(), Absence::Sure).unwrap();
        assert_eq!(
            compared.ranges.len(),
            8,
            "empty ranges too: a range without a row would swallow its first record"
        );
        assert_eq!(compared.summary.records, 10);
    }

    #[test]
    fn a_cut_stands_until_8_192_records_a_range_and_a_native_cut_does_not_bind() {
        let head = |last_full_run| {
            Some(Head { last_full_run, bits: Bits::new(0).unwrap(), bits_before: None, moved: 0 })
        };
        assert_eq!(scan(0..8_192).cut(head(Some(RunId(1)))).get(), 0);
        assert_eq!(scan(0..8_193).cut(head(Some(RunId(1)))).get(), 3);
        assert_eq!(scan(0..8_192).cut(head(None)).get(), 2);
        let moving =
            head(Some(RunId(1))).map(|head| Head { bits_before: Some(Bits::NATIVE), moved: 1, ..head });
        assert_eq!(scan(0..8_193).cut(moving).get(), 0, "one move at a time");
    }

    #[test]
    fn long_remote_ids_cut_finer() {
        let mut scan = Scan::default();
        for id in 0..1_000 {
            scan.add(listed(RemoteId::new(format!("{id:0>2000}")), Content::Unread));
        }
        assert_eq!(scan.cut(None).get(), 3, "2 MB in messages of at most 256 KB");
    }

    #[test]
    fn a_listing_that_broke_off_lands_nothing() {
        let mut broken_off = Scan::default();
        broken_off.add(listed(RemoteId::new("1"), Content::Unread));
        let run = run(Bits::new(0).unwrap());
        assert_eq!(broken_off.compare(&run, &HashMap::new(), Absence::Sure).err(), Some(BrokenOff));
    }

    #[test]
    fn a_quiet_scan_sends_its_summary_alone() {
        let run = run(Bits::new(2).unwrap());
        let scan = scan(0..5_000);
        let rows = rows(&scan, &run);
        let compared = scan.compare(&run, &rows, Absence::Sure).unwrap();
        assert_eq!(
            (compared.ranges.len(), compared.summary.ranges_sent, compared.doubted),
            (0, 0, Doubted::Nothing)
        );
    }

    #[test]
    fn each_kind_of_difference_sends_the_range_of_it() {
        let cut = Bits::new(0).unwrap();
        let known = |change: &dyn Fn(&mut RangeRow)| {
            let mut rows = rows(&scan(0..9), &run(cut));
            change(rows.get_mut(&(cut, 0)).unwrap());
            rows
        };
        for (rule, change) in [
            ("a record more", &(|row: &mut RangeRow| row.live -= 1) as &dyn Fn(&mut RangeRow)),
            ("other content", &|row| row.sum ^= 1),
            ("a touched record", &|row| row.touched = 1),
            ("a missing record", &|row| row.missing = 1),
            ("another projection", &|row| row.projection = Some(projection(2))),
            ("no run yet", &|row| row.run = None),
            ("a run before the baseline", &|row| row.run = Some(RunId(0))),
        ] {
            let compared = scan(0..9).compare(&run(cut), &known(change), Absence::Sure).unwrap();
            assert_eq!(compared.ranges.len(), 1, "{rule}");
        }
        let mut unread = scan(0..8);
        unread.add(listed(RemoteId::new("8"), Content::Unread));
        assert_eq!(
            unread.compare(&run(cut), &known(&|_| ()), Absence::Sure).unwrap().ranges.len(),
            1,
            "an unread record"
        );
    }

    #[test]
    fn a_range_is_sorted_by_key_and_the_later_page_wins() {
        let mut scan = scan(0..500);
        scan.add(listed(RemoteId::new("7"), Content::Unread));
        let mut compared = scan.compare(&run(Bits::new(0).unwrap()), &HashMap::new(), Absence::Sure).unwrap();
        let records = compared.ranges.next().unwrap().records;
        assert_eq!(records.len(), 500);
        assert!(records.windows(2).all(|pair| pair[0].remote_id.key() < pair[1].remote_id.key()));
        let seven = records.iter().find(|it| it.remote_id.as_str() == "7").unwrap();
        assert_eq!(seven.content, Content::Unread);
    }

    #[test]
    fn a_loss_is_doubted_when_the_listing_can_skip_or_the_loss_is_large_though_as_many_have_come() {
        let cut = Bits::new(0).unwrap();
        use Doubted::{Absences, Nothing, Perhaps};
        for (rule, there, listed, absence, doubted) in [
            ("one of a keyed listing", 0..100, 0..99, Absence::Sure, Perhaps),
            ("one of an unkeyed listing", 0..100, 0..99, Absence::Doubtful, Absences),
            ("a fifth, or as many have come as have gone", 0..100, 0..80, Absence::Sure, Perhaps),
            ("more than a fifth", 0..100, 0..79, Absence::Sure, Absences),
            ("30 gone and 30 new", 0..100, 30..130, Absence::Sure, Perhaps),
            ("30 gone and 30 new, unkeyed", 0..100, 30..130, Absence::Doubtful, Perhaps),
            ("30 gone and 30 new of a partial listing", 0..100, 30..130, Absence::Partial, Nothing),
            ("30 gone and 30 new, released", 0..100, 30..130, Absence::Released, Nothing),
            ("ten at the most are believed", 0..10, 0..0, Absence::Sure, Nothing),
            ("ten at the most are believed, though ten are new", 0..10, 10..20, Absence::Sure, Nothing),
            ("nothing was there", 0..0, 0..20, Absence::Doubtful, Nothing),
        ] {
            let rows = rows(&scan(there), &run(cut));
            let compared = scan(listed).compare(&run(cut), &rows, absence).unwrap();
            assert_eq!(compared.doubted, doubted, "{rule}");
        }
        let first = scan(0..100).compare(&run(cut), &HashMap::new(), Absence::Doubtful).unwrap();
        assert_eq!(first.doubted, Nothing, "a baseline");
        let finer = run(Bits::new(1).unwrap());
        let moved = scan(0..100).compare(&finer, &rows(&scan(0..100), &run(cut)), Absence::Sure).unwrap();
        assert_eq!(moved.doubted, Perhaps, "another cut");
    }
}
