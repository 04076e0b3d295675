//! Attempts, and what follows them.

use super::*;
use crate::deliver::{
    guard::{Guard, holds},
    health::Turn,
    interest::fits,
    retry,
    window::QUICK,
};

/// How long a webhook is not asked after a fault of ours.
const REST: Duration = Duration::from_secs(5);

impl Process {
    /// The webhook stands in line for a slot, if it has anything to send.
    pub(super) fn enlist(&mut self, id: &WebhookId) {
        let now = self.now.up;
        let Some(webhook) = self.webhooks.get(id) else { return };
        let Some(project) = webhook.project().cloned() else { return };
        let pace = webhook.pace();
        for kind in Kind::ALL {
            if self.webhooks.get(id).is_some_and(|it| it.may_start(kind, now)) {
                self.slots(kind).wait(pace, &project, id);
            }
        }
    }

    /// Gives slots to whose turn it is, and reads on for those that have room.
    pub(super) fn pump(&mut self) {
        loop {
            let mut begun = false;
            for kind in Kind::ALL {
                for pace in [Pace::Quick, Pace::Slow] {
                    while let Some((project, id)) = self.slots(kind).next(pace) {
                        begun |= self.start(kind, pace, &project, &id);
                    }
                }
            }
            if !begun {
                break;
            }
        }
        self.begin_sweeps();
    }

    /// Begins the webhook's next attempt; gives whether anything of it has gone on.
    fn start(&mut self, kind: Kind, pace: Pace, project: &ProjectId, id: &WebhookId) -> bool {
        let now = self.now.up;
        let Some(webhook) = self.webhooks.get_mut(id) else { return false };
        if !webhook.may_start(kind, now) {
            return false;
        }
        if webhook.pace() != pace {
            // It has become slower, or quicker, while it stood in line.
            self.enlist(id);
            return true;
        }
        let Some(queued) = webhook.queue.pop(kind) else { return false };
        self.memory -= queued.record.bytes;
        let stays = self.tenures.contains_key(&queued.tenure);
        let Some(webhook) = self.webhooks.get_mut(id) else { return false };
        if !stays {
            webhook.queue.leave(&queued);
            self.enlist(id);
            return true;
        }
        let Some(entity) = webhook.entity.clone() else { return false };
        let as_it_is = holds(Guard::SentAsItIsNow);
        let record = &queued.record;
        let fit = match as_it_is {
            true => fits(&entity, &record.event, record.appended, record.cause),
            false => Fit::Sent,
        };
        if fit != Fit::Sent {
            self.skip(queued, fit);
            self.enlist(id);
            self.read_on(id);
            return true;
        }
        let allowed = webhook.rate.as_mut().is_none_or(|rate| rate.take(now));
        if !allowed {
            let next = webhook.rate.as_mut().map_or(now, |rate| rate.next(now));
            self.memory += queued.record.bytes;
            webhook.queue.unpop(queued);
            self.wakes.insert((next, id.clone()));
            return false;
        }
        let entity = if as_it_is { entity } else { queued.then.clone().unwrap_or(entity) };
        let probe = webhook.health.probe_at().is_some();
        webhook.in_flight += 1;
        self.slots(kind).take(pace, project);
        let attempt = AttemptId(self.next_id());
        let offset = queued.record.offset;
        self.position(queued.tenure, &queued.reader.clone(), |position| position.begun(offset));
        self.young.push_back((now, attempt));
        self.attempts.insert(
            attempt,
            Attempt {
                queued: queued.clone(),
                webhook: Some(entity.clone()),
                project: Some(project.clone()),
                begun: now,
                kind,
                slot: Some(pace),
                probe,
            },
        );
        self.out.push(Output::Start(Start { attempt, webhook: entity, queued }));
        self.enlist(id);
        self.read_on(id);
        true
    }

    /// What does not fit is not sent, and logged as such.
    pub(super) fn skip(&mut self, queued: Queued, fit: Fit) {
        let attempt = AttemptId(self.next_id());
        let id = queued.reader.webhook.clone();
        let (tenure, reader, offset) = (queued.tenure, queued.reader.clone(), queued.record.offset);
        let webhook = self.webhook(&id);
        webhook.following += 1;
        let entity = webhook.entity.clone();
        self.position(tenure, &reader, |position| position.skips(offset));
        let kind = Kind::of(&queued.record);
        let (webhook, project) = (entity.clone(), None);
        let begun = self.now.up;
        let made =
            Attempt { queued: queued.clone(), webhook, project, begun, kind, slot: None, probe: false };
        self.attempts.insert(attempt, made);
        self.out.push(Output::Follow { attempt, queued, webhook: entity, what: Follow::Skipped(fit) });
        if !holds(Guard::AttemptsBeforeCommit) {
            self.position(tenure, &reader, |position| position.skipped(offset));
        }
    }

    pub(super) fn ended(&mut self, attempt: AttemptId, ended: Ended, jitter: f64) {
        let now = self.now.up;
        let Some(made) = self.attempts.get_mut(&attempt) else { return };
        let (Some(pace), Some(project)) = (made.slot.take(), made.project.clone()) else { return };
        let (kind, begun, probe) = (made.kind, made.begun, made.probe);
        let (queued, entity) = (made.queued.clone(), made.webhook.clone());
        self.slots(kind).give(pace, &project);
        let verdict = retry::after(queued.record.attempt, &ended, jitter);
        let id = queued.reader.webhook.clone();
        if verdict == Verdict::Again {
            self.again(attempt, &queued, &ended);
            return;
        }
        let took = now.saturating_sub(begun);
        let webhook = self.webhook(&id);
        let in_flight = webhook.in_flight;
        webhook.in_flight = webhook.in_flight.saturating_sub(1);
        webhook.refused = true;
        // What was no attempt says nothing of the webhook.
        if !matches!(verdict, Verdict::Behind { .. } | Verdict::SetAside) {
            self.learn(&id, &ended, verdict, took, begun, in_flight);
        }
        if probe && verdict != Verdict::Delivered && !holds(Guard::ProbeIsAnAttempt) {
            // Without the guard: the same event is the next probe.
            self.attempts.remove(&attempt);
            let (tenure, reader, offset) = (queued.tenure, queued.reader.clone(), queued.record.offset);
            self.webhook(&id).queue.leave(&queued);
            self.position(tenure, &reader, |position| position.again(offset));
            let (wall, next) = (self.now.wall, self.tenures.get(&tenure).map_or(0, |it| it.next));
            self.position(tenure, &reader, |position| position.put_back(Why::Failing, wall, next));
            return;
        }
        if verdict == Verdict::Gone
            && let Some(entity) = &entity
        {
            self.out.push(Output::Disable(entity.clone()));
        }
        self.webhook(&id).following += 1;
        let (tenure, reader, offset) = (queued.tenure, queued.reader.clone(), queued.record.offset);
        let what = Follow::Tried { ended, verdict };
        self.out.push(Output::Follow { attempt, queued, webhook: entity, what });
        if !holds(Guard::AttemptsBeforeCommit) {
            self.settle(tenure, &reader, offset);
        }
        self.enlist(&id);
        self.read_on(&id);
    }

    /// What an attempt that was made says of its webhook.
    fn learn(
        &mut self,
        id: &WebhookId,
        ended: &Ended,
        verdict: Verdict,
        took: Duration,
        begun: Duration,
        in_flight: usize,
    ) {
        let now = self.now.up;
        let webhook = self.webhook(id);
        webhook.took(took);
        let well = verdict == Verdict::Delivered;
        let turn = if well {
            webhook.window.answered(took, in_flight);
            webhook.health.succeeded(now)
        } else {
            if *ended == Ended::TimedOut {
                webhook.window.timed_out(begun, now);
            }
            webhook.health.failed(begun, now)
        };
        let turned = webhook.well.replace(well) != Some(well);
        match turn {
            Turn::None => {}
            Turn::Well => webhook.window = Default::default(),
            Turn::Failing => {
                self.put_back(id, Why::Failing);
                self.out.push(Output::Failing(id.clone()));
            }
        }
        if let Some(at) = self.webhooks.get(id).and_then(|it| it.health.probe_at()) {
            self.wakes.insert((at, id.clone()));
        }
        if turned {
            self.out.push(Output::Turned { webhook: id.clone(), well });
        }
    }

    /// It is read again, after a while if the fault is ours; or by another, if the partition is that one's.
    fn again(&mut self, attempt: AttemptId, queued: &Queued, ended: &Ended) {
        let now = self.now;
        self.attempts.remove(&attempt);
        let id = queued.reader.webhook.clone();
        let webhook = self.webhook(&id);
        webhook.in_flight = webhook.in_flight.saturating_sub(1);
        webhook.refused = true;
        webhook.queue.leave(queued);
        if *ended == Ended::Ours {
            webhook.rests = now.up + REST;
            self.wakes.insert((now.up + REST, id.clone()));
            self.put_back(&id, Why::Ours);
        }
        let (tenure, reader, offset) = (queued.tenure, queued.reader.clone(), queued.record.offset);
        let next = self.tenures.get(&tenure).map_or(0, |it| it.next);
        self.unboard(tenure, &reader);
        self.position(tenure, &reader, |position| {
            position.again(offset);
            position.put_back(Why::Ours, now.wall, next);
        });
        self.read_on(&id);
        self.enlist(&id);
        self.release_if_done(tenure);
        self.forget(&id);
    }

    pub(super) fn followed(&mut self, attempt: AttemptId) {
        let Some(made) = self.attempts.remove(&attempt) else { return };
        let queued = made.queued;
        let id = queued.reader.webhook.clone();
        let webhook = self.webhook(&id);
        webhook.following = webhook.following.saturating_sub(1);
        webhook.queue.leave(&queued);
        let offset = queued.record.offset;
        // What was not even asked was skipped.
        if made.project.is_some() {
            self.settle(queued.tenure, &queued.reader, offset);
        } else {
            self.position(queued.tenure, &queued.reader, |position| position.skipped(offset));
        }
        self.enlist(&id);
        self.read_on(&id);
        self.release_if_done(queued.tenure);
        self.forget(&id);
    }

    fn settle(&mut self, tenure: TenureId, reader: &Reader, offset: i64) {
        self.position(tenure, reader, |position| position.settled(offset));
    }

    /// Attempts that have been under way for long are slow; webhooks whose time has come are looked at again.
    pub(super) fn look_at_times(&mut self) {
        let now = self.now.up;
        while let Some((begun, attempt)) = self.young.front().copied()
            && now >= begun + QUICK
        {
            self.young.pop_front();
            let Some(made) = self.attempts.get_mut(&attempt) else { continue };
            if made.slot != Some(Pace::Quick) {
                continue;
            }
            made.slot = Some(Pace::Slow);
            let (kind, project) = (made.kind, made.project.clone());
            let id = made.queued.reader.webhook.clone();
            if let Some(project) = project {
                self.slots(kind).turned_slow(&project);
            }
            self.webhook(&id).is_late();
        }
        while let Some((at, id)) = self.wakes.first().cloned()
            && now >= at
        {
            self.wakes.pop_first();
            if let Some(webhook) = self.webhooks.get_mut(&id) {
                webhook.refused = true;
            }
            self.enlist(&id);
            self.read_on(&id);
        }
    }
}
