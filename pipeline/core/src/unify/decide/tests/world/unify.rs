//! Takes batches in as a lane does, and checks what must always hold.

use std::collections::{BTreeMap, BTreeSet};

use tributary_schemas::{
    event::{Subject, UnifiedEvent},
    id::RecordKey,
    resource::Action,
    state::{Bucket, State},
    wal::Mutation,
};

use super::World;
use crate::{
    cells::{Cell, CellKey, CellValue, Cells, Want},
    range,
    unify::decide::{Decision, Input, decide},
    unify::rejection::Rejection,
};

impl World {
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
            assert_eq!(row, &range::counted(row, records), "the row says what is known: {bucket:?}");
        }
        let counted =
            |records: &Vec<(RecordKey, State)>| records.iter().any(|(_, state)| *state != State::Gone);
        for (bucket, _) in kept.iter().filter(|(_, records)| counted(records)) {
            assert!(rows.contains_key(bucket), "a range with records has a row: {bucket:?}");
        }
    }
}
