//! From records to attempts: one dispatcher for first attempts, one for retries.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, time::DelayQueue};
use tributary_schemas::{
    codec,
    delivery::Delivery,
    framing::{self, SchemaIds},
    topic::RETRY_DELAYS,
};

use super::{attempt::Attempter, metrics, settled::Settled};
use crate::{
    clock::now,
    kafka::{Assignment, Group, GroupEvent, Incoming},
};

/// How often settled offsets are committed.
const COMMIT: Duration = Duration::from_millis(500);
/// How long a revocation or the end waits for attempts in flight.
const DRAIN: Duration = Duration::from_secs(8);

pub(super) struct Dispatcher {
    group: Group,
    attempter: Arc<Attempter>,
    slots: Arc<Semaphore>,
    unsettled: usize,
    settled: Settled,
    /// Our partitions, each with the number of its assignment: what was begun before a partition went away and came
    /// back says nothing about what is read of it now.
    owned: std::collections::HashMap<Assignment, u64>,
    assignments: u64,
    /// Deliveries that are not due yet.
    early: DelayQueue<(Place, Delivery)>,
    /// How many wait of each partition; a partition that has any is paused.
    held: std::collections::HashMap<Assignment, usize>,
    tasks: JoinSet<anyhow::Result<Place>>,
}

/// Which record, read in which assignment, a delivery is of.
#[derive(Debug, Clone)]
struct Place {
    at: Assignment,
    assignment: u64,
    offset: i64,
}

impl Dispatcher {
    pub(super) fn new(group: Group, attempter: Arc<Attempter>, slots: usize, unsettled: usize) -> Self {
        Self {
            group,
            attempter,
            slots: Arc::new(Semaphore::new(slots)),
            unsettled,
            settled: Settled::default(),
            owned: Default::default(),
            assignments: 0,
            early: DelayQueue::new(),
            held: Default::default(),
            tasks: JoinSet::new(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<GroupEvent>,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut commit = tokio::time::interval(COMMIT);
        loop {
            let room = self.tasks.len() < self.unsettled;
            tokio::select! {
                () = shutdown.cancelled() => break,
                event = events.recv(), if room => match event {
                    Some(event) => self.hear(event).await?,
                    None => anyhow::bail!("the membership of `deliver` has ended"),
                },
                Some(due) = self.early.next(), if !self.early.is_empty() => {
                    let (place, delivery) = due.into_inner();
                    if self.is_current(&place) {
                        self.release(&place.at)?;
                        self.start(place, delivery);
                    }
                }
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.settle(&ended??);
                }
                _ = commit.tick() => self.commit()?,
            }
            ::metrics::gauge!(metrics::UNSETTLED).set(self.settled.open() as f64);
        }
        self.drain().await?;
        self.group.commit_now(&self.settled.news())
    }

    async fn hear(&mut self, event: GroupEvent) -> anyhow::Result<()> {
        match event {
            GroupEvent::Assigned(assigned) => {
                self.assignments += 1;
                self.owned.extend(assigned.into_iter().map(|at| (at, self.assignments)));
            }
            GroupEvent::Revoked(revoked, revocation) => {
                self.drain().await?;
                let news = self.settled.news();
                if let Err(error) = self.group.commit_now(&news) {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "what was settled is delivered again, under the same ids"
                    );
                }
                for at in &revoked {
                    self.owned.remove(at);
                    self.settled.forget(at);
                    self.held.remove(at);
                }
                drop(revocation);
            }
            GroupEvent::Record(record) => {
                if let Some(assignment) = self.owned.get(&record.at).copied() {
                    self.record(record, assignment).await?;
                }
            }
        }
        Ok(())
    }

    async fn record(&mut self, record: Incoming, assignment: u64) -> anyhow::Result<()> {
        let deliveries = match self.read(&record) {
            Ok(deliveries) => deliveries,
            Err(reason) => {
                ::metrics::counter!(metrics::REJECTIONS).increment(1);
                self.attempter.dead(&record, &reason).await?;
                Vec::new()
            }
        };
        self.settled.read(&record.at, record.offset, deliveries.len());
        for delivery in deliveries {
            let place = Place { at: record.at.clone(), assignment, offset: record.offset };
            let early = delivery.due.since(now());
            if early.is_zero() {
                self.start(place, delivery);
            } else {
                let held = self.held.entry(record.at.clone()).or_default();
                *held += 1;
                if *held == 1 {
                    self.group.pause(&record.at)?;
                }
                self.early.insert((place, delivery), early);
            }
        }
        Ok(())
    }

    /// What a record asks for: a delivery for each webhook that wants its event, or the one that it holds.
    fn read(&self, record: &Incoming) -> Result<Vec<Delivery>, String> {
        let payload = record.payload.as_deref().unwrap_or_default();
        if self.attempter.holds_deliveries(&record.at.topic) {
            return codec::decode(payload).map(|delivery| vec![delivery]).map_err(|error| error.to_string());
        }
        let event = framing::decode(payload, SchemaIds::default()).map_err(|error| error.to_string())?;
        let webhooks = self.attempter.wanted_by(&event);
        if webhooks.is_empty() {
            ::metrics::counter!(metrics::UNWANTED).increment(1);
        }
        let due = event.detected_at;
        let delivery = |webhook| Delivery { webhook, event: event.clone(), attempt: 1, due };
        Ok(webhooks.into_iter().map(delivery).collect())
    }

    fn release(&mut self, at: &Assignment) -> anyhow::Result<()> {
        if let Some(held) = self.held.get_mut(at) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(at);
                self.group.resume(at)?;
            }
        }
        Ok(())
    }

    fn start(&mut self, place: Place, delivery: Delivery) {
        let (attempter, slots) = (self.attempter.clone(), self.slots.clone());
        self.tasks.spawn(async move {
            attempter.settle(delivery, &slots).await?;
            Ok(place)
        });
    }

    fn is_current(&self, place: &Place) -> bool {
        self.owned.get(&place.at) == Some(&place.assignment)
    }

    fn settle(&mut self, place: &Place) {
        if self.is_current(place) {
            self.settled.settle(&place.at, place.offset);
        }
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        for (at, next) in self.settled.news() {
            self.group.commit(&at, next)?;
        }
        Ok(())
    }

    async fn drain(&mut self) -> anyhow::Result<()> {
        let end = tokio::time::Instant::now() + DRAIN;
        while let Ok(Some(ended)) = tokio::time::timeout_at(end, self.tasks.join_next()).await {
            self.settle(&ended??);
        }
        Ok(())
    }
}

/// The retry topics' names, for who asks whether a topic is one.
pub(super) fn retry_topics(topics: &tributary_schemas::topic::Topics) -> Vec<String> {
    RETRY_DELAYS.map(|delay| topics.deliver_retry(delay)).into()
}
