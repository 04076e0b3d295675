//! A small world: a provider with the truth, a poller, unify's state, a reader. Whatever is fed is checked against what
//! must always hold.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    time::Duration,
};

use tributary_schemas::{
    event::{Subject, UnifiedEvent},
    id::{Bits, ProjectionVersion, RecordHash, RecordKey, RemoteId, RunId, Sequence},
    observation::{
        Absence, Announce, Baseline, Content, DeliveryId, DeltaPage, Listed, Run, Snapshot, Source,
    },
    resource::{Action, Mode, Resource},
    state::{Bucket, Head, Known, RangeRow, State},
    time::Timestamp,
    wal::Mutation,
};

use crate::{
    cells::{Cell, CellKey, CellValue, Cells, Want},
    decide::{Decision, Input, NativeChange, NativeInput, decide},
    note::Note,
    ranges,
    rejection::Rejection,
    scan::Scan,
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
    pub(crate) baseline: Baseline,
    pub(crate) projection: u8,
    pub(crate) next_run: u64,
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
            projection: ProjectionVersion([self.projection; 8]),
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
        self.truth.keys().for_each(|id| scan.add(self.listed(*id)));
        let compared = scan.compare(&run, &self.rows(), self.absence);
        let ranges = compared.ranges.into_iter().map(Snapshot::Range);
        std::iter::once(Snapshot::Summary(compared.summary)).chain(ranges).map(Input::Snapshot).collect()
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
        let deleted = gone.into_iter().map(remote).collect();
        [Input::Snapshot(Snapshot::Delta(DeltaPage { run, changed, deleted }))].into()
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

    /// Takes a batch in, and checks what must always hold.
    pub(crate) fn feed(&mut self, inputs: &[Input]) -> Vec<Result<Decision, Rejection>> {
        let mut read = self.read(inputs);
        let one = |input| {
            let ts = self.now().as_micros().max(self.last_ts + 1);
            let decision = decide(input, &self.state, self.now(), ts);
            assert_eq!(decide(input, &read, self.now(), ts), decision, "what is wanted is enough: {input:?}");
            if let Ok(decision) = &decision {
                self.apply(decision, ts);
                (ts..).zip(&decision.mutations).for_each(|(ts, mutation)| read.mutate(ts, mutation));
            }
            decision
        };
        inputs.iter().map(one).collect()
    }

    /// What a lane reads for a batch, before any of it is decided.
    fn read(&self, inputs: &[Input]) -> Cells {
        let mut read = Cells::default();
        inputs.iter().flat_map(Input::first_wants).for_each(|want| self.answer(&mut read, &want));
        let then: Vec<_> = inputs.iter().flat_map(|input| input.then_wants(&read)).collect();
        then.iter().for_each(|want| self.answer(&mut read, want));
        read
    }

    fn answer(&self, read: &mut Cells, want: &Want) {
        let mut absorb = |key, value| read.absorb(Cell { key, ts: self.last_ts, value: Some(value) });
        match want {
            Want::Cell(key) => {
                if let Some(value) = self.state.get(key) {
                    absorb(key.clone(), value.clone());
                }
            }
            Want::Slice(bucket) => {
                for (key, known) in self.state.slice(bucket) {
                    absorb(CellKey::Record(bucket.clone(), key), CellValue::Record(known.clone()));
                }
                if let Some(row) = self.state.range(bucket) {
                    absorb(CellKey::Range(bucket.clone()), CellValue::Range(row.clone()));
                }
            }
        }
    }

    fn apply(&mut self, decision: &Decision, ts: i64) {
        let before = self.records();
        for (ts, mutation) in (ts..).zip(&decision.mutations) {
            if let Mutation::Record { bucket, key, known } = mutation {
                assert_ne!(
                    self.state.record(bucket, *key),
                    known.as_ref(),
                    "what did not change is not written"
                );
                self.written += 1;
            }
            self.state.mutate(ts, mutation);
            self.last_ts = ts;
        }
        let after = self.records();
        for event in &decision.events {
            self.hear_event(event);
            let at = usize::try_from(event.sequence.0 - ts).unwrap();
            let Mutation::Record { known: Some(known), .. } = &decision.mutations[at] else {
                panic!("an event's sequence is its record's mutation's timestamp")
            };
            assert_eq!(known.sequence, Some(event.sequence));
        }
        for key in before.keys().filter(|key| !after.contains_key(key)) {
            let forgets = matches!(decision.mutations[..], [Mutation::Forget { .. }]);
            assert!(forgets || before[key].state == State::Gone, "only what is gone is removed");
            self.last.remove(key);
        }
        for (key, known) in &after {
            assert_eq!(known.sequence, self.last.get(key).copied(), "the last event's sequence is kept");
        }
        self.notes.extend(&decision.notes);
        self.check_rows();
    }

    /// The reader reads: it checks the chain, and fetches the record.
    fn hear_event(&mut self, event: &UnifiedEvent) {
        let Subject::Record { remote_id, .. } = &event.subject else { panic!("an account has no records") };
        assert!(self.ids.insert(event.event_id.to_string()), "an event id is used once");
        assert_eq!(
            event.previous_sequence,
            self.last.insert(remote_id.key(), event.sequence),
            "a whole chain"
        );
        assert!(event.previous_sequence < Some(event.sequence), "sequences grow");
        let id: u32 = remote_id.as_str().parse().unwrap();
        let sign = match event.event.action {
            Action::Created => '+',
            Action::Updated => '~',
            Action::Deleted => '-',
        };
        self.told.push(format!("{sign}{id}"));
        match event.event.action {
            Action::Created | Action::Updated => self.reader.insert(id, self.truth.get(&id).copied()),
            Action::Deleted => self.reader.remove(&id),
        };
    }

    /// Every record is in one bucket, and every range's row says what is in it.
    fn check_rows(&self) {
        let mut kept: BTreeMap<Bucket, Vec<(RecordKey, State)>> = BTreeMap::new();
        let mut rows = BTreeMap::new();
        let mut keys = BTreeSet::new();
        for cell in self.state.cells() {
            match (cell.key.clone(), self.state.get(&cell.key)) {
                (CellKey::Record(bucket, key), Some(CellValue::Record(known))) => {
                    assert!(keys.insert(key), "a record is kept once: {known:?}");
                    assert_eq!(key.range(bucket.bits), bucket.range);
                    kept.entry(bucket).or_default().push((key, known.state));
                }
                (CellKey::Range(bucket), Some(CellValue::Range(row))) => {
                    rows.insert(bucket, row.clone());
                }
                _ => {}
            }
        }
        for (bucket, row) in &rows {
            let records = kept.get(bucket).cloned().unwrap_or_default();
            assert_eq!(row, &ranges::counted(row, records), "the row says what is known: {bucket:?}");
        }
        let counted =
            |records: &Vec<(RecordKey, State)>| records.iter().any(|(_, state)| *state != State::Gone);
        for (bucket, _) in kept.iter().filter(|(_, records)| counted(records)) {
            assert!(rows.contains_key(bucket), "a range with records has a row: {bucket:?}");
        }
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
    }
}

pub(crate) fn remote(id: u32) -> RemoteId {
    RemoteId::new(id.to_string())
}
