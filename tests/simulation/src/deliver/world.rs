//! The world that delivery lives in: one order of happenings, logs, a group, a store, subscribers, and all that goes wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tributary_core::deliver::{
    partition::ViewPosition,
    process::{Change, Row},
    record::{Cause, LogKind, Reader, Record, TenureId},
};
use tributary_schemas::{
    entity::{Ordering, RecordType, Webhook, WebhookStatus},
    event::{Subject, UnifiedEvent},
    id::{EventId, RemoteId, Sequence, WebhookId},
    resource::{Mode, Resource},
    time::Timestamp,
};

use super::member::Member;
use crate::chance::Chance;

pub(super) const MILLI: i64 = 1_000;
pub(super) const SECOND: i64 = 1_000_000;
/// Until then all that can go wrong does.
pub(super) const CALM: i64 = 60 * SECOND;
/// The longest that a history takes.
pub(super) const END: i64 = 3_000 * SECOND;
/// The partitions of the logs: the last one holds retries.
pub(super) const EVENT_LOGS: usize = 2;
pub(super) const LOGS: usize = EVENT_LOGS + 1;
pub(super) const RETRIES: usize = EVENT_LOGS;
/// The longest that a view lags behind.
pub(super) const LAG_MOST: i64 = 8 * SECOND;

/// Tells what happens, if anyone listens.
macro_rules! note {
    ($world:expr, $($told:tt)*) => {
        if $world.tells {
            let line = format!("{:>10.3} {}", $world.now as f64 / 1e6, format_args!($($told)*));
            $world.trace.push(line);
        }
    };
}
pub(super) use note;

/// A member in one of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) member: usize,
    pub(super) number: u64,
}

/// A partition of a log.
#[derive(Default)]
pub(super) struct Log {
    /// The records that are still there.
    pub(super) records: BTreeMap<i64, Logged>,
    pub(super) start: i64,
    pub(super) end: i64,
    /// Who reads it, by the group's knowledge.
    pub(super) owner: Option<(Life, TenureId)>,
    pub(super) committed: Option<(i64, ViewPosition)>,
    /// The store's rows of it, and whose they are.
    pub(super) rows: BTreeMap<Reader, Row>,
    pub(super) rows_owner: Option<(Life, TenureId)>,
}

#[derive(Clone)]
pub(super) struct Logged {
    pub(super) record: Arc<Record>,
    pub(super) written: i64,
    pub(super) due: i64,
}

/// How a subscriber answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Quick,
    Slow,
    Hangs,
    Fails,
    Refuses,
}

/// An event, for the oracle.
#[derive(Debug, Clone)]
pub(super) struct Announced {
    pub(super) log: usize,
    pub(super) offset: i64,
    pub(super) appended: i64,
    pub(super) poison: bool,
    pub(super) event: Arc<UnifiedEvent>,
}

pub(super) type Happening = Box<dyn FnOnce(&mut World)>;

pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) now: i64,
    agenda: BTreeMap<(i64, u64), Happening>,
    last: u64,
    pub(super) last_tenure: u64,
    pub(super) logs: Vec<Log>,
    /// The versions of webhooks, in order: when each can be read.
    pub(super) control: Vec<(i64, WebhookId, Option<Arc<Webhook>>)>,
    pub(super) members: Vec<Member>,
    pub(super) store_away: i64,
    pub(super) manners: BTreeMap<WebhookId, Manner>,
    pub(super) webhooks: BTreeMap<WebhookId, Arc<Webhook>>,
    deleted: BTreeSet<WebhookId>,
    /// Since when each wants what it wants now, without a gap.
    pub(super) wants_since: BTreeMap<WebhookId, i64>,
    pub(super) announced: BTreeMap<EventId, Announced>,
    /// How often each event came to each webhook, and was accepted.
    pub(super) accepted: BTreeMap<(EventId, WebhookId), u32>,
    pub(super) given_up: BTreeSet<(EventId, WebhookId)>,
    /// Told as gone before they were read: log, webhook, from, to.
    pub(super) expired: Vec<(usize, Option<WebhookId>, i64, i64)>,
    pub(super) violations: Vec<String>,
    pub(super) faults: u64,
    pub(super) sends: u64,
    /// Whether nothing goes wrong in this history but subscribers.
    pub(super) quiet: bool,
    pub(super) tells: bool,
    pub(super) trace: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64, tells: bool) -> Self {
        let mut chance = Chance::new(seed);
        let quiet = chance.permille(200);
        Self {
            chance,
            now: 0,
            agenda: BTreeMap::new(),
            last: 0,
            last_tenure: 0,
            logs: (0..LOGS).map(|_| Log::default()).collect(),
            control: Vec::new(),
            members: Vec::new(),
            store_away: 0,
            manners: BTreeMap::new(),
            webhooks: BTreeMap::new(),
            deleted: BTreeSet::new(),
            wants_since: BTreeMap::new(),
            announced: BTreeMap::new(),
            accepted: BTreeMap::new(),
            given_up: BTreeSet::new(),
            expired: Vec::new(),
            violations: Vec::new(),
            faults: 0,
            sends: 0,
            quiet,
            tells,
            trace: Vec::new(),
        }
    }

    pub(super) fn after(&mut self, wait: i64, happening: impl FnOnce(&mut World) + 'static) {
        self.last += 1;
        self.agenda.insert((self.now + wait.max(0), self.last), Box::new(happening));
    }

    /// Lets things happen until nothing is left to wait for.
    pub(super) fn run(&mut self, done: impl Fn(&World) -> bool) {
        let mut look = CALM + 20 * SECOND;
        while let Some(((at, _), happening)) = self.agenda.pop_first() {
            self.now = at;
            happening(self);
            if self.now >= look {
                look = self.now + 5 * SECOND;
                if !self.violations.is_empty() || self.now >= END || done(self) {
                    break;
                }
            }
        }
    }

    pub(super) fn log_kind(log: usize) -> LogKind {
        if log == RETRIES { LogKind::Deliveries } else { LogKind::Events(Resource::HrisEmployees) }
    }

    /// An event is committed to its log.
    pub(super) fn announce(&mut self) {
        let log = self.chance.below(EVENT_LOGS);
        let number = self.announced.len() as i64;
        let record = self.chance.below(4);
        let poison = self.chance.permille(15);
        let project = if self.chance.permille(700) { "p" } else { "foreign" };
        let event = UnifiedEvent {
            event_id: EventId::digest(&[&number.to_be_bytes()]),
            sequence: Sequence(number),
            previous_sequence: None,
            project: project.parse().expect("an id"),
            account: "a".parse().expect("an id"),
            provider: "demo".parse().expect("an id"),
            origin_owner_id: None,
            event: if self.chance.permille(500) {
                "hris_employees.updated"
            } else {
                "hris_employees.created"
            }
            .parse()
            .expect("an event"),
            event_date: Timestamp::from_micros(self.now),
            detected_at: Timestamp::from_micros(self.now - self.chance.span(10 * SECOND)),
            mode: Mode::Synthetic,
            subject: Subject::Record {
                record_id: String::new(),
                remote_id: RemoteId::new(format!("{log}-{record}")),
                raw_event: None,
                event_data: None,
            },
        };
        let id = event.event_id;
        let held = &mut self.logs[log];
        // Markers and what was aborted take offsets too.
        let offset = held.end + self.chance.below(3) as i64;
        held.end = offset + 1 + self.chance.below(2) as i64;
        let appended = self.now;
        let event = Arc::new(event);
        let record = Record {
            offset,
            event: event.clone(),
            appended: Timestamp::from_micros(appended),
            attempt: 1,
            cause: Cause::Wanted,
            to: None,
            position: None,
            held: false,
            bytes: 100 + self.chance.below(2_000),
        };
        held.records.insert(offset, Logged { record: Arc::new(record), written: appended, due: 0 });
        self.announced.insert(id, Announced { log, offset, appended, poison, event });
    }

    pub(super) fn is_poison(&self, record: &Record) -> bool {
        self.announced.get(&record.event.event_id).is_some_and(|it| it.poison)
    }

    /// A delivery is parked for its next attempt.
    pub(super) fn park(&mut self, record: &Record, to: &WebhookId, wait: i64) {
        let held = &mut self.logs[RETRIES];
        let offset = held.end;
        held.end = offset + 1;
        let parked = Record { offset, attempt: record.attempt + 1, to: Some(to.clone()), ..record.clone() };
        held.records
            .insert(offset, Logged { record: Arc::new(parked), written: self.now, due: self.now + wait });
    }

    /// The oldest records go.
    pub(super) fn retain(&mut self, log: usize) {
        let held = &mut self.logs[log];
        let room = held.end - held.start;
        // Nothing goes that a view which lags may still begin with.
        let young = held.records.iter().find(|(_, it)| it.written >= self.now - 2 * LAG_MOST);
        let oldest = young.map_or(held.end, |(offset, _)| *offset);
        let to = (held.start + self.chance.within(0, room.max(1))).min(oldest);
        held.start = to;
        held.records = held.records.split_off(&to);
        note!(self, "log {log} begins at {to}");
    }

    /// A person makes or changes a webhook: gives what the API answers 201 or 200 to.
    pub(super) fn set_webhook(&mut self, id: &str, change: impl FnOnce(&mut Webhook)) {
        let id: WebhookId = id.parse().expect("an id");
        // An id is never used again.
        if self.deleted.contains(&id) {
            return;
        }
        // Broker time, as control knows it from produce reports.
        let now = Timestamp::from_micros(self.now - self.chance.span(300 * MILLI));
        let mut webhook = match self.webhooks.get(&id) {
            Some(webhook) => Webhook::clone(webhook),
            None => Webhook {
                id: id.clone(),
                project: "p".parse().expect("an id"),
                version: 0,
                url: "https://example.com".into(),
                name: None,
                events: vec!["hris_*".parse().expect("a pattern")],
                providers: None,
                accounts: None,
                origin_owner_id: None,
                modes: None,
                record_type: RecordType::Full,
                ordering: if self.chance.permille(300) { Ordering::Record } else { Ordering::Unordered },
                rate: self.chance.permille(150).then_some(10),
                headers: BTreeMap::default(),
                status: WebhookStatus::Enabled,
                secrets: Vec::new(),
                enabled_at: now,
                created_at: now,
                updated_at: now,
            },
        };
        let (was, events) = (webhook.status.clone(), webhook.events.clone());
        webhook.version += 1;
        webhook.updated_at = now;
        change(&mut webhook);
        if webhook.status == WebhookStatus::Enabled && was != WebhookStatus::Enabled {
            webhook.enabled_at = now;
        }
        let fresh = webhook.version == 1 || webhook.status != was || webhook.events != events;
        let webhook = Arc::new(webhook);
        self.webhooks.insert(id.clone(), webhook.clone());
        self.control.push((self.now, id.clone(), Some(webhook.clone())));
        if webhook.status != WebhookStatus::Enabled {
            self.wants_since.remove(&id);
        } else if fresh {
            // Other filters hold once the views have them; a beginning holds from the answer on.
            let lag = if webhook.version > 1 && was == WebhookStatus::Enabled { 2 * LAG_MOST } else { 0 };
            let known = self.wants_since.get(&id).copied().unwrap_or(0);
            self.wants_since.insert(id.clone(), known.max(self.now + lag));
        }
        note!(
            self,
            "webhook {id} version {} is {:?} since {:?}",
            webhook.version,
            webhook.status,
            webhook.enabled_at
        );
    }

    pub(super) fn delete_webhook(&mut self, id: &str) {
        let id: WebhookId = id.parse().expect("an id");
        if self.webhooks.remove(&id).is_some() {
            self.wants_since.remove(&id);
            self.deleted.insert(id.clone());
            self.control.push((self.now, id.clone(), None));
            note!(self, "webhook {id} is deleted");
        }
    }

    /// How long a call to the store takes: until it is back, if it is away.
    pub(super) fn store_takes(&mut self) -> i64 {
        let takes = self.chance.span(60 * MILLI);
        (self.store_away - self.now).max(0) + takes
    }

    /// A batch arrives at the store: gives whether it was taken.
    pub(super) fn write(
        &mut self,
        log: usize,
        by: (Life, TenureId),
        changes: &[Change],
        fenced: bool,
    ) -> bool {
        let held = &mut self.logs[log];
        if fenced && held.rows_owner != Some(by) {
            return false;
        }
        for change in changes {
            match change {
                Change::Put(reader, row) => drop(held.rows.insert(reader.clone(), row.clone())),
                Change::Remove(reader) => drop(held.rows.remove(reader)),
            }
        }
        true
    }

    /// How long a wait of hours is here.
    pub(super) fn scaled(wait: Duration) -> i64 {
        (wait.as_micros() as i64 / 2_000).clamp(MILLI, 40 * SECOND)
    }
}
