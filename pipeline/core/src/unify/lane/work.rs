//! A batch's way: what it wants is read, it is decided, committed, and applied; or it is dropped, or decided again.

use std::{collections::BTreeSet, sync::Arc};

use tributary_schemas::wal::{Mutation, WalRecord};

use super::{Held, Lane};
use crate::{
    cells::{Cell, Cells, Want},
    guard::{Guard, holds},
    unify::{
        decide::Input,
        exchange::{Action, Outcome, Part, Transaction},
        gathering::{Batch, Received},
        now::Now,
        plan::{Dead, Message, plan, timed},
    },
};

/// What the lane is doing.
#[derive(Debug)]
pub(super) enum Work {
    /// Nothing: the next batch may begin.
    Nothing,
    /// The store was asked for what a batch wants. Nothing of it has been written: it may still be dropped.
    Reading(Reading),
    /// A transaction is open.
    Committing { transaction: Arc<Transaction>, batch: Batch<Message> },
    /// The producer is being replaced: what became of its last transaction is not known.
    Replacing,
}

#[derive(Debug)]
pub(super) struct Reading {
    number: u64,
    batch: Batch<Message>,
    wants: BTreeSet<Want>,
    known: Cells,
    round: Round,
}

/// What a batch wants is read in two rounds: where its records are, then they.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    First,
    Then,
}

impl Work {
    /// Drops the messages of a partition, which is not ours any more, as long as nothing of them was written; says how many.
    pub(super) fn forget(&mut self, partition: i32) -> usize {
        let Work::Reading(reading) = self else { return 0 };
        let before = reading.batch.len();
        reading.batch.retain(|received| received.position.partition != partition);
        before - reading.batch.len()
    }
}

impl Lane {
    /// Begins the next batch.
    pub(super) fn begin_batch(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.batches += 1;
        let batch = self.gathering.take(now.uptime);
        let wants = inputs(&batch).flat_map(|input| input.first_wants()).collect();
        let (number, known) = (self.batches, Cells::default());
        let reading = Reading { number, batch, wants: BTreeSet::new(), known, round: Round::First };
        self.ask(reading, wants, now, actions);
    }

    /// Asks the store for what else a batch wants.
    fn ask(&mut self, mut reading: Reading, wants: BTreeSet<Want>, now: Now, actions: &mut Vec<Action>) {
        let wants: Vec<Want> = wants.difference(&reading.wants).cloned().collect();
        // Captured before the read is sent: an answer can't miss what was dropped from the overlay meanwhile.
        if holds(Guard::OverlayBeforeRead) {
            self.overlay(&wants, &mut reading.known);
        }
        let batch = reading.number;
        reading.wants.extend(wants.iter().cloned());
        self.work = Work::Reading(reading);
        if wants.is_empty() {
            self.read(batch, Vec::new(), now, actions);
        } else {
            actions.push(Action::Read { batch, wants });
        }
    }

    fn overlay<'a>(&self, wants: impl IntoIterator<Item = &'a Want> + Clone, known: &mut Cells) {
        self.ledgers().for_each(|ledger| ledger.overlay().pick(wants.clone(), known));
    }

    /// The store has answered.
    pub(super) fn read(&mut self, batch: u64, cells: Vec<Cell>, now: Now, actions: &mut Vec<Action>) {
        let mut reading = match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Reading(reading) if reading.number == batch => reading,
            other => {
                self.work = other;
                return;
            }
        };
        cells.into_iter().for_each(|cell| reading.known.absorb(cell));
        if !holds(Guard::OverlayBeforeRead) {
            self.overlay(&reading.wants, &mut reading.known);
        }
        if reading.round == Round::First {
            reading.round = Round::Then;
            let wants = inputs(&reading.batch).flat_map(|input| input.then_wants(&reading.known)).collect();
            return self.ask(reading, wants, now, actions);
        }
        let Reading { batch, mut known, .. } = reading;
        let mut parts: Vec<Part> = Vec::new();
        let mut room = self.gathering.limits().events.max(1);
        for ledger in self.ledgers() {
            let ours: Vec<&Received<Message>> =
                batch.iter().filter(|it| it.position.partition == ledger.partition()).collect();
            if !ours.is_empty() && room > 0 {
                let plan = plan(ledger, &ours, &mut known, now.wall, room);
                room = room.saturating_sub(plan.events());
                parts.push(Part::of(ledger, plan));
            }
        }
        // All of it may have been revoked meanwhile.
        if parts.is_empty() {
            return;
        }
        let decided = |it: &Received<Message>| parts.iter().any(|part| part.decides(it.position));
        let (batch, rest) = batch.into_iter().partition(decided);
        self.gathering.put_back(rest, now.uptime);
        self.commit(parts, batch, actions);
    }

    /// Asks for one transaction; `batch` is what it decides.
    pub(super) fn commit(&mut self, parts: Vec<Part>, batch: Batch<Message>, actions: &mut Vec<Action>) {
        self.idle.transactions += 1;
        let transaction = Arc::new(Transaction { parts });
        if !holds(Guard::StateAfterCommit) {
            actions.extend(transaction.parts.iter().map(|part| Action::Apply {
                partition: part.partition,
                epoch: 0,
                offsets: Vec::new(),
                mutations: part.plan.steps.iter().flat_map(|step| mutations(&step.wal)).collect(),
            }));
        }
        actions.push(Action::Commit(transaction.clone()));
        self.work = Work::Committing { transaction, batch };
    }

    /// It has ended.
    pub(super) fn ended(&mut self, outcome: Outcome, now: Now, actions: &mut Vec<Action>) {
        let Work::Committing { transaction, batch } = std::mem::replace(&mut self.work, Work::Nothing) else {
            return;
        };
        match outcome {
            Outcome::Committed(offsets) => {
                actions.push(Action::Took(batch.len()));
                self.apply(transaction, &offsets, actions);
            }
            Outcome::Aborted => self.decide_again(batch, now, actions),
            Outcome::TooLarge(position) => {
                let dead = Dead {
                    reason: "too_large",
                    detail: "an event of it is larger than its topic takes".into(),
                };
                let batch = batch.into_iter().map(|mut received| {
                    if received.position == position {
                        received.message.input = Err(dead.clone());
                    }
                    received
                });
                self.decide_again(batch.collect(), now, actions);
            }
            Outcome::Unknown if !holds(Guard::UnknownOutcomes) => self.decide_again(batch, now, actions),
            Outcome::Unknown => {
                actions.push(Action::Took(batch.len()));
                actions.push(Action::NewProducer);
                self.work = Work::Replacing;
                let reading: Vec<(i32, u64)> =
                    self.ledgers().map(|ledger| (ledger.partition(), ledger.epoch())).collect();
                for (partition, epoch) in reading {
                    self.drop_partition(partition, actions);
                    actions.push(Action::RecoverAgain { partition, epoch });
                }
            }
        }
    }

    /// Nothing of the batch was written: what is still ours of it is decided again.
    fn decide_again(&mut self, batch: Batch<Message>, now: Now, actions: &mut Vec<Action>) {
        let all = batch.len();
        let still_ours =
            |received: &Received<Message>| match self.partitions.get(&received.position.partition) {
                Some(Held::Reading(ledger)) => ledger.accepts(received.position, received.epoch),
                Some(Held::Recovering(_)) | None => false,
            };
        let ours: Batch<Message> = batch.into_iter().filter(still_ours).collect();
        if ours.len() < all {
            actions.push(Action::Took(all - ours.len()));
        }
        self.gathering.put_back(ours, now.uptime);
    }

    /// What was committed goes to the store.
    fn apply(&mut self, transaction: Arc<Transaction>, offsets: &[i64], actions: &mut Vec<Action>) {
        let mut offsets = offsets;
        for Part { partition, epoch, plan, .. } in Arc::unwrap_or_clone(transaction).parts {
            let (ours, rest) = offsets.split_at(plan.steps.len());
            offsets = rest;
            let Some(Held::Reading(ledger)) = self.partitions.get_mut(&partition) else { continue };
            if ledger.epoch() != epoch {
                continue;
            }
            let records = ledger.commit(plan.committed(ours));
            if !records.is_empty() {
                let offsets = records.iter().map(|(offset, _)| *offset).collect();
                let mutations = records.iter().flat_map(|(_, record)| mutations(record)).collect();
                actions.push(Action::Apply { partition, epoch, offsets, mutations });
            }
        }
    }
}

fn inputs(batch: &[Received<Message>]) -> impl Iterator<Item = &Input> {
    batch.iter().filter_map(|received| received.message.input.as_ref().ok())
}

fn mutations(record: &WalRecord) -> impl Iterator<Item = (i64, Mutation)> {
    timed(record).map(|(ts, mutation)| (ts, mutation.clone()))
}
