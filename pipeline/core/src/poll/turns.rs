//! Whose turn it is: work is given in turn by project, then by account; a host has at most so many runs, and no project
//! may have all of a host's or of the process's workers while it could ever hurt another.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tributary_schemas::id::{AccountId, ProjectId};

use super::scheduler::Slot;

/// A provider's host, as it is dialled.
pub type Host = Arc<str>;

/// How many runs there may be at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In this process.
    pub workers: usize,
    /// At one host.
    pub per_host: usize,
}

impl Limits {
    /// The most that one project may have of `all`: three quarters, so that whoever comes next finds a free one at once.
    const fn share(all: usize) -> usize {
        match all - all / 4 {
            0 => 1,
            share => share,
        }
    }
}

/// What waits for a worker, and what has one.
#[derive(Debug)]
pub(super) struct Turns {
    limits: Limits,
    /// Projects with work, the next first. The one that got a turn goes to the end.
    ring: VecDeque<ProjectId>,
    projects: HashMap<ProjectId, Work>,
    hosts: HashMap<Host, usize>,
    running: usize,
    queued: usize,
    /// The last look found nobody who may go, and nothing has changed since.
    exhausted: bool,
}

/// What a project wants done.
#[derive(Debug, Default)]
struct Work {
    /// By host, the next first.
    hosts: VecDeque<Queue>,
    running: HashMap<Host, usize>,
    suspended: bool,
}

#[derive(Debug)]
struct Queue {
    host: Host,
    /// Accounts with work, the next first, each with its slots.
    accounts: VecDeque<(AccountId, VecDeque<Slot>)>,
}

impl Turns {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            ring: VecDeque::new(),
            projects: HashMap::new(),
            hosts: HashMap::new(),
            running: 0,
            queued: 0,
            exhausted: false,
        }
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// How many slots wait for a worker; those of suspended projects wait for something else.
    pub(super) fn queued(&self) -> usize {
        let slots = |work: &Work| -> usize {
            work.hosts.iter().flat_map(|queue| &queue.accounts).map(|(_, slots)| slots.len()).sum()
        };
        let suspended: usize = self.projects.values().filter(|work| work.suspended).map(slots).sum();
        self.queued - suspended
    }

    pub(super) fn suspend(&mut self, project: &ProjectId) {
        self.projects.entry(project.clone()).or_default().suspended = true;
    }

    pub(super) fn resume(&mut self, project: &ProjectId) {
        if let Some(work) = self.projects.get_mut(project) {
            work.suspended = false;
        }
        self.exhausted = false;
        self.tidy(project);
    }

    pub(super) fn push(&mut self, project: &ProjectId, host: &Host, slot: Slot) {
        let work = self.projects.entry(project.clone()).or_default();
        if work.hosts.is_empty() {
            self.ring.push_back(project.clone());
        }
        let queue = match work.hosts.iter().position(|queue| queue.host == *host) {
            Some(at) => &mut work.hosts[at],
            None => {
                work.hosts.push_back(Queue { host: host.clone(), accounts: VecDeque::new() });
                let last = work.hosts.len() - 1;
                &mut work.hosts[last]
            }
        };
        match queue.accounts.iter_mut().find(|(account, _)| *account == slot.account) {
            Some((_, slots)) => slots.push_back(slot),
            None => queue.accounts.push_back((slot.account.clone(), VecDeque::from([slot]))),
        }
        self.queued += 1;
        self.exhausted = false;
    }

    /// Takes a slot out that has not had its turn.
    pub(super) fn remove(&mut self, project: &ProjectId, host: &Host, slot: &Slot) {
        let Some(work) = self.projects.get_mut(project) else { return };
        let Some(at) = work.hosts.iter().position(|queue| queue.host == *host) else { return };
        let accounts = &mut work.hosts[at].accounts;
        let Some(of) = accounts.iter().position(|(account, _)| *account == slot.account) else { return };
        let before = accounts[of].1.len();
        accounts[of].1.retain(|queued| queued != slot);
        self.queued -= before - accounts[of].1.len();
        if accounts[of].1.is_empty() {
            accounts.remove(of);
        }
        if work.hosts[at].accounts.is_empty() {
            work.hosts.remove(at);
        }
        if work.hosts.is_empty() {
            self.ring.retain(|queued| queued != project);
        }
        self.tidy(project);
    }

    /// Whose turn it is, if anybody may go. It counts as running until [`release`](Self::release).
    pub(super) fn pop(&mut self) -> Option<Slot> {
        if self.exhausted || self.running >= self.limits.workers {
            return None;
        }
        let found = self.ring.iter().enumerate().find_map(|(at, project)| {
            let work = &self.projects[project];
            Some((at, self.eligible(work)?))
        });
        let Some((at, queue)) = found else {
            self.exhausted = true;
            return None;
        };
        let project = self.ring.remove(at).expect("it was found there");
        let work = self.projects.get_mut(&project).expect("who is in the ring has work");
        let mut taken = work.hosts.remove(queue).expect("it was found there");
        let (account, mut slots) = taken.accounts.pop_front().expect("a queue that is kept has an account");
        let slot = slots.pop_front().expect("an account that is kept has a slot");
        if !slots.is_empty() {
            taken.accounts.push_back((account, slots));
        }
        *work.running.entry(taken.host.clone()).or_default() += 1;
        *self.hosts.entry(taken.host.clone()).or_default() += 1;
        if !taken.accounts.is_empty() {
            work.hosts.push_back(taken);
        }
        if !work.hosts.is_empty() {
            self.ring.push_back(project);
        }
        self.running += 1;
        self.queued -= 1;
        Some(slot)
    }

    /// The first of a project's queues that may go.
    fn eligible(&self, work: &Work) -> Option<usize> {
        if work.suspended || work.running.values().sum::<usize>() >= Limits::share(self.limits.workers) {
            return None;
        }
        work.hosts.iter().position(|queue| {
            let all = self.hosts.get(&queue.host).copied().unwrap_or(0);
            let own = work.running.get(&queue.host).copied().unwrap_or(0);
            all < self.limits.per_host && own < Limits::share(self.limits.per_host)
        })
    }

    /// A worker is free again.
    pub(super) fn release(&mut self, project: &ProjectId, host: &Host) {
        self.running -= 1;
        self.exhausted = false;
        count_down(&mut self.hosts, host);
        if let Some(work) = self.projects.get_mut(project) {
            count_down(&mut work.running, host);
        }
        self.tidy(project);
    }

    /// Forgets a project that neither waits, runs nor is suspended.
    fn tidy(&mut self, project: &ProjectId) {
        let idle = |work: &Work| work.hosts.is_empty() && work.running.is_empty() && !work.suspended;
        if self.projects.get(project).is_some_and(idle) {
            self.projects.remove(project);
        }
    }
}

fn count_down(counts: &mut HashMap<Host, usize>, host: &Host) {
    if let Some(count) = counts.get_mut(host) {
        *count -= 1;
        if *count == 0 {
            counts.remove(host);
        }
    }
}
