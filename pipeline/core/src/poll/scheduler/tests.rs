//! The scheduler over all orders of what can happen, judged by a model of the shell that knows nothing of its insides;
//! and its shares, as tables.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { workers: 4, per_host: 3 };
const HELD: u64 = 40 << 10;

/// What happens. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Op {
    Account { account: u8, host: u8, resources: u8 },
    Deleted(u8),
    Revoked(u8),
    Wished(u8, u8, bool),
    Asked(u8, u8, u8),
    Ends(u8, Option<u16>),
    Waits(u8, u16, bool, u16),
    Suspended(u8),
    Resumed(u8),
    Later(u16),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0..8_u8, 0..2_u8, 0..4_u8)
            .prop_map(|(account, host, resources)| Op::Account { account, host, resources }),
        1 => (0..8_u8).prop_map(Op::Deleted),
        1 => (0..3_u8).prop_map(Op::Revoked),
        2 => (0..8_u8, 0..2_u8, any::<bool>()).prop_map(|(a, r, wanted)| Op::Wished(a, r, wanted)),
        4 => (0..8_u8, 0..2_u8, 0..6_u8).prop_map(|(a, r, ask)| Op::Asked(a, r, ask)),
        5 => (any::<u8>(), any::<Option<u16>>()).prop_map(|(run, look)| Op::Ends(run, look)),
        4 => (any::<u8>(), any::<u16>(), any::<bool>(), any::<u16>())
            .prop_map(|(run, span, own, held)| Op::Waits(run, span, own, held)),
        1 => (0..3_u8).prop_map(Op::Suspended),
        1 => (0..3_u8).prop_map(Op::Resumed),
        4 => any::<u16>().prop_map(Op::Later),
    ];
    prop::collection::vec(op, 1..200)
}

const ASKS: [Ask; 6] = [Ask::Look, Ask::Run, Ask::List, Ask::Resync, Ask::Release, Ask::Notified];
const RESOURCES: [Resource; 2] = [Resource::HrisEmployees, Resource::AtsJobs];

fn id(account: u8) -> AccountId {
    format!("a{account}").parse().unwrap()
}

fn project(number: u8) -> ProjectId {
    format!("p{number}").parse().unwrap()
}

fn facts(of: &str, host: &str, partition: i32) -> Facts {
    Facts {
        project: of.parse().unwrap(),
        provider: "demo".parse().unwrap(),
        origin_owner_id: None,
        host: host.into(),
        partition,
    }
}

/// What the shell would have under way.
struct Shell {
    scheduler: Scheduler,
    now: u64,
    /// Runs with a worker: their slot and host, and whether they were told to end.
    working: BTreeMap<Ticket, (Slot, Host, bool)>,
    parked: BTreeMap<Ticket, Slot>,
    ours: BTreeMap<AccountId, (Facts, BTreeSet<Resource>)>,
    /// Asked since it last began.
    pending: BTreeSet<Slot>,
    suspended: BTreeSet<ProjectId>,
}

impl Shell {
    fn new() -> Self {
        Self {
            scheduler: Scheduler::new(LIMITS, HELD),
            now: 0,
            working: BTreeMap::new(),
            parked: BTreeMap::new(),
            ours: BTreeMap::new(),
            pending: BTreeSet::new(),
            suspended: BTreeSet::new(),
        }
    }

    fn owns(&self, slot: &Slot) -> bool {
        self.ours.get(&slot.account).is_some_and(|(_, resources)| resources.contains(&slot.resource))
    }

    fn wake(&mut self, wake: Wake) {
        self.scheduler.wake(wake, Uptime(self.now));
        while let Some(action) = self.scheduler.next(Uptime(self.now)) {
            self.act(action);
        }
        let counts = self.scheduler.count();
        assert_eq!(counts.running, self.working.len(), "no worker is lost, none is invented");
        assert_eq!(counts.waiting, self.parked.len());
        assert!(counts.running <= LIMITS.workers);
        assert!(counts.held <= HELD, "{} bytes held", counts.held);
        for (_, host, _) in self.working.values() {
            let there = self.working.values().filter(|(_, other, _)| other == host).count();
            assert!(there <= LIMITS.per_host, "{there} runs at {host}");
        }
        assert!(self.parked.values().all(|slot| self.owns(slot)), "who waits is ours");
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start(slot, ticket) => {
                let busy = |other: &Slot| *other == slot;
                assert!(!self.working.values().any(|(other, ..)| busy(other)), "{slot:?} runs twice");
                assert!(!self.parked.values().any(busy), "{slot:?} waits, and is begun again");
                assert!(self.owns(&slot), "{slot:?} is not ours");
                let (facts, _) = &self.ours[&slot.account];
                assert!(!self.suspended.contains(&facts.project), "its project is suspended");
                self.pending.remove(&slot);
                self.working.insert(ticket, (slot, facts.host.clone(), false));
            }
            Action::GoOn(ticket) => {
                let slot = self.parked.remove(&ticket).expect("it waited");
                let (facts, _) = &self.ours[&slot.account];
                self.working.insert(ticket, (slot, facts.host.clone(), false));
            }
            Action::Cancel(ticket) => match self.working.get_mut(&ticket) {
                Some((_, _, cancelled)) => *cancelled = true,
                None => {
                    self.parked.remove(&ticket).expect("who is cancelled works or waits");
                }
            },
        }
    }

    fn nth(&self, number: u8) -> Option<Ticket> {
        let at = usize::from(number).checked_rem(self.working.len())?;
        self.working.keys().nth(at).copied()
    }

    fn end(&mut self, ticket: Ticket, look: Option<Duration>) {
        self.working.remove(&ticket);
        self.wake(Wake::Ended(ticket, look));
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Account { account, host, resources } => {
                let partition = i32::from(account % 3);
                // An account is one project's for ever; its host follows its set-up.
                let facts = facts(&format!("p{}", account % 3), &format!("h{host}"), partition);
                let polled: BTreeSet<Resource> = RESOURCES
                    .into_iter()
                    .filter(|it| resources & (1 << u8::from(*it == RESOURCES[1])) != 0)
                    .collect();
                let wanted = polled.iter().map(|it| (*it, Interest::Wanted)).collect();
                let (account, kept) = (id(account), (facts.clone(), polled.clone()));
                for resource in &polled {
                    self.pending.insert(Slot { account: account.clone(), resource: *resource });
                }
                self.pending.retain(|slot| slot.account != account || polled.contains(&slot.resource));
                self.ours.insert(account.clone(), kept);
                self.wake(Wake::Account(account, facts, wanted));
            }
            Op::Deleted(account) => {
                let account = id(account);
                self.ours.remove(&account);
                self.pending.retain(|slot| slot.account != account);
                self.wake(Wake::Deleted(account.clone()));
                for (slot, _, cancelled) in self.working.values() {
                    assert!(slot.account != account || *cancelled, "{slot:?} runs on though it was deleted");
                }
            }
            Op::Revoked(partition) => {
                self.ours.retain(|_, (facts, _)| facts.partition != i32::from(partition));
                let ours = self.ours.clone();
                self.pending.retain(|slot| ours.contains_key(&slot.account));
                self.wake(Wake::Revoked(partition.into()));
            }
            Op::Wished(account, resource, wanted) => {
                let slot = Slot { account: id(account), resource: RESOURCES[usize::from(resource)] };
                let interest = if wanted { Interest::Wanted } else { Interest::Unwanted };
                self.wake(Wake::Wished(slot, interest));
            }
            Op::Asked(account, resource, ask) => {
                let slot = Slot { account: id(account), resource: RESOURCES[usize::from(resource)] };
                if self.owns(&slot) {
                    self.pending.insert(slot.clone());
                }
                self.wake(Wake::Asked(slot, ASKS[usize::from(ask)]));
            }
            Op::Ends(run, look) => {
                let Some(ticket) = self.nth(run) else { return };
                self.end(ticket, look.map(|look| Duration::from_millis(look.into())));
            }
            Op::Waits(run, span, own, held) => {
                let Some(ticket) = self.nth(run) else { return };
                let (slot, ..) = self.working.remove(&ticket).expect("it works");
                self.parked.insert(ticket, slot);
                let whose = if own { Whose::Account } else { Whose::Shared };
                let span = Duration::from_millis(span.into());
                self.wake(Wake::Waits(ticket, Wait { span, whose, held: held.into() }));
            }
            Op::Suspended(number) => {
                self.suspended.insert(project(number));
                self.wake(Wake::Suspended(project(number)));
            }
            Op::Resumed(number) => {
                self.suspended.remove(&project(number));
                self.wake(Wake::Resumed(project(number)));
            }
            Op::Later(millis) => {
                self.now += u64::from(millis);
                // Anything that wakes nobody.
                self.wake(Wake::Ended(Ticket(0), None));
            }
        }
    }

    /// Everything ends, nothing new comes: whatever was asked must have been begun.
    fn settle(&mut self) {
        for number in 0..3 {
            self.apply(Op::Resumed(number));
        }
        for _ in 0..400 {
            self.now += LONGEST.as_millis() as u64;
            self.wake(Wake::Ended(Ticket(0), None));
            let Some(ticket) = self.nth(0) else { break };
            self.end(ticket, None);
        }
        assert!(self.working.is_empty() && self.parked.is_empty(), "something never ends");
        assert!(self.pending.is_empty(), "never begun: {:?}", self.pending);
        assert_eq!(self.scheduler.wakes_at(), None);
        assert_eq!(self.scheduler.count().held, 0);
        let slots: usize = self.ours.values().map(|(_, resources)| resources.len()).sum();
        assert_eq!(self.scheduler.count().slots, slots, "what is not ours is forgotten");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_happens_in_whatever_order_a_slot_is_in_one_state_and_no_worker_is_lost(ops in ops()) {
        let mut shell = Shell::new();
        ops.into_iter().for_each(|op| shell.apply(op));
        shell.settle();
    }
}

/// A scheduler with accounts, one resource each: (project, account, host).
fn scheduler(limits: Limits, accounts: &[(&str, String, &str)]) -> Scheduler {
    let mut scheduler = Scheduler::new(limits, 1 << 20);
    for (of, account, host) in accounts {
        let wanted = vec![(Resource::HrisEmployees, Interest::Wanted)];
        let account = account.parse().unwrap();
        scheduler.wake(Wake::Account(account, facts(of, host, 0), wanted), Uptime(0));
    }
    scheduler
}

fn started(scheduler: &mut Scheduler, now: Uptime) -> Vec<(String, Ticket)> {
    let mut started = Vec::new();
    while let Some(action) = scheduler.next(now) {
        let Action::Start(slot, ticket) = action else { panic!("{action:?}") };
        started.push((slot.account.to_string(), ticket));
    }
    started
}

#[test]
fn accounts_with_a_hanging_provider_do_not_stop_anybody_else() {
    let limits = Limits { workers: 32, per_host: 16 };
    let mut accounts: Vec<(&str, String, &str)> =
        (0..200).map(|number| ("a", format!("hangs-{number}"), "hanging.example")).collect();
    accounts.push(("b", "same-host".into(), "hanging.example"));
    accounts.push(("b", "other-host".into(), "well.example"));
    accounts.push(("a", "own-other-host".into(), "well.example"));
    let mut scheduler = scheduler(limits, &accounts);
    let began = started(&mut scheduler, Uptime(10_000));
    let hanging = began.iter().filter(|(account, _)| account.starts_with("hangs")).count();
    assert_eq!(hanging, 12, "a project's share of a host is three quarters");
    for account in ["same-host", "other-host", "own-other-host"] {
        assert!(began.iter().any(|(it, _)| it == account), "{account} waits for who hangs");
    }
}

#[test]
fn turns_go_by_project_and_then_by_account() {
    let limits = Limits { workers: 1, per_host: 16 };
    let accounts: Vec<(&str, String, &str)> = (0..4)
        .map(|number| ("a", format!("a{number}"), "x"))
        .chain([("b", "b0".into(), "x"), ("c", "c0".into(), "y")])
        .collect();
    let mut scheduler = scheduler(limits, &accounts);
    let mut order = Vec::new();
    for _ in 0..6 {
        for (account, ticket) in started(&mut scheduler, Uptime(10_000)) {
            order.push(account);
            scheduler.wake(Wake::Ended(ticket, None), Uptime(10_000));
        }
    }
    assert_eq!(order, ["a0", "b0", "c0", "a1", "a2", "a3"]);
}

#[test]
fn a_person_ends_an_account_s_wait_but_not_a_host_s() {
    for (whose, ask, goes_on) in [
        (Whose::Account, Ask::Run, true),
        (Whose::Account, Ask::Release, true),
        (Whose::Account, Ask::Notified, false),
        (Whose::Account, Ask::Look, false),
        (Whose::Shared, Ask::Run, false),
    ] {
        let mut scheduler = scheduler(LIMITS, &[("a", "a0".into(), "x")]);
        let (_, ticket) = started(&mut scheduler, Uptime(0))[0].clone();
        let month = Duration::from_secs(30 * 86_400);
        scheduler.wake(Wake::Waits(ticket, Wait { span: month, whose, held: 1 }), Uptime(0));
        assert_eq!(scheduler.next(Uptime(0)), None);
        let slot = Slot { account: id(0), resource: Resource::HrisEmployees };
        scheduler.wake(Wake::Asked(slot, ask), Uptime(1));
        let expected = goes_on.then_some(Action::GoOn(ticket));
        assert_eq!(scheduler.next(Uptime(1)), expected, "{whose:?} {ask:?}");
    }
}

#[test]
fn waits_are_evicted_from_whoever_holds_most() {
    let limits = Limits { workers: 16, per_host: 16 };
    let accounts: Vec<(&str, String, &str)> =
        (0..4).map(|number| ("a", format!("a{number}"), "x")).chain([("b", "b0".into(), "x")]).collect();
    let mut scheduler = scheduler(limits, &accounts);
    let began = started(&mut scheduler, Uptime(10_000));
    for (_, ticket) in &began {
        let wait = Wait { span: Duration::from_secs(60), whose: Whose::Account, held: 250 << 10 };
        scheduler.wake(Wake::Waits(*ticket, wait), Uptime(10_000));
    }
    let Some(Action::Cancel(evicted)) = scheduler.next(Uptime(10_000)) else { panic!("none was evicted") };
    let (account, _) = began.iter().find(|(_, ticket)| *ticket == evicted).unwrap();
    assert!(account.starts_with('a'), "{account} held least");
    let mut order = BTreeSet::new();
    while let Some(action) = scheduler.next(Uptime(70_001)) {
        order.insert(match action {
            Action::Start(slot, _) => format!("anew {}", slot.account),
            Action::GoOn(ticket) => format!("on {}", began.iter().find(|it| it.1 == ticket).unwrap().0),
            Action::Cancel(_) => continue,
        });
    }
    assert!(order.contains("on b0") && order.len() == 5, "{order:?}");
}

#[test]
fn a_restart_makes_no_herd() {
    let accounts: Vec<(&str, String, &str)> = (0..2_000).map(|n| ("a", format!("a{n}"), "x")).collect();
    let mut scheduler = scheduler(LIMITS, &accounts);
    for (now, most) in [(0, 1), (1_000, 501), (2_000, 1_001)] {
        let _ = started(&mut scheduler, Uptime(now));
        let counts = scheduler.count();
        assert!(counts.due + counts.running <= most, "{counts:?} after {now} ms");
    }
}

#[test]
fn a_suspended_project_begins_nothing_is_not_counted_as_late_and_goes_on_when_resumed() {
    let mut scheduler = Scheduler::new(LIMITS, HELD);
    let facts = |number: u8| Facts {
        project: project(number),
        provider: "p".parse().unwrap(),
        origin_owner_id: None,
        host: format!("h{number}").into(),
        partition: 0,
    };
    // Suspended before any of its accounts is known, as after a restart.
    scheduler.wake(Wake::Suspended(project(0)), Uptime(0));
    for number in 0..2 {
        let wanted = vec![(Resource::HrisEmployees, Interest::Wanted)];
        let id = format!("a{number}").parse().unwrap();
        scheduler.wake(Wake::Account(id, facts(number), wanted), Uptime(0));
    }
    let late = Uptime(10_000);
    let Some(Action::Start(slot, ticket)) = scheduler.next(late) else { panic!("the other begins") };
    assert_eq!(slot.account.as_str(), "a1");
    assert_eq!(scheduler.next(late), None);
    assert_eq!(scheduler.count().due, 0, "it does not wait for a worker");
    scheduler.wake(Wake::Ended(ticket, None), late);
    scheduler.wake(Wake::Resumed(project(0)), late);
    assert_eq!(scheduler.count().due, 1);
    let Some(Action::Start(slot, _)) = scheduler.next(late) else { panic!("it goes on") };
    assert_eq!(slot.account.as_str(), "a0");
}
