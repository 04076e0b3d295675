//! The transaction protocol of unify (design §6), without doing it: [`Lane::on`] takes in what happened and says what
//! is to be done. Production's shell and the simulation both drive this, and neither knows the order of steps.
//!
//! A lane owns a few partitions. Each is recovered first ([`Recovery`]), then read; of what it reads it keeps a
//! [`Ledger`]: where the twins stand, what has been announced but not applied, and the timestamps given out. A
//! [`Gathering`] decides what goes into the next batch; [`plan`] decides the batch. Only what the broker has
//! [`Committed`] may be applied. Nothing here does I/O, and time comes in as a value.

mod work;

use std::{collections::BTreeMap, time::Duration};

use self::work::Work;
use super::{
    exchange::{Action, Event, Part},
    gathering::{Gathering, Limits, Received, Waiting},
    ledger::Ledger,
    now::Now,
    plan::{Message, plan},
    recovery::{Bounds, Recovered, Recovery},
};
use crate::{
    cells::Cells,
    guard::{Guard, holds},
};

/// An idle lane tells the broker within this what has been applied.
const IDLE: Duration = Duration::from_secs(30);
/// How long the ends of the logs may take to be told before an idle lane commits without.
const ASKING: Duration = Duration::from_secs(1);
/// WAL records of a partition that may be unapplied before the lane waits for the store.
const LAG_MOST: usize = 20_000;

/// The state machine of a lane.
#[derive(Debug)]
pub struct Lane {
    partitions: BTreeMap<i32, Held>,
    gathering: Gathering<Message>,
    work: Work,
    /// Revocations that wait for the transaction to be decided.
    leaving: Vec<(Vec<i32>, u64)>,
    /// Batches begun: each read answers one.
    batches: u64,
    idle: Idle,
}

/// A partition of ours.
#[derive(Debug)]
enum Held {
    Recovering(Recovery),
    Reading(Ledger),
}

/// When what was applied is told without a batch.
#[derive(Debug, Clone, Copy)]
struct Idle {
    told: Duration,
    /// When the ends of the logs were asked for, and how many transactions had been begun by then.
    asked: Option<(Duration, u64)>,
    transactions: u64,
}

impl Lane {
    /// A lane without partitions.
    pub fn new(limits: Limits, now: Now) -> Self {
        Self {
            partitions: BTreeMap::new(),
            gathering: Gathering::new(limits),
            work: Work::Nothing,
            leaving: Vec::new(),
            batches: 0,
            idle: Idle { told: now.uptime, asked: None, transactions: 0 },
        }
    }

    /// Takes in what happened; gives what is to be done, in this order.
    pub fn on(&mut self, event: Event, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Tick => {}
            Event::Message(received) => self.message(*received, now, &mut actions),
            Event::Assigned { partition, epoch } => {
                self.drop_partition(partition, &mut actions);
                self.partitions.insert(partition, Held::Recovering(Recovery::new(partition, epoch)));
                actions.push(ask_offsets(partition, epoch));
            }
            Event::Revoked { partitions, ticket } => self.revoke(partitions, ticket, &mut actions),
            Event::Offsets { partition, epoch, native, snapshots } => {
                if let Some(recovery) = self.recovering(partition, epoch) {
                    recovery.offsets(native, snapshots);
                    actions.push(Action::AskWal { partition, epoch });
                }
            }
            Event::Wal { partition, epoch, begins, end, stable } => {
                self.wal(partition, epoch, (begins, end, stable), now, &mut actions);
            }
            Event::Replayed { partition, epoch, records, next } => {
                if let Some(recovery) = self.recovering(partition, epoch) {
                    let (offsets, mutations) = recovery.replayed(records, next);
                    actions.push(Action::Apply { partition, epoch, offsets, mutations });
                }
            }
            Event::Applied { partition, epoch, offsets } => {
                match self.partitions.get_mut(&partition) {
                    Some(Held::Reading(ledger)) if ledger.epoch() == epoch => ledger.applied(&offsets),
                    Some(Held::Recovering(recovery)) if recovery.epoch() == epoch => {
                        self.go_on_recovering(partition, &mut actions);
                    }
                    // It was taken from us meanwhile: what was written stands, its next owner replays it again.
                    Some(_) | None => {}
                }
            }
            Event::Read { batch, cells } => self.read(batch, cells, now, &mut actions),
            Event::Ended(outcome) => self.ended(outcome, now, &mut actions),
            Event::NewProducer => self.work = Work::Nothing,
        }
        self.go_on(now, &mut actions);
        actions
    }

    /// The uptime at which [`Event::Tick`] is due, if nothing else happens before.
    pub fn wake(&self) -> Option<Duration> {
        let recoveries = self.partitions.values().filter_map(|held| match held {
            Held::Recovering(recovery) => recovery.ask_at(),
            Held::Reading(_) => None,
        });
        let batch = match (&self.work, self.gathering.due()) {
            (Work::Nothing, Some(due)) if self.has_room() => Some(due),
            _ => None,
        };
        let idle = match (&self.work, self.idle.asked) {
            (Work::Nothing, Some((asked, _))) => Some(asked + ASKING),
            (Work::Nothing, None) if self.ledgers().any(Ledger::has_news) => Some(self.idle.told + IDLE),
            _ => None,
        };
        recoveries.chain(batch).chain(idle).min()
    }

    /// WAL records that are committed but not applied.
    pub fn lag(&self) -> usize {
        self.ledgers().map(Ledger::lag).sum()
    }

    /// The partitions that are read.
    pub fn reading(&self) -> usize {
        self.ledgers().count()
    }

    fn message(&mut self, received: Received<Message>, now: Now, actions: &mut Vec<Action>) {
        let accepted = match self.partitions.get(&received.position.partition) {
            Some(Held::Reading(ledger)) => ledger.accepts(received.position, received.epoch),
            Some(Held::Recovering(_)) | None => false,
        };
        if accepted {
            self.gathering.push(received, now.uptime);
        } else {
            actions.push(Action::Took(1));
        }
    }

    fn revoke(&mut self, partitions: Vec<i32>, ticket: u64, actions: &mut Vec<Action>) {
        match self.work {
            // The broker checks the member's generation and not its partitions: what is open must be decided first.
            Work::Committing { .. } | Work::Replacing if holds(Guard::DrainOnRevoke) => {
                self.leaving.push((partitions, ticket));
            }
            _ => {
                for partition in partitions {
                    self.drop_partition(partition, actions);
                }
                actions.push(Action::Released { ticket });
            }
        }
    }

    /// The bounds of a partition's WAL: asked for by a recovery, or by an idle lane.
    fn wal(
        &mut self,
        partition: i32,
        epoch: u64,
        (begins, end, stable): (i64, i64, i64),
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        match self.partitions.get_mut(&partition) {
            Some(Held::Recovering(recovery)) if recovery.epoch() == epoch => {
                match recovery.wal(begins, end, stable, now.uptime) {
                    Ok(Bounds::Replay) => self.go_on_recovering(partition, actions),
                    Ok(Bounds::Wait) => {}
                    Ok(Bounds::AskOffsets) => actions.push(ask_offsets(partition, epoch)),
                    Err(loss) => actions.push(Action::Halt(loss)),
                }
            }
            // Nothing of ours has been opened since and nothing is unapplied: what else is there below the end are
            // markers and what was aborted. Left out, they would look like a loss once the log begins after them.
            Some(Held::Reading(ledger)) if ledger.epoch() == epoch && ledger.lag() == 0 => {
                if self.idle.asked.is_some_and(|(_, transactions)| transactions == self.idle.transactions) {
                    ledger.nothing_below(end);
                }
            }
            Some(_) | None => {}
        }
    }

    fn go_on_recovering(&mut self, partition: i32, actions: &mut Vec<Action>) {
        let Some(Held::Recovering(recovery)) = self.partitions.get(&partition) else { return };
        let epoch = recovery.epoch();
        if let Some((from, end)) = recovery.to_replay() {
            actions.push(Action::ReadWal { partition, epoch, from, end });
        } else if let Some(recovered) = recovery.recovered() {
            let Recovered { native, snapshots, .. } = recovered;
            self.partitions.insert(partition, Held::Reading(Ledger::new(partition, epoch, recovered)));
            actions.push(Action::Begin { partition, epoch, native, snapshots });
        }
    }

    /// Begins what can be begun now.
    fn go_on(&mut self, now: Now, actions: &mut Vec<Action>) {
        for held in self.partitions.values_mut() {
            if let Held::Recovering(recovery) = held
                && recovery.ask_again(now.uptime)
            {
                let (partition, epoch) = (recovery.partition(), recovery.epoch());
                actions.push(Action::AskWal { partition, epoch });
            }
        }
        if !matches!(self.work, Work::Nothing) {
            return;
        }
        for (partitions, ticket) in std::mem::take(&mut self.leaving) {
            for partition in partitions {
                self.drop_partition(partition, actions);
            }
            actions.push(Action::Released { ticket });
        }
        if self.gathering.waiting(now.uptime) == Waiting::Ready && self.has_room() {
            self.begin_batch(now, actions);
        } else {
            self.tell_when_idle(now, actions);
        }
    }

    fn tell_when_idle(&mut self, now: Now, actions: &mut Vec<Action>) {
        let has_news = self.ledgers().any(Ledger::has_news);
        match self.idle.asked {
            None if has_news && now.uptime >= self.idle.told + IDLE => {
                self.idle.asked = Some((now.uptime, self.idle.transactions));
                let quiet = self.ledgers().filter(|ledger| ledger.has_news() && ledger.lag() == 0);
                let ask =
                    |ledger: &Ledger| Action::AskWal { partition: ledger.partition(), epoch: ledger.epoch() };
                actions.extend(quiet.map(ask));
            }
            Some((asked, _)) if now.uptime >= asked + ASKING => {
                (self.idle.asked, self.idle.told) = (None, now.uptime);
                let news = self.ledgers().filter(|ledger| ledger.has_news());
                let parts: Vec<Part> = news
                    .map(|ledger| Part::of(ledger, plan(ledger, &[], &mut Cells::default(), now.wall, 1)))
                    .collect();
                if !parts.is_empty() {
                    self.commit(parts, Vec::new(), actions);
                }
            }
            _ => {}
        }
    }

    fn drop_partition(&mut self, partition: i32, actions: &mut Vec<Action>) {
        let dropped = self.gathering.forget(partition) + self.work.forget(partition);
        if dropped > 0 {
            actions.push(Action::Took(dropped));
        }
        self.partitions.remove(&partition);
    }

    fn has_room(&self) -> bool {
        self.ledgers().all(|ledger| ledger.lag() < LAG_MOST)
    }

    fn ledgers(&self) -> impl Iterator<Item = &Ledger> {
        self.partitions.values().filter_map(|held| match held {
            Held::Reading(ledger) => Some(ledger),
            Held::Recovering(_) => None,
        })
    }

    fn recovering(&mut self, partition: i32, epoch: u64) -> Option<&mut Recovery> {
        match self.partitions.get_mut(&partition) {
            Some(Held::Recovering(recovery)) if recovery.epoch() == epoch => Some(recovery),
            Some(_) | None => None,
        }
    }
}

fn ask_offsets(partition: i32, epoch: u64) -> Action {
    Action::AskOffsets { partition, epoch, stable: holds(Guard::StableOffsets) }
}
