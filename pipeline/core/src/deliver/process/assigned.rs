//! Partitions and webhooks come, change and go.

use super::*;
use crate::deliver::{
    guard::{Guard, holds},
    partition::Standing,
};

/// How long before its `enabled_at` a webhook begins: the clocks that are compared are not quite the same.
const MARGIN: Duration = Duration::from_secs(5);

impl Process {
    pub(super) fn changed(&mut self, entity: Arc<entity::Webhook>, seen: Seen, since: Seen, opened: bool) {
        self.saw(seen);
        let id = entity.id.clone();
        self.asked.remove(&id);
        let now = self.now.up;
        self.by_project.entry(entity.project.clone()).or_default().insert(id.clone());
        let before = self.webhook(&id).entity.clone();
        let webhook = self.webhook(&id);
        webhook.changed(entity.clone(), now);
        webhook.sealed = !opened;
        webhook.refused = true;
        if !opened {
            self.put_back(&id, Why::Ours);
        }
        let was_enabled = before.as_ref().is_some_and(|it| it.status == entity::WebhookStatus::Enabled);
        let same = before.as_ref().is_some_and(|it| it.enabled_at == entity.enabled_at);
        self.since.insert(id.clone(), since);
        if !webhook_is_enabled(&entity) {
            self.let_go_of_events(&id);
            self.skip_all(&id, Some(entity.updated_at));
        } else if !(was_enabled && same) {
            let open = self.tenures.values().filter(|it| it.standing == Standing::Open);
            let later = |it: &&Tenure| is_later(since, it.owned_view.as_ref());
            let open: Vec<(TenureId, LogKind)> = open.filter(later).map(|it| (it.id, it.kind)).collect();
            for (tenure, kind) in open {
                if self.begins_in(&id, kind) {
                    self.begin(tenure, &entity, since);
                }
            }
        } else if before.is_some_and(|it| filters(&it) != filters(&entity)) {
            self.filters_changed(&id);
        }
        self.enlist(&id);
    }

    /// The store is never behind: what it does not know is gone, and what is disabled there is.
    pub(super) fn answered(&mut self, id: &WebhookId, version: Option<Version>) {
        self.asked.remove(id);
        let known = self.webhooks.get(id).and_then(|it| it.entity.clone());
        match (version, known) {
            (None, _) => self.gone(id),
            (Some(version), Some(known)) if known.version >= version && !webhook_is_enabled(&known) => {
                self.let_go(id);
            }
            // The view will have it.
            (Some(_), _) => {}
        }
    }

    pub(super) fn gone(&mut self, id: &WebhookId) {
        self.asked.remove(id);
        self.since.remove(id);
        self.let_go(id);
        self.skip_all(id, None);
        if let Some(webhook) = self.webhooks.get_mut(id)
            && let Some(entity) = webhook.entity.take()
            && let Some(ours) = self.by_project.get_mut(&entity.project)
        {
            ours.remove(id);
            if ours.is_empty() {
                self.by_project.remove(&entity.project);
            }
        }
        self.forget(id);
    }

    pub(super) fn saw(&mut self, (partition, offset): Seen) {
        let next = self.view.entry(partition).or_default();
        *next = (*next).max(offset + 1);
        let waiting = self.tenures.values().filter(|it| it.standing == Standing::Waiting);
        for tenure in waiting.map(|it| it.id).collect::<Vec<_>>() {
            self.open_if_seen(tenure);
        }
    }

    /// The webhook is disabled, as far as the view tells: it wants nothing of the events that it has missed. Deliveries may
    /// tell of a later version: the store is asked.
    fn let_go_of_events(&mut self, id: &WebhookId) {
        let reader = Reader::live(id);
        let deliveries = |it: &&Tenure| it.kind == LogKind::Deliveries && it.entries.contains_key(&reader);
        let waits = self.tenures.values().find(deliveries).is_some();
        let events = self.tenures.values().filter(|it| it.kind != LogKind::Deliveries);
        for tenure in events.map(|it| it.id).collect::<Vec<_>>() {
            self.let_go_in(id, tenure);
        }
        if waits {
            self.ask(id);
        }
    }

    /// The webhook wants nothing of what it has missed.
    fn let_go(&mut self, id: &WebhookId) {
        for tenure in self.tenures.keys().copied().collect::<Vec<_>>() {
            self.let_go_in(id, tenure);
        }
    }

    fn let_go_in(&mut self, id: &WebhookId, tenure: TenureId) {
        {
            let Some(held) = self.tenures.get(&tenure) else { return };
            let next = held.next;
            let of = |it: &&Reader| it.webhook == *id;
            let readers: Vec<Reader> = held.entries.keys().filter(of).cloned().collect();
            for reader in readers {
                self.unboard(tenure, &reader);
                self.position(tenure, &reader, |position| position.let_go(next));
            }
        }
    }

    /// Nothing that waits is sent. A delivery of an event that came after the disabling proves that the webhook was enabled
    /// again and the view lags: it waits for that.
    fn skip_all(&mut self, id: &WebhookId, disabled: Option<Timestamp>) {
        let mut waits = Vec::new();
        for mut queued in self.webhooks.get_mut(id).map(|it| it.queue.clear()).unwrap_or_default() {
            self.memory -= queued.record.bytes;
            let of_deliveries = |it: &Tenure| it.kind == LogKind::Deliveries;
            if disabled.is_some_and(|at| queued.record.appended > at)
                && self.tenures.get(&queued.tenure).is_some_and(of_deliveries)
            {
                waits.push((queued.tenure, queued.reader));
                continue;
            }
            // It leaves no line: who holds that is out.
            queued.line = None;
            self.skip(queued, Fit::Disabled);
        }
        for (tenure, reader) in waits {
            let Some(next) = self.tenures.get(&tenure).map(|it| it.next) else { continue };
            let since = self.now.wall;
            self.unboard(tenure, &reader);
            self.position(tenure, &reader, |position| position.put_back(Why::Ours, since, next));
            self.ask(id);
        }
    }

    fn filters_changed(&mut self, id: &WebhookId) {
        let reader = Reader::live(id);
        for held in self.tenures.values_mut() {
            let next = held.next;
            if let Some(entry) = held.entries.get_mut(&reader) {
                entry.position.wants_otherwise(next);
            }
        }
    }

    /// The webhook begins in a partition: behind, from where it was enabled.
    fn begin(&mut self, tenure: TenureId, entity: &entity::Webhook, since: Seen) {
        if !holds(Guard::BeginBehind) {
            return;
        }
        let reader = Reader::live(&entity.id);
        let wall = self.now.wall;
        self.unboard(tenure, &reader);
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        let next = held.next;
        let position = match held.entries.remove(&reader) {
            None => Position::beginning(Why::Begins, wall, next),
            Some(mut entry) => {
                entry.position.begin_again(wall, next);
                let position = entry.position.clone();
                held.entries.insert(reader.clone(), entry);
                position
            }
        };
        held.put(&reader, position, Some(since));
        // What waited of this partition is read again.
        let webhook = self.webhook(&entity.id);
        let mut freed = 0;
        for queued in webhook.queue.clear() {
            if queued.tenure == tenure && queued.reader == reader {
                freed += queued.record.bytes;
            } else {
                webhook.queue.push(queued);
            }
        }
        self.memory -= freed;
        self.book(tenure, &reader);
        let at = entity.enabled_at.minus(MARGIN);
        self.out.push(Output::Lookup { tenure, reader, at, next });
    }

    pub(super) fn found(
        &mut self,
        tenure: TenureId,
        reader: &Reader,
        at: Timestamp,
        offset: Option<i64>,
        asked_at: i64,
    ) {
        let stale = |it: &entity::Webhook| it.enabled_at.minus(MARGIN) != at;
        let webhook = self.webhooks.get(&reader.webhook).and_then(|it| it.entity.as_deref());
        if webhook.is_none_or(stale) {
            return;
        }
        let Some(held) = self.tenures.get(&tenure) else { return };
        let next = held.next;
        // Where nothing was found, all that the head had not read then is later.
        let read = offset.unwrap_or(asked_at);
        self.position(tenure, reader, |position| {
            if position.is_beginning() {
                position.found(read, None);
                if read >= next {
                    position.cross(read, next);
                }
            }
        });
        self.webhook(&reader.webhook).refused = true;
        self.read_on(&reader.webhook);
    }

    pub(super) fn assigned(&mut self, tenure: TenureId, kind: LogKind) {
        self.tenures.insert(tenure, Tenure::new(tenure, kind));
        self.out.push(Output::Claim(tenure));
    }

    pub(super) fn owned(
        &mut self,
        tenure: TenureId,
        next: i64,
        view: Option<ViewPosition>,
        rows: Vec<(Reader, Row)>,
    ) {
        let Some(held) = self.tenures.get_mut(&tenure).filter(|it| it.standing == Standing::Claiming) else {
            return;
        };
        held.standing = Standing::Waiting;
        (held.next, held.committed, held.committed_at) = (next, next, self.now.up);
        held.committed_view = view.clone().unwrap_or_default();
        held.owned_view = view;
        let kind = held.kind;
        for (reader, row) in rows {
            let position = Position::stored(row.from, row.until, row.facts, next);
            let Some(held) = self.tenures.get_mut(&tenure) else { return };
            held.put(&reader, position, None);
            self.book(tenure, &reader);
            let known = self.webhooks.get(&reader.webhook).and_then(|it| it.entity.clone());
            match known {
                Some(entity) if !webhook_is_enabled(&entity) && kind == LogKind::Deliveries => {
                    self.ask(&reader.webhook);
                }
                Some(entity) if !webhook_is_enabled(&entity) => {
                    self.position(tenure, &reader, |position| position.let_go(next));
                }
                Some(_) => self.webhook(&reader.webhook).refused = true,
                None => self.ask(&reader.webhook),
            }
        }
        self.open_if_seen(tenure);
    }

    /// Begins to read a partition once the view has read what the last owner's had: before that, webhooks would be passed
    /// over that are not known yet.
    fn open_if_seen(&mut self, tenure: TenureId) {
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        let seen = |view: &ViewPosition| {
            view.iter().all(|(partition, next)| self.view.get(partition).is_some_and(|it| it >= next))
        };
        if held.standing != Standing::Waiting || !held.owned_view.as_ref().is_none_or(seen) {
            return;
        }
        held.standing = Standing::Open;
        let (next, kind, view) = (held.next, held.kind, held.owned_view.clone());
        if let Some(view) = view {
            // Whoever was enabled after what the last owner had read begins now.
            let later = self.since.iter().filter(|(_, seen)| is_later(**seen, Some(&view)));
            let later: Vec<(WebhookId, Seen)> = later.map(|(id, seen)| (id.clone(), *seen)).collect();
            for (id, since) in later {
                let Some(entity) = self.webhooks.get(&id).and_then(|it| it.entity.clone()) else { continue };
                if webhook_is_enabled(&entity) && self.begins_in(&id, kind) {
                    self.begin(tenure, &entity, since);
                }
            }
        }
        self.out.push(Output::Read { tenure, from: next });
    }

    /// Whether a webhook begins in such a log: what is asked for and what is tried again comes after its beginning by itself.
    fn begins_in(&self, id: &WebhookId, kind: LogKind) -> bool {
        match kind {
            LogKind::Deliveries => false,
            LogKind::Events(resource) => self.webhooks.get(id).is_some_and(|it| it.wants_any(resource)),
        }
    }

    /// Asks for a webhook that the view lacks, once.
    pub(super) fn ask(&mut self, id: &WebhookId) {
        if self.asked.insert(id.clone()) {
            self.out.push(Output::Ask(id.clone()));
        }
    }

    pub(super) fn leave(&mut self, tenure: TenureId) {
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        if held.standing != Standing::Open {
            // It was never read: there is nothing to say of it.
            self.out.push(Output::Released(tenure));
            self.lost(tenure);
            return;
        }
        held.standing = Standing::Leaving;
        held.left = Some(self.view.clone());
        self.drop_sweeps(tenure);
        self.drop_queued(tenure);
        self.release_if_done(tenure);
    }

    pub(super) fn release_if_done(&mut self, tenure: TenureId) {
        let Some(held) = self.tenures.get(&tenure) else { return };
        if held.standing == Standing::Leaving && !held.is_trying() {
            self.commit(tenure, Duration::ZERO);
            self.out.push(Output::Released(tenure));
            self.remove(tenure);
        }
    }

    pub(super) fn lost(&mut self, tenure: TenureId) {
        if self.tenures.contains_key(&tenure) {
            self.drop_sweeps(tenure);
            self.drop_queued(tenure);
            self.remove(tenure);
        }
    }

    fn drop_sweeps(&mut self, tenure: TenureId) {
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        held.ready.clear();
        for sweep in std::mem::take(&mut held.sweeps) {
            self.out.push(Output::Stop { tenure, sweep: sweep.id });
        }
    }

    /// What waits of a partition is the next owner's.
    fn drop_queued(&mut self, tenure: TenureId) {
        for webhook in self.webhooks.values_mut() {
            let mut keep = Vec::new();
            for queued in webhook.queue.clear() {
                if queued.tenure == tenure {
                    self.memory -= queued.record.bytes;
                } else {
                    keep.push(queued);
                }
            }
            for queued in keep {
                webhook.queue.push(queued);
            }
        }
    }

    fn remove(&mut self, tenure: TenureId) {
        let Some(held) = self.tenures.remove(&tenure) else { return };
        for (reader, entry) in held.entries {
            let Some(webhook) = self.webhooks.get_mut(&reader.webhook) else { continue };
            if let Some(place) = entry.place {
                webhook.behind.remove(&place);
                webhook.live_behind -= usize::from(reader.replay.is_none());
            }
            webhook.reading.remove(&(tenure, reader.replay.clone()));
            webhook.refused = true;
        }
    }

    /// A webhook that is not known and has nothing under way leaves nothing.
    pub(super) fn forget(&mut self, id: &WebhookId) {
        let over = |it: &Webhook| {
            it.entity.is_none()
                && it.queue.is_empty()
                && it.in_flight == 0
                && it.following == 0
                && it.behind.is_empty()
        };
        if self.webhooks.get(id).is_some_and(over) && !self.asked.contains(id) {
            self.webhooks.remove(id);
        }
    }

    pub(super) fn claims(&mut self, id: &WebhookId, claims: u32) {
        let now = self.now.up;
        if let Some(rate) = self.webhooks.get_mut(id).and_then(|it| it.rate.as_mut()) {
            rate.shared(claims, now);
        }
    }
}

fn webhook_is_enabled(entity: &entity::Webhook) -> bool {
    entity.status == entity::WebhookStatus::Enabled
}

/// Whether a record was not among what an owner's view had read.
fn is_later((partition, offset): Seen, view: Option<&ViewPosition>) -> bool {
    view.and_then(|it| it.get(&partition)).is_none_or(|next| offset >= *next)
}

/// What decides which events a webhook wants.
fn filters(entity: &entity::Webhook) -> impl PartialEq + '_ {
    (&entity.events, &entity.providers, &entity.accounts, &entity.origin_owner_id, &entity.modes)
}
