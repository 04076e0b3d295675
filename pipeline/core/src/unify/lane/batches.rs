//! A batch's way: what it wants is read, it is decided, committed, and applied; or it is dropped, or decided again.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Lane,
    work::{Reading, Round, Work},
};
use crate::{
    cells::{Cell, Cells, Want},
    guard::{Guard, holds},
    unify::{
        batch::{Share, pick},
        clock::Trust,
        decide::Input,
        exchange::{Abort, Action, Outcome},
        now::Now,
        partition::Reading as Read,
        plan::{Part, Transaction, plan},
    },
};

impl Lane {
    /// Begins the next batch.
    pub(super) fn begin_batch(&mut self, now: Now, actions: &mut Vec<Action>) {
        self.batches += 1;
        let mut limits = self.limits;
        limits.messages = self.messages;
        let shares = pick(&self.partitions, &limits, &self.memory, &mut self.turn);
        let (number, known) = (self.batches, Cells::default());
        let reading = Reading { number, shares, wants: BTreeSet::new(), known, round: Round::First };
        self.ask(reading, |input, _| input.first_wants(), now, actions);
    }

    /// Asks the store for what else a batch wants.
    fn ask(
        &mut self,
        mut reading: Reading,
        wanted: impl Fn(&Input, &Cells) -> Vec<Want>,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let mut all: Vec<Want> = Vec::new();
        for share in &reading.shares {
            let Some(ours) = self.share(share) else { continue };
            let inputs = ours.inbox.taken(share.taken).filter_map(|it| it.message.input.as_ref().ok());
            let wants: BTreeSet<Want> = inputs.flat_map(|input| wanted(input, &reading.known)).collect();
            let wants: Vec<Want> = wants.difference(&reading.wants).cloned().collect();
            // Captured before the read is sent: an answer can't miss what was dropped from the overlay meanwhile.
            if holds(Guard::OverlayBeforeRead) {
                ours.overlay.pick(&wants, &mut reading.known);
            }
            all.extend(wants);
        }
        let batch = reading.number;
        reading.wants.extend(all.iter().cloned());
        self.work = Work::Reading(reading);
        if all.is_empty() {
            self.read(batch, Vec::new(), now, actions);
        } else {
            actions.push(Action::Read { batch, wants: all });
        }
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
            for share in &reading.shares {
                if let Some(ours) = self.share(share) {
                    ours.overlay.pick(&reading.wants, &mut reading.known);
                }
            }
        }
        if reading.round == Round::First {
            reading.round = Round::Then;
            return self.ask(reading, Input::then_wants, now, actions);
        }
        // It may have jumped since the batch was begun: nothing of it was written, and all of it is in its inbox.
        if self.clock.trust(now) != Trust::Full {
            return;
        }
        let Reading { shares, mut known, .. } = reading;
        let mut parts: Vec<Part> = Vec::new();
        let mut room = self.limits.events.max(1);
        for share in &shares {
            let Some(ours) = self.share(share).filter(|_| room > 0) else { continue };
            let batch = ours.inbox.taken(share.taken);
            let plan = plan(&ours.ledger, batch, &mut known, now.wall, room);
            room = room.saturating_sub(plan.events());
            parts.push(Part::of(&ours.ledger, share.epoch, plan));
        }
        // All of it may have been revoked meanwhile.
        if !parts.is_empty() {
            parts.extend(self.quiet(&parts, now));
            self.commit(parts, actions);
        }
    }

    /// A share's partition, if it is still ours under the same assignment.
    fn share(&self, share: &Share) -> Option<&Read> {
        self.partitions.get(&share.partition).filter(|it| it.epoch == share.epoch)?.reading()
    }

    /// Asks for one transaction.
    pub(super) fn commit(&mut self, parts: Vec<Part>, actions: &mut Vec<Action>) {
        let transaction = Arc::new(Transaction { parts });
        if !holds(Guard::StateAfterCommit) {
            actions.extend(transaction.parts.iter().map(|part| Action::Apply {
                partition: part.partition,
                epoch: 0,
                records: part.plan.steps.iter().map(|step| (-1, step.wal.clone())).collect(),
            }));
        }
        actions.push(Action::Commit(transaction.clone()));
        self.work = Work::Committing(transaction);
    }

    /// It has ended.
    pub(super) fn ended(&mut self, outcome: Outcome, now: Now, actions: &mut Vec<Action>) {
        let transaction = match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Committing(transaction) => transaction,
            // A measurement of which nobody knows whether it was aborted.
            Work::Measuring => Arc::new(Transaction { parts: Vec::new() }),
            other @ (Work::Nothing | Work::Reading(_) | Work::Replacing) => {
                self.work = other;
                return;
            }
        };
        match outcome {
            Outcome::Committed(offsets) => {
                self.timer.committed(now.uptime, self.limits.linger);
                self.messages = self.messages.saturating_mul(2).min(self.limits.messages);
                self.apply(&transaction, &offsets, now, actions);
            }
            // Nothing was written: what is still ours of it is in its inbox, and is decided again.
            Outcome::Aborted(abort) => {
                self.timer.aborted(now.uptime);
                self.shrink(&transaction, abort);
            }
            Outcome::Unknown if !holds(Guard::UnknownOutcomes) => self.timer.aborted(now.uptime),
            Outcome::Unknown => {
                self.timer.aborted(now.uptime);
                actions.push(Action::NewProducer);
                self.work = Work::Replacing;
                let again: Vec<(i32, u64)> =
                    self.readings().map(|(epoch, reading)| (reading.ledger.partition(), epoch)).collect();
                for (partition, epoch) in again {
                    self.partitions.remove(&partition);
                    actions.push(Action::RecoverAgain { partition, epoch });
                }
            }
        }
    }

    fn shrink(&mut self, transaction: &Transaction, abort: Abort) {
        let decided: usize = transaction.parts.iter().map(|part| part.plan.steps.len()).sum();
        match abort {
            Abort::Again => {}
            Abort::Refused(messages, dead) if messages.len() == 1 => {
                for position in messages {
                    if let Some(ours) =
                        self.partitions.get_mut(&position.partition).and_then(|it| it.reading_mut())
                    {
                        ours.inbox.set_aside(position, &dead);
                    }
                }
            }
            Abort::TooSlow | Abort::Refused(..) => self.messages = (decided / 2).max(1),
        }
    }

    /// What was committed goes to the store.
    fn apply(&mut self, transaction: &Transaction, offsets: &[i64], now: Now, actions: &mut Vec<Action>) {
        let mut offsets = offsets;
        for Part { partition, epoch, plan, .. } in &transaction.parts {
            let (ours, rest) = offsets.split_at(plan.steps.len());
            offsets = rest;
            let held = self.partitions.get_mut(partition).filter(|it| it.epoch == *epoch);
            let Some(reading) = held.and_then(|it| it.reading_mut()) else { continue };
            let records = reading.commit(plan.committed(ours), &self.memory, now.uptime);
            if !records.is_empty() {
                actions.push(Action::Apply { partition: *partition, epoch: *epoch, records });
            }
        }
    }
}
