//! Which run to start, go on with or cancel: one map from slot to state, and one enum of what may wake it (design §5).
//!
//! A slot is in exactly one state, and never runs twice at once in a process, whatever comes in whatever order. No worker is
//! lost: who has one gives it back by ending or by waiting. A wait holds no worker and keeps the run's place, within a
//! budget of bytes. A change of wishes looks at the slots of its project alone. Nothing here reads a clock, a database
//! or a topic: uptime comes in as a value, and idle slots are looked at in memory.

mod memory;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tributary_schemas::{
    id::{AccountId, ProjectId, ProviderId},
    resource::Resource,
};

use self::memory::Held;
use super::{
    asks::{Ask, Asks},
    cadence::{Interest, LONGEST},
    turns::{Host, Limits, Turns},
};

/// A resource of an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The account.
    pub account: AccountId,
    /// The resource.
    pub resource: Resource,
}

/// Milliseconds since the process began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uptime(pub u64);

impl Uptime {
    /// Later by `span`, which is cut to [`LONGEST`]: no timer is further ahead.
    pub fn plus(self, span: Duration) -> Self {
        let millis = u64::try_from(span.min(LONGEST).as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

/// One execution under way. What comes of an older one is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the scheduler knows of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whose it is.
    pub project: ProjectId,
    /// Its provider.
    pub provider: ProviderId,
    /// The end customer's id, which subscriptions may name.
    pub origin_owner_id: Option<Arc<str>>,
    /// The host that its runs ask.
    pub host: Host,
    /// The partition that it came from.
    pub partition: i32,
}

/// Why a slot, or several, may have something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    /// An account of a partition of ours, linked, assigned or changed, with the resources that can be polled and whether
    /// each is wanted.
    Account(AccountId, Facts, Vec<(Resource, Interest)>),
    /// The account was deleted: its runs are cancelled.
    Deleted(AccountId),
    /// A partition goes to somebody else. Its runs are finished (`run_id` decides), its waits are not.
    Revoked(i32),
    /// Whether a resource is wanted, after a change of the project's wishes.
    Wished(Slot, Interest),
    /// A person or a provider asked for something.
    Asked(Slot, Ask),
    /// A run has to wait, and gives its worker back. It keeps its place and so many bytes.
    Waits(Ticket, Wait),
    /// A run, or a look that found nothing due, has ended; look again after so long, or never by itself.
    Ended(Ticket, Option<Duration>),
    /// The project's polls stop: what runs is finished, nothing is begun.
    Suspended(ProjectId),
    /// They go on.
    Resumed(ProjectId),
}

/// A run's wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// For how long.
    pub span: Duration,
    /// Whose limit it is.
    pub whose: Whose,
    /// What the run keeps in memory.
    pub held: u64,
}

/// Whose limit makes a run wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The account's own: a person who asks for a run ends it.
    Account,
    /// An app's or a host's: it stays.
    Shared,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Look what is due, and run it.
    Start(Slot, Ticket),
    /// The run's wait is over, and it has a worker again.
    GoOn(Ticket),
    /// End a run. One that waits is over at once; one that has a worker says when it has [`Ended`](Wake::Ended).
    Cancel(Ticket),
}

/// The machine.
#[derive(Debug)]
pub struct Scheduler {
    slots: BTreeMap<Slot, State>,
    accounts: HashMap<AccountId, Box<Facts>>,
    shared: Shared,
    projects: HashMap<ProjectId, HashSet<AccountId>>,
    timers: BTreeSet<(Uptime, Slot)>,
    runs: HashMap<Ticket, Run>,
    turns: Turns,
    held: Held,
    actions: VecDeque<Action>,
    tickets: u64,
    pace: Pace,
}

/// Texts that many accounts have in common, each kept once.
#[derive(Debug, Default)]
struct Shared {
    projects: HashSet<ProjectId>,
    providers: HashSet<ProviderId>,
    hosts: HashSet<Host>,
    tidied: usize,
}

impl Shared {
    fn of(&mut self, facts: Facts) -> Facts {
        Facts {
            project: once(&mut self.projects, facts.project),
            provider: once(&mut self.providers, facts.provider),
            host: once(&mut self.hosts, facts.host),
            ..facts
        }
    }

    /// Forgets everything when twice as much has come in as there are accounts: what is in use comes again with its account.
    fn tidy(&mut self, accounts: usize) {
        self.tidied += 1;
        if self.tidied > 2 * accounts + 1_024 {
            *self = Self::default();
        }
    }
}

fn once<T: Clone + Eq + std::hash::Hash>(known: &mut HashSet<T>, it: T) -> T {
    match known.get(&it) {
        Some(known) => known.clone(),
        None => {
            known.insert(it.clone());
            it
        }
    }
}

/// Where a slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing until then.
    Idle { due: Option<Uptime>, interest: Interest },
    /// It waits for its turn, to start or to go on with a run.
    Due { run: Option<Ticket>, again: Asks, interest: Interest },
    /// It has a worker. Whatever is asked meanwhile is looked at right after.
    Running { run: Ticket, again: Asks, interest: Interest, after: After },
    /// Its run keeps its place.
    Waiting { run: Ticket, until: Uptime, again: Asks, interest: Interest },
}

/// What becomes of a slot when its run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// It is ours.
    Stays,
    /// It is nobody's, or somebody else's.
    Leaves,
}

/// A run under way.
#[derive(Debug)]
struct Run {
    slot: Slot,
    project: ProjectId,
    host: Host,
    whose: Whose,
    held: u64,
}

/// First looks are spread, so that a restart makes no herd.
#[derive(Debug)]
struct Pace {
    between: Duration,
    next: Uptime,
}

/// How many slots that are new to this process are looked at in a second, at most.
pub const FIRST_LOOKS_A_SECOND: u32 = 500;

impl Scheduler {
    /// One that knows nobody. Waiting runs keep at most `held_bytes` together.
    pub fn new(limits: Limits, held_bytes: u64) -> Self {
        Self {
            slots: BTreeMap::new(),
            accounts: HashMap::new(),
            shared: Shared::default(),
            projects: HashMap::new(),
            timers: BTreeSet::new(),
            runs: HashMap::new(),
            turns: Turns::new(limits),
            held: Held::new(held_bytes),
            actions: VecDeque::new(),
            tickets: 0,
            pace: Pace { between: Duration::from_secs(1) / FIRST_LOOKS_A_SECOND, next: Uptime(0) },
        }
    }

    /// Takes in why something may have to be done. Call [`next`](Self::next) until it has nothing, then sleep until
    /// [`wakes_at`](Self::wakes_at).
    pub fn wake(&mut self, wake: Wake, now: Uptime) {
        match wake {
            Wake::Account(account, facts, resources) => self.account(&account, facts, &resources, now),
            Wake::Deleted(account) => self.forget(&account, Gone::Deleted),
            Wake::Revoked(partition) => {
                let mut gone = Vec::new();
                for (account, facts) in &self.accounts {
                    if facts.partition == partition {
                        gone.push(account.clone());
                    }
                }
                gone.iter().for_each(|account| self.forget(account, Gone::Revoked));
            }
            Wake::Wished(slot, wanted) => self.wished(slot, wanted),
            Wake::Asked(slot, ask) => self.ask(slot, ask),
            Wake::Waits(ticket, wait) => self.waits(ticket, wait, now),
            Wake::Ended(ticket, look) => self.ended(ticket, look, now),
            Wake::Suspended(project) => self.turns.suspend(&project),
            Wake::Resumed(project) => self.turns.resume(&project),
        }
    }

    /// What to do next, if anything.
    pub fn next(&mut self, now: Uptime) -> Option<Action> {
        self.expire(now);
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        let slot = self.turns.pop()?;
        let state = self.slots.get_mut(&slot).expect("who has a turn is known");
        let State::Due { run, again, interest } = *state else { unreachable!("who has a turn is due") };
        let (run, again, action) = match run {
            Some(run) => {
                let facts = &self.accounts[&slot.account];
                let going = self.runs.get_mut(&run).expect("who keeps a place is under way");
                self.held.release(&going.project, run);
                // Its account may have moved meanwhile: it counts where its turn was.
                (going.project, going.host) = (facts.project.clone(), facts.host.clone());
                (run, again, Action::GoOn(run))
            }
            None => {
                self.tickets += 1;
                let run = Ticket(self.tickets);
                let Facts { project, host, .. } = (*self.accounts[&slot.account]).clone();
                let began = Run { slot: slot.clone(), project, host, whose: Whose::Account, held: 0 };
                self.runs.insert(run, began);
                (run, Asks::NONE, Action::Start(slot, run))
            }
        };
        *state = State::Running { run, again, interest, after: After::Stays };
        Some(action)
    }

    /// When to call [`next`](Self::next) again though nothing has come in.
    pub fn wakes_at(&self) -> Option<Uptime> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A project's accounts with what is known of them: who a change of wishes is looked at for.
    pub fn of_project(&self, project: &ProjectId) -> impl Iterator<Item = (&AccountId, &Facts)> {
        self.projects
            .get(project)
            .into_iter()
            .flatten()
            .filter_map(|account| self.accounts.get_key_value(account))
            .map(|(account, facts)| (account, &**facts))
    }

    /// An account's resources.
    pub fn resources(&self, account: &AccountId) -> Vec<Resource> {
        self.of_account(account).map(|(slot, _)| slot.resource).collect()
    }

    /// What is known of an account.
    pub fn facts(&self, account: &AccountId) -> Option<&Facts> {
        self.accounts.get(account).map(|facts| &**facts)
    }

    /// How many slots there are, how many of them wait for their turn, have a worker, or wait for a provider, and the
    /// bytes that those hold.
    pub fn count(&self) -> Counts {
        let (due, running) = (self.turns.queued(), self.turns.running());
        let waiting = self.runs.len().saturating_sub(running);
        Counts { slots: self.slots.len(), due, running, waiting, held: self.held.total() }
    }

    fn of_account(&self, account: &AccountId) -> impl Iterator<Item = (&Slot, &State)> {
        let first = Slot { account: account.clone(), resource: Resource::ALL[0] };
        self.slots.range(first..).take_while(move |(slot, _)| slot.account == *account)
    }

    fn account(
        &mut self,
        account: &AccountId,
        facts: Facts,
        resources: &[(Resource, Interest)],
        now: Uptime,
    ) {
        let known: Vec<(Slot, bool)> = self
            .of_account(account)
            .map(|(slot, _)| (slot.clone(), resources.iter().any(|(it, _)| *it == slot.resource)))
            .collect();
        // What moved to another host or project waits there; what has a worker there gives it back there.
        let queued: Vec<Slot> =
            known.iter().filter(|(slot, _)| self.leave_queue(slot)).map(|(slot, _)| slot.clone()).collect();
        let facts = self.shared.of(facts);
        self.shared.tidy(self.accounts.len());
        if let Some(before) = self.accounts.insert(account.clone(), Box::new(facts.clone()))
            && before.project != facts.project
        {
            self.leave_project(account, &before.project);
        }
        self.projects.entry(facts.project.clone()).or_default().insert(account.clone());
        for slot in queued {
            self.turns.push(&facts.project, &facts.host, slot);
        }
        for (slot, _) in known.iter().filter(|(_, stays)| !stays) {
            self.remove(slot, Gone::Revoked);
        }
        for (resource, interest) in resources {
            let slot = Slot { account: account.clone(), resource: *resource };
            match self.slots.get_mut(&slot) {
                None => {
                    let due = self.pace.first_look(now);
                    self.timers.insert((due, slot.clone()));
                    self.slots.insert(slot, State::Idle { due: Some(due), interest: *interest });
                }
                Some(state) => {
                    state.set_interest(*interest);
                    if let State::Running { after, .. } = state {
                        *after = After::Stays;
                    }
                    self.ask(slot, Ask::Look);
                }
            }
        }
    }

    fn wished(&mut self, slot: Slot, wanted: Interest) {
        let Some(state) = self.slots.get_mut(&slot) else { return };
        if state.interest() == wanted {
            return;
        }
        state.set_interest(wanted);
        self.ask(slot, Ask::Look);
    }

    fn ask(&mut self, slot: Slot, ask: Ask) {
        let Some(state) = self.slots.get_mut(&slot) else { return };
        match state {
            State::Idle { due, interest } => {
                let (due, interest) = (*due, *interest);
                *state = State::Due { run: None, again: Asks::NONE, interest };
                self.set_timer(due, None, &slot);
                self.queue(slot);
            }
            State::Due { run: None, .. } => {}
            State::Due { run: Some(_), again, .. } | State::Running { again, .. } => *again |= ask.into(),
            State::Waiting { run, until, again, interest } => {
                *again |= ask.into();
                let whose = self.runs[run].whose;
                if ask.ends_a_wait() && whose == Whose::Account {
                    let (run, until, again, interest) = (*run, *until, *again, *interest);
                    *state = State::Due { run: Some(run), again, interest };
                    self.set_timer(Some(until), None, &slot);
                    self.queue(slot);
                }
            }
        }
    }

    fn waits(&mut self, ticket: Ticket, wait: Wait, now: Uptime) {
        let Some(run) = self.runs.get_mut(&ticket) else { return };
        let slot = run.slot.clone();
        let Some(state) = self.slots.get_mut(&slot) else { return };
        let State::Running { run: of, again, interest, after } = *state else { return };
        if of != ticket {
            return;
        }
        run.whose = wait.whose;
        run.held = wait.held;
        let (project, host) = (run.project.clone(), run.host.clone());
        self.turns.release(&project, &host);
        if after == After::Leaves {
            self.runs.remove(&ticket);
            self.slots.remove(&slot);
            self.actions.push_back(Action::Cancel(ticket));
            return;
        }
        let until = now.plus(wait.span);
        *state = State::Waiting { run: ticket, until, again, interest };
        self.timers.insert((until, slot));
        self.held.hold(&project, ticket, wait.held);
        while let Some(evicted) = self.held.evict() {
            self.start_anew(evicted);
        }
    }

    /// A waiting run's place is given up: it begins anew when its wait is over.
    fn start_anew(&mut self, ticket: Ticket) {
        let Some(run) = self.runs.remove(&ticket) else { return };
        self.actions.push_back(Action::Cancel(ticket));
        let Some(state) = self.slots.get_mut(&run.slot) else { return };
        match *state {
            State::Waiting { until, interest, .. } => *state = State::Idle { due: Some(until), interest },
            State::Due { again, interest, .. } => *state = State::Due { run: None, again, interest },
            State::Idle { .. } | State::Running { .. } => unreachable!("who holds bytes waits"),
        }
    }

    fn ended(&mut self, ticket: Ticket, look: Option<Duration>, now: Uptime) {
        let Some(run) = self.runs.get(&ticket) else { return };
        let slot = run.slot.clone();
        let Some(state) = self.slots.get_mut(&slot) else { return };
        let State::Running { run: of, again, interest, after } = *state else { return };
        if of != ticket {
            return;
        }
        let run = self.runs.remove(&ticket).expect("it was found there");
        self.turns.release(&run.project, &run.host);
        match after {
            After::Leaves => {
                self.slots.remove(&slot);
            }
            After::Stays if again.is_empty() => {
                let due = look.map(|after| now.plus(after));
                *state = State::Idle { due, interest };
                self.set_timer(None, due, &slot);
            }
            After::Stays => {
                *state = State::Due { run: None, again: Asks::NONE, interest };
                self.queue(slot);
            }
        }
    }

    fn expire(&mut self, now: Uptime) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
        {
            let Some((_, slot)) = self.timers.pop_first() else { return };
            let state = self.slots.get_mut(&slot).expect("a timer is its slot's");
            *state = match *state {
                State::Idle { interest, .. } => State::Due { run: None, again: Asks::NONE, interest },
                State::Waiting { run, again, interest, .. } => State::Due { run: Some(run), again, interest },
                State::Due { .. } | State::Running { .. } => unreachable!("who has a timer is idle or waits"),
            };
            self.queue(slot);
        }
    }

    fn forget(&mut self, account: &AccountId, gone: Gone) {
        let slots: Vec<Slot> = self.of_account(account).map(|(slot, _)| slot.clone()).collect();
        slots.iter().for_each(|slot| self.remove(slot, gone));
        if let Some(facts) = self.accounts.remove(account) {
            self.leave_project(account, &facts.project);
        }
    }

    fn remove(&mut self, slot: &Slot, gone: Gone) {
        let Some(state) = self.slots.get_mut(slot) else { return };
        match *state {
            State::Idle { due, .. } => {
                self.set_timer(due, None, slot);
                self.slots.remove(slot);
            }
            State::Due { run, .. } => {
                self.leave_queue(slot);
                self.slots.remove(slot);
                self.drop_place(run);
            }
            State::Waiting { run, until, .. } => {
                self.set_timer(Some(until), None, slot);
                self.slots.remove(slot);
                self.drop_place(Some(run));
            }
            State::Running { run, ref mut after, .. } => {
                *after = After::Leaves;
                if gone == Gone::Deleted {
                    self.actions.push_back(Action::Cancel(run));
                }
            }
        }
    }

    fn drop_place(&mut self, run: Option<Ticket>) {
        let Some(ticket) = run else { return };
        if let Some(run) = self.runs.remove(&ticket) {
            self.held.release(&run.project, ticket);
            self.actions.push_back(Action::Cancel(ticket));
        }
    }

    fn queue(&mut self, slot: Slot) {
        let facts = self.accounts.get(&slot.account).expect("a slot that stays is an account's of ours");
        self.turns.push(&facts.project, &facts.host, slot);
    }

    /// Whether it was there.
    fn leave_queue(&mut self, slot: &Slot) -> bool {
        let due = matches!(self.slots.get(slot), Some(State::Due { .. }));
        if due && let Some(facts) = self.accounts.get(&slot.account) {
            self.turns.remove(&facts.project, &facts.host, slot);
        }
        due
    }

    fn leave_project(&mut self, account: &AccountId, project: &ProjectId) {
        if let Some(accounts) = self.projects.get_mut(project) {
            accounts.remove(account);
            if accounts.is_empty() {
                self.projects.remove(project);
            }
        }
    }

    fn set_timer(&mut self, before: Option<Uptime>, after: Option<Uptime>, slot: &Slot) {
        if let Some(before) = before {
            self.timers.remove(&(before, slot.clone()));
        }
        if let Some(after) = after {
            self.timers.insert((after, slot.clone()));
        }
    }
}

/// Why an account's slots go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    Deleted,
    Revoked,
}

/// How many slots are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub slots: usize,
    /// For their turn.
    pub due: usize,
    /// With a worker.
    pub running: usize,
    /// Runs that keep their place without one.
    pub waiting: usize,
    /// In bytes.
    pub held: u64,
}

impl State {
    fn interest(&self) -> Interest {
        match self {
            Self::Idle { interest, .. }
            | Self::Due { interest, .. }
            | Self::Running { interest, .. }
            | Self::Waiting { interest, .. } => *interest,
        }
    }

    fn set_interest(&mut self, wanted: Interest) {
        match self {
            Self::Idle { interest, .. }
            | Self::Due { interest, .. }
            | Self::Running { interest, .. }
            | Self::Waiting { interest, .. } => *interest = wanted,
        }
    }
}

impl Pace {
    fn first_look(&mut self, now: Uptime) -> Uptime {
        let at = self.next.max(now);
        self.next = at.plus(self.between);
        at
    }
}
