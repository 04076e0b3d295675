//! A batch, decided: what one Kafka transaction writes for one partition.

use bytes::Bytes;
use tributary_schemas::{
    event::UnifiedEvent,
    time::Timestamp,
    wal::{CommitMetadata, Mutation, WalRecord},
};

use super::{gathering::Received, ledger::Ledger};
use crate::{
    cells::Cells,
    guard::{Guard, holds},
    record::Note,
    unify::decide::{Input, decide},
};

/// A message as it is given to be decided.
#[derive(Debug, Clone)]
pub struct Message {
    /// The account, as the topic's key.
    pub key: Vec<u8>,
    /// The message as it came: what is set aside is set aside whole.
    pub payload: Bytes,
    /// What it says, or why it can't be read.
    pub input: Result<Input, Dead>,
}

/// Why a message goes to `unify.dead`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// From a fixed set, for metrics: `undecodable`, `unmappable`, `too_large`, or a rejection's name.
    pub reason: &'static str,
    /// What is wrong, for people.
    pub detail: String,
}

/// One message, decided.
#[derive(Debug, Clone)]
pub struct Step {
    /// The message's key.
    pub key: Vec<u8>,
    /// The message as it came.
    pub payload: Bytes,
    /// When the native request was acknowledged that the message is.
    pub received_at: Option<Timestamp>,
    /// The message's WAL record.
    pub wal: WalRecord,
    /// What is announced.
    pub events: Vec<UnifiedEvent>,
    /// Why the message is set aside, if it is.
    pub dead: Option<Dead>,
    /// What was silent.
    pub notes: Vec<Note>,
}

/// What one transaction writes for one partition. It becomes [`Committed`] only when the broker says so.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The messages in their order: one WAL record each.
    pub steps: Vec<Step>,
    /// The next offset of `ingest.native` and of `poll.snapshots`.
    pub next: (i64, i64),
    /// Committed with both.
    pub metadata: CommitMetadata,
}

/// Proof that the broker committed the events and the WAL records. The ledger asks for it, because applying state that
/// was never announced is the one order of steps that loses an event.
#[must_use]
#[derive(Debug)]
pub struct Committed {
    pub(super) records: Vec<(i64, WalRecord)>,
    pub(super) next: (i64, i64),
    pub(super) metadata: CommitMetadata,
}

impl Plan {
    /// How many events it announces.
    pub fn events(&self) -> usize {
        self.steps.iter().map(|step| step.events.len()).sum()
    }

    /// The broker committed the transaction; `offsets` are those of the WAL records, in the order of the steps.
    ///
    /// # Panics
    /// When there are not as many offsets as steps: then the caller did not wait for the reports.
    pub fn committed(self, offsets: &[i64]) -> Committed {
        assert_eq!(self.steps.len(), offsets.len(), "one WAL offset per step");
        let records = offsets.iter().copied().zip(self.steps.into_iter().map(|step| step.wal)).collect();
        Committed { records, next: self.next, metadata: self.metadata }
    }
}

/// Decides a batch of one partition, in its order. `known` is what was wanted: of the overlay, captured before the read
/// was sent, and of the store's answer the later.
///
/// Timestamps begin at the clock or right after the last one given out, whichever is later, and each mutation has its own.
/// Of the batch a beginning is decided: with the message that makes the events `most` or more it ends.
pub fn plan(
    ledger: &Ledger,
    batch: &[&Received<Message>],
    known: &mut Cells,
    now: Timestamp,
    most: usize,
) -> Plan {
    let mut last_ts = ledger.last_ts();
    let mut told = 0;
    let mut steps: Vec<Step> = Vec::with_capacity(batch.len());
    for Received { position, message, .. } in batch {
        if told >= most {
            break;
        }
        let ts = if holds(Guard::MonotonicTimestamps) {
            now.as_micros().max(last_ts + 1)
        } else {
            now.as_micros()
        };
        let decided = match &message.input {
            Ok(input) => decide(input, known, now, ts)
                .map_err(|rejection| Dead { reason: rejection.name(), detail: rejection.to_string() }),
            Err(dead) => Err(dead.clone()),
        };
        let (decision, dead) = match decided {
            Ok(decision) => (decision, None),
            Err(dead) => (Default::default(), Some(dead)),
        };
        let wal = WalRecord { ts, input: *position, mutations: decision.mutations };
        for (ts, mutation) in timed(&wal) {
            known.mutate(ts, mutation);
        }
        last_ts = last_ts.max(wal.last_ts());
        let received_at = match &message.input {
            Ok(Input::Native(native)) => Some(native.received_at),
            Ok(Input::Snapshot(_)) | Err(_) => None,
        };
        let (key, payload) = (message.key.clone(), message.payload.clone());
        let (events, notes) = (decision.events, decision.notes);
        told += events.len();
        steps.push(Step { key, payload, received_at, wal, events, dead, notes });
    }
    let next = ledger.offsets_after(steps.iter().map(|step| step.wal.input));
    Plan { steps, next, metadata: ledger.metadata(last_ts) }
}

/// A record's mutations, each with the timestamp that it is written with.
pub fn timed(record: &WalRecord) -> impl Iterator<Item = (i64, &Mutation)> {
    record
        .timed()
        .map(|(ts, mutation)| (if holds(Guard::TimestampPerMutation) { ts } else { record.ts }, mutation))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tributary_schemas::{
        id::{Bits, ProjectionDigest, ProjectionVersion, RecordHash, RemoteId, RunId},
        observation::{
            Absence, Announce, Baseline, Content, Listed, RangeListing, Run, Snapshot, Source, Summary,
        },
        resource::Resource,
        wal::{InputPosition, Twin},
    };

    use super::*;
    use crate::unify::recovery::Recovered;

    fn run(number: u64) -> Run {
        Run {
            source: Source {
                project: "p".parse().unwrap(),
                account: "a".parse().unwrap(),
                provider: "demo".parse().unwrap(),
                origin_owner_id: None,
            },
            resource: Resource::HrisEmployees,
            run: RunId(number),
            begun_at: Timestamp::from_micros(number as i64 * 1_000_000_000),
            lasted: Duration::ZERO,
            projection: ProjectionVersion {
                identity: ProjectionDigest([1; 8]),
                content: ProjectionDigest([1; 8]),
            },
            baseline: Baseline { from: RunId(1), announce: Announce::Created },
            settle: Duration::ZERO,
            bits: Bits::new(0).unwrap(),
            id_prefix: "tr1!".into(),
            key_name: "id".into(),
        }
    }

    fn scan(number: u64, hash: u8) -> [Received<Message>; 2] {
        let summary = Summary { run: run(number), records: 1, ranges_sent: 1 };
        let content = Content::Hash(RecordHash([hash; 16]));
        let records = vec![Listed { remote_id: RemoteId::new("42"), content }];
        let listing = RangeListing { run: run(number), range: 0, absence: Absence::Sure, records };
        let offset = number as i64 * 2;
        let given = |offset, snapshot| received(Twin::Snapshots, offset, Ok(Input::Snapshot(snapshot)));
        [given(offset, Snapshot::Summary(summary)), given(offset + 1, Snapshot::Range(listing))]
    }

    fn received(twin: Twin, offset: i64, input: Result<Input, Dead>) -> Received<Message> {
        let position = InputPosition { twin, partition: 3, offset };
        Received {
            position,
            epoch: 1,
            bytes: 1,
            message: Message { key: Vec::new(), payload: Bytes::new(), input },
        }
    }

    fn ledger() -> Ledger {
        Ledger::new(3, 1, Recovered { native: 5, snapshots: 2, wal_applied: 100, told: 100, last_ts: 50 })
    }

    fn decided(ledger: &Ledger, batch: Vec<Received<Message>>, now: i64) -> Plan {
        let batch: Vec<_> = batch.iter().collect();
        plan(ledger, &batch, &mut ledger.overlay().clone(), Timestamp::from_micros(now), usize::MAX)
    }

    #[test]
    fn a_batch_sees_what_came_before_it_though_nothing_was_applied() {
        let mut ledger = ledger();
        let first = decided(&ledger, scan(1, 1).into(), 10);
        let events: Vec<_> = first.steps.iter().flat_map(|step| &step.events).cloned().collect();
        assert_eq!(
            events.iter().map(|it| it.event.to_string()).collect::<Vec<_>>(),
            ["hris_employees.created"]
        );
        assert_eq!(
            first.next,
            (5, 4),
            "the native twin's offset is committed too, though nothing of it was read"
        );
        let to_apply = ledger.commit(first.committed(&[100, 101]));
        assert!(!to_apply.is_empty());
        let second = decided(&ledger, scan(2, 2).into(), 10);
        let changed = second.steps.iter().flat_map(|step| &step.events).next().unwrap();
        assert_eq!(changed.event.to_string(), "hris_employees.updated");
        assert_eq!(changed.previous_sequence, Some(events[0].sequence));
    }

    #[test]
    fn a_batch_ends_with_the_message_that_makes_its_events_many() {
        let ledger = ledger();
        let batch: Vec<_> = (1..=3).flat_map(|number| scan(number, number as u8)).collect();
        let batch: Vec<_> = batch.iter().collect();
        for (most, messages, next) in [(1, 2, (5, 4)), (2, 4, (5, 6)), (3, 6, (5, 8)), (9, 6, (5, 8))] {
            let plan = plan(&ledger, &batch, &mut Cells::default(), Timestamp::from_micros(10), most);
            assert_eq!((plan.steps.len(), plan.next), (messages, next), "at most {most}");
        }
    }

    #[test]
    fn timestamps_never_go_back_though_the_clock_does() {
        let mut ledger = ledger();
        let mut last = ledger.last_ts();
        for (number, now) in [(1, 1_000), (2, 10), (3, -5)] {
            let plan = decided(&ledger, scan(number, number as u8).into(), now);
            for step in &plan.steps {
                assert!(step.wal.ts > last, "{} after {last}", step.wal.ts);
                last = last.max(step.wal.last_ts());
            }
            assert_eq!(plan.metadata.last_ts, last);
            let offset = ledger.wal_applied() + 10 * number as i64;
            drop(ledger.commit(plan.committed(&[offset, offset + 1])));
        }
    }

    #[test]
    fn applied_advances_over_the_contiguous_prefix_only() {
        let mut ledger = ledger();
        drop(ledger.commit(decided(&ledger, scan(1, 1).into(), 10).committed(&[100, 101])));
        drop(ledger.commit(decided(&ledger, scan(2, 2).into(), 10).committed(&[103, 104])));
        assert_eq!(ledger.wal_applied(), 100);
        ledger.applied(&[103, 104]);
        assert_eq!((ledger.wal_applied(), ledger.has_news()), (100, false));
        ledger.applied(&[100]);
        assert_eq!((ledger.wal_applied(), ledger.has_news()), (101, true));
        ledger.applied(&[101]);
        assert_eq!((ledger.wal_applied(), ledger.lag()), (105, 0));
        assert!(ledger.overlay().is_empty(), "the store has it all");
    }

    #[test]
    fn what_was_replayed_and_the_markers_behind_the_last_record_are_told_too() {
        let recovered = Recovered { native: 5, snapshots: 2, wal_applied: 100, told: 90, last_ts: 50 };
        let mut ledger = Ledger::new(3, 1, recovered);
        assert!(
            ledger.has_news(),
            "else the log could begin behind what was told, and it would look like a loss"
        );
        drop(ledger.commit(decided(&ledger, scan(1, 1).into(), 10).committed(&[100, 101])));
        ledger.applied(&[100, 101]);
        assert_eq!(ledger.wal_applied(), 102);
        ledger.nothing_below(103);
        assert_eq!(decided(&ledger, vec![], 20).metadata.wal_applied, 103);
    }

    #[test]
    fn a_message_that_can_t_be_read_is_set_aside_and_the_next_is_decided() {
        let ledger = ledger();
        let dead = Dead { reason: "undecodable", detail: "an empty snapshot".into() };
        let mut batch = vec![received(Twin::Native, 9, Err(dead.clone()))];
        batch.extend(scan(1, 1));
        let plan = decided(&ledger, batch, 10);
        assert_eq!(plan.steps[0].dead, Some(dead));
        assert!(plan.steps[0].wal.mutations.is_empty());
        assert_eq!(plan.steps[2].events.len(), 1);
        assert_eq!(plan.next, (10, 4));
    }

    #[test]
    fn messages_of_an_older_assignment_or_decided_before_are_not_accepted() {
        let ledger = ledger();
        let at = |offset| InputPosition { twin: Twin::Snapshots, partition: 3, offset };
        for (offset, epoch, accepted) in [(2, 1, true), (1, 1, false), (2, 0, false)] {
            assert_eq!(ledger.accepts(at(offset), epoch), accepted, "{offset} under {epoch}");
        }
    }
}
