//! One webhook in a process (design §7): what waits for it, how many requests it may have in flight, its rate, and whether
//! it is asked at all.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tributary_schemas::{
    entity::{self, WebhookStatus},
    event::UnifiedEvent,
    id::ProjectId,
    resource::{EventName, Resource},
    time::Timestamp,
};

use super::{
    health::Health,
    interest::allows,
    position::Why,
    queue::{Kind, Queue},
    rate::Rate,
    record::TenureId,
    slots::Pace,
    window::{QUICK, Window},
};

/// Records that wait for a webhook in memory.
const ITEMS_MOST: usize = 256;
/// Their bytes; one of any size is always taken.
const BYTES_MOST: usize = 1 << 20;
/// Positions that a webhook reads at a time when it is behind, the oldest first.
const READS_MOST: usize = 4;

/// A place of the webhook in the books: since when it is behind, and where.
pub(super) type Place = (Timestamp, TenureId, Option<Arc<str>>);

/// A webhook, as a process sees it.
#[derive(Debug)]
pub struct Webhook {
    /// As it is now; `None` while it is not known.
    pub(super) entity: Option<Arc<entity::Webhook>>,
    /// Which of the 60 events it names, a bit each.
    events: u64,
    /// Its secrets can't be opened here, or its project is suspended: nothing is sent.
    pub(super) sealed: bool,
    /// Until then it is not asked, by a fault of ours.
    pub(super) rests: Duration,
    /// How its last attempt ended, if any did.
    pub(super) well: Option<bool>,
    pub(super) window: Window,
    pub(super) health: Health,
    pub(super) rate: Option<Rate>,
    pub(super) queue: Queue,
    pub(super) in_flight: usize,
    /// Attempts whose retry and log are under way.
    pub(super) following: usize,
    /// Where it is behind, or replays: the oldest first.
    pub(super) behind: BTreeSet<Place>,
    /// Of these, the live ones.
    pub(super) live_behind: usize,
    /// Which of them wait for a sweep or are in one.
    pub(super) reading: BTreeSet<(TenureId, Option<Arc<str>>)>,
    /// Which of them was read for the last probe.
    pub(super) probed: Option<Place>,
    /// It has refused something since it was last asked whether it has room.
    pub(super) refused: bool,
    /// How long its answers take, the latest counting for a quarter.
    takes: Duration,
}

impl Webhook {
    pub(super) fn new(entity: Option<Arc<entity::Webhook>>, now: Duration) -> Self {
        let events = entity.as_ref().map_or(0, |it| selected(it));
        let rate = entity.as_ref().and_then(|it| it.rate).map(|rate| Rate::new(rate, now));
        Self {
            entity,
            events,
            sealed: false,
            rests: Duration::ZERO,
            well: None,
            window: Window::default(),
            health: Health::default(),
            rate,
            queue: Queue::default(),
            in_flight: 0,
            following: 0,
            behind: BTreeSet::new(),
            live_behind: 0,
            reading: BTreeSet::new(),
            probed: None,
            refused: false,
            takes: Duration::ZERO,
        }
    }

    pub(super) fn project(&self) -> Option<&ProjectId> {
        self.entity.as_ref().map(|it| &it.project)
    }

    /// Whether it wants such an event, whenever that was written.
    pub(super) fn wants(&self, event: &UnifiedEvent) -> bool {
        let named = u64::from(event.event.resource as u8) * 3 + u64::from(event.event.action as u8);
        let enabled = |it: &&Arc<entity::Webhook>| it.status == WebhookStatus::Enabled;
        self.events & (1 << named) != 0
            && self.entity.as_ref().filter(enabled).is_some_and(|it| allows(it, event))
    }

    /// Whether it wants any event of a resource.
    pub(super) fn wants_any(&self, resource: Resource) -> bool {
        self.events & (0b111 << (u64::from(resource as u8) * 3)) != 0
    }

    /// Takes in what it is now. What is another URL, secret or header makes it well again.
    pub(super) fn changed(&mut self, entity: Arc<entity::Webhook>, now: Duration) {
        let before = self.entity.replace(entity.clone());
        self.events = selected(&entity);
        if before.is_some_and(|before| is_another(&before, &entity)) {
            self.well = None;
            self.health.forget();
            self.window = Window::default();
            self.takes = Duration::ZERO;
        }
        if self.rate.as_ref().map(Rate::whole) != entity.rate {
            self.rate = entity.rate.map(|rate| Rate::new(rate, now));
        }
    }

    /// Whether it takes one more, of so many bytes.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn room(&self, bytes: usize, now: Duration) -> Result<(), Why> {
        let enabled = |it: &Arc<entity::Webhook>| it.status == WebhookStatus::Enabled;
        if !self.entity.as_ref().is_some_and(enabled) || self.sealed || now < self.rests {
            return Err(Why::Ours);
        }
        if let Some(probe_at) = self.health.probe_at() {
            let probe = now >= probe_at && self.in_flight == 0 && self.queue.is_empty();
            return if probe { Ok(()) } else { Err(Why::Failing) };
        }
        if self.rate.as_ref().is_some_and(|rate| self.queue.len() >= rate.room()) {
            return Err(Why::Rate);
        }
        let full = self.queue.len() >= ITEMS_MOST
            || self.following >= ITEMS_MOST
            || self.queue.bytes() + bytes > BYTES_MOST;
        if full && !self.queue.is_empty() { Err(Why::Slow) } else { Ok(()) }
    }

    /// Whether it takes what the head brings: not while it is behind anywhere, or the oldest would never come.
    pub(super) fn room_at_head(&self, bytes: usize, now: Duration) -> Result<(), Why> {
        self.room(bytes, now)?;
        if self.live_behind == 0 { Ok(()) } else { Err(Why::Slow) }
    }

    /// Whether it is worth reading on for: half of what it takes is free.
    pub(super) fn is_hungry(&self, now: Duration) -> bool {
        let most = self.rate.as_ref().map_or(ITEMS_MOST, |rate| rate.room().min(ITEMS_MOST));
        self.room(0, now).is_ok() && self.queue.len() <= most / 2 && self.queue.bytes() <= BYTES_MOST / 2
    }

    /// How many of its positions are read at a time: one for a probe.
    pub(super) fn reads(&self) -> usize {
        if self.health.probe_at().is_some() { 1 } else { READS_MOST }
    }

    /// Whether one of a kind may go out now.
    pub(super) fn may_start(&self, kind: Kind, now: Duration) -> bool {
        let most = match self.health.probe_at() {
            None => self.window.size(),
            Some(probe_at) if now >= probe_at => 1,
            Some(_) => 0,
        };
        self.queue.has(kind) && self.in_flight < most && !self.sealed && now >= self.rests
    }

    /// How quick it answers.
    pub(super) fn pace(&self) -> Pace {
        if self.takes > QUICK { Pace::Slow } else { Pace::Quick }
    }

    /// An answer took so long, or has taken so long already.
    pub(super) fn took(&mut self, took: Duration) {
        self.takes = (self.takes * 3 + took) / 4;
    }

    /// A request has been under way for longer than a quick answer takes.
    pub(super) fn is_late(&mut self) {
        self.takes = self.takes.max(QUICK + Duration::from_millis(1));
    }
}

/// Whether what is asked is another: the failures of the one before say nothing of it.
pub(super) fn is_another(before: &entity::Webhook, now: &entity::Webhook) -> bool {
    before.url != now.url || before.secrets != now.secrets || before.headers != now.headers
}

fn selected(entity: &entity::Webhook) -> u64 {
    let named = |event: EventName| entity.events.iter().any(|pattern| pattern.selects(event));
    let all = EventName::all().enumerate();
    all.filter(|(_, event)| named(*event)).fold(0, |events, (bit, _)| events | 1 << bit)
}
