//! Properties over all orders of what can happen to one partition. Owners, stores and views that fail are the simulation's
//! (`tests/simulate deliver`).

use std::collections::BTreeMap;

use proptest::prelude::*;
use tributary_schemas::{
    entity::{Ordering, RecordType, WebhookStatus},
    event::{Subject, UnifiedEvent},
    id::{EventId, RemoteId, Sequence},
    resource::{Mode, Resource},
};

use super::*;
use crate::deliver::record::Cause;

const TENURE: TenureId = TenureId(1);
const OK: Ended = Ended::Answered { status: 200, retry_after: None };
const NO: Ended = Ended::Answered { status: 500, retry_after: None };

fn entity(id: &str, ordering: Ordering) -> Arc<entity::Webhook> {
    let zero = Timestamp::from_micros(0);
    Arc::new(entity::Webhook {
        id: id.parse().unwrap(),
        project: "p".parse().unwrap(),
        version: 1,
        url: "https://example.com".into(),
        name: None,
        events: vec!["*".parse().unwrap()],
        providers: None,
        accounts: None,
        origin_owner_id: None,
        modes: None,
        record_type: RecordType::Full,
        ordering,
        rate: None,
        headers: BTreeMap::default(),
        status: WebhookStatus::Enabled,
        secrets: Vec::new(),
        enabled_at: zero,
        created_at: zero,
        updated_at: zero,
    })
}

fn record(offset: i64) -> Arc<Record> {
    Arc::new(Record {
        offset,
        event: Arc::new(UnifiedEvent {
            event_id: EventId::digest(&[&offset.to_be_bytes()]),
            sequence: Sequence(offset),
            previous_sequence: None,
            project: "p".parse().unwrap(),
            account: "a".parse().unwrap(),
            provider: "demo".parse().unwrap(),
            origin_owner_id: None,
            event: "hris_employees.updated".parse().unwrap(),
            event_date: Timestamp::from_micros(1),
            detected_at: Timestamp::from_micros(1),
            mode: Mode::Synthetic,
            subject: Subject::Record {
                record_id: String::new(),
                remote_id: RemoteId::new((offset % 3).to_string()),
                raw_event: None,
                event_data: None,
            },
        }),
        appended: Timestamp::from_micros(1),
        attempt: 1,
        cause: Cause::Wanted,
        position: None,
        held: false,
        to: None,
        bytes: 100,
    })
}

/// One partition, two webhooks of which `b` keeps records' order, and a shell that does what it is told.
struct World {
    process: Process,
    up: Duration,
    end: i64,
    sweeps: BTreeMap<u64, i64>,
    under_way: Vec<(AttemptId, WebhookId, i64)>,
    following: Vec<AttemptId>,
    writing: bool,
    committed: i64,
    /// How each offset ended for each webhook: how often it was accepted or parked.
    ended: BTreeMap<(WebhookId, i64), u32>,
}

impl World {
    fn new() -> Self {
        let limits = Limits { first_attempts: 8, retries: 8, memory: 3_000, sweeps: 4 };
        let mut world = Self {
            process: Process::new(limits),
            up: Duration::ZERO,
            end: 0,
            sweeps: BTreeMap::new(),
            under_way: Vec::new(),
            following: Vec::new(),
            writing: false,
            committed: 0,
            ended: BTreeMap::new(),
        };
        for (offset, (id, ordering)) in
            [("a", Ordering::Unordered), ("b", Ordering::Record)].into_iter().enumerate()
        {
            let seen = (0, offset as i64);
            world.give(Input::Changed { webhook: entity(id, ordering), seen, since: seen, opened: true });
        }
        world.give(Input::Assigned { tenure: TENURE, kind: LogKind::Events(Resource::HrisEmployees) });
        world.give(Input::Owned { tenure: TENURE, next: 0, view: None, rows: Vec::new() });
        world
    }

    fn give(&mut self, input: Input) {
        let now = Now { up: self.up, wall: Timestamp::from_micros(self.up.as_micros() as i64) };
        for output in self.process.input(now, input) {
            match output {
                Output::Start(start) => {
                    let offset = start.queued.record.offset;
                    let id = start.webhook.id.clone();
                    let line = offset % 3;
                    let beside = self.under_way.iter().any(|(_, other, it)| *other == id && it % 3 == line);
                    assert!(id.as_str() != "b" || !beside, "two of a record's are under way");
                    self.under_way.push((start.attempt, id, offset));
                }
                Output::Follow { attempt, queued, .. } => {
                    *self.ended.entry((queued.reader.webhook, queued.record.offset)).or_default() += 1;
                    self.following.push(attempt);
                }
                Output::Sweep { sweep, from, .. } | Output::Seek { sweep, from, .. } => {
                    self.sweeps.insert(sweep, from);
                }
                Output::Stop { sweep, .. } => drop(self.sweeps.remove(&sweep)),
                Output::Write { .. } => self.writing = true,
                Output::Commit { offset, .. } => {
                    assert!(offset >= self.committed);
                    self.committed = offset;
                }
                _ => {}
            }
        }
    }

    fn sweep(&mut self, sweep: u64) {
        let Some(at) = self.sweeps.get(&sweep).copied() else { return };
        if at < self.end {
            self.sweeps.insert(sweep, at + 1);
            self.give(Input::Swept { tenure: TENURE, sweep, record: record(at) });
        } else {
            self.give(Input::SweptTo { tenure: TENURE, sweep, at });
        }
    }

    fn step(&mut self, step: u8, pick: usize) {
        match step {
            0..=2 => {
                self.end += 1;
                self.give(Input::Head { tenure: TENURE, record: record(self.end - 1) });
            }
            3..=5 if !self.under_way.is_empty() => {
                let (attempt, ..) = self.under_way.remove(pick % self.under_way.len());
                let ended = if step == 3 {
                    OK
                } else if step == 4 {
                    NO
                } else {
                    Ended::TimedOut
                };
                self.give(Input::Ended { attempt, ended, jitter: 0.5 });
            }
            6 if !self.following.is_empty() => {
                let attempt = self.following.remove(pick % self.following.len());
                self.give(Input::Followed(attempt));
            }
            7 => {
                let sweeps: Vec<u64> = self.sweeps.keys().copied().collect();
                if !sweeps.is_empty() {
                    self.sweep(sweeps[pick % sweeps.len()]);
                }
            }
            8 if self.writing => {
                self.writing = false;
                self.give(Input::Written { tenure: TENURE, ours: true });
            }
            _ => {
                self.up += Duration::from_millis(700 * (pick as u64 % 5));
                self.give(Input::Tick);
            }
        }
        assert!(self.process.memory() <= 3_000 + 100);
    }

    /// All answers are good from now on.
    fn calm(&mut self) {
        for _ in 0..3_000 {
            self.up += Duration::from_millis(500);
            self.give(Input::Tick);
            for _ in 0..64 {
                let before = (self.under_way.len(), self.following.len(), self.sweeps.len(), self.writing);
                if let Some((attempt, ..)) = self.under_way.pop() {
                    self.give(Input::Ended { attempt, ended: OK, jitter: 0.5 });
                }
                if let Some(attempt) = self.following.pop() {
                    self.give(Input::Followed(attempt));
                }
                for sweep in self.sweeps.keys().copied().collect::<Vec<_>>() {
                    self.sweep(sweep);
                }
                if std::mem::take(&mut self.writing) {
                    self.give(Input::Written { tenure: TENURE, ours: true });
                }
                if before == (0, 0, 0, false) {
                    break;
                }
            }
            if self.committed == self.end && self.process.open() == 0 && self.process.behind() == 0 {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    /// In whatever order the head, sweeps, answers and acknowledgements come: each event is tried for each webhook, once as
    /// nothing is restarted, and in the end the offset is past all of it and nobody is behind.
    #[test]
    fn each_event_ends_once_for_each_webhook_and_the_offset_follows(steps in prop::collection::vec((0_u8..10, 0_usize..64), 0..400)) {
        let mut world = World::new();
        for (step, pick) in steps {
            world.step(step, pick);
        }
        world.calm();
        prop_assert_eq!((world.committed, world.process.open(), world.process.behind()), (world.end, 0, 0));
        for webhook in ["a", "b"] {
            for offset in 0..world.end {
                let times = world.ended.get(&(webhook.parse().unwrap(), offset)).copied();
                prop_assert_eq!(times, Some(1), "{} offset {}", webhook, offset);
            }
        }
    }

    /// A healthy webhook's work does not depend on what becomes of another.
    #[test]
    fn a_healthy_webhook_does_not_notice_another(steps in prop::collection::vec((0_u8..4, 0_usize..64), 1..200)) {
        let mut world = World::new();
        for (step, pick) in steps {
            world.end += 1;
            world.give(Input::Head { tenure: TENURE, record: record(world.end - 1) });
            // `a` answers whatever it is asked at once; `b` hangs, fails, or is never heard of.
            while let Some(place) = world.under_way.iter().position(|(_, id, _)| id.as_str() == "a") {
                let (attempt, ..) = world.under_way.remove(place);
                world.give(Input::Ended { attempt, ended: OK, jitter: 0.5 });
                world.give(Input::Followed(attempt));
            }
            if !world.under_way.is_empty() && step > 0 {
                let (attempt, ..) = world.under_way.remove(pick % world.under_way.len());
                world.give(Input::Ended { attempt, ended: if step == 1 { Ended::TimedOut } else { NO }, jitter: 0.5 });
            }
            world.up += Duration::from_millis(pick as u64 * 10);
            world.give(Input::Tick);
            let a = world.ended.keys().filter(|(id, _)| id.as_str() == "a").count();
            prop_assert_eq!(a as i64, world.end, "everything has come to `a` at once");
        }
    }
}

#[test]
fn a_dead_webhook_costs_a_row_and_one_probe_at_a_time() {
    let mut world = World::new();
    let mut rows = 0;
    for offset in 0..20_000 {
        world.end += 1;
        world.give(Input::Head { tenure: TENURE, record: record(offset) });
        while let Some((attempt, id, _)) = world.under_way.pop() {
            let ended = if id.as_str() == "a" { OK } else { Ended::Failed };
            world.give(Input::Ended { attempt, ended, jitter: 0.5 });
        }
        while let Some(attempt) = world.following.pop() {
            world.give(Input::Followed(attempt));
        }
        world.up += Duration::from_millis(10);
        world.give(Input::Tick);
        for sweep in world.sweeps.keys().copied().collect::<Vec<_>>() {
            world.sweep(sweep);
        }
        if std::mem::take(&mut world.writing) {
            rows += 1;
            world.give(Input::Written { tenure: TENURE, ours: true });
        }
    }
    // 200 s: a row, and one a minute while it grows.
    assert!(rows <= 2 + 4, "{rows} rows were written");
    assert!(world.committed >= 19_700, "{}", world.committed);
    let tried = world.ended.keys().filter(|(id, _)| id.as_str() == "b").count();
    assert!(tried <= 12, "{tried} attempts at what is dead");
}
