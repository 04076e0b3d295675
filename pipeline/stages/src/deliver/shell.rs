//! Does what the machine says, and tells it what happened: one task has the machine, everything that waits has its own.

mod partitions;
mod reading;
mod rows;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::Rng;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tributary_core::deliver::{
    partition::ViewPosition,
    process::{AttemptId, Follow, Input, Limits, Now, Output, Process, Start},
    record::TenureId,
    retry::{Ended, Verdict},
};
use tributary_schemas::{
    entity::{Version, Webhook},
    id::WebhookId,
    time::Timestamp,
};

use super::{
    again::until_done,
    disable::{Failures, Hopeless, disable},
    logs::Logs,
    metrics,
    post::Tried,
    subscribers::{Subscribers, Told},
    tenure::Tenure,
    work::Work,
};
use crate::{
    clock::{now, uptime},
    entity::{WriteError, Writer},
    kafka::{Assignment, Member, MemberEvent, Revocation, Sweeper, Sweeping, Swept},
    store::backlog::{Backlog, BacklogStore},
};

/// How often the machine looks at the time.
const TICK: Duration = Duration::from_millis(100);
/// How long a rebalance waits for what is under way of the partitions that go.
const HAND_OVER: Duration = Duration::from_secs(2);
/// How long logging and committing may take at the end, behind the attempts' deadline.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// Partitions that are claimed at a time.
const CLAIMS: usize = 32;

/// What is done on other tasks tells this.
enum Said {
    /// Something that the machine waits for.
    Input(Input),
    /// A partition was claimed.
    Owned { tenure: TenureId, next: i64, view: Option<ViewPosition>, rows: Vec<Backlog> },
    /// A request has ended.
    Tried { attempt: AttemptId, tried: Tried },
    /// A record that can't be read is on `deliver.dead`.
    SetAside { tenure: TenureId, offset: i64 },
    /// The store says since when a webhook fails.
    FailingSince { webhook: WebhookId, since: Timestamp },
    /// A partition whose rows another owner claimed is to be claimed again, if it is still ours.
    Reclaim(Assignment),
}

/// Partitions that go when what is under way of them has ended, or the time is over.
struct HandOver {
    tenures: HashSet<TenureId>,
    until: Instant,
    _revocation: Revocation,
}

struct Sweep {
    tenure: TenureId,
    reading: Sweeping,
    /// Foreign records were passed up to here, and the machine knows up to there.
    passed: i64,
    told: i64,
}

/// What the shell is made with.
pub(super) struct Parts {
    pub(super) limits: Limits,
    pub(super) deadline: Duration,
    pub(super) member: Member,
    pub(super) sweeper: Sweeper,
    pub(super) logs: Logs,
    pub(super) subscribers: Subscribers,
    pub(super) work: Work,
    pub(super) backlogs: Arc<dyn BacklogStore>,
    pub(super) writer: Writer,
}

/// Where the shell hears what happens.
pub(super) struct Ears {
    pub(super) group: mpsc::UnboundedReceiver<MemberEvent>,
    pub(super) swept: mpsc::Receiver<(u64, Swept)>,
    pub(super) told: mpsc::UnboundedReceiver<Told>,
}

/// The machine, and all that does what it says.
pub(super) struct Shell {
    machine: Process,
    deadline: Duration,
    member: Member,
    sweeper: Sweeper,
    logs: Logs,
    subscribers: Subscribers,
    work: Arc<Work>,
    backlogs: Arc<dyn BacklogStore>,
    writer: Writer,
    said: mpsc::UnboundedSender<Said>,
    claims: Arc<Semaphore>,
    /// The partitions that the group says are ours, and their tenures while they have one.
    ours: HashMap<Assignment, Option<TenureId>>,
    tenures: HashMap<TenureId, Tenure>,
    sweeps: HashMap<u64, Sweep>,
    hand_overs: Vec<HandOver>,
    uncommitted: BTreeSet<TenureId>,
    tried: HashMap<AttemptId, Tried>,
    failures: Failures,
    /// Who this process is to the store.
    name: String,
    last_tenure: u64,
    over: CancellationToken,
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

impl Shell {
    /// Runs until told to stop; attempts in flight are given their deadline.
    pub(super) async fn run(parts: Parts, mut ears: Ears, shutdown: CancellationToken) -> anyhow::Result<()> {
        let (said, mut heard) = mpsc::unbounded_channel();
        let mut shell = Self::new(parts, said);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut end: Option<Instant> = None;
        // The webhooks that were read before the group was joined are known before any partition is.
        while let Ok(told) = ears.told.try_recv() {
            shell.told(told);
        }
        loop {
            if let Some(end) = end
                && (shell.tenures.is_empty() || Instant::now() >= end)
            {
                break;
            }
            tokio::select! {
                () = shutdown.cancelled(), if end.is_none() => {
                    end = Some(Instant::now() + shell.deadline + LAST_WORDS);
                    shell.leave_all();
                }
                _ = tick.tick() => shell.tick(),
                said = heard.recv() => if let Some(said) = said { shell.hear(said) },
                told = ears.told.recv() => match told {
                    Some(told) => shell.told(told),
                    None => anyhow::bail!("the view of webhooks has ended"),
                },
                Some((number, swept)) = ears.swept.recv() => shell.swept(number, swept),
                event = ears.group.recv() => match event {
                    Some(event) => shell.group(event),
                    None => anyhow::bail!("the membership of `deliver` has ended"),
                },
            }
        }
        shell.end().await
    }

    fn new(parts: Parts, said: mpsc::UnboundedSender<Said>) -> Self {
        Self {
            machine: Process::new(parts.limits),
            deadline: parts.deadline,
            member: parts.member,
            sweeper: parts.sweeper,
            logs: parts.logs,
            subscribers: parts.subscribers,
            work: Arc::new(parts.work),
            backlogs: parts.backlogs,
            writer: parts.writer,
            said,
            claims: Arc::new(Semaphore::new(CLAIMS)),
            ours: HashMap::new(),
            tenures: HashMap::new(),
            sweeps: HashMap::new(),
            hand_overs: Vec::new(),
            uncommitted: BTreeSet::new(),
            tried: HashMap::new(),
            failures: Failures::default(),
            name: hex::encode(rand::random::<[u8; 12]>()),
            last_tenure: 0,
            over: CancellationToken::new(),
        }
    }

    /// The machine takes in what happened, and what it says is begun.
    fn feed(&mut self, input: Input) {
        let now = Now { up: uptime(), wall: now() };
        for output in self.machine.input(now, input) {
            self.act(output);
        }
    }

    fn hear(&mut self, said: Said) {
        match said {
            Said::Input(input) => self.feed(input),
            Said::Owned { tenure, next, view, rows } => self.owned(tenure, next, view, rows),
            Said::Tried { attempt, tried } => {
                let ended = tried.ended.clone();
                self.tried.insert(attempt, tried);
                let jitter = rand::rng().random_range(0.0..1.0);
                self.feed(Input::Ended { attempt, ended, jitter });
                self.tried.remove(&attempt);
            }
            Said::SetAside { tenure, offset } => {
                if let Some(held) = self.tenures.get_mut(&tenure) {
                    held.set_aside(offset);
                    self.uncommitted.insert(tenure);
                }
            }
            Said::FailingSince { webhook, since } => self.failures.since(&webhook, since),
            Said::Reclaim(at) => {
                if self.ours.get(&at) == Some(&None) {
                    self.assign(at);
                }
            }
        }
    }

    fn told(&mut self, told: Told) {
        for input in self.subscribers.take(told) {
            if let Input::Changed { webhook, .. } = &input
                && self.machine.is_another(webhook)
            {
                self.failures.over(&webhook.id);
                self.ends_failing(webhook.id.clone());
            }
            self.feed(input);
        }
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Claim(tenure) => self.claim(tenure),
            Output::Read { tenure, from } => self.read(tenure, from),
            Output::Lookup { tenure, reader, at, next } => self.look_up(tenure, reader, at, next),
            Output::Ask(webhook) => self.ask(webhook),
            Output::Start(start) => self.start(start),
            Output::Follow { attempt, queued, webhook, what } => {
                let tried = self.tried.remove(&attempt);
                let tried = tried.unwrap_or_else(|| Tried::not_made(Ended::Ours, None));
                self.count(webhook.as_ref(), &queued.reader.webhook, &what, &tried);
                let work = self.work.clone();
                self.spawn(async move {
                    work.follow(&queued, what, tried).await;
                    Said::Input(Input::Followed(attempt))
                });
            }
            Output::Sweep { tenure, sweep, from } => self.sweep(tenure, sweep, from),
            Output::Seek { sweep, from, .. } => {
                if let Some(sweep) = self.sweeps.get_mut(&sweep) {
                    sweep.told = from;
                    sweep.reading.seek(from);
                }
            }
            Output::Stop { sweep, .. } => drop(self.sweeps.remove(&sweep)),
            Output::Write { tenure, changes } => self.write(tenure, changes),
            Output::Commit { tenure, offset, view } => {
                if let Some(held) = self.tenures.get_mut(&tenure) {
                    held.wants_committed(offset, view);
                    self.uncommitted.insert(tenure);
                }
            }
            Output::Expired { tenure, reader, from, to } => self.expired(tenure, reader, from, to),
            Output::Behind(webhook, why) => {
                tracing::debug!(webhook = webhook.as_str(), ?why, "a webhook has fallen behind");
                ::metrics::counter!(metrics::FELL_BEHIND, "reason" => why.name()).increment(1);
            }
            Output::Failing(webhook) => {
                tracing::info!(webhook = webhook.as_str(), "a webhook fails");
                ::metrics::counter!(metrics::OPENED).increment(1);
            }
            Output::Turned { webhook, well: true } => {
                self.failures.over(&webhook);
                self.ends_failing(webhook);
            }
            Output::Turned { webhook, well: false } => {
                let (backlogs, at) = (self.backlogs.clone(), now());
                self.spawn(async move {
                    let (since, _) = until_done("failing", || backlogs.begin_failing(&webhook, at)).await;
                    Said::FailingSince { webhook, since }
                });
            }
            Output::Disable(webhook) => self.disable(webhook, Hopeless::Gone),
            Output::Released(tenure) => self.released(tenure),
            Output::Fenced(tenure) => self.fenced(tenure),
        }
    }

    /// Something is done on a task of its own, and tells of it; unless the stage is over before.
    fn spawn(&self, doing: impl Future<Output = Said> + Send + 'static) {
        self.spawn_in(self.over.clone(), doing);
    }

    fn spawn_in(&self, until: CancellationToken, doing: impl Future<Output = Said> + Send + 'static) {
        let said = self.said.clone();
        tokio::spawn(async move {
            if let Some(done) = until.run_until_cancelled(doing).await {
                // It fails only when the stage has ended.
                let _ = said.send(done);
            }
        });
    }

    fn start(&mut self, start: Start) {
        let Start { attempt, webhook, queued } = start;
        let subscriber = self.subscribers.get(&webhook.id);
        let gone = self.tenures.get(&queued.tenure).map(|it| it.gone.clone());
        let (Some(subscriber), Some(gone)) = (subscriber, gone) else {
            let tried = Tried::not_made(Ended::Ours, None);
            let _ = self.said.send(Said::Tried { attempt, tried });
            return;
        };
        let work = self.work.clone();
        self.spawn(async move {
            let attempted = gone.run_until_cancelled(work.attempt(&queued, &webhook, &subscriber)).await;
            let tried = attempted.unwrap_or_else(|| Tried::not_made(Ended::Abandoned, None));
            Said::Tried { attempt, tried }
        });
    }

    /// Counts a failure; after five days it is enough.
    fn count(&mut self, webhook: Option<&Arc<Webhook>>, id: &WebhookId, what: &Follow, tried: &Tried) {
        if let Follow::Tried { verdict: Verdict::Retry { .. } | Verdict::GiveUp, .. } = what
            && self.failures.failed(id, tried.at)
            && let Some(webhook) = webhook
        {
            self.disable(webhook.clone(), Hopeless::Failing);
        }
    }

    fn disable(&self, webhook: Arc<Webhook>, hopeless: Hopeless) {
        let writer = self.writer.clone();
        tokio::spawn(self.over.clone().run_until_cancelled_owned(disable(writer, webhook, hopeless)));
    }

    fn ends_failing(&self, webhook: WebhookId) {
        let backlogs = self.backlogs.clone();
        let ended = async move {
            if let Some(since) = until_done("failing", || backlogs.end_failing(&webhook)).await {
                tracing::info!(webhook = webhook.as_str(), %since, "a webhook is well again");
            }
        };
        tokio::spawn(self.over.clone().run_until_cancelled_owned(ended));
    }

    /// Looks a webhook up in the store, which is never behind.
    fn ask(&self, webhook: WebhookId) {
        let Some(project) = self.subscribers.project(&webhook).cloned() else {
            tracing::error!(webhook = webhook.as_str(), "nobody says whose it is");
            return;
        };
        let writer = self.writer.clone();
        self.spawn(async move {
            let found = until_done("webhook", || async {
                let found: Option<Webhook> = writer.get(&project, webhook.as_str()).await?;
                Ok::<Option<Version>, WriteError>(found.map(|it| it.version))
            });
            let version = found.await;
            Said::Input(Input::Asked { webhook, version })
        });
    }

    fn tick(&mut self) {
        self.come_due();
        self.feed(Input::Tick);
        self.hand_over_late();
        self.commit();
        let machine = &self.machine;
        ::metrics::gauge!(metrics::IN_FLIGHT).set(machine.in_flight() as f64);
        ::metrics::gauge!(metrics::OPEN).set(machine.open() as f64);
        ::metrics::gauge!(metrics::MEMORY).set(machine.memory() as f64);
        ::metrics::gauge!(metrics::BEHIND).set(machine.behind() as f64);
        ::metrics::gauge!(metrics::FAILING).set(machine.failing() as f64);
        let oldest = machine.behind_since().map_or(Duration::ZERO, |since| now().since(since));
        ::metrics::gauge!(metrics::OLDEST_BEHIND).set(oldest.as_secs_f64());
    }

    /// What is settled is committed, and the group is left.
    async fn end(mut self) -> anyhow::Result<()> {
        for tenure in self.tenures.keys().copied().collect::<Vec<_>>() {
            self.lose(tenure);
        }
        let commits = self.commits();
        let commit = self.member.commit_now();
        tokio::task::spawn_blocking(move || commit(&commits)).await??;
        Ok(())
    }
}
