//! A small world: a provider with the truth, a poller, unify's state, a reader. Whatever is fed is checked against what
//! must always hold.

mod unify;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    time::Duration,
};

use tributary_schemas::{
    id::{Bits, ProjectionDigest, ProjectionVersion, RecordHash, RecordKey, RemoteId, RunId, Sequence},
    observation::{
        Absence, Announce, Baseline, Content, DeliveryId, DeltaPage, Listed, Run, Snapshot, Source, Tombstone,
    },
    resource::{Action, Mode, Resource},
    state::{Head, Known, RangeRow, State},
    time::Timestamp,
};

use crate::{
    cells::{Cell, CellKey, CellValue, Cells},
    poll::scan::Scan,
    record::Note,
    unify::decide::{Input, NativeChange, NativeInput},
};

pub(crate) const RESOURCE: Resource = Resource::HrisEmployees;

/// The messages of a run that have not landed yet.
pub(crate) type Flight = VecDeque<Input>;

pub(crate) struct World {
    pub(crate) state: Cells,
    pub(crate) minutes: i64,
    /// The provider's records.
    pub(crate) truth: BTreeMap<u32, u32>,
    /// Those that can't be read whole just now.
    pub(crate) unread: BTreeSet<u32>,
    pub(crate) absence: Absence,
    baseline: Baseline,
    pub(crate) projection: u8,
    pub(crate) identity: u8,
    next_run: u64,
    /// What the reader holds: a record, and its content when last told of.
    pub(crate) reader: BTreeMap<u32, Option<u32>>,
    pub(crate) notes: Vec<Note>,
    contents: u32,
    last_ts: i64,
    last: HashMap<RecordKey, Sequence>,
    told: Vec<String>,
    ids: HashSet<String>,
    written: usize,
}

impl World {
    /// An empty world whose first run is a baseline, told in this way.
    pub(crate) fn new(announce: Announce) -> Self {
        Self {
            state: Cells::default(),
            minutes: 0,
            truth: BTreeMap::new(),
            unread: BTreeSet::new(),
            absence: Absence::Sure,
            baseline: Baseline { from: RunId(1), announce },
            projection: 1,
            identity: 1,
            next_run: 1,
            reader: BTreeMap::new(),
            notes: Vec::new(),
            contents: 0,
            last_ts: 0,
            last: HashMap::new(),
            told: Vec::new(),
            ids: HashSet::new(),
            written: 0,
        }
    }

    /// A world that has told of these records.
    pub(crate) fn told_of(ids: std::ops::Range<u32>) -> Self {
        let mut world = Self::new(Announce::Created);
        world.set(ids);
        world.scan_now(0);
        world.told();
        world
    }

    /// The next run is a baseline, told in this way.
    pub(crate) fn begin_anew(&mut self, announce: Announce) {
        self.baseline = Baseline { from: RunId(self.next_run), announce };
    }

    /// The provider's record is there, with a content that it never had.
    pub(crate) fn set(&mut self, ids: impl IntoIterator<Item = u32>) {
        for id in ids {
            self.contents += 1;
            self.truth.insert(id, self.contents);
        }
    }

    pub(crate) fn remove(&mut self, ids: impl IntoIterator<Item = u32>) {
        ids.into_iter().for_each(|id| {
            self.truth.remove(&id);
        });
    }

    pub(crate) fn wait(&mut self, minutes: i64) {
        self.minutes += minutes;
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.minutes * 60_000_000)
    }

    /// A run of this number of bits begins.
    pub(crate) fn run(&mut self, bits: u8) -> Run {
        let run = RunId(self.next_run);
        self.next_run += 1;
        Run {
            source: source(),
            resource: RESOURCE,
            run,
            begun_at: self.now(),
            lasted: Duration::ZERO,
            projection: ProjectionVersion {
                identity: ProjectionDigest([self.identity; 8]),
                content: ProjectionDigest([self.projection; 8]),
            },
            baseline: self.baseline,
            settle: Duration::from_secs(120),
            bits: Bits::new(bits).unwrap(),
            id_prefix: "tr1!".into(),
            key_name: "id".into(),
        }
    }

    /// The provider's records as they are now, as a full scan of this cut sends them.
    pub(crate) fn scan(&mut self, bits: u8) -> Flight {
        let run = self.run(bits);
        let mut scan = Scan::default();
        for id in self.truth.keys() {
            scan.add(self.listed(*id));
        }
        scan.end();
        let compared = scan.compare(&run, &self.rows(), self.absence).unwrap();
        let ranges = compared.ranges.map(Snapshot::Range);
        std::iter::once(Snapshot::Summary(compared.summary)).chain(ranges).map(Input::Snapshot).collect()
    }

    /// A full scan that lands at once, well after what was before it.
    pub(crate) fn scan_now(&mut self, bits: u8) {
        self.wait(10);
        let flight = self.scan(bits);
        self.land(flight);
    }

    /// A full scan of the cut that a poller chooses, wanting this one.
    pub(crate) fn polite_scan(&mut self, bits: u8) -> Flight {
        let head = self.head();
        let stands = head.filter(|head| head.moved > 0).map(|head| head.bits.get());
        self.scan(stands.unwrap_or(bits))
    }

    /// These records as they are now, as a delta sends them; those that are gone in its feed of deletions.
    pub(crate) fn delta(&mut self, ids: impl IntoIterator<Item = u32>) -> Flight {
        let run = self.run(0);
        let (there, gone): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| self.truth.contains_key(id));
        let changed = there.into_iter().map(|id| self.listed(id)).collect();
        let tombstone = |id| Tombstone { remote_id: remote(id), deleted_at: None };
        let deleted = gone.into_iter().map(tombstone).collect();
        [Input::Snapshot(Snapshot::Delta(DeltaPage { run, changed, deleted, notification: None }))].into()
    }

    /// A delta that lands at once, well after what was before it.
    pub(crate) fn delta_now(&mut self, ids: impl IntoIterator<Item = u32>) {
        self.wait(10);
        let flight = self.delta(ids);
        self.land(flight);
    }

    /// A provider's request that tells of these changes.
    pub(crate) fn native(&self, delivery: DeliveryId, changes: &[(Action, u32)]) -> Input {
        let change = |(index, (action, id)): (usize, &(Action, u32))| NativeChange {
            resource: RESOURCE,
            action: *action,
            remote_id: remote(*id),
            key_name: "id".into(),
            occurred_at: None,
            raw_event: Some("{}".into()),
            event_data: None,
            index: index as u32,
        };
        Input::Native(NativeInput {
            source: source(),
            received_at: self.now(),
            mode: Mode::NativeManual,
            settle: Duration::from_secs(120),
            id_prefix: "tr1!".into(),
            delivery,
            changes: changes.iter().enumerate().map(change).collect(),
        })
    }

    /// A native event without a delivery id, taken in at once.
    pub(crate) fn hear(&mut self, action: Action, id: u32) {
        let input = self.native(DeliveryId::None, &[(action, id)]);
        self.feed(&[input]);
    }

    /// A run's messages land, all of them.
    pub(crate) fn land(&mut self, flight: Flight) {
        self.feed(&Vec::from(flight));
    }

    /// What has been told since this was asked last: `+1 ~2 -3`.
    pub(crate) fn told(&mut self) -> String {
        std::mem::take(&mut self.told).join(" ")
    }

    /// How many record rows have been written since this was asked last.
    pub(crate) fn written(&mut self) -> usize {
        std::mem::take(&mut self.written)
    }

    pub(crate) fn head(&self) -> Option<Head> {
        self.state.head(&source().account, RESOURCE)
    }

    /// What is known of every record.
    pub(crate) fn records(&self) -> BTreeMap<RecordKey, Known> {
        let known = |cell: Cell| match (&cell.key, self.state.get(&cell.key)) {
            (CellKey::Record(_, key), Some(CellValue::Record(known))) => Some((*key, known.clone())),
            _ => None,
        };
        self.state.cells().filter_map(known).collect()
    }

    pub(crate) fn known(&self, id: u32) -> Option<State> {
        self.records().get(&remote(id).key()).map(|known| known.state)
    }

    /// The rows that the poller reads.
    pub(crate) fn rows(&self) -> HashMap<(Bits, u32), RangeRow> {
        let row = |cell: Cell| match (&cell.key, self.state.get(&cell.key)) {
            (CellKey::Range(bucket), Some(CellValue::Range(row))) => {
                Some(((bucket.bits, bucket.range), row.clone()))
            }
            _ => None,
        };
        self.state.cells().filter_map(row).collect()
    }

    /// Clean full scans until one has nothing to say. Panics if none has.
    pub(crate) fn come_to_rest(&mut self, bits: u8) {
        self.unread.clear();
        if self.absence == Absence::Partial {
            self.absence = Absence::Sure;
        }
        for _ in 0..5 {
            self.wait(60);
            let flight = self.polite_scan(bits);
            let quiet = flight.len() == 1;
            self.written();
            self.land(flight);
            if quiet {
                assert_eq!(self.written(), 0, "a quiet scan writes no record");
                return;
            }
        }
        panic!("the scans do not come to rest: {:?}", self.head());
    }

    /// What is known of the records that are there, as hashes.
    pub(crate) fn live(&self) -> BTreeMap<RecordKey, State> {
        let records = self.records().into_iter().map(|(key, known)| (key, known.state));
        records.filter(|(_, state)| *state != State::Gone).collect()
    }

    /// The truth, as it should be known.
    pub(crate) fn true_live(&self) -> BTreeMap<RecordKey, State> {
        let state = |(id, content): (&u32, &u32)| (remote(*id).key(), State::Live(self.hash(*content)));
        self.truth.iter().map(state).collect()
    }

    pub(crate) fn listed(&self, id: u32) -> Listed {
        let content = match self.truth.get(&id) {
            Some(_) if self.unread.contains(&id) => Content::Unread,
            Some(content) => Content::Hash(self.hash(*content)),
            None => panic!("record {id} is not there"),
        };
        Listed { remote_id: remote(id), content }
    }

    fn hash(&self, content: u32) -> RecordHash {
        let mut hash = [self.projection; 16];
        hash[..4].copy_from_slice(&content.to_be_bytes());
        RecordHash(hash)
    }
}

pub(crate) fn source() -> Source {
    Source {
        project: "acme".parse().unwrap(),
        account: "a1".parse().unwrap(),
        provider: "demo".parse().unwrap(),
        origin_owner_id: None,
    }
}

pub(crate) fn remote(id: u32) -> RemoteId {
    RemoteId::new(id.to_string())
}

/// The first messages of a run, taken out of it.
pub(crate) fn first(flight: &mut Flight, messages: usize) -> Flight {
    flight.drain(..messages).collect()
}
