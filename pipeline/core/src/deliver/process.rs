//! All webhooks and partitions of a process: inputs in, outputs out (design §7). No I/O, no clock.
//!
//! What happens is in four files: `assigned` (partitions and webhooks come, change and go), `reading` (head and sweeps),
//! `sending` (attempts and what follows), `rows` (rows and commits).

mod assigned;
mod reading;
mod rows;
mod sending;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tributary_schemas::{
    entity::{self, Version},
    id::{ProjectId, WebhookId},
    time::Timestamp,
};

use super::{
    interest::Fit,
    partition::{Seen, Tenure, ViewPosition},
    position::{Given, Position, RowFacts, Why},
    queue::{Kind, Queued},
    record::{LogKind, Reader, Record, TenureId},
    retry::{Ended, Verdict},
    slots::{Pace, Slots},
    webhook::{Webhook, is_another},
};

/// The time, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The process's uptime: what is waited for is measured by it.
    pub up: Duration,
    /// The wall clock's.
    pub wall: Timestamp,
}

/// What a process has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// First attempts in flight.
    pub first_attempts: usize,
    /// Retries in flight: slots of their own, so that retries never starve first attempts.
    pub retries: usize,
    /// Bytes that may wait in memory.
    pub memory: usize,
    /// Sweeps at a time.
    pub sweeps: usize,
}

/// Names an attempt of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// What happens to a process.
#[derive(Debug)]
pub enum Input {
    /// A webhook is new, or has changed. `seen` is where its record stands; `since`, where the record stands by which it was
    /// first enabled as it is (the same `enabled_at`).
    Changed {
        /// As it is now.
        webhook: Arc<entity::Webhook>,
        /// Where its record stands.
        seen: Seen,
        /// The record by which it was enabled as it is.
        since: Seen,
        /// Whether its secrets and headers could be opened.
        opened: bool,
    },
    /// A webhook is gone.
    Gone {
        /// Which.
        webhook: WebhookId,
        /// Where that stands.
        seen: Seen,
    },
    /// What the store says of a webhook that was asked for.
    Asked {
        /// Which.
        webhook: WebhookId,
        /// Its version; `None` when it is gone.
        version: Option<Version>,
    },
    /// A partition is ours: it is to be claimed.
    Assigned {
        /// Its number.
        tenure: TenureId,
        /// What its records are.
        kind: LogKind,
    },
    /// It was claimed, and its rows were read after that.
    Owned {
        /// Which.
        tenure: TenureId,
        /// Where the head begins.
        next: i64,
        /// How far the view was read that the committed offset goes by; `None` where nothing was committed yet.
        view: Option<ViewPosition>,
        /// Its rows.
        rows: Vec<(Reader, Row)>,
    },
    /// It goes to another process: what was begun is finished, nothing else is begun.
    Leave(TenureId),
    /// It is ours no more.
    Lost(TenureId),
    /// The view has taken in a record that tells of no webhook, or the store was read so far.
    View(Seen),
    /// The head brings a record.
    Head {
        /// Of which partition.
        tenure: TenureId,
        /// The record.
        record: Arc<Record>,
    },
    /// The head has passed what is nobody's, up to this offset.
    HeadAt {
        /// Of which partition.
        tenure: TenureId,
        /// The offset that comes next.
        next: i64,
    },
    /// A sweep brings a record.
    Swept {
        /// Of which partition.
        tenure: TenureId,
        /// Which sweep.
        sweep: u64,
        /// The record.
        record: Arc<Record>,
    },
    /// A sweep has passed what is nobody's, or has come to the log's end, at this offset.
    SweptTo {
        /// Of which partition.
        tenure: TenureId,
        /// Which sweep.
        sweep: u64,
        /// The offset that comes next.
        at: i64,
    },
    /// What a reader was to read is gone: the log begins at `to`.
    Expired {
        /// Of which partition.
        tenure: TenureId,
        /// Which sweep; `None` is the head.
        sweep: Option<u64>,
        /// Where the log begins.
        to: i64,
    },
    /// The offset of the first record written at or after a time was looked up.
    Found {
        /// Of which partition.
        tenure: TenureId,
        /// For whom.
        reader: Reader,
        /// What the lookup was for.
        at: Timestamp,
        /// The offset; `None` when there was none.
        offset: Option<i64>,
        /// Where the head was when it was asked for.
        next: i64,
    },
    /// A request has ended.
    Ended {
        /// Which attempt.
        attempt: AttemptId,
        /// How.
        ended: Ended,
        /// 0..1: spreads the wait.
        jitter: f64,
    },
    /// What follows an attempt is done: its retry is parked, and the attempt is logged.
    Followed(AttemptId),
    /// The rows were written, or refused: another owns the partition.
    Written {
        /// Of which partition.
        tenure: TenureId,
        /// Whether we own it.
        ours: bool,
    },
    /// So many processes claim a share of a webhook's rate.
    Claims {
        /// Which webhook.
        webhook: WebhookId,
        /// How many.
        claims: u32,
    },
    /// Time has passed. To be given ten times a second.
    Tick,
}

/// What a process is to do.
#[derive(Debug)]
pub enum Output {
    /// Claim the partition, read its rows, and say so by `Owned`.
    Claim(TenureId),
    /// Read on at the head, from there.
    Read {
        /// Which partition.
        tenure: TenureId,
        /// From where.
        from: i64,
    },
    /// Look up the first record written at or after a time, and say so by `Found`.
    Lookup {
        /// In which partition.
        tenure: TenureId,
        /// For whom.
        reader: Reader,
        /// When.
        at: Timestamp,
        /// Where the head is.
        next: i64,
    },
    /// A webhook that a row or a delivery names is not in the view, or the view seems to lag: look it up in the store, and say
    /// so by `Asked`.
    Ask(WebhookId),
    /// Ask the subscriber.
    Start(Start),
    /// Do what follows an attempt, and say so by `Followed`.
    Follow {
        /// Which attempt.
        attempt: AttemptId,
        /// What it is of.
        queued: Queued,
        /// The webhook, if it is known.
        webhook: Option<Arc<entity::Webhook>>,
        /// What became of it.
        what: Follow,
    },
    /// Begin a sweep.
    Sweep {
        /// Of which partition.
        tenure: TenureId,
        /// Its number.
        sweep: u64,
        /// From where.
        from: i64,
    },
    /// A sweep reads on elsewhere: nothing between is wanted.
    Seek {
        /// Of which partition.
        tenure: TenureId,
        /// Its number.
        sweep: u64,
        /// From where.
        from: i64,
    },
    /// End a sweep.
    Stop {
        /// Of which partition.
        tenure: TenureId,
        /// Its number.
        sweep: u64,
    },
    /// Write changes of rows, all or none, if the partition is ours; say so by `Written`.
    Write {
        /// Of which partition.
        tenure: TenureId,
        /// The changes.
        changes: Vec<Change>,
    },
    /// Commit an offset.
    Commit {
        /// Of which partition.
        tenure: TenureId,
        /// What comes next.
        offset: i64,
        /// For the commit's metadata.
        view: ViewPosition,
    },
    /// Records are gone before they were read.
    Expired {
        /// Of which partition.
        tenure: TenureId,
        /// For whom; `None`: for all.
        reader: Option<Reader>,
        /// The first.
        from: i64,
        /// The one after the last.
        to: i64,
    },
    /// A webhook has fallen behind where it was not, and why.
    Behind(WebhookId, Why),
    /// A webhook fails from now on: its window is closed.
    Failing(WebhookId),
    /// A webhook's first failure after a success, or its first success after a failure; each once after the start, too.
    Turned {
        /// Which webhook.
        webhook: WebhookId,
        /// Whether it succeeded.
        well: bool,
    },
    /// A webhook's URL is gone (410): disable it.
    Disable(Arc<entity::Webhook>),
    /// Nothing of the partition is under way any more: it can go.
    Released(TenureId),
    /// The partition is another's: read it no more.
    Fenced(TenureId),
}

/// An attempt to be made.
#[derive(Debug)]
pub struct Start {
    /// Its number.
    pub attempt: AttemptId,
    /// Where it goes.
    pub webhook: Arc<entity::Webhook>,
    /// What is told.
    pub queued: Queued,
}

/// What follows an attempt, or stands in for it.
#[derive(Debug, Clone, PartialEq)]
pub enum Follow {
    /// It was made and ended so.
    Tried {
        /// How it ended.
        ended: Ended,
        /// What that means.
        verdict: Verdict,
    },
    /// It was not made: it does not fit the webhook as it is now.
    Skipped(Fit),
}

/// A row: where a reader of a partition is to be found after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The lowest offset that is not settled.
    pub from: i64,
    /// Where a replay ends.
    pub until: Option<i64>,
    /// The rest.
    pub facts: RowFacts,
}

/// A change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It says this.
    Put(Reader, Row),
    /// It goes.
    Remove(Reader),
}

#[derive(Debug)]
struct Attempt {
    queued: Queued,
    webhook: Option<Arc<entity::Webhook>>,
    project: Option<ProjectId>,
    begun: Duration,
    kind: Kind,
    /// The slot that it has, until it has ended.
    slot: Option<Pace>,
    probe: bool,
}

/// All webhooks and partitions of a process.
#[derive(Debug)]
pub struct Process {
    limits: Limits,
    now: Now,
    webhooks: BTreeMap<WebhookId, Webhook>,
    by_project: BTreeMap<ProjectId, BTreeSet<WebhookId>>,
    /// The record by which each was enabled as it is.
    since: BTreeMap<WebhookId, Seen>,
    view: ViewPosition,
    tenures: BTreeMap<TenureId, Tenure>,
    first: Slots,
    retry: Slots,
    attempts: BTreeMap<AttemptId, Attempt>,
    /// Attempts in the order in which they began, to find those that turn slow.
    young: VecDeque<(Duration, AttemptId)>,
    /// Webhooks to look at again at a time.
    wakes: BTreeSet<(Duration, WebhookId)>,
    /// Webhooks that were asked for in the store.
    asked: BTreeSet<WebhookId>,
    /// Partitions in which somebody may wait for a sweep.
    sweepable: BTreeSet<TenureId>,
    memory: usize,
    last_id: u64,
    out: Vec<Output>,
}

impl Process {
    /// A process that knows nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            now: Now { up: Duration::ZERO, wall: Timestamp::from_micros(0) },
            webhooks: BTreeMap::new(),
            by_project: BTreeMap::new(),
            since: BTreeMap::new(),
            view: ViewPosition::new(),
            tenures: BTreeMap::new(),
            first: Slots::new(limits.first_attempts),
            retry: Slots::new(limits.retries),
            attempts: BTreeMap::new(),
            young: VecDeque::new(),
            wakes: BTreeSet::new(),
            asked: BTreeSet::new(),
            sweepable: BTreeSet::new(),
            memory: 0,
            last_id: 0,
            out: Vec::new(),
        }
    }

    /// Takes in what happened; gives what is to be done, in this order.
    #[must_use]
    pub fn input(&mut self, now: Now, input: Input) -> Vec<Output> {
        self.now = now;
        match input {
            Input::Changed { webhook, seen, since, opened } => self.changed(webhook, seen, since, opened),
            Input::Gone { webhook, seen } => {
                self.saw(seen);
                self.gone(&webhook);
            }
            Input::Asked { webhook, version } => self.answered(&webhook, version),
            Input::Assigned { tenure, kind } => self.assigned(tenure, kind),
            Input::Owned { tenure, next, view, rows } => self.owned(tenure, next, view, rows),
            Input::Leave(tenure) => self.leave(tenure),
            Input::Lost(tenure) => self.lost(tenure),
            Input::View(seen) => self.saw(seen),
            Input::Head { tenure, record } => self.head(tenure, &record),
            Input::HeadAt { tenure, next } => self.head_at(tenure, next),
            Input::Swept { tenure, sweep, record } => self.swept(tenure, sweep, &record),
            Input::SweptTo { tenure, sweep, at } => self.swept_to(tenure, sweep, at),
            Input::Expired { tenure, sweep, to } => self.expired(tenure, sweep, to),
            Input::Found { tenure, reader, at, offset, next } => {
                self.found(tenure, &reader, at, offset, next)
            }
            Input::Ended { attempt, ended, jitter } => self.ended(attempt, ended, jitter),
            Input::Followed(attempt) => self.followed(attempt),
            Input::Written { tenure, ours } => self.written(tenure, ours),
            Input::Claims { webhook, claims } => self.claims(&webhook, claims),
            Input::Tick => self.tick(),
        }
        self.pump();
        std::mem::take(&mut self.out)
    }

    /// Bytes that wait in memory.
    pub const fn memory(&self) -> usize {
        self.memory
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        [&self.first, &self.retry].into_iter().map(|it| it.taken(Pace::Quick) + it.taken(Pace::Slow)).sum()
    }

    /// How many positions are behind.
    pub fn behind(&self) -> usize {
        self.webhooks.values().map(|it| it.behind.len()).sum()
    }

    /// Since when the one that is behind longest has been.
    pub fn behind_since(&self) -> Option<Timestamp> {
        self.webhooks.values().filter_map(|it| it.behind.first().map(|(since, ..)| *since)).min()
    }

    /// How many webhooks fail.
    pub fn failing(&self) -> usize {
        self.webhooks.values().filter(|it| it.health.probe_at().is_some()).count()
    }

    /// Whether any webhook is of this project.
    pub fn has_webhooks(&self, project: &str) -> bool {
        project.parse().is_ok_and(|project: ProjectId| self.by_project.contains_key(&project))
    }

    /// Whether a webhook is another than the one that is known: another URL, secret or header.
    pub fn is_another(&self, now: &entity::Webhook) -> bool {
        let before = self.webhooks.get(&now.id).and_then(|it| it.entity.as_ref());
        before.is_some_and(|before| is_another(before, now))
    }

    /// Records offered and not settled.
    pub fn open(&self) -> usize {
        self.attempts.len() + self.webhooks.values().map(|it| it.queue.len()).sum::<usize>()
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn slots(&mut self, kind: Kind) -> &mut Slots {
        match kind {
            Kind::First => &mut self.first,
            Kind::Retry => &mut self.retry,
        }
    }

    /// The webhook's entry, made if it is not known yet.
    fn webhook(&mut self, id: &WebhookId) -> &mut Webhook {
        let now = self.now.up;
        self.webhooks.entry(id.clone()).or_insert_with(|| Webhook::new(None, now))
    }

    /// Changes a position, and brings all books in line.
    fn position<R>(
        &mut self,
        tenure: TenureId,
        reader: &Reader,
        change: impl FnOnce(&mut Position) -> R,
    ) -> Option<R> {
        let entry = self.tenures.get_mut(&tenure)?.entries.get_mut(reader)?;
        let result = change(&mut entry.position);
        self.book(tenure, reader);
        Some(result)
    }

    fn book(&mut self, tenure: TenureId, reader: &Reader) {
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        let (before, now) = held.booked(reader);
        if before == now {
            return;
        }
        let live = usize::from(reader.replay.is_none());
        let webhook = self.webhook(&reader.webhook);
        if let Some(before) = &before {
            webhook.behind.remove(before);
            webhook.live_behind -= live;
        }
        let place = (tenure, reader.replay.clone());
        match now {
            Some(now) => {
                webhook.behind.insert(now);
                webhook.live_behind += live;
            }
            None => {
                webhook.reading.remove(&place);
                webhook.refused = true;
            }
        }
    }

    /// The webhooks that a record is for.
    fn wanted(&self, record: &Record) -> Vec<WebhookId> {
        if let Some(to) = &record.to {
            return vec![to.clone()];
        }
        let ours = self.by_project.get(&record.event.project).into_iter().flatten();
        let wants = |id: &&WebhookId| self.webhooks.get(*id).is_some_and(|it| it.wants(&record.event));
        ours.filter(wants).cloned().collect()
    }

    /// Offers a record: it waits in memory from now on.
    fn offer(&mut self, tenure: TenureId, reader: Reader, record: &Arc<Record>, at: At) {
        self.memory += record.bytes;
        let webhook = self.webhook(&reader.webhook);
        let entity = webhook.entity.clone();
        let ordered = entity.as_ref().is_some_and(|it| it.ordering == entity::Ordering::Record);
        let line = (ordered || record.held).then(|| record.line(&reader.webhook));
        let id = reader.webhook.clone();
        webhook.queue.push(Queued {
            tenure,
            reader,
            record: record.clone(),
            line,
            live: at == At::Head,
            then: entity,
        });
        self.enlist(&id);
        // One of any size may wait.
        if self.memory > self.limits.memory && self.memory > record.bytes {
            // Whoever holds most falls behind.
            let most = self.webhooks.iter().max_by_key(|(_, it)| it.queue.bytes()).map(|(id, _)| id.clone());
            if let Some(most) = most {
                self.put_back(&most, Why::Memory);
            }
        }
    }

    /// Whether a webhook takes a record, also by the process's memory.
    fn room(&self, webhook: &WebhookId, bytes: usize, at: At) -> Result<(), Why> {
        let Some(held) = self.webhooks.get(webhook) else { return Err(Why::Ours) };
        match at {
            At::Head => held.room_at_head(bytes, self.now.up)?,
            At::Sweep => held.room(bytes, self.now.up)?,
        }
        if self.memory + bytes > self.limits.memory && !held.queue.is_empty() {
            Err(Why::Memory)
        } else {
            Ok(())
        }
    }

    /// What waits for a webhook is read again later.
    fn put_back(&mut self, id: &WebhookId, why: Why) {
        let Some(webhook) = self.webhooks.get_mut(id) else { return };
        let waited = webhook.queue.clear();
        webhook.refused = true;
        if waited.is_empty() {
            return;
        }
        let mut places: Vec<(TenureId, Reader)> = Vec::new();
        for queued in waited {
            self.memory -= queued.record.bytes;
            let place = (queued.tenure, queued.reader);
            if !places.contains(&place) {
                places.push(place);
            }
        }
        for (tenure, reader) in places {
            let Some(next) = self.tenures.get(&tenure).map(|it| it.next) else { continue };
            let since = self.now.wall;
            self.unboard(tenure, &reader);
            self.position(tenure, &reader, |position| position.put_back(why, since, next));
        }
        self.out.push(Output::Behind(id.clone(), why));
    }

    /// A reader gets off its sweep, and waits for none.
    fn unboard(&mut self, tenure: TenureId, reader: &Reader) {
        if let Some(held) = self.tenures.get_mut(&tenure) {
            held.unboard(reader);
        }
        if let Some(webhook) = self.webhooks.get_mut(&reader.webhook) {
            webhook.reading.remove(&(tenure, reader.replay.clone()));
            webhook.refused = true;
        }
    }
}

/// Where a record is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Head,
    Sweep,
}
