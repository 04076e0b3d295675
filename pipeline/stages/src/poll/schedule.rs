//! Which accounts are ours, and when each of their resources is looked at next.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::{
    sync::CancellationToken,
    time::{DelayQueue, delay_queue::Key},
};
use tributary_schemas::{
    codec,
    entity::Account,
    id::{AccountId, ProjectId},
    observation::{Ask, Trigger},
    resource::Resource,
};

use super::{
    attend::{Attended, Runner},
    interest::Interests,
    metrics,
};
use crate::{
    clock::now,
    kafka::{Assignment, Group, GroupEvent, Incoming, View},
};

/// How long runs under way may take to land when the stage stops.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long after a failure of ours a resource is looked at again.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// A resource of an account.
type Slot = (AccountId, Resource);

pub(super) struct Scheduler {
    runner: Arc<Runner>,
    group: Group,
    interests: View<Interests>,
    owned: HashSet<Assignment>,
    accounts: HashMap<AccountId, Known>,
    timers: DelayQueue<Slot>,
    keys: HashMap<Slot, Key>,
    /// Slots that are being looked at; `true` when one must be looked at again right after.
    running: HashMap<Slot, bool>,
    /// Slots that are due while too many runs are under way.
    waiting: std::collections::VecDeque<Slot>,
    runs: JoinSet<(Slot, anyhow::Result<Attended>)>,
}

struct Known {
    project: ProjectId,
    at: Assignment,
    resources: Vec<Resource>,
}

impl Scheduler {
    pub(super) fn new(runner: Arc<Runner>, group: Group, interests: View<Interests>) -> Self {
        Self {
            runner,
            group,
            interests,
            owned: HashSet::new(),
            accounts: HashMap::new(),
            timers: DelayQueue::new(),
            keys: HashMap::new(),
            running: HashMap::new(),
            waiting: std::collections::VecDeque::new(),
            runs: JoinSet::new(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<GroupEvent>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut changes = self.interests.changes();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                event = events.recv() => match event {
                    Some(event) => self.hear(event).await?,
                    None => anyhow::bail!("the membership of `poll` has ended"),
                },
                changed = changes.next() => {
                    anyhow::ensure!(changed, "the view of control.webhooks has ended");
                    self.look_at_everything();
                }
                Some(due) = self.timers.next(), if !self.timers.is_empty() => {
                    let slot = due.into_inner();
                    self.keys.remove(&slot);
                    self.start(slot);
                }
                Some(ended) = self.runs.join_next(), if !self.runs.is_empty() => {
                    let (slot, result) = ended?;
                    self.ended(slot, result);
                }
            }
            ::metrics::gauge!(metrics::SLOTS).set((self.keys.len() + self.running.len()) as f64);
            ::metrics::gauge!(metrics::RUNNING).set(self.runs.len() as f64);
        }
        // A run that is cut off here has landed nothing, or all that it had to say.
        let rest = async { while self.runs.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STOP_LIMIT, rest).await;
        Ok(())
    }

    async fn hear(&mut self, event: GroupEvent) -> anyhow::Result<()> {
        match event {
            GroupEvent::Assigned(assigned) => self.owned.extend(assigned),
            GroupEvent::Revoked(revoked, revocation) => {
                for at in revoked {
                    self.owned.remove(&at);
                    let gone: Vec<AccountId> = self
                        .accounts
                        .iter()
                        .filter(|(_, known)| known.at == at)
                        .map(|(account, _)| account.clone())
                        .collect();
                    gone.iter().for_each(|account| self.forget(account));
                }
                drop(revocation);
            }
            GroupEvent::Record(record) if !self.owned.contains(&record.at) => {}
            GroupEvent::Record(record) if *record.at.topic == *self.runner.topics().poll_triggers() => {
                self.triggered(&record).await?;
            }
            GroupEvent::Record(record) => self.account(&record),
        }
        Ok(())
    }

    fn account(&mut self, record: &Incoming) {
        let Ok(id) = String::from_utf8_lossy(&record.key).parse::<AccountId>() else { return };
        let account: Account = match record.payload.as_deref().map(serde_json::from_slice) {
            None => return self.forget(&id),
            Some(Ok(account)) => account,
            Some(Err(error)) => {
                tracing::warn!(account = id.as_str(), %error, "an account that can't be read");
                return;
            }
        };
        self.runner.account_changed(&id);
        let resources = self.runner.resources(&account);
        let known = Known { project: account.project, at: record.at.clone(), resources };
        let slots: Vec<Slot> = known.resources.iter().map(|resource| (id.clone(), *resource)).collect();
        self.accounts.insert(id, known);
        slots.into_iter().for_each(|slot| self.look(slot, Duration::ZERO));
    }

    /// Nobody's account, or someone else's now. A run under way is finished: its number decides.
    fn forget(&mut self, account: &AccountId) {
        let Some(known) = self.accounts.remove(account) else { return };
        for resource in known.resources {
            if let Some(key) = self.keys.remove(&(account.clone(), resource)) {
                self.timers.remove(&key);
            }
        }
    }

    async fn triggered(&mut self, record: &Incoming) -> anyhow::Result<()> {
        match codec::decode::<Trigger>(record.payload.as_deref().unwrap_or_default()) {
            Ok(Trigger { source, ask: Ask::Run { resources, reason }, .. }) => {
                let account = &source.account;
                let all = self.accounts.get(account).map(|known| known.resources.clone()).unwrap_or_default();
                let resources = if resources.is_empty() { all } else { resources };
                for resource in resources {
                    self.runner.ask(account, resource, reason.clone()).await?;
                    self.look((account.clone(), resource), Duration::ZERO);
                }
            }
            Ok(Trigger { ask: Ask::Fetch(_), .. }) => {
                tracing::warn!(offset = record.offset, "a fetch was asked for: not done by this release");
            }
            Err(error) => tracing::warn!(%error, offset = record.offset, "a trigger that can't be read"),
        }
        self.group.commit(&record.at, record.offset + 1)
    }

    fn look_at_everything(&mut self) {
        let slots: Vec<Slot> = self
            .accounts
            .iter()
            .flat_map(|(account, known)| known.resources.iter().map(|resource| (account.clone(), *resource)))
            .collect();
        slots.into_iter().for_each(|slot| self.look(slot, Duration::ZERO));
    }

    fn look(&mut self, slot: Slot, after: Duration) {
        if let Some(again) = self.running.get_mut(&slot) {
            *again = true;
            return;
        }
        match self.keys.get(&slot) {
            Some(key) => self.timers.reset(key, after),
            None => {
                let key = self.timers.insert(slot.clone(), after);
                self.keys.insert(slot, key);
            }
        }
    }

    fn start(&mut self, slot: Slot) {
        if self.runs.len() >= self.runner.concurrency() {
            self.waiting.push_back(slot);
            return;
        }
        let Some(known) = self.accounts.get(&slot.0) else { return };
        let (runner, project) = (self.runner.clone(), known.project.clone());
        self.running.insert(slot.clone(), false);
        self.runs.spawn(async move {
            let attended = runner.attend(&project, &slot.0, slot.1).await;
            (slot, attended)
        });
    }

    fn ended(&mut self, slot: Slot, result: anyhow::Result<Attended>) {
        let again = self.running.remove(&slot).unwrap_or(false);
        let after = match result {
            Ok(Attended::At(at)) => Some(at.since(now())),
            Ok(Attended::Never) => None,
            Err(error) => {
                tracing::warn!(account = slot.0.as_str(), resource = %slot.1, error = format!("{error:#}"), "looking again soon");
                Some(AFTER_FAILURE)
            }
        };
        if self.accounts.contains_key(&slot.0) {
            if again {
                self.look(slot, Duration::ZERO);
            } else if let Some(after) = after {
                self.look(slot, after);
            }
        }
        if let Some(next) = self.waiting.pop_front() {
            self.start(next);
        }
    }
}
