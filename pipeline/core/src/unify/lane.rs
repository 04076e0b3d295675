//! The transaction protocol, without doing it: [`Lane::on`] takes in what happened and says what is to be done. Production's
//! shell and the simulation both drive this, and neither knows the order of steps.
//!
//! A lane owns a few partitions, each of which is recovered first and read then. The lane picks what goes into the next
//! batch, partitions in turn, and wraps it in one transaction; only what the broker has [`Committed`](super::Committed) may
//! be applied.

mod batches;
mod work;

use std::{collections::BTreeMap, time::Duration};

use tributary_schemas::wal::InputPosition;

use self::work::Work;
use super::{
    batch::{Limits, Turn, due},
    clock::{Clock, Trust},
    exchange::{Action, Event},
    ledger::Ledger,
    loss::{Loss, LossKind},
    memory::Memory,
    now::Now,
    partition::{Partition, Phase, Reading},
    plan::Part,
    recovery::{Bounds, Question, Recovered, Recovery},
    timer::Timer,
};
use crate::guard::{Guard, holds};

/// What has been applied of a quiet partition is told within this.
const IDLE: Duration = Duration::from_secs(30);
/// Where a partition stands is told again within this: the broker forgets what nobody commits.
const RETOLD: Duration = Duration::from_secs(86_400);
/// How far ahead the last timestamp given out may be: what follows it can be no earlier.
const FUTURE: Duration = Duration::from_secs(86_400);
/// How long a stop waits for the store to have everything.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// The state machine of a lane.
#[derive(Debug)]
pub struct Lane {
    partitions: BTreeMap<i32, Partition>,
    limits: Limits,
    memory: Memory,
    work: Work,
    turn: Turn,
    timer: Timer,
    clock: Clock,
    /// At most so many messages a batch: fewer than the limit after a transaction that was too slow, or was refused.
    messages: usize,
    /// Revocations that wait for the transaction to be decided.
    leaving: Vec<(Vec<i32>, u64)>,
    /// Batches begun: each read answers one.
    batches: u64,
    /// No more batches: until when the store is waited for, and whether the end has been told.
    stopping: Option<(Duration, Told)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Not,
    Yes,
}

impl Lane {
    /// A lane without partitions. What is not applied is counted in `memory`.
    pub fn new(limits: Limits, memory: Memory) -> Self {
        Self {
            partitions: BTreeMap::new(),
            limits,
            memory,
            work: Work::Nothing,
            turn: Turn::default(),
            timer: Timer::default(),
            clock: Clock::default(),
            messages: limits.messages,
            leaving: Vec::new(),
            batches: 0,
            stopping: None,
        }
    }

    /// Takes in what happened; gives what is to be done, in this order.
    pub fn on(&mut self, event: Event, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Tick => {}
            Event::Message(received) => {
                if let Some(partition) = self.partitions.get_mut(&received.position.partition) {
                    partition.push(*received, now.uptime);
                }
            }
            Event::Newer { position: InputPosition { twin, partition, offset }, epoch, detail } => {
                let held = self.partitions.get(&partition).filter(|it| it.epoch == epoch);
                if held.is_some_and(|it| it.reading().is_some()) {
                    let kind = LossKind::Newer { twin, offset, detail };
                    self.halt(Loss { partition, kind }, now, &mut actions);
                }
            }
            Event::Assigned { partition, epoch } => {
                self.partitions.insert(partition, Partition::new(partition, epoch));
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
                let bounds =
                    self.recovering(partition, epoch).map(|it| it.wal(begins, end, stable, now.uptime));
                match bounds {
                    Some(Ok(Bounds::Replay)) => self.go_on_recovering(partition, now, &mut actions),
                    Some(Ok(Bounds::Wait)) | None => {}
                    Some(Err(loss)) => self.halt(loss, now, &mut actions),
                }
            }
            Event::Replayed { partition, epoch, records, next } => {
                if let Some(recovery) = self.recovering(partition, epoch) {
                    recovery.replayed(records.iter().map(|(_, record)| &**record), next);
                    actions.push(Action::Apply { partition, epoch, records });
                }
            }
            Event::Unreadable { partition, epoch, offset, detail } => {
                if self.recovering(partition, epoch).is_some() {
                    let kind = LossKind::Unreadable { offset, detail };
                    self.halt(Loss { partition, kind }, now, &mut actions);
                }
            }
            Event::Applied { partition, epoch, offsets } => {
                self.applied((partition, epoch), &offsets, now, &mut actions);
            }
            Event::Read { batch, cells } => self.read(batch, cells, now, &mut actions),
            Event::Ended(outcome) => self.ended(outcome, now, &mut actions),
            Event::Measured { begun, shown } => {
                if matches!(self.work, Work::Measuring) {
                    self.work = Work::Nothing;
                    self.clock.measured(begun, shown, now);
                }
            }
            Event::NewProducer => self.work = Work::Nothing,
            Event::Stop => {
                self.stopping.get_or_insert((now.uptime + STOPS_WITHIN, Told::Not));
            }
        }
        self.go_on(now, &mut actions);
        actions
    }

    /// The uptime at which [`Event::Tick`] is due, if nothing else happens before.
    pub fn wake(&self) -> Option<Duration> {
        let recoveries = self.partitions.values().filter_map(|partition| match &partition.phase {
            Phase::Recovering(recovery) => recovery.ask_at(),
            Phase::Reading(_) | Phase::Halted(_) => None,
        });
        let free = matches!(self.work, Work::Nothing);
        let not_before = |at: Duration| at.max(self.timer.not_before());
        let measured = |at: Duration| at.max(self.clock.not_before());
        let batch = due(&self.partitions, &self.limits, &self.memory)
            .filter(|_| self.stopping.is_none())
            .map(measured);
        let telling = self.readings().map(|(_, reading)| tell_at(reading)).min();
        let stopping = self.stopping.map(|(until, _)| until);
        let work = batch.into_iter().chain(telling).chain(stopping).map(not_before).filter(|_| free);
        let halted = self.partitions.values().filter_map(Partition::looks_at);
        recoveries.chain(halted).chain(work).min()
    }

    /// WAL records that are committed but not applied.
    pub fn lag(&self) -> usize {
        self.readings().map(|(_, reading)| reading.ledger.lag()).sum()
    }

    /// The partitions that are read.
    pub fn reading(&self) -> usize {
        self.readings().count()
    }

    fn revoke(&mut self, partitions: Vec<i32>, ticket: u64, actions: &mut Vec<Action>) {
        match self.work {
            // The broker checks the member's generation and not its partitions: what is open must be decided first.
            Work::Committing(_) | Work::Replacing if holds(Guard::DrainOnRevoke) => {
                self.leaving.push((partitions, ticket));
            }
            Work::Nothing | Work::Reading(_) | Work::Measuring | Work::Committing(_) | Work::Replacing => {
                self.release(&partitions, ticket, actions);
            }
        }
    }

    fn release(&mut self, partitions: &[i32], ticket: u64, actions: &mut Vec<Action>) {
        self.partitions.retain(|number, _| !partitions.contains(number));
        actions.push(Action::Released { ticket });
    }

    fn halt(&mut self, loss: Loss, now: Now, actions: &mut Vec<Action>) {
        let partition = self.partitions.get_mut(&loss.partition);
        if partition.is_some_and(|partition| partition.halt(&loss.kind, now.uptime)) {
            actions.push(Action::Halt(loss));
        }
    }

    fn applied(&mut self, (number, epoch): (i32, u64), offsets: &[i64], now: Now, actions: &mut Vec<Action>) {
        // It may have been taken from us meanwhile: what was written stands, its next owner replays it again.
        let Some(partition) = self.partitions.get_mut(&number).filter(|it| it.epoch == epoch) else { return };
        match &mut partition.phase {
            Phase::Reading(reading) => reading.applied(offsets),
            Phase::Recovering(_) => self.go_on_recovering(number, now, actions),
            Phase::Halted(_) => {}
        }
    }

    fn go_on_recovering(&mut self, number: i32, now: Now, actions: &mut Vec<Action>) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        let (epoch, Phase::Recovering(recovery)) = (partition.epoch, &partition.phase) else { return };
        if let Some((from, end)) = recovery.to_replay() {
            actions.push(Action::ReadWal { partition: number, epoch, from, end });
        } else if let Some(recovered) = recovery.recovered() {
            let Recovered { native, snapshots, last_ts, .. } = recovered;
            if last_ts > now.wall.plus(FUTURE).as_micros() {
                let kind = LossKind::Future { last_ts };
                return self.halt(Loss { partition: number, kind }, now, actions);
            }
            partition.begin(number, recovered, now.uptime);
            actions.push(Action::Begin { partition: number, epoch, native, snapshots });
        }
    }

    /// Begins what can be begun now.
    fn go_on(&mut self, now: Now, actions: &mut Vec<Action>) {
        for (number, partition) in &mut self.partitions {
            if partition.look_again(*number, now.uptime) {
                actions.push(ask_offsets(*number, partition.epoch));
            }
            let (partition, epoch, question) =
                (*number, partition.epoch, partition.recovering().and_then(|it| it.ask_again(now.uptime)));
            match question {
                Some(Question::Offsets) => actions.push(ask_offsets(partition, epoch)),
                Some(Question::Wal) => actions.push(Action::AskWal { partition, epoch }),
                None => {}
            }
        }
        if !matches!(self.work, Work::Nothing) {
            return;
        }
        for (partitions, ticket) in std::mem::take(&mut self.leaving) {
            self.release(&partitions, ticket, actions);
        }
        match self.stopping {
            Some((until, told)) => self.stop(until, told, now, actions),
            None if now.uptime < self.timer.not_before() => {}
            None => match due(&self.partitions, &self.limits, &self.memory) {
                Some(due) if due <= now.uptime => match self.clock.trust(now) {
                    Trust::Full => self.begin_batch(now, actions),
                    Trust::Measure(at) if at <= now.uptime => self.measure(now, actions),
                    Trust::Measure(_) => {}
                    Trust::Lost => actions.push(Action::Leave),
                },
                Some(_) | None => {
                    let quiet = self.quiet(&[], now);
                    if !quiet.is_empty() {
                        self.commit(quiet, actions);
                    }
                }
            },
        }
    }

    fn measure(&mut self, now: Now, actions: &mut Vec<Action>) {
        let partition = self.readings().map(|(_, reading)| reading.ledger.partition()).next();
        if let Some(partition) = partition {
            actions.push(Action::Measure { partition, begun: now.uptime });
            self.work = Work::Measuring;
        }
    }

    /// Tells where all partitions stand, once the store has everything, or does not come to have it.
    fn stop(&mut self, until: Duration, told: Told, now: Now, actions: &mut Vec<Action>) {
        if told == Told::Yes {
            actions.push(Action::Stopped);
        } else if self.lag() == 0 || now.uptime >= until {
            self.stopping = Some((until, Told::Yes));
            let news = self.readings().filter(|(_, reading)| reading.ledger.has_news());
            let parts: Vec<Part> =
                news.map(|(epoch, reading)| Part::standing(&reading.ledger, epoch)).collect();
            if parts.is_empty() {
                actions.push(Action::Stopped);
            } else {
                self.commit(parts, actions);
            }
        }
    }

    /// Where the quiet partitions stand, but for those that a batch tells of anyway.
    fn quiet(&self, but: &[Part], now: Now) -> Vec<Part> {
        self.readings()
            .filter(|(_, reading)| tell_at(reading) <= now.uptime)
            .filter(|(_, reading)| but.iter().all(|part| part.partition != reading.ledger.partition()))
            .map(|(epoch, reading)| Part::standing(&reading.ledger, epoch))
            .collect()
    }

    fn readings(&self) -> impl Iterator<Item = (u64, &Reading)> {
        self.partitions.values().filter_map(|partition| Some((partition.epoch, partition.reading()?)))
    }

    fn recovering(&mut self, number: i32, epoch: u64) -> Option<&mut Recovery> {
        self.partitions.get_mut(&number).filter(|partition| partition.epoch == epoch)?.recovering()
    }
}

/// When it is to be told where a partition stands, if nothing else tells it.
fn tell_at(reading: &Reading) -> Duration {
    let after = |ledger: &Ledger| if ledger.has_news() { IDLE } else { RETOLD };
    reading.told_at + after(&reading.ledger)
}

fn ask_offsets(partition: i32, epoch: u64) -> Action {
    Action::AskOffsets { partition, epoch, stable: holds(Guard::StableOffsets) }
}
