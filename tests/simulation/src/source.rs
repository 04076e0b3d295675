//! The provider with the truth, and what is told of it: full scans, deltas, webhooks, deletions of accounts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use tributary_core::{
    cells::{CellKey, CellValue},
    poll::scan::Scan,
    unify::decide::{Input, NativeChange, NativeInput},
};
use tributary_schemas::{
    id::{Bits, ProjectionDigest, ProjectionVersion, RecordHash, RemoteId, RunId},
    observation::{
        Absence, Announce, Baseline, Content, DeliveryId, DeltaPage, Listed, Run, Snapshot, Source,
    },
    resource::{Action, Mode, Resource},
    state::{Head, RangeRow},
    time::Timestamp,
};

use crate::{
    store::STORE_TAKES,
    world::{CALM, HOUR, MILLI, PARTITIONS, SECOND, World, note},
};

pub(crate) const RESOURCE: Resource = Resource::HrisEmployees;
/// Records have ids below this.
const IDS: usize = 6;
/// How long after a webhook a listing may still lag it, and the slack of its delivery. See `LAG` and `DELIVERY`.
const SETTLE: i64 = 12 * SECOND;
const LAG: i64 = 5 * SECOND;
const DELIVERY: i64 = 4 * SECOND;

/// One account at a provider.
pub(crate) struct Provider {
    pub(crate) source: Source,
    pub(crate) partition: i32,
    pub(crate) announce: Announce,
    /// Whether it sends webhooks.
    pub(crate) native: bool,
    /// Whether its listing can skip a record; each is skipped once at most.
    keyed: bool,
    skipped: BTreeSet<u32>,
    /// What each record was, since when.
    history: BTreeMap<u32, Vec<(i64, Option<u32>)>>,
    /// How often each record came, changed and went.
    pub(crate) done: BTreeMap<(u32, Action), u32>,
    contents: u32,
    runs: u64,
    deliveries: u64,
    watermark: i64,
    /// What was last read of each record: nothing older is read after it.
    read: BTreeMap<u32, i64>,
    pub(crate) forgotten: bool,
    /// How far its poller's clock is ahead.
    ahead: i64,
}

impl Provider {
    fn at(&self, id: u32, time: i64) -> Option<u32> {
        let history = self.history.get(&id)?;
        history.iter().rev().find(|(since, _)| *since <= time).and_then(|(_, content)| *content)
    }

    /// Reads a record as it was at a time, or as it was read before, if that was later.
    fn read(&mut self, id: u32, time: i64) -> Option<u32> {
        let read = self.read.entry(id).or_default();
        *read = time.max(*read);
        let time = *read;
        self.at(id, time)
    }

    /// The records that are there, with their contents.
    pub(crate) fn truth(&self) -> BTreeMap<u32, u32> {
        let last = |(id, history): (&u32, &Vec<(i64, Option<u32>)>)| Some((*id, history.last()?.1?));
        self.history.iter().filter_map(last).collect()
    }

    fn run(&mut self, now: i64, bits: Bits) -> Run {
        self.runs += 1;
        Run {
            source: self.source.clone(),
            resource: RESOURCE,
            run: RunId(self.runs),
            begun_at: Timestamp::from_micros(now + self.ahead),
            lasted: Duration::ZERO,
            projection: ProjectionVersion {
                identity: ProjectionDigest([1; 8]),
                content: ProjectionDigest([1; 8]),
            },
            baseline: Baseline { from: RunId(1), announce: self.announce },
            settle: Duration::from_micros(SETTLE as u64),
            bits,
            id_prefix: "tr1!".into(),
            key_name: "id".into(),
        }
    }
}

pub(crate) fn hash(content: u32) -> RecordHash {
    let mut hash = [7; 16];
    hash[..4].copy_from_slice(&content.to_be_bytes());
    RecordHash(hash)
}

pub(crate) fn remote(id: u32) -> RemoteId {
    RemoteId::new(id.to_string())
}

impl World {
    pub(crate) fn add_provider(&mut self) {
        let number = self.providers.len();
        let mut provider = Provider {
            source: Source {
                project: "p".parse().unwrap_or_else(|_| unreachable!("a legal id")),
                account: format!("a{number}").parse().unwrap_or_else(|_| unreachable!("a legal id")),
                provider: "demo".parse().unwrap_or_else(|_| unreachable!("a legal id")),
                origin_owner_id: None,
            },
            partition: number as i32 % PARTITIONS,
            announce: if self.chance.permille(700) { Announce::Created } else { Announce::Nothing },
            native: self.chance.permille(500),
            keyed: self.chance.permille(700),
            skipped: BTreeSet::new(),
            history: BTreeMap::new(),
            done: BTreeMap::new(),
            contents: 0,
            runs: 0,
            deliveries: 0,
            watermark: 0,
            read: BTreeMap::new(),
            forgotten: false,
            ahead: if self.chance.permille(150) { self.chance.within(SECOND, HOUR) } else { 0 },
        };
        for id in 0..self.chance.below(IDS) as u32 {
            provider.contents += 1;
            provider.history.insert(id, vec![(0, Some(provider.contents))]);
            provider.done.insert((id, Action::Created), 1);
        }
        self.providers.push(provider);
        self.scan_later(number, 1, Ending::Chance);
        for _ in 0..self.chance.below(16) {
            let at = self.chance.within(0, CALM);
            self.after(at, move |world| world.change(number));
        }
        for _ in 0..self.chance.below(7) {
            let at = self.chance.within(SECOND, CALM);
            if self.chance.permille(500) {
                self.scan_later(number, at, Ending::Chance);
            } else {
                self.after(at, move |world| world.delta(number));
            }
        }
        if self.chance.permille(60) {
            let at = self.chance.within(0, CALM);
            self.after(at, move |world| world.forget(number));
        }
        if self.chance.permille(100) {
            let at = self.chance.within(0, CALM);
            self.after(at, move |world| world.poison(number));
        }
        for beat in 0..self.chance.below(8) {
            let at = CALM + SECOND * 20 * beat as i64;
            self.after(at, move |world| world.beat(number));
        }
        for clean in 0..5 {
            self.scan_later(number, CALM + (35 + 35 * clean) * SECOND, Ending::Clean);
        }
    }

    /// A record comes, changes or goes; a webhook may tell of it, later, and again.
    fn change(&mut self, number: usize) {
        let now = self.now;
        let id = self.chance.below(IDS) as u32;
        let goes = self.chance.permille(350);
        let again = self.chance.permille(150);
        let body = 1 + self.chance.below(2);
        let provider = &mut self.providers[number];
        let mut changes = Vec::new();
        for _ in 0..body {
            let there = provider.at(id, now).is_some();
            let action = match (there, goes) {
                (true, true) => Action::Deleted,
                (true, false) => Action::Updated,
                (false, _) => Action::Created,
            };
            provider.contents += 1;
            let content = (action != Action::Deleted).then_some(provider.contents);
            let history = provider.history.entry(id).or_default();
            // Two changes of one body happen one after the other.
            let at = history.last().map_or(now, |(last, _)| now.max(*last + 1));
            history.push((at, content));
            *provider.done.entry((id, action)).or_default() += 1;
            changes.push((action, id));
        }
        note!(self, "provider {number}: {changes:?}");
        let provider = &mut self.providers[number];
        if provider.native {
            provider.deliveries += 1;
            let delivery = DeliveryId::Declared(provider.deliveries.to_string());
            let span = self.chance.span(DELIVERY);
            let (copy, copied) = (delivery.clone(), changes.clone());
            self.after(span, move |world| world.webhook(number, delivery, &changes, now));
            if again {
                let span = span + self.chance.span(20 * SECOND);
                self.after(span, move |world| world.webhook(number, copy, &copied, now));
            }
        }
    }

    fn webhook(&mut self, number: usize, delivery: DeliveryId, changes: &[(Action, u32)], at: i64) {
        let changes = changes.iter().map(|(action, id)| (*action, remote(*id))).collect();
        self.told_of(number, delivery, changes, at);
    }

    fn told_of(&mut self, number: usize, delivery: DeliveryId, changes: Vec<(Action, RemoteId)>, at: i64) {
        let change = |(index, (action, id)): (usize, &(Action, RemoteId))| NativeChange {
            resource: RESOURCE,
            action: *action,
            remote_id: id.clone(),
            key_name: "id".into(),
            occurred_at: Some(Timestamp::from_micros(at)),
            raw_event: None,
            event_data: None,
            index: index as u32,
        };
        let input = NativeInput {
            source: self.providers[number].source.clone(),
            received_at: Timestamp::from_micros(self.now),
            mode: Mode::NativeManual,
            settle: Duration::from_micros(SETTLE as u64),
            id_prefix: "tr1!".into(),
            delivery,
            changes: changes.iter().enumerate().map(change).collect(),
        };
        let partition = self.providers[number].partition;
        note!(self, "provider {number}: webhook {:?} of {} changes", input.delivery, changes.len());
        self.broker.native[partition as usize].push(Input::Native(input));
        self.fetch_everywhere(partition);
    }

    /// A webhook that names a record as no store keeps it.
    fn poison(&mut self, number: usize) {
        let id = RemoteId::new("x".repeat(STORE_TAKES + 1));
        self.told_of(number, DeliveryId::None, vec![(Action::Updated, id)], self.now);
    }

    /// A webhook that changes nothing, so that a partition is busy though all is calm.
    fn beat(&mut self, number: usize) {
        self.told_of(number, DeliveryId::None, Vec::new(), self.now);
    }

    fn scan_later(&mut self, number: usize, span: i64, ending: Ending) {
        self.after(span, move |world| world.scan(number, ending));
    }

    /// A full scan: it lists page by page, each at its time, and each lagging what was told of it.
    fn scan(&mut self, number: usize, ending: Ending) {
        let (chance, now) = (&mut self.chance, self.now);
        let clean = matches!(ending, Ending::Clean);
        let breaks_off = !clean && chance.permille(150);
        let wish = Bits::new(chance.below(3) as u8);
        let provider = &mut self.providers[number];
        if provider.forgotten && clean {
            return;
        }
        let mut scan = Scan::default();
        let pages = if breaks_off { chance.below(IDS) } else { IDS };
        let mut lasts = 0;
        for id in 0..pages as u32 {
            let at = if clean {
                now
            } else {
                lasts += chance.span(2 * SECOND);
                now + lasts - chance.span(LAG)
            };
            let seen = provider.read(id, at.clamp(0, now));
            let skips = !clean && !provider.keyed && chance.permille(120);
            if let Some(content) = seen
                && !(skips && provider.skipped.insert(id))
            {
                let unread = !clean && chance.permille(50);
                let content = if unread { Content::Unread } else { Content::Hash(hash(content)) };
                scan.add(Listed { remote_id: remote(id), content });
            }
        }
        if !breaks_off {
            scan.end();
        }
        let source = provider.source.clone();
        let run = provider.run(now, Bits::NATIVE);
        let seen = scan.len();
        note!(
            self,
            "provider {number}: run {} lists {seen}{}",
            run.run.0,
            if breaks_off { ", breaks off" } else { "" }
        );
        // Its rows are read when the listing has ended, and may be old by the time it lands.
        self.after(lasts.max(1), move |world| {
            let head = world.store.cells.head(&source.account, RESOURCE);
            let stands = head.filter(|head| head.moved > 0).map(|head| head.bits);
            let kept = head.and_then(|head: Head| head.last_full_run.map(|_| head.bits));
            let bits = match (stands, kept) {
                (Some(stands), _) => stands,
                (None, Some(kept)) if world.chance.permille(600) => kept,
                _ => wish.unwrap_or(Bits::NATIVE),
            };
            let run = Run { bits, ..run };
            let rows = world.rows(&source);
            let absence = if world.providers[number].keyed { Absence::Sure } else { Absence::Doubtful };
            let Ok(compared) = scan.compare(&run, &rows, absence) else { return };
            let ranges = compared.ranges.map(Snapshot::Range);
            let messages: Vec<Snapshot> =
                std::iter::once(Snapshot::Summary(compared.summary)).chain(ranges).collect();
            // The poller may die in between.
            let most = messages.len();
            let lands = if clean || world.chance.permille(850) { most } else { world.chance.below(most) };
            let mut at = 1;
            for message in messages.into_iter().take(lands) {
                world.after(at, move |world| world.land(number, message));
                at += if clean { 1 } else { world.chance.span(300 * MILLI) };
            }
        });
    }

    /// A delta: what changed since the last one's start.
    fn delta(&mut self, number: usize) {
        let now = self.now;
        let provider = &mut self.providers[number];
        let since = provider.watermark - 2 * LAG;
        provider.watermark = now;
        let read_at = now - self.chance.span(LAG);
        let changed =
            |history: &&Vec<(i64, Option<u32>)>| history.iter().any(|(at, _)| *at >= since && *at <= read_at);
        let ids: Vec<u32> =
            provider.history.iter().filter(|(_, it)| changed(it)).map(|(id, _)| *id).collect();
        let mut listed: Vec<Listed> = ids
            .into_iter()
            .filter_map(|id| provider.read(id, read_at).map(|content| (id, content)))
            .map(|(id, content)| Listed { remote_id: remote(id), content: Content::Hash(hash(content)) })
            .collect();
        listed.sort_by_key(|listed| listed.remote_id.key());
        let run = provider.run(now, Bits::NATIVE);
        let page = DeltaPage { run, changed: listed, deleted: Vec::new(), notification: None };
        let span = self.chance.span(5 * SECOND);
        self.after(span, move |world| world.land(number, Snapshot::Delta(page)));
    }

    fn forget(&mut self, number: usize) {
        let provider = &mut self.providers[number];
        provider.forgotten = true;
        let message = Snapshot::Forget(provider.source.clone());
        self.land(number, message);
    }

    fn land(&mut self, number: usize, message: Snapshot) {
        let partition = self.providers[number].partition;
        note!(self, "provider {number}: {}", brief(&message));
        let mut message = message;
        if let Some(run) = message.run_mut() {
            let begun_at = run.begun_at.as_micros() - self.providers[number].ahead;
            run.lasted = Duration::from_micros((self.now - begun_at) as u64);
        }
        let input = Input::of_poll(message, Some(Timestamp::from_micros(self.now)));
        self.broker.snapshots[partition as usize].push(input);
        self.fetch_everywhere(partition);
    }

    fn rows(&self, source: &Source) -> HashMap<(Bits, u32), RangeRow> {
        let row = |cell: tributary_core::cells::Cell| match (&cell.key, self.store.cells.get(&cell.key)) {
            (CellKey::Range(bucket), Some(CellValue::Range(row))) if bucket.account == source.account => {
                Some(((bucket.bits, bucket.range), row.clone()))
            }
            _ => None,
        };
        self.store.cells.cells().filter_map(row).collect()
    }
}

/// Whether a scan may go wrong.
#[derive(Clone, Copy)]
enum Ending {
    Chance,
    Clean,
}

fn brief(message: &Snapshot) -> String {
    let names = |listed: &[Listed]| -> Vec<String> {
        let content = |listed: &Listed| match listed.content {
            Content::Hash(RecordHash([_, _, _, content, ..])) => {
                format!("{}:{content}", listed.remote_id.as_str())
            }
            Content::Unread => format!("{}:unread", listed.remote_id.as_str()),
        };
        listed.iter().map(content).collect()
    };
    match message {
        Snapshot::Summary(it) => format!("run {} cuts {}", it.run.run.0, it.run.bits.get()),
        Snapshot::Range(it) => {
            format!("run {} has in {}: {:?} {:?}", it.run.run.0, it.range, names(&it.records), it.absence)
        }
        Snapshot::Delta(it) => format!("delta {} has {:?}", it.run.run.0, names(&it.changed)),
        Snapshot::Forget(_) => "is forgotten".into(),
    }
}
