//! The scheduler's shell: what comes in by Kafka, by the clock and by runs goes to `tributary_core::poll::scheduler`, and
//! what that says is done.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    task::{AbortHandle, Id, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tributary_core::poll::scheduler::{Action, Facts, Scheduler, Slot, Ticket, Uptime, Wake};
use tributary_schemas::{entity::Account, id::AccountId};

use super::{
    attend::{Attended, Runner},
    interest::{self, Interests, Touched},
    metrics,
    place::{Parked, Place},
    triggers::{self, Noted},
};
use crate::{
    clock::{now, uptime},
    kafka::{Assignment, Group, GroupEvent, Incoming, View},
};

/// How long runs under way may take to land when the stage stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How long after a failure of ours a resource is looked at again.
const AFTER_FAILURE: Duration = Duration::from_secs(60);
/// Triggers that may wait to be noted before the group is read no further.
const TRIGGERS: usize = 256;
/// How often what is counted is told to the exporter.
const TOLD_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Shell {
    runner: Arc<Runner>,
    group: Group,
    interests: View<Interests>,
    scheduler: Scheduler,
    owned: HashSet<Assignment>,
    runs: JoinSet<anyhow::Result<Attended>>,
    tickets: HashMap<Id, Ticket>,
    aborts: HashMap<Ticket, AbortHandle>,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
    parked: mpsc::UnboundedSender<Parked>,
}

impl Shell {
    pub(super) fn new(runner: Arc<Runner>, group: Group, interests: View<Interests>) -> (Self, Inbox) {
        let (parked, waits) = mpsc::unbounded_channel();
        let shell = Self {
            scheduler: Scheduler::new(runner.limits(), runner.config.held_bytes),
            runner,
            group,
            interests,
            owned: HashSet::new(),
            runs: JoinSet::new(),
            tickets: HashMap::new(),
            aborts: HashMap::new(),
            waiting: HashMap::new(),
            parked,
        };
        (shell, Inbox { waits })
    }

    pub(super) async fn run(
        mut self,
        mut inbox: Inbox,
        mut events: mpsc::Receiver<GroupEvent>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut changes = self.interests.changes();
        let (triggers, to_note) = mpsc::channel(TRIGGERS);
        let (tell, mut noted) = mpsc::channel(TRIGGERS);
        let noting = tokio::spawn(triggers::note(self.runner.clone(), to_note, tell));
        let mut told = tokio::time::interval(TOLD_EVERY);
        // Who is suspended is known before the first account is.
        self.wishes_changed();
        loop {
            self.act();
            let wakes =
                self.scheduler.wakes_at().map(|at| Duration::from_millis(at.0.saturating_sub(moment().0)));
            tokio::select! {
                () = shutdown.cancelled() => break,
                event = events.recv(), if triggers.capacity() > 0 => match event {
                    Some(event) => self.take(event, &triggers),
                    None => anyhow::bail!("the membership of `poll` has ended"),
                },
                changed = changes.next() => {
                    anyhow::ensure!(changed, "the view of control.webhooks has ended");
                    self.wishes_changed();
                }
                Some(it) = noted.recv() => self.noted(it)?,
                Some(it) = inbox.waits.recv() => {
                    self.waiting.insert(it.ticket, it.go_on);
                    self.wake(Wake::Waits(it.ticket, it.wait));
                }
                Some(ended) = self.runs.join_next_with_id(), if !self.runs.is_empty() => self.ended(ended),
                () = tokio::time::sleep(wakes.unwrap_or(TOLD_EVERY)), if wakes.is_some() => {}
                _ = told.tick() => self.tell(),
            }
        }
        noting.abort();
        // Who waits will not go on in this process. A run that is cut off here has landed nothing, or all that it had to say.
        for ticket in self.waiting.keys() {
            if let Some(run) = self.aborts.get(ticket) {
                run.abort();
            }
        }
        let rest = async { while self.runs.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STOP_LIMIT, rest).await;
        Ok(())
    }

    fn wake(&mut self, wake: Wake) {
        self.scheduler.wake(wake, moment());
    }

    /// Does all that there is to do now.
    fn act(&mut self) {
        while let Some(action) = self.scheduler.next(moment()) {
            match action {
                Action::Start(slot, ticket) => self.start(slot, ticket),
                Action::GoOn(ticket) => {
                    if let Some(go_on) = self.waiting.remove(&ticket) {
                        let _ = go_on.send(());
                    }
                }
                Action::Cancel(ticket) => {
                    self.waiting.remove(&ticket);
                    if let Some(run) = self.aborts.get(&ticket) {
                        run.abort();
                    }
                    ::metrics::counter!(metrics::CANCELLED).increment(1);
                }
            }
        }
    }

    fn start(&mut self, slot: Slot, ticket: Ticket) {
        let project = self.scheduler.facts(&slot.account).map(|facts| facts.project.clone());
        let (runner, place) = (self.runner.clone(), Place::new(ticket, self.parked.clone()));
        let run = self.runs.spawn(async move {
            let Some(project) = project else { return Ok(Attended::Never) };
            runner.attend(&project, &slot.account, slot.resource, &place).await
        });
        self.tickets.insert(run.id(), ticket);
        self.aborts.insert(ticket, run);
    }

    fn ended(&mut self, ended: Result<(Id, anyhow::Result<Attended>), tokio::task::JoinError>) {
        let (id, look) = match ended {
            Ok((id, Ok(Attended::At(at)))) => (id, Some(at.since(now()))),
            Ok((id, Ok(Attended::Never))) => (id, None),
            Ok((id, Err(error))) => {
                ::metrics::counter!(metrics::OURS).increment(1);
                tracing::warn!(error = format!("{error:#}"), "a look failed: again soon");
                (id, Some(AFTER_FAILURE))
            }
            // A fault of ours that one record or answer brings out is that run's alone.
            Err(error) if error.is_panic() => {
                ::metrics::counter!(metrics::OURS).increment(1);
                tracing::error!("a run panicked: again soon");
                (error.id(), Some(AFTER_FAILURE))
            }
            Err(error) => (error.id(), None),
        };
        let Some(ticket) = self.tickets.remove(&id) else { return };
        self.aborts.remove(&ticket);
        self.wake(Wake::Ended(ticket, look));
    }

    fn take(&mut self, event: GroupEvent, triggers: &mpsc::Sender<Incoming>) {
        match event {
            GroupEvent::Assigned(assigned) => self.owned.extend(assigned),
            GroupEvent::Revoked(revoked, revocation) => {
                let accounts = self.runner.topics().control_accounts();
                for at in revoked {
                    if *at.topic == *accounts {
                        self.wake(Wake::Revoked(at.partition));
                    }
                    self.owned.remove(&at);
                }
                self.act();
                drop(revocation);
            }
            GroupEvent::Record(record) if !self.owned.contains(&record.at) => {}
            GroupEvent::Record(record) if *record.at.topic == *self.runner.topics().poll_triggers() => {
                // There is room: the group is read only while there is.
                let _ = triggers.try_send(record);
            }
            GroupEvent::Record(record) => self.account(&record),
        }
    }

    fn account(&mut self, record: &Incoming) {
        let Ok(id) = String::from_utf8_lossy(&record.key).parse::<AccountId>() else { return };
        let account: Account = match record.payload.as_deref().map(serde_json::from_slice) {
            None => return self.wake(Wake::Deleted(id)),
            Some(Ok(account)) => account,
            Some(Err(error)) => {
                tracing::warn!(account = id.as_str(), %error, "an account that can't be read");
                return;
            }
        };
        self.runner.account_changed(&id);
        let facts = Facts { partition: record.at.partition, ..interest::facts(&account) };
        let resources = self.runner.resources(&account);
        let view = self.interests.read();
        let resources = resources.into_iter().map(|it| (it, view.of(&id, &facts, it))).collect();
        drop(view);
        self.wake(Wake::Account(id, facts, resources));
    }

    /// Looks, in memory, at the slots of the projects that changed, and at no others; and whether they are suspended.
    fn wishes_changed(&mut self) {
        let view = self.interests.read();
        let mut wakes = Vec::new();
        for (project, touched) in view.touched() {
            wakes.push(match view.is_suspended(&project) {
                true => Wake::Suspended(project.clone()),
                false => Wake::Resumed(project.clone()),
            });
            for (account, facts) in self.scheduler.of_project(&project) {
                for resource in self.scheduler.resources(account) {
                    let slot = Slot { account: account.clone(), resource };
                    wakes.push(match touched {
                        Touched::Wishes => Wake::Wished(slot, view.of(account, facts, resource)),
                        Touched::Settings => Wake::Asked(slot, tributary_core::poll::asks::Ask::Look),
                    });
                }
            }
        }
        drop(view);
        wakes.into_iter().for_each(|wake| self.wake(wake));
    }

    fn noted(&mut self, noted: Noted) -> anyhow::Result<()> {
        for (slot, ask) in noted.asked {
            self.wake(Wake::Asked(slot, ask));
        }
        // Whoever owns the partition now reads it again, and finds it pending.
        if self.owned.contains(&noted.at) { self.group.commit(&noted.at, noted.offset + 1) } else { Ok(()) }
    }

    fn tell(&self) {
        let counts = self.scheduler.count();
        for (name, value) in [
            (metrics::SLOTS, counts.slots),
            (metrics::DUE, counts.due),
            (metrics::RUNNING, counts.running),
            (metrics::WAITING, counts.waiting),
        ] {
            ::metrics::gauge!(name).set(value as f64);
        }
        ::metrics::gauge!(metrics::HELD_BYTES).set(counts.held as f64);
    }
}

/// What runs tell the shell.
pub(super) struct Inbox {
    waits: mpsc::UnboundedReceiver<Parked>,
}

fn moment() -> Uptime {
    Uptime(u64::try_from(uptime().as_millis()).unwrap_or(u64::MAX))
}
