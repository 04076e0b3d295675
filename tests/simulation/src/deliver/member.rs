//! A deliver process: the real state machine, and a shell that does what it says, late, in part, or never.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tributary_core::deliver::{
    guard::{Guard, holds},
    interest::{Fit, fits},
    process::{AttemptId, Follow, Input, Limits, Now, Output, Process, Start},
    record::TenureId,
    retry::{Ended, Verdict},
};
use tributary_schemas::{delivery::Line, entity::Webhook, id::WebhookId, time::Timestamp};

use super::world::{CALM, END, LAG_MOST, LOGS, Life, MILLI, Manner, RETRIES, SECOND, World, note};

/// How long a request may take.
const DEADLINE: i64 = 15 * SECOND;
/// Records that a poll brings.
const POLLED_MOST: usize = 6;

/// A process, in the life that it has now.
pub(super) struct Member {
    pub(super) life: u64,
    pub(super) alive: bool,
    pub(super) asleep: i64,
    born: i64,
    pub(super) machine: Process,
    /// The control records that it has read, and when it may read the next.
    viewed: usize,
    view_at: i64,
    pub(super) view: BTreeMap<WebhookId, Arc<Webhook>>,
    since: BTreeMap<WebhookId, (Timestamp, i64)>,
    /// The partitions that it believes it has.
    pub(super) tenures: BTreeMap<TenureId, Reading>,
    /// Lines of ordered webhooks that are under way.
    lines: BTreeMap<AttemptId, Line>,
}

/// Where a member reads in a partition.
pub(super) struct Reading {
    pub(super) log: usize,
    head: Option<i64>,
    sweeps: BTreeMap<u64, i64>,
}

impl Member {
    pub(super) fn new(life: u64, born: i64) -> Self {
        let limits = Limits { first_attempts: 8, retries: 4, memory: 20_000, sweeps: 4 };
        Self {
            life,
            alive: true,
            asleep: 0,
            born,
            machine: Process::new(limits),
            viewed: 0,
            view_at: born,
            view: BTreeMap::new(),
            since: BTreeMap::new(),
            tenures: BTreeMap::new(),
            lines: BTreeMap::new(),
        }
    }
}

impl World {
    pub(super) fn life(&self, member: usize) -> Life {
        Life { member, number: self.members[member].life }
    }

    fn lives(&self, life: Life) -> bool {
        let member = &self.members[life.member];
        member.alive && member.life == life.number
    }

    /// Something happens to a member in this life, after a while; later if it sleeps.
    pub(super) fn for_member(
        &mut self,
        life: Life,
        wait: i64,
        act: impl FnOnce(&mut World, usize) + 'static,
    ) {
        self.after(wait, move |world| {
            if !world.lives(life) {
                return;
            }
            let asleep = world.members[life.member].asleep - world.now;
            if asleep > 0 {
                world.for_member(life, asleep, act);
            } else {
                act(world, life.member);
            }
        });
    }

    /// A member begins to live: it polls and ticks until it dies.
    pub(super) fn be_born(&mut self, member: usize) {
        let life = self.life(member);
        self.beat(life);
    }

    fn beat(&mut self, life: Life) {
        let wait = if self.now < END { 50 * MILLI + self.chance.span(250 * MILLI) } else { return };
        self.for_member(life, wait, move |world, member| {
            world.read_control(member);
            world.poll(member);
            world.feed(member, Input::Tick);
            world.beat(life);
        });
    }

    /// The view reads on, late.
    fn read_control(&mut self, member: usize) {
        while let Some((at, id, webhook)) = self.control.get(self.members[member].viewed).cloned() {
            // What stood there at its birth is read before it joins.
            let ready = self.members[member].born >= at;
            if !ready && self.now < self.members[member].view_at.max(at) {
                return;
            }
            let lag = self.chance.span(LAG_MOST);
            let held = &mut self.members[member];
            held.view_at = self.now.max(at) + lag;
            let offset = held.viewed as i64;
            held.viewed += 1;
            let seen = (0, offset);
            match webhook {
                None => {
                    held.view.remove(&id);
                    held.since.remove(&id);
                    self.feed(member, Input::Gone { webhook: id, seen });
                }
                Some(webhook) => {
                    held.view.insert(id.clone(), webhook.clone());
                    let since = held.since.entry(id).or_insert((webhook.enabled_at, offset));
                    if since.0 != webhook.enabled_at {
                        *since = (webhook.enabled_at, offset);
                    }
                    let since = (0, since.1);
                    self.feed(member, Input::Changed { webhook, seen, since, opened: true });
                }
            }
        }
    }

    /// Reads at the heads and in the sweeps.
    fn poll(&mut self, member: usize) {
        let tenures: Vec<TenureId> = self.members[member].tenures.keys().copied().collect();
        for tenure in tenures {
            let Some(reading) = self.members[member].tenures.get(&tenure) else { continue };
            if let Some(head) = reading.head {
                self.read(member, tenure, None, head);
            }
            let Some(reading) = self.members[member].tenures.get(&tenure) else { continue };
            let sweeps: Vec<u64> = reading.sweeps.keys().copied().collect();
            for sweep in sweeps {
                let at =
                    self.members[member].tenures.get(&tenure).and_then(|it| it.sweeps.get(&sweep)).copied();
                if let Some(at) = at {
                    self.read(member, tenure, Some(sweep), at);
                }
            }
        }
    }

    fn read(&mut self, member: usize, tenure: TenureId, sweep: Option<u64>, mut at: i64) {
        let Some(reading) = self.members[member].tenures.get(&tenure) else { return };
        let log = reading.log;
        if at < self.logs[log].start {
            if holds(Guard::ResetIsError) {
                at = self.logs[log].start;
                self.go_on(member, tenure, sweep, at);
                self.feed(member, Input::Expired { tenure, sweep, to: at });
            } else {
                at = self.logs[log].end;
                self.go_on(member, tenure, sweep, at);
            }
        }
        let most = 1 + self.chance.below(POLLED_MOST);
        let found: Vec<_> = self.logs[log].records.range(at..).take(most).map(|(_, it)| it.clone()).collect();
        let ended = found.len() < most;
        for logged in found {
            if logged.due > self.now {
                // Not due yet: the head waits for it, and a sweep never comes past the head.
                return;
            }
            let offset = logged.record.offset;
            if !self.reads_at(member, tenure, sweep, at) {
                return;
            }
            at = offset + 1;
            self.go_on(member, tenure, sweep, at);
            let record = logged.record;
            let input = match sweep {
                None => Input::Head { tenure, record },
                Some(sweep) => Input::Swept { tenure, sweep, record },
            };
            self.feed(member, input);
        }
        if ended && self.reads_at(member, tenure, sweep, at) {
            let end = self.logs[log].end.max(at);
            self.go_on(member, tenure, sweep, end);
            let input = match sweep {
                None => Input::HeadAt { tenure, next: end },
                Some(sweep) => Input::SweptTo { tenure, sweep, at: end },
            };
            self.feed(member, input);
        }
    }

    fn reads_at(&self, member: usize, tenure: TenureId, sweep: Option<u64>, at: i64) -> bool {
        self.members[member].tenures.get(&tenure).is_some_and(|it| match sweep {
            None => it.head == Some(at),
            Some(sweep) => it.sweeps.get(&sweep) == Some(&at),
        })
    }

    fn go_on(&mut self, member: usize, tenure: TenureId, sweep: Option<u64>, at: i64) {
        let Some(reading) = self.members[member].tenures.get_mut(&tenure) else { return };
        match sweep {
            None => reading.head = Some(at),
            Some(sweep) => {
                if let Some(place) = reading.sweeps.get_mut(&sweep) {
                    *place = at;
                }
            }
        }
    }

    /// The machine takes in what happened, and the shell begins what it says.
    pub(super) fn feed(&mut self, member: usize, input: Input) {
        let now = Now {
            up: Duration::from_micros((self.now - self.members[member].born) as u64),
            wall: Timestamp::from_micros(self.now),
        };
        if self.tells && !matches!(input, Input::Tick) {
            let told = format!("{input:?}");
            note!(self, "{member} <- {}", told.chars().take(400).collect::<String>());
        }
        for output in self.members[member].machine.input(now, input) {
            if self.tells {
                let told = format!("{output:?}");
                note!(self, "{member} -> {}", told.chars().take(400).collect::<String>());
            }
            self.act(member, output);
        }
        let memory = self.members[member].machine.memory();
        if memory > 20_000 + 2_200 {
            self.violations.push(format!("{memory} bytes wait in memory"));
        }
    }

    fn act(&mut self, member: usize, output: Output) {
        let life = self.life(member);
        match output {
            Output::Claim(tenure) => self.claim(life, tenure),
            Output::Read { tenure, from } => {
                if let Some(reading) = self.members[member].tenures.get_mut(&tenure) {
                    reading.head = Some(from);
                }
            }
            Output::Lookup { tenure, reader, at, next } => {
                let wait = self.chance.span(200 * MILLI);
                self.for_member(life, wait, move |world, member| {
                    let Some(log) = world.members[member].tenures.get(&tenure).map(|it| it.log) else {
                        return;
                    };
                    let records = &world.logs[log].records;
                    let found = records.iter().find(|(_, it)| it.written >= at.as_micros());
                    let offset = found.map(|(offset, _)| *offset);
                    world.feed(member, Input::Found { tenure, reader, at, offset, next });
                });
            }
            Output::Ask(webhook) => {
                let wait = self.store_takes();
                self.for_member(life, wait, move |world, member| {
                    let version = world.webhooks.get(&webhook).map(|it| it.version);
                    world.feed(member, Input::Asked { webhook, version });
                });
            }
            Output::Start(start) => self.send(life, start),
            Output::Follow { attempt, queued, webhook: _, what } => {
                self.members[member].lines.remove(&attempt);
                self.follow(life, attempt, queued, what);
            }
            Output::Sweep { tenure, sweep, from } | Output::Seek { tenure, sweep, from } => {
                if let Some(reading) = self.members[member].tenures.get_mut(&tenure) {
                    reading.sweeps.insert(sweep, from);
                }
            }
            Output::Stop { tenure, sweep } => {
                if let Some(reading) = self.members[member].tenures.get_mut(&tenure) {
                    reading.sweeps.remove(&sweep);
                }
            }
            Output::Write { tenure, changes } => {
                let Some(log) = self.members[member].tenures.get(&tenure).map(|it| it.log) else { return };
                let late = if self.chance.permille(60) { self.chance.span(15 * SECOND) } else { 0 };
                let wait = self.store_takes() + late;
                // What was sent arrives, also when its sender dies or sleeps.
                self.after(wait, move |world| {
                    world.aim(log, (life, tenure));
                    let ours = world.write(log, (life, tenure), &changes, holds(Guard::OwnerFencedRows));
                    note!(world, "store: log {log}, {changes:?} by {}: {ours}", life.member);
                    let wait = world.chance.span(20 * MILLI);
                    world.for_member(life, wait, move |world, member| {
                        world.feed(member, Input::Written { tenure, ours });
                    });
                });
            }
            Output::Commit { tenure, offset, view } => {
                let Some(log) = self.members[member].tenures.get(&tenure).map(|it| it.log) else { return };
                let wait = self.chance.span(50 * MILLI);
                self.after(wait, move |world| {
                    if world.logs[log].owner == Some((life, tenure)) {
                        note!(world, "log {log} is committed at {offset}, {view:?}");
                        // A client's commits come in their order.
                        let later =
                            world.logs[log].committed.as_ref().is_none_or(|(before, _)| *before <= offset);
                        if later {
                            world.logs[log].committed = Some((offset, view));
                        }
                    }
                });
            }
            Output::Expired { tenure, reader, from, to } => {
                let Some(log) = self.members[member].tenures.get(&tenure).map(|it| it.log) else { return };
                self.expired.push((log, reader.map(|it| it.webhook), from, to));
            }
            Output::Released(tenure) => {
                // The commit that goes before it is on its way for longer than the hand-over.
                let wait = 60 * MILLI;
                self.members[member].tenures.remove(&tenure);
                self.after(wait, move |world| world.hand_over(life, tenure));
            }
            Output::Fenced(tenure) => {
                self.members[member].tenures.remove(&tenure);
            }
            Output::Behind(..) | Output::Failing(_) | Output::Turned { .. } | Output::Disable(_) => {}
        }
    }

    /// Where one writes whose tenure is over, the worst may follow: it hears of its end, more events come, and its successor,
    /// which goes by the rows, is the next to die.
    fn aim(&mut self, log: usize, (life, tenure): (Life, TenureId)) {
        let Some((owner, _)) = self.logs[log].rows_owner.filter(|it| *it != (life, tenure)) else { return };
        if self.now >= CALM || !self.chance.permille(700) {
            return;
        }
        self.for_member(life, MILLI, move |world, member| {
            world.feed(member, Input::Lost(tenure));
            world.members[member].tenures.remove(&tenure);
        });
        for _ in 0..self.chance.below(12) {
            let wait = self.chance.within(0, 2 * SECOND);
            self.after(wait, World::announce);
        }
        let wait = 2 * SECOND + self.chance.span(3 * SECOND);
        self.for_member(owner, wait, |world, member| world.kill(member));
    }

    /// The partition's rows become ours, and are read after that.
    fn claim(&mut self, life: Life, tenure: TenureId) {
        let Some(log) = self.members[life.member].tenures.get(&tenure).map(|it| it.log) else { return };
        let wait = self.store_takes();
        self.after(wait, move |world| {
            // An older claim that comes late is refused: it names a generation.
            if world.logs[log].owner != Some((life, tenure)) && holds(Guard::OwnerFencedRows) {
                return;
            }
            world.logs[log].rows_owner = Some((life, tenure));
            let wait = world.store_takes();
            world.for_member(life, wait, move |world, member| {
                let held = &world.logs[log];
                let rows = held.rows.clone().into_iter().collect();
                let (next, view) = match held.committed.clone() {
                    Some((offset, view)) => (offset, Some(view)),
                    None => (held.start, None),
                };
                if held.owner == Some((life, tenure)) {
                    world.feed(member, Input::Owned { tenure, next, view, rows });
                }
            });
        });
    }

    /// A request goes out.
    fn send(&mut self, life: Life, start: Start) {
        let Start { attempt, webhook, queued } = start;
        self.sends += 1;
        let record = queued.record.clone();
        let id = webhook.id.clone();
        // As the process knows the webhook at this moment, it wants this.
        let known = self.members[life.member].view.get(&id);
        let fit = known.map_or(Fit::Disabled, |it| fits(it, &record.event, record.appended, record.cause));
        let wants = known.is_some_and(|it| tributary_core::deliver::interest::selects(it, &record.event));
        if fit != Fit::Sent || !wants || known.map(|it| it.version) != Some(webhook.version) {
            self.violations.push(format!(
                "{} was sent to {id}, which does not want it: {fit:?}",
                record.event.sequence.0
            ));
        }
        if let Some(line) = queued.line.clone() {
            if self.members[life.member].lines.values().any(|it| *it == line) {
                self.violations.push(format!("two of a line are under way to {id}"));
            }
            self.members[life.member].lines.insert(attempt, line);
        }
        let poison = self.is_poison(&record);
        let manner = self.manners.get(&id).copied().unwrap_or(Manner::Quick);
        let (takes, ended) = match manner {
            Manner::Hangs => (DEADLINE, Ended::TimedOut),
            Manner::Refuses => (self.chance.span(20 * MILLI), Ended::Failed),
            Manner::Fails => {
                (self.chance.span(200 * MILLI), Ended::Answered { status: 500, retry_after: None })
            }
            _ if poison => (self.chance.span(50 * MILLI), Ended::Answered { status: 422, retry_after: None }),
            Manner::Slow => {
                (self.chance.span(12 * SECOND), Ended::Answered { status: 200, retry_after: None })
            }
            Manner::Quick => {
                (self.chance.span(80 * MILLI), Ended::Answered { status: 200, retry_after: None })
            }
        };
        let event = record.event.event_id;
        if matches!(ended, Ended::Answered { status: 200, .. }) {
            // It came, whatever becomes of its sender.
            let comes = takes / 2;
            self.after(comes, move |world| {
                note!(world, "{id} has {}", record.event.sequence.0);
                *world.accepted.entry((event, id)).or_default() += 1;
            });
        }
        let jitter = self.chance.within(0, 1_000) as f64 / 1_000.0;
        self.for_member(life, takes, move |world, member| {
            world.feed(member, Input::Ended { attempt, ended, jitter });
        });
    }

    /// What follows an attempt: its retry, then its log, each of which may be the last thing that the process does.
    fn follow(
        &mut self,
        life: Life,
        attempt: AttemptId,
        queued: tributary_core::deliver::queue::Queued,
        what: Follow,
    ) {
        let id = queued.reader.webhook.clone();
        let wait = self.chance.span(300 * MILLI);
        self.for_member(life, wait, move |world, _| {
            match what {
                // What is always refused is given up sooner than in three days.
                Follow::Tried { verdict: Verdict::Retry { .. }, .. }
                    if queued.record.attempt >= 2 && world.is_poison(&queued.record) =>
                {
                    world.given_up.insert((queued.record.event.event_id, id));
                }
                Follow::Tried { verdict: Verdict::Retry { wait, .. }, .. } => {
                    world.park(&queued.record, &id, World::scaled(wait));
                }
                Follow::Tried { verdict: Verdict::GiveUp | Verdict::Gone, .. } => {
                    world.given_up.insert((queued.record.event.event_id, id));
                }
                Follow::Tried {
                    verdict: Verdict::Delivered | Verdict::Behind { .. } | Verdict::Again | Verdict::SetAside,
                    ..
                }
                | Follow::Skipped(_) => {}
            }
            let wait = world.chance.span(100 * MILLI);
            world.for_member(life, wait, move |world, member| world.feed(member, Input::Followed(attempt)));
        });
    }

    /// A process dies, and another begins in its place.
    pub(super) fn kill(&mut self, member: usize) {
        note!(self, "{member} is killed");
        self.faults += 1;
        self.members[member].alive = false;
        let life = self.members[member].life + 1;
        let wait = self.chance.span(20 * SECOND);
        self.after(wait, move |world| {
            world.members[member] = Member::new(life, world.now);
            world.be_born(member);
            world.rebalance(false);
        });
        let wait = 1 + self.chance.span(12 * SECOND);
        self.after(wait, |world| world.rebalance(false));
    }

    /// The group gives each partition an owner: those of members that are gone, or some at random.
    pub(super) fn rebalance(&mut self, shuffle: bool) {
        let awake: Vec<usize> = (0..self.members.len())
            .filter(|it| self.members[*it].alive && self.members[*it].asleep <= self.now)
            .collect();
        if awake.is_empty() {
            return;
        }
        for log in 0..LOGS {
            let owner = self.logs[log].owner;
            let works = owner.is_some_and(|(life, _)| self.lives(life) && awake.contains(&life.member));
            if works && !(shuffle && self.chance.permille(500)) {
                continue;
            }
            match owner {
                // It finishes what it has begun, if it is in time.
                Some((life, tenure)) if works => {
                    self.for_member(life, 0, move |world, member| world.feed(member, Input::Leave(tenure)));
                    self.after(8 * SECOND, move |world| world.hand_over(life, tenure));
                }
                Some((life, tenure)) => self.hand_over(life, tenure),
                None => self.assign(log),
            }
        }
    }

    /// A partition's owner is cut off from the group: another gets it.
    pub(super) fn take_away(&mut self, log: usize) {
        if let Some((life, tenure)) = self.logs[log].owner {
            self.faults += 1;
            self.hand_over(life, tenure);
        }
    }

    /// The owner of a partition is another from now on; the one before hears of it, late.
    fn hand_over(&mut self, life: Life, tenure: TenureId) {
        let Some(log) = (0..LOGS).find(|log| self.logs[*log].owner == Some((life, tenure))) else { return };
        // Cut off from the group, and from nothing else, it may go on for long.
        let cut_off = self.chance.permille(300);
        let wait = if cut_off {
            self.chance.within(15 * SECOND, 50 * SECOND)
        } else {
            self.chance.span(20 * SECOND)
        };
        self.for_member(life, wait, move |world, member| {
            world.feed(member, Input::Lost(tenure));
            world.members[member].tenures.remove(&tenure);
        });
        self.logs[log].owner = None;
        self.assign(log);
    }

    fn assign(&mut self, log: usize) {
        let awake: Vec<usize> = (0..self.members.len())
            .filter(|it| self.members[*it].alive && self.members[*it].asleep <= self.now)
            .collect();
        if awake.is_empty() {
            self.after(SECOND, move |world| {
                if world.logs[log].owner.is_none() {
                    world.assign(log);
                }
            });
            return;
        }
        let member = awake[self.chance.below(awake.len())];
        self.last_tenure += 1;
        let tenure = TenureId(self.last_tenure);
        let life = self.life(member);
        note!(self, "log {log} is {member}'s, tenure {}", tenure.0);
        self.logs[log].owner = Some((life, tenure));
        let reading = Reading { log, head: None, sweeps: BTreeMap::new() };
        self.members[member].tenures.insert(tenure, reading);
        let kind = World::log_kind(log);
        self.for_member(life, MILLI, move |world, member| {
            // What it was to read first, it has read: the view was complete at its birth.
            world.read_control(member);
            world.feed(member, Input::Assigned { tenure, kind });
        });
    }

    /// Whether the retries that are parked have all been read.
    pub(super) fn retries_are_read(&self) -> bool {
        let last = self.logs[RETRIES].records.last_key_value().map_or(0, |(offset, _)| offset + 1);
        self.logs[RETRIES].committed.as_ref().map_or(0, |(offset, _)| *offset) >= last
    }
}
