//! From records to attempts: one dispatcher for first attempts, one for retries.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::StreamExt;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, time::DelayQueue};
use tributary_schemas::delivery::Delivery;

use super::{
    attempt::{Attempter, Share},
    metrics,
    order::Origin,
    read::Reader,
    settled::Settled,
};
use crate::{
    clock::now,
    kafka::{Assignment, Group, GroupEvent, Incoming},
};

/// How often settled offsets are committed.
const COMMIT: Duration = Duration::from_millis(500);
/// How long a revocation waits for attempts in flight: the group waits for no longer.
const DRAIN: Duration = Duration::from_secs(8);
/// How much longer than an attempt can take the end waits for those in flight, and for what follows them.
const LAST_WORDS: Duration = Duration::from_secs(2);

pub(super) struct Dispatcher {
    group: Group,
    reader: Reader,
    attempter: Arc<Attempter>,
    slots: Arc<Semaphore>,
    unsettled: usize,
    settled: Settled,
    owned: HashMap<Assignment, Tenure>,
    assignments: u64,
    /// Deliveries that are not due yet.
    early: DelayQueue<(Place, Delivery, Origin)>,
    /// How many wait of each partition; a partition that has any is paused.
    held: HashMap<Assignment, usize>,
    tasks: JoinSet<anyhow::Result<Place>>,
}

/// A partition's time with us: what was begun before it went away and came back says nothing about what is read of it now.
struct Tenure {
    /// The number of its assignment.
    assignment: u64,
    /// The partition has gone.
    gone: CancellationToken,
}

/// Which record, read in which assignment, a delivery is of.
#[derive(Debug, Clone)]
struct Place {
    at: Assignment,
    assignment: u64,
    offset: i64,
}

impl Dispatcher {
    pub(super) fn new(
        group: Group,
        reader: Reader,
        attempter: Arc<Attempter>,
        slots: usize,
        unsettled: usize,
    ) -> Self {
        Self {
            group,
            reader,
            attempter,
            slots: Arc::new(Semaphore::new(slots)),
            unsettled,
            settled: Settled::default(),
            owned: HashMap::new(),
            assignments: 0,
            early: DelayQueue::new(),
            held: HashMap::new(),
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
                    let (place, delivery, origin) = due.into_inner();
                    if self.is_current(&place) {
                        self.release(&place.at)?;
                        self.start(place, delivery, origin);
                    }
                }
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.settle(&ended??);
                }
                _ = commit.tick() => self.commit()?,
            }
            ::metrics::gauge!(metrics::UNSETTLED).set(self.settled.open() as f64);
        }
        self.drain(self.attempter.deadline + LAST_WORDS).await?;
        self.group.commit_now(&self.settled.news())
    }

    async fn hear(&mut self, event: GroupEvent) -> anyhow::Result<()> {
        match event {
            GroupEvent::Assigned(assigned) => {
                self.assignments += 1;
                let assignment = self.assignments;
                let tenure = || Tenure { assignment, gone: CancellationToken::new() };
                self.owned.extend(assigned.into_iter().map(|at| (at, tenure())));
            }
            GroupEvent::Revoked(revoked, revocation) => {
                self.drain(DRAIN).await?;
                let news = self.settled.news();
                if let Err(error) = self.group.commit_now(&news) {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "what was settled is delivered again, under the same ids"
                    );
                }
                for at in &revoked {
                    if let Some(tenure) = self.owned.remove(at) {
                        tenure.gone.cancel();
                    }
                    self.settled.forget(at);
                    // Or it would stay paused when it comes back.
                    if self.held.remove(at).is_some() {
                        self.group.resume(at)?;
                    }
                }
                drop(revocation);
            }
            GroupEvent::Record(record) => {
                if let Some(assignment) = self.owned.get(&record.at).map(|it| it.assignment) {
                    self.record(record, assignment).await?;
                }
            }
        }
        Ok(())
    }

    async fn record(&mut self, record: Incoming, assignment: u64) -> anyhow::Result<()> {
        let deliveries = self.reader.read(&record).await?;
        let origin = Origin::of(&record.headers);
        self.settled.read(&record.at, record.offset, deliveries.len());
        for delivery in deliveries {
            let place = Place { at: record.at.clone(), assignment, offset: record.offset };
            let early = delivery.due.since(now());
            if early.is_zero() {
                self.start(place, delivery, origin);
            } else {
                let held = self.held.entry(record.at.clone()).or_default();
                *held += 1;
                if *held == 1 {
                    self.group.pause(&record.at)?;
                }
                self.early.insert((place, delivery, origin), early);
            }
        }
        Ok(())
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

    /// Begins to settle a delivery. It joins its line here, in the order of reading.
    fn start(&mut self, place: Place, delivery: Delivery, origin: Origin) {
        let Some(tenure) = self.owned.get(&place.at) else { return };
        let share = Share { slots: self.slots.clone(), gone: tenure.gone.clone() };
        let order = self.attempter.order(&delivery, origin);
        let attempter = self.attempter.clone();
        self.tasks.spawn(async move {
            attempter.settle(delivery, order, &share).await?;
            Ok(place)
        });
    }

    fn is_current(&self, place: &Place) -> bool {
        self.owned.get(&place.at).is_some_and(|it| it.assignment == place.assignment)
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

    async fn drain(&mut self, at_most: Duration) -> anyhow::Result<()> {
        let end = tokio::time::Instant::now() + at_most;
        while let Ok(Some(ended)) = tokio::time::timeout_at(end, self.tasks.join_next()).await {
            self.settle(&ended??);
        }
        Ok(())
    }
}
