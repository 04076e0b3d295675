//! A unify process: production's lane machines, in a shell that is slow, dies, sleeps, and whose clock is wrong.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tributary_core::{
    cells::written,
    unify::{
        Abort, Action, Event, Found, Lane, Limits, Memory, Message, Now, Outcome, Received, Transaction,
        timed,
    },
};
use tributary_schemas::{
    time::Timestamp,
    wal::{CommitMetadata, InputPosition, Mutation, Twin, WalRecord},
};

use crate::{
    broker::{Assignment, Committed, Membership, Writes},
    world::{MILLI, PARTITIONS, SECOND, World, note},
};

/// How long a client waits for an answer.
const TIMEOUT: i64 = 6 * SECOND;
const HEARTBEAT: i64 = 3 * SECOND;

/// A process of one life: what it began before it died is not its successor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) process: usize,
    life: u64,
}

pub(crate) struct Process {
    life: u64,
    alive: bool,
    /// Stopped until then.
    asleep: i64,
    /// How wrong its clock is.
    skew: i64,
    lanes: Vec<Shell>,
    membership: Option<Membership>,
    owned: BTreeSet<i32>,
    epochs: BTreeMap<i32, u64>,
    /// What is read of each twin: the assignment, the next offset, when its last message comes.
    reading: BTreeMap<(Twin, i32), (u64, usize, i64)>,
    /// What was read and is on its way to its lane, in order.
    queues: BTreeMap<(Twin, i32, u64), VecDeque<Received>>,
    /// A revocation is waited for: how many lanes have not answered, which partitions go, whether all are lost.
    revoking: Option<(usize, BTreeSet<i32>, bool)>,
    limits: Limits,
    /// What is not applied and what waits: never more than a little beyond it.
    memory: Memory,
}

struct Shell {
    machine: Lane,
    epoch: u64,
    ticks: Option<i64>,
    /// Something is under way that the lane's thread waits for.
    busy: bool,
    waiting: VecDeque<Event>,
}

impl Process {
    /// What its clocks show. The one that is waited by is the world's: only the other is wrong, and jumps.
    fn clocks(&self, now: i64) -> Now {
        Now { wall: Timestamp::from_micros(now + self.skew), uptime: Duration::from_micros(now as u64) }
    }
}

impl World {
    pub(crate) fn add_process(&mut self) {
        let limits = Limits {
            linger: Duration::from_millis(self.chance.within(0, 300) as u64),
            bytes: 1 << 20,
            messages: 1 + self.chance.below(6),
            events: 1 + self.chance.below(6),
        };
        let skew = self.chance.within(-10 * SECOND, 10 * SECOND);
        let process = Process {
            life: 0,
            alive: false,
            asleep: 0,
            skew,
            lanes: Vec::new(),
            membership: None,
            owned: BTreeSet::new(),
            epochs: BTreeMap::new(),
            reading: BTreeMap::new(),
            queues: BTreeMap::new(),
            revoking: None,
            limits,
            memory: Memory::new(usize::MAX),
        };
        self.processes.push(process);
        let number = self.processes.len() - 1;
        let span = self.chance.span(5 * SECOND);
        self.after(span, move |world| world.start(number));
    }

    fn start(&mut self, number: usize) {
        let lanes = 1 + self.chance.below(2);
        let process = &mut self.processes[number];
        process.life += 1;
        process.alive = true;
        process.asleep = 0;
        process.membership = None;
        process.owned.clear();
        process.epochs.clear();
        process.reading.clear();
        process.queues.clear();
        process.revoking = None;
        process.memory = Memory::new(usize::MAX);
        let shell = || Shell {
            machine: Lane::new(process.limits, process.memory.clone()),
            epoch: 0,
            ticks: None,
            busy: true,
            waiting: Default::default(),
        };
        process.lanes = (0..lanes).map(|_| shell()).collect();
        let who = Who { process: number, life: process.life };
        note!(self, "process {number} starts with {lanes} lanes");
        for lane in 0..lanes {
            self.new_producer(who, lane);
        }
        self.heartbeat(who);
    }

    /// The process dies, and comes back some time later.
    pub(crate) fn kill(&mut self, number: usize) {
        if !self.processes[number].alive {
            return;
        }
        self.faults += 1;
        note!(self, "process {number} dies");
        self.processes[number].alive = false;
        let span = if self.chance.permille(300) { 20 * SECOND } else { 2 * SECOND };
        let span = self.chance.span(span);
        self.after(span, move |world| world.start(number));
    }

    /// A step of a process: not if it has died, later if it sleeps. It may be its last.
    pub(crate) fn step(&mut self, who: Who, span: i64, job: impl FnOnce(&mut World) + 'static) {
        self.after(span, move |world| {
            let process = &world.processes[who.process];
            if process.life != who.life || !process.alive {
                return;
            }
            let wait = process.asleep - world.now;
            if wait > 0 {
                return world.step(who, wait, job);
            }
            if world.stormy() {
                if world.chance.permille(world.mortality) {
                    return world.kill(who.process);
                }
                if world.chance.permille(world.drowsiness) {
                    world.faults += 1;
                    let sleep = world.chance.span(30 * SECOND);
                    note!(world, "process {} sleeps for {} ms", who.process, sleep / MILLI);
                    world.processes[who.process].asleep = world.now + sleep;
                    return world.step(who, sleep, job);
                }
            }
            job(world);
        });
    }

    /// Asks the broker. Requests and answers are lost, or come late: then nobody knows.
    fn request<T: 'static>(
        &mut self,
        who: Who,
        ask: impl FnOnce(&mut World) -> T + 'static,
        then: impl FnOnce(&mut World, Option<T>) + 'static,
    ) {
        let (there, back) = (self.chance.span(200 * MILLI), self.chance.span(100 * MILLI));
        let loss = self.stormy() && self.chance.permille(self.losses);
        if !loss {
            self.at_broker(there, move |world| {
                let answer = ask(world);
                world.step(who, back, |world| then(world, Some(answer)));
            });
            return;
        }
        self.faults += 1;
        if !self.chance.permille(300) {
            let late = if self.chance.permille(500) { there } else { self.chance.span(15 * SECOND) };
            note!(
                self,
                "an answer to process {} is lost; the request comes in {} ms",
                who.process,
                late / MILLI
            );
            self.at_broker(late, |world| drop(ask(world)));
        }
        self.step(who, TIMEOUT, |world| then(world, None));
    }

    // --- the group

    fn heartbeat(&mut self, who: Who) {
        let span = if self.processes[who.process].membership.is_none() { 10 * MILLI } else { HEARTBEAT };
        self.step(who, span, move |world| {
            let known = world.processes[who.process].membership;
            let token = known.map_or(world.now as u64, |member| member.token);
            world.request(
                who,
                move |world| {
                    let now = world.now;
                    if known.is_none() {
                        world.broker.group.join(who.process, token, now);
                    }
                    world.broker.group.heartbeat(who.process, token, now)
                },
                move |world, answer| {
                    if let Some(answer) = answer {
                        world.heard_from_the_group(who, known, token, answer);
                    }
                    world.heartbeat(who);
                },
            );
        });
    }

    fn heard_from_the_group(
        &mut self,
        who: Who,
        asked_as: Option<Membership>,
        token: u64,
        answer: Option<Assignment>,
    ) {
        let process = &mut self.processes[who.process];
        if process.revoking.is_some() || process.membership != asked_as {
            return;
        }
        let Some(assignment) = answer else {
            // Expelled: everything is lost, and only then a new membership begins.
            note!(self, "process {} was expelled", who.process);
            let all = self.processes[who.process].owned.clone();
            return self.revoke(who, all, true);
        };
        process.membership =
            Some(Membership { process: who.process, token, generation: assignment.generation });
        let owned = process.owned.clone();
        for partition in assignment.owned.difference(&owned).filter(|it| !assignment.leaving.contains(*it)) {
            self.processes[who.process].owned.insert(*partition);
            self.assigned(who, *partition);
        }
        if !assignment.leaving.is_empty() {
            self.revoke(who, assignment.leaving, false);
        }
    }

    fn assigned(&mut self, who: Who, partition: i32) {
        let process = &mut self.processes[who.process];
        let epoch = process.epochs.entry(partition).or_default();
        *epoch += 1;
        let event = Event::Assigned { partition, epoch: *epoch };
        note!(self, "process {} is assigned partition {partition}", who.process);
        self.tell(who, self.lane_of(who, partition), event);
    }

    fn revoke(&mut self, who: Who, partitions: BTreeSet<i32>, lost: bool) {
        let process = &mut self.processes[who.process];
        let lanes = process.lanes.len();
        process.revoking = Some((lanes, partitions.clone(), lost));
        for partition in &partitions {
            process.owned.remove(partition);
            for twin in [Twin::Native, Twin::Snapshots] {
                process.reading.remove(&(twin, *partition));
            }
        }
        note!(self, "process {} gives {partitions:?} away", who.process);
        for lane in 0..lanes {
            let partitions = partitions.iter().copied().collect();
            self.tell(who, lane, Event::Revoked { partitions, ticket: 1 });
        }
    }

    fn released(&mut self, who: Who) {
        let process = &mut self.processes[who.process];
        let Some((lanes, partitions, lost)) = process.revoking.take() else { return };
        if lanes > 1 {
            process.revoking = Some((lanes - 1, partitions, lost));
            return;
        }
        if lost {
            process.membership = None;
            return;
        }
        if let Some(member) = process.membership {
            let span = self.chance.span(100 * MILLI);
            self.at_broker(span, move |world| {
                world.broker.group.released(who.process, member.token, &partitions);
            });
        }
    }

    // --- the lanes

    fn lane_of(&self, who: Who, partition: i32) -> usize {
        partition as usize % self.processes[who.process].lanes.len()
    }

    /// Tells a lane something; its thread hears it when it is free.
    fn tell(&mut self, who: Who, lane: usize, event: Event) {
        let process = &mut self.processes[who.process];
        let shell = &mut process.lanes[lane];
        let overtakes = match event {
            // Not what it takes back.
            Event::Revoked { .. } => !shell.waiting.iter().any(|it| matches!(it, Event::Assigned { .. })),
            Event::Message(_) => true,
            _ => false,
        };
        if shell.busy && !overtakes {
            shell.waiting.push_back(event);
            return;
        }
        let clocks = process.clocks(self.now);
        let actions = process.lanes[lane].machine.on(event, clocks);
        for action in actions {
            self.act(who, lane, action);
        }
        self.tick(who, lane);
    }

    /// What the lane's thread waited for has come.
    fn answered(&mut self, who: Who, lane: usize, event: Event) {
        self.processes[who.process].lanes[lane].busy = false;
        self.tell(who, lane, event);
        while let Some(event) = self.processes[who.process].lanes[lane].waiting.pop_front() {
            if self.processes[who.process].lanes[lane].busy {
                self.processes[who.process].lanes[lane].waiting.push_front(event);
                return;
            }
            self.tell(who, lane, event);
        }
    }

    fn tick(&mut self, who: Who, lane: usize) {
        let process = &mut self.processes[who.process];
        let Some(wake) = process.lanes[lane].machine.wake() else { return };
        let at = (wake.as_micros() as i64).max(self.now + 1);
        if process.lanes[lane].ticks.is_some_and(|ticks| ticks <= at && ticks > self.now) {
            return;
        }
        process.lanes[lane].ticks = Some(at);
        self.step(who, at - self.now, move |world| {
            if world.processes[who.process].lanes[lane].ticks == Some(at) {
                world.processes[who.process].lanes[lane].ticks = None;
            }
            world.tell(who, lane, Event::Tick);
        });
    }

    fn act(&mut self, who: Who, lane: usize, action: Action) {
        match action {
            Action::AskOffsets { partition, epoch, stable } => {
                self.ask_offsets(who, lane, (partition, epoch), stable, None);
            }
            Action::AskWal { partition, epoch } => self.ask_wal(who, lane, partition, epoch),
            Action::ReadWal { partition, epoch, from, end } => {
                self.read_wal(who, lane, (partition, epoch), from, end);
            }
            Action::Apply { partition, epoch, records } => {
                let mutations = records.iter().flat_map(|(_, record)| timed(record));
                let mutations = mutations.map(|(ts, mutation)| (ts, mutation.clone())).collect();
                let offsets = records.into_iter().map(|(offset, _)| offset).collect();
                let most = if self.chance.permille(150) { 8 * SECOND } else { 300 * MILLI };
                let last = self.write(mutations, most);
                let span = last + self.chance.span(20 * MILLI);
                self.at_store(span, move |world| {
                    world.step(who, 1, move |world| {
                        world.tell(who, lane, Event::Applied { partition, epoch, offsets });
                    });
                });
            }
            Action::Begin { partition, epoch, native, snapshots } => {
                let process = &mut self.processes[who.process];
                if process.owned.contains(&partition) && process.epochs[&partition] == epoch {
                    note!(self, "process {} reads {partition} from {native}, {snapshots}", who.process);
                    let process = &mut self.processes[who.process];
                    for (twin, from) in [(Twin::Native, native), (Twin::Snapshots, snapshots)] {
                        process.reading.insert((twin, partition), (epoch, from as usize, self.now));
                    }
                    self.fetch(who, partition);
                }
            }
            Action::Read { batch, wants } => {
                // Each half is answered at a time of its own.
                let cut = self.chance.below(wants.len() + 1);
                let (one, other) = (wants[..cut].to_vec(), wants[cut..].to_vec());
                let most = if self.chance.permille(150) { 3 * SECOND } else { 100 * MILLI };
                let (first, then, back) =
                    (self.chance.span(most), self.chance.span(most), self.chance.span(most));
                self.at_store(first, move |world| {
                    let mut cells = world.store.answer(&one);
                    world.at_store(then, move |world| {
                        cells.extend(world.store.answer(&other));
                        world.step(who, back, move |world| {
                            world.tell(who, lane, Event::Read { batch, cells });
                        });
                    });
                });
            }
            Action::Measure { begun, .. } => {
                self.processes[who.process].lanes[lane].busy = true;
                let ask = |world: &mut World| Timestamp::from_micros(world.now);
                self.request(who, ask, move |world, shown| {
                    world.answered(who, lane, Event::Measured { begun, shown });
                });
            }
            // It is started again, and by then somebody may have set its clock.
            Action::Leave => self.kill(who.process),
            Action::Commit(transaction) => self.commit(who, lane, &transaction),
            Action::NewProducer => {
                self.processes[who.process].lanes[lane].busy = true;
                self.new_producer(who, lane);
            }
            Action::RecoverAgain { partition, epoch } => {
                let process = &mut self.processes[who.process];
                if process.owned.contains(&partition) && process.epochs[&partition] == epoch {
                    for twin in [Twin::Native, Twin::Snapshots] {
                        process.reading.remove(&(twin, partition));
                    }
                    let span = self.chance.span(10 * MILLI);
                    self.step(who, span, move |world| {
                        let process = &world.processes[who.process];
                        if process.owned.contains(&partition) && process.epochs[&partition] == epoch {
                            world.assigned(who, partition);
                        }
                    });
                }
            }
            Action::Released { .. } => self.released(who),
            Action::Halt(loss) => self.violated(format!("a partition halts: {loss}")),
            Action::Stopped => {}
        }
    }

    fn new_producer(&mut self, who: Who, lane: usize) {
        let ask = move |world: &mut World| world.init((who.process, lane));
        self.request(who, ask, move |world, answer| match answer.flatten() {
            Some(epoch) => {
                world.processes[who.process].lanes[lane].epoch = epoch;
                world.answered(who, lane, Event::NewProducer);
            }
            None => world.step(who, 50 * MILLI, move |world| world.new_producer(who, lane)),
        });
    }

    fn ask_offsets(
        &mut self,
        who: Who,
        lane: usize,
        (partition, epoch): (i32, u64),
        stable: bool,
        native: Option<Found>,
    ) {
        let twin = if native.is_none() { Twin::Native } else { Twin::Snapshots };
        let ask = move |world: &mut World| world.broker.committed(twin, partition, stable);
        self.request(who, ask, move |world, answer| {
            let Some(committed) = answer.flatten() else {
                let again = move |world: &mut World| {
                    world.ask_offsets(who, lane, (partition, epoch), stable, native);
                };
                return world.step(who, 100 * MILLI, again);
            };
            let committed = committed.map(|(offset, metadata)| (offset, Some(metadata)));
            let end = world.broker.twin(twin, partition).len() as i64;
            let found = Found { committed, begins: 0, end };
            match native {
                None => world.ask_offsets(who, lane, (partition, epoch), stable, Some(found)),
                Some(native) => {
                    let event = Event::Offsets { partition, epoch, native, snapshots: found };
                    world.tell(who, lane, event);
                }
            }
        });
    }

    fn ask_wal(&mut self, who: Who, lane: usize, partition: i32, epoch: u64) {
        let bounds = move |world: &mut World| {
            let wal = &world.broker.wal[partition as usize];
            (wal.begins, wal.end())
        };
        let stable = move |world: &mut World| world.broker.wal[partition as usize].stable();
        self.request(who, bounds, move |world, bounds| {
            let Some((begins, end)) = bounds else { return world.ask_wal(who, lane, partition, epoch) };
            world.request(who, stable, move |world, stable| match stable {
                Some(stable) => {
                    world.tell(who, lane, Event::Wal { partition, epoch, begins, end, stable });
                }
                None => world.ask_wal(who, lane, partition, epoch),
            });
        });
    }

    fn read_wal(&mut self, who: Who, lane: usize, (partition, epoch): (i32, u64), from: i64, end: i64) {
        let ask = move |world: &mut World| {
            let wal = &world.broker.wal[partition as usize];
            let wanted = wal.committed().filter(|(offset, _)| (from.max(wal.begins)..end).contains(offset));
            wanted.take(5).map(|(offset, record)| (offset, Arc::new(record.clone()))).collect::<Vec<_>>()
        };
        self.request(who, ask, move |world, records| match records {
            Some(records) => {
                let enough = records.len() == 5;
                let next = records.last().filter(|_| enough).map_or(end, |(offset, _)| offset + 1);
                note!(
                    world,
                    "process {} replays {} of {partition} in {from}..{end}",
                    who.process,
                    records.len()
                );
                world.tell(who, lane, Event::Replayed { partition, epoch, records, next });
            }
            None => world.read_wal(who, lane, (partition, epoch), from, end),
        });
    }

    // --- reading the twins

    /// Fetches what is there, for whoever reads the partition.
    pub(crate) fn fetch_everywhere(&mut self, partition: i32) {
        for process in 0..self.processes.len() {
            let who = Who { process, life: self.processes[process].life };
            if self.processes[process].alive {
                self.fetch(who, partition);
            }
        }
    }

    fn fetch(&mut self, who: Who, partition: i32) {
        for twin in [Twin::Native, Twin::Snapshots] {
            loop {
                let process = &mut self.processes[who.process];
                let Some((epoch, next, last)) = process.reading.get_mut(&(twin, partition)) else { break };
                let Some(input) = self.broker.twin(twin, partition).get(*next).cloned() else { break };
                let (offset, epoch) = (*next as i64, *epoch);
                *next += 1;
                // In order, but behind whatever waits: in the client's queue, and in front of the lane.
                let at = (*last).max(self.now + self.chance.span(400 * MILLI)) + 1;
                *last = at;
                let message = Message { key: Vec::new(), payload: Default::default(), input: Ok(input) };
                let position = InputPosition { twin, partition, offset };
                let permit = process.memory.permit(1);
                let received = Received { position, epoch, bytes: 1, permit, message };
                let queue = (twin, partition, epoch);
                process.queues.entry(queue).or_default().push_back(received);
                self.step(who, at - self.now, move |world| {
                    let queue = world.processes[who.process].queues.get_mut(&queue);
                    if let Some(received) = queue.and_then(VecDeque::pop_front) {
                        world.tell(who, world.lane_of(who, partition), Event::Message(Box::new(received)));
                    }
                });
            }
        }
    }

    // --- transactions

    fn commit(&mut self, who: Who, lane: usize, transaction: &Arc<Transaction>) {
        self.processes[who.process].lanes[lane].busy = true;
        let name = (who.process, lane);
        let epoch = self.processes[who.process].lanes[lane].epoch;
        let mut writes = Vec::new();
        let mut offsets = Vec::new();
        for part in &transaction.parts {
            writes.push(Writes {
                partition: part.partition,
                wal: part.plan.steps.iter().map(|step| WalRecord::clone(&step.wal)).collect(),
                events: part.plan.steps.iter().flat_map(|step| step.events.clone()).collect(),
            });
            let CommitMetadata { .. } = part.plan.metadata;
            let of = |(twin, offset): &(Twin, i64)| {
                (*twin, part.partition, (*offset, part.plan.metadata) as Committed)
            };
            offsets.extend(part.offsets.iter().map(of));
        }
        let member = self.processes[who.process].membership;
        self.begin_transaction(Open { who, lane, name, epoch, member }, writes, offsets);
    }

    fn begin_transaction(&mut self, open: Open, writes: Vec<Writes>, offsets: Vec<(Twin, i32, Committed)>) {
        let ask = move |world: &mut World| world.broker.begin(open.name, open.epoch);
        self.request(open.who, ask, move |world, answer| match answer {
            Some(Some(Some(id))) => {
                world.limit_transaction(open.name, id);
                world.append(open, id, writes, Vec::new(), offsets);
            }
            Some(None) => {
                world.step(open.who, 20 * MILLI, move |world| world.begin_transaction(open, writes, offsets));
            }
            Some(Some(None)) | None => world.answered(open.who, open.lane, Event::Ended(Outcome::Unknown)),
        });
    }

    /// Appends partition by partition, each at a time of its own.
    fn append(
        &mut self,
        open: Open,
        id: u64,
        mut writes: Vec<Writes>,
        mut written: Vec<i64>,
        offsets: Vec<(Twin, i32, Committed)>,
    ) {
        if writes.is_empty() {
            return self.send_offsets(open, id, written, offsets);
        }
        let first = writes.remove(0);
        let ask = move |world: &mut World| {
            let future = world.now + 60 * SECOND;
            if first.wal.iter().any(|record| record.last_ts() > future) {
                world.violated("a timestamp out of the future is given out".into());
            }
            if !first.wal.is_empty() {
                world.broker.wal[first.partition as usize].appended_at = world.now;
            }
            world.broker.append(open.name, open.epoch, id, first)
        };
        self.request(open.who, ask, move |world, answer| match answer {
            Some(Some(these)) => {
                written.extend(these);
                world.append(open, id, writes, written, offsets);
            }
            Some(None) => world.answered(open.who, open.lane, Event::Ended(Outcome::Unknown)),
            None => world.abort(open),
        });
    }

    fn send_offsets(&mut self, open: Open, id: u64, written: Vec<i64>, offsets: Vec<(Twin, i32, Committed)>) {
        // The membership may be the one at the beginning, or the one by now: nothing may hang on it.
        let now = self.processes[open.who.process].membership;
        let member = if self.chance.permille(500) { open.member } else { now };
        let Some(member) = member else { return self.abort(open) };
        let ask =
            move |world: &mut World| world.broker.take_offsets(open.name, open.epoch, id, member, offsets);
        self.request(open.who, ask, move |world, answer| match answer {
            Some(true) => world.end_request(open, written),
            Some(false) | None => world.abort(open),
        });
    }

    fn end_request(&mut self, open: Open, written: Vec<i64>) {
        let ask = move |world: &mut World| world.end(open.name, open.epoch, true);
        self.request(open.who, ask, move |world, answer| {
            let outcome = match answer {
                Some(true) => Outcome::Committed(written),
                Some(false) | None => Outcome::Unknown,
            };
            world.answered(open.who, open.lane, Event::Ended(outcome));
        });
    }

    fn abort(&mut self, open: Open) {
        let ask = move |world: &mut World| world.end(open.name, open.epoch, false);
        self.request(open.who, ask, move |world, answer| {
            let outcome =
                if answer == Some(true) { Outcome::Aborted(Abort::Again) } else { Outcome::Unknown };
            world.answered(open.who, open.lane, Event::Ended(outcome));
        });
    }

    /// Clocks jump.
    pub(crate) fn set_clock(&mut self, process: usize, skew: i64) {
        self.processes[process].skew = skew;
    }

    /// The log loses all that is old, where the store has it: what lies behind the last record, too.
    pub(crate) fn retain_nothing_old(&mut self) {
        for partition in 0..PARTITIONS as usize {
            let wal = &self.broker.wal[partition];
            let quiet = wal.appended_at < self.now - 33 * SECOND && wal.stable() == wal.end();
            let stored = |(ts, mutation): (i64, &Mutation)| {
                self.store.cells.stamp(&written(ts, mutation).key).is_some_and(|stored| stored >= ts)
            };
            if quiet && wal.committed().all(|(_, record)| record.timed().all(stored)) {
                let wal = &mut self.broker.wal[partition];
                wal.begins = wal.end();
            }
        }
    }

    /// The log loses what has been applied.
    pub(crate) fn retain(&mut self) {
        for partition in 0..PARTITIONS {
            let applied = [Twin::Native, Twin::Snapshots]
                .into_iter()
                .filter_map(|twin| self.broker.offsets.get(&(twin, partition)))
                .map(|(_, metadata)| metadata.wal_applied)
                .max();
            let wal = &mut self.broker.wal[partition as usize];
            wal.begins = wal.begins.max(applied.unwrap_or_default());
        }
    }
}

/// A transaction under way.
#[derive(Clone, Copy)]
struct Open {
    who: Who,
    lane: usize,
    name: (usize, usize),
    epoch: u64,
    member: Option<Membership>,
}
