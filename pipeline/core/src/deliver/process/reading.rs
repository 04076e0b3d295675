//! What the head and the sweeps bring.

use super::*;
use crate::deliver::{
    guard::{Guard, holds},
    partition::{SWEEPS_MOST, Standing, Sweep},
    webhook::Place,
};

/// A sweep passes over foreign offsets only where that saves more than the seek costs.
const WORTH_A_SEEK: i64 = 4_096;

impl Process {
    pub(super) fn head(&mut self, tenure: TenureId, record: &Arc<Record>) {
        let open = |it: &&mut Tenure| it.standing == Standing::Open;
        let Some(held) = self.tenures.get_mut(&tenure).filter(open) else { return };
        // Read again after a reconnection.
        if record.offset < held.next {
            return;
        }
        held.next = record.offset + 1;
        let deliveries = held.kind == LogKind::Deliveries;
        for id in self.wanted(record) {
            self.give_at_head(tenure, &id, record, deliveries);
        }
    }

    fn give_at_head(&mut self, tenure: TenureId, id: &WebhookId, record: &Arc<Record>, delivery: bool) {
        let reader = Reader::live(id);
        let known = self.webhooks.get(id).and_then(|it| it.entity.as_ref());
        match known {
            Some(entity) if entity.status != entity::WebhookStatus::Enabled => {
                // A delivery to a disabled webhook is logged; an event that it does not get is nothing.
                if !delivery {
                    return;
                }
                // Of an event that came after the disabling there is no delivery unless it was enabled again: the view lags.
                if record.appended <= entity.updated_at {
                    self.skip_at_head(tenure, &reader, record);
                    return;
                }
                self.ask(id);
            }
            Some(_) => {}
            None => self.ask(id),
        }
        let room = self.room(id, record.bytes, At::Head);
        let wall = self.now.wall;
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        if !held.entries.contains_key(&reader) {
            held.put(&reader, Position::live(wall), None);
        }
        let given = self.position(tenure, &reader, |position| {
            let given = position.head(record.offset, room.is_ok());
            if given == Given::NoRoom {
                position.why = room.err().unwrap_or(Why::Slow);
                position.since = wall;
            }
            given
        });
        match given {
            Some(Given::Offered) => self.offer(tenure, reader, record, At::Head),
            Some(Given::NoRoom) => {
                self.webhook(id).refused = true;
                self.out.push(Output::Behind(id.clone(), room.err().unwrap_or(Why::Slow)));
            }
            Some(Given::Missed | Given::Passed) | None => {}
        }
    }

    fn skip_at_head(&mut self, tenure: TenureId, reader: &Reader, record: &Arc<Record>) {
        let wall = self.now.wall;
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        if !held.entries.contains_key(reader) {
            held.put(reader, Position::live(wall), None);
        }
        let given = self.position(tenure, reader, |position| position.head(record.offset, true));
        if given == Some(Given::Offered) {
            let then = self.webhooks.get(&reader.webhook).and_then(|it| it.entity.clone());
            let queued = Queued {
                tenure,
                reader: reader.clone(),
                record: record.clone(),
                line: None,
                live: true,
                then,
            };
            self.skip(queued, Fit::Disabled);
        }
    }

    pub(super) fn head_at(&mut self, tenure: TenureId, next: i64) {
        if let Some(held) = self.tenures.get_mut(&tenure).filter(|it| it.standing == Standing::Open) {
            held.next = held.next.max(next);
        }
    }

    pub(super) fn swept(&mut self, tenure: TenureId, sweep: u64, record: &Arc<Record>) {
        let wanted = self.wanted(record);
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        let Some(place) = held.sweeps.iter().position(|it| it.id == sweep) else { return };
        let at = held.sweeps[place].at;
        if record.offset < at {
            return;
        }
        // Who waits where the sweep is now gets on.
        while let Some((read, _)) = held.ready.range((at, least())..).next()
            && *read <= record.offset
        {
            let Some(entry) = held.ready.range((at, least())..).next().cloned() else { break };
            held.ready.remove(&entry);
            held.sweeps[place].riders.insert(entry.1);
        }
        held.sweeps[place].at = record.offset + 1;
        let replays = held.sweeps[place].riders.iter().filter(|it| it.replay.is_some()).cloned();
        let riders: Vec<Reader> =
            wanted.iter().map(Reader::live).chain(replays.collect::<Vec<_>>()).collect();
        for reader in riders {
            let rides = |it: &Tenure| it.sweeps.get(place).is_some_and(|it| it.riders.contains(&reader));
            if wanted.contains(&reader.webhook) && self.tenures.get(&tenure).is_some_and(rides) {
                self.give_in_sweep(tenure, reader, record);
            }
        }
        self.sweep_on(tenure, sweep);
    }

    fn give_in_sweep(&mut self, tenure: TenureId, reader: Reader, record: &Arc<Record>) {
        let room = self.room(&reader.webhook, record.bytes, At::Sweep);
        match self.position(tenure, &reader, |position| position.sweep(record.offset, room.is_ok())) {
            Some(Given::Offered) => self.offer(tenure, reader, record, At::Sweep),
            Some(Given::NoRoom) => {
                if let (Err(why), None) = (room, &reader.replay) {
                    self.position(tenure, &reader, |position| position.why = why);
                }
                self.unboard(tenure, &reader);
            }
            Some(Given::Missed | Given::Passed) | None => {}
        }
    }

    pub(super) fn swept_to(&mut self, tenure: TenureId, sweep: u64, at: i64) {
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        let Some(sweeping) = held.sweeps.iter_mut().find(|it| it.id == sweep) else { return };
        sweeping.at = sweeping.at.max(at);
        self.sweep_on(tenure, sweep);
    }

    /// Who has read all that the head has is live again; who is left reads on, or the sweep ends.
    fn sweep_on(&mut self, tenure: TenureId, id: u64) {
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        let Some(place) = held.sweeps.iter().position(|it| it.id == id) else { return };
        let at = held.sweeps[place].at;
        // Once a block.
        let block = std::mem::replace(&mut held.sweeps[place].block, at / WORTH_A_SEEK);
        if !held.sweeps[place].riders.is_empty() && block != at / WORTH_A_SEEK {
            let worth = held.worth_reading(place, at);
            if worth >= at + WORTH_A_SEEK {
                held.sweeps[place].at = worth;
                if worth < held.next {
                    self.out.push(Output::Seek { tenure, sweep: id, from: worth });
                }
            }
        }
        let Some(held) = self.tenures.get(&tenure) else { return };
        let (at, next) = (held.sweeps[place].at, held.next);
        let reached = if holds(Guard::CrossingByReadPosition) { at >= next } else { at >= held.committed };
        let riders: Vec<Reader> = held.sweeps[place].riders.iter().cloned().collect();
        for reader in riders {
            let over = self.position(tenure, &reader, |position| {
                if position.is_behind() {
                    if reached {
                        position.cross(at, next);
                    }
                    return reached;
                }
                // A replay is carried along, to its end at the most.
                let ends = position.row().and_then(|(_, until)| until).is_some_and(|until| at >= until);
                if ends {
                    position.carried(at);
                }
                ends
            });
            if over == Some(true) {
                self.unboard(tenure, &reader);
            }
        }
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        if held.sweeps[place].riders.is_empty() {
            held.sweeps.remove(place);
            self.out.push(Output::Stop { tenure, sweep: id });
        }
    }

    pub(super) fn expired(&mut self, tenure: TenureId, sweep: Option<u64>, to: i64) {
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        if sweep.is_none() && held.next < to {
            let from = std::mem::replace(&mut held.next, to);
            self.out.push(Output::Expired { tenure, reader: None, from, to });
        }
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        for sweeping in &mut held.sweeps {
            sweeping.at = sweeping.at.max(to);
        }
        let readers: Vec<Reader> = held.entries.keys().cloned().collect();
        for reader in readers {
            if let Some(Some((from, to))) = self.position(tenure, &reader, |position| position.expired(to)) {
                self.relist(tenure, &reader);
                self.out.push(Output::Expired { tenure, reader: Some(reader), from, to });
            }
        }
        let sweeps = self.tenures.get(&tenure).map(|it| it.sweeps.iter().map(|it| it.id).collect::<Vec<_>>());
        for sweep in sweeps.unwrap_or_default() {
            self.sweep_on(tenure, sweep);
        }
    }

    /// Who waits for a sweep waits for it where it reads on now.
    fn relist(&mut self, tenure: TenureId, reader: &Reader) {
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        let waits = held.ready.iter().any(|(_, it)| it == reader);
        let read = held.entries.get(reader).and_then(|it| it.position.read());
        if let (true, Some(read)) = (waits, read) {
            held.ready.retain(|(_, it)| it != reader);
            held.ready.insert((read, reader.clone()));
            self.sweepable.insert(tenure);
        }
    }

    /// Puts in line for a sweep those of a webhook's positions that are the oldest, if it has room.
    pub(super) fn read_on(&mut self, id: &WebhookId) {
        let now = self.now.up;
        let Some(webhook) = self.webhooks.get_mut(id) else { return };
        if !webhook.refused || webhook.behind.is_empty() || !webhook.is_hungry(now) {
            return;
        }
        let room = webhook.reads().saturating_sub(webhook.reading.len());
        let idle = |(_, tenure, replay): &&(Timestamp, TenureId, Option<Arc<str>>)| {
            !webhook.reading.contains(&(*tenure, replay.clone()))
        };
        let next: Vec<Place> = {
            let reads = |tenure: TenureId, replay: &Option<Arc<str>>| {
                let reader = Reader { webhook: id.clone(), replay: replay.clone() };
                let held = self.tenures.get(&tenure)?;
                (held.standing == Standing::Open).then_some(())?;
                held.entries.get(&reader)?.position.read()
            };
            let behind = webhook.behind.iter().filter(idle);
            let behind = behind.filter(|(_, tenure, replay)| reads(*tenure, replay).is_some());
            let all: Vec<_> = behind.cloned().collect();
            // Probes go round: a log full of what is refused does not hold back the others.
            let after = webhook.probed.as_ref().filter(|_| webhook.reads() == 1);
            let first = after.map_or(0, |last| all.partition_point(|place| place <= last));
            let (before, after) = all.split_at(first);
            after.iter().chain(before).take(room).cloned().collect()
        };
        if webhook.reads() == 1 {
            webhook.probed = next.last().cloned().or_else(|| webhook.probed.take());
        }
        let next: Vec<(TenureId, Option<Arc<str>>)> =
            next.into_iter().map(|(_, tenure, replay)| (tenure, replay)).collect();
        // One that can't be read yet, because its partition or its beginning is still waited for, is looked at again.
        if webhook.behind.len() <= webhook.reading.len() + next.len() {
            webhook.refused = false;
        }
        for (tenure, replay) in next {
            webhook.reading.insert((tenure, replay.clone()));
            let reader = Reader { webhook: id.clone(), replay };
            if let Some(held) = self.tenures.get_mut(&tenure)
                && let Some(read) = held.entries.get(&reader).and_then(|it| it.position.read())
            {
                held.ready.insert((read, reader));
                self.sweepable.insert(tenure);
            }
        }
    }

    /// Begins the sweeps that are waited for.
    pub(super) fn begin_sweeps(&mut self) {
        if self.sweepable.is_empty() {
            return;
        }
        let mut all: usize = self.tenures.values().map(|it| it.sweeps.len()).sum();
        let waits = |tenure: &TenureId| self.tenures.get(tenure).is_some_and(|it| !it.ready.is_empty());
        let sweepable: Vec<TenureId> = self.sweepable.iter().copied().filter(waits).collect();
        self.sweepable = sweepable.iter().copied().collect();
        for tenure in sweepable {
            while let Some(held) = self.tenures.get_mut(&tenure) {
                if all >= self.limits.sweeps || held.sweeps.len() >= SWEEPS_MOST {
                    break;
                }
                let Some((from, _)) = held.ready.first().cloned() else { break };
                // Whom a sweep that is under way will come to waits for it.
                if held.sweeps.iter().any(|it| it.at <= from) {
                    break;
                }
                let mut riders = BTreeSet::new();
                while let Some((read, reader)) = held.ready.first().cloned()
                    && read == from
                {
                    held.ready.pop_first();
                    riders.insert(reader);
                }
                self.last_id += 1;
                let id = self.last_id;
                held.sweeps.push(Sweep { id, at: from, block: from / WORTH_A_SEEK, riders });
                let place = held.sweeps.len() - 1;
                let worth = held.worth_reading(place, from);
                let from = if worth >= from + WORTH_A_SEEK { worth } else { from };
                held.sweeps[place].at = from;
                all += 1;
                let reads = from < held.next;
                if reads {
                    self.out.push(Output::Sweep { tenure, sweep: id, from });
                } else {
                    self.sweep_on(tenure, id);
                }
                if !reads {
                    all -= 1;
                }
            }
        }
    }
}

/// Before all others in the order of readers.
fn least() -> Reader {
    Reader { webhook: "-".parse().expect("a dash is an id"), replay: None }
}
