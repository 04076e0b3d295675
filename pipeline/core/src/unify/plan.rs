//! A batch, decided: what one Kafka transaction writes, partition by partition.

use std::sync::Arc;

use bytes::Bytes;
use tributary_schemas::{
    event::UnifiedEvent,
    time::Timestamp,
    wal::{CommitMetadata, InputPosition, Twin, WalRecord},
};

use super::{
    decide::{Input, decide},
    inbox::Received,
    ledger::{Adds, Committed, Ledger},
    message::Dead,
    wal::timed,
};
use crate::{
    cells::Cells,
    guard::{Guard, holds},
    record::Note,
};

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
    pub wal: Arc<WalRecord>,
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

/// What one Kafka transaction writes.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// By partition.
    pub parts: Vec<Part>,
}

/// A partition's part of a transaction.
#[derive(Debug, Clone)]
pub struct Part {
    /// The partition, of the twins and of the WAL.
    pub partition: i32,
    /// The assignment.
    pub epoch: u64,
    /// What was decided: events, WAL records, dead letters.
    pub plan: Plan,
    /// The twins' next offsets, to be committed with the plan's metadata.
    pub offsets: Vec<(Twin, i64)>,
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
    pub fn committed(&self, offsets: &[i64]) -> Committed {
        assert_eq!(self.steps.len(), offsets.len(), "one WAL offset per step");
        let records = offsets.iter().copied().zip(self.steps.iter().map(|step| step.wal.clone())).collect();
        Committed { records, next: self.next, metadata: self.metadata }
    }
}

impl Part {
    /// What was decided of a partition, with the offsets of both twins: the broker forgets a twin's that nobody commits, and
    /// what is kept beside them must be the same.
    pub(super) fn of(ledger: &Ledger, epoch: u64, plan: Plan) -> Self {
        let (native, snapshots) = plan.next;
        let both = [(Twin::Native, native), (Twin::Snapshots, snapshots)];
        let moved = |(twin, next): &(Twin, i64)| {
            ledger.is_next(InputPosition { twin: *twin, partition: ledger.partition(), offset: *next - 1 })
        };
        let offsets =
            both.into_iter().filter(|twin| holds(Guard::BothTwinsMetadata) || moved(twin)).collect();
        Self { partition: ledger.partition(), epoch, plan, offsets }
    }

    /// Where a partition stands, and nothing more.
    pub(super) fn standing(ledger: &Ledger, epoch: u64) -> Self {
        let plan = Plan {
            steps: Vec::new(),
            next: ledger.next(),
            metadata: ledger.metadata(ledger.last_ts(), Adds::Nothing),
        };
        Self::of(ledger, epoch, plan)
    }
}

impl Transaction {
    /// When the native requests were acknowledged that it answers.
    pub fn received(&self) -> impl Iterator<Item = Timestamp> {
        self.parts.iter().flat_map(|part| &part.plan.steps).filter_map(|step| step.received_at)
    }
}

/// Decides a batch of one partition, in its order. `known` is what was wanted: of the overlay, captured before the read
/// was sent, and of the store's answer the later.
///
/// Timestamps begin at the clock or right after the last one given out, whichever is later, and each mutation has its own.
/// Of the batch a beginning is decided: with the message that makes the events `most` or more it ends.
pub fn plan<'a>(
    ledger: &Ledger,
    batch: impl IntoIterator<Item = &'a Received>,
    known: &mut Cells,
    now: Timestamp,
    most: usize,
) -> Plan {
    let mut last_ts = ledger.last_ts();
    let mut told = 0;
    let mut steps: Vec<Step> = Vec::new();
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
        steps.push(Step { key, payload, received_at, wal: Arc::new(wal), events, dead, notes });
    }
    let next = ledger.offsets_after(steps.iter().map(|step| step.wal.input));
    let adds = if steps.is_empty() { Adds::Nothing } else { Adds::Records };
    Plan { steps, next, metadata: ledger.metadata(last_ts, adds) }
}
