//! A lane: reads, decides, commits, applies, in this order, for its share of the partitions.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::Serialize;
use tributary_core::{
    cells::{Cells, Want},
    lane::{Dead, Gathering, Given, Ledger, Plan, Received, Waiting, plan},
};
use tributary_schemas::{
    codec, framing,
    wal::{InputPosition, Mutation, Twin},
};

use super::{
    Shared, input, metrics, now,
    recovery::recover,
    router::{Order, Router},
};
use crate::kafka::{
    Flow, LogReader, NextOffset, Outgoing, TransactionError, Transactional, TwinMessage, Twins,
};

/// An idle lane commits what has been applied within this.
const IDLE_COMMIT: Duration = Duration::from_secs(30);
/// WAL records of a partition that may be unapplied before the lane waits for the store.
const LAG_MOST: usize = 20_000;

pub(super) struct Lane {
    name: String,
    number: usize,
    shared: Arc<Shared>,
    twins: Arc<Twins>,
    router: Arc<Router>,
    ledgers: BTreeMap<i32, Ledger>,
    gathering: Gathering<TwinMessage>,
    /// Messages that can't be produced, found by a failed transaction.
    too_large: Vec<InputPosition>,
    committed_at: Instant,
}

/// What `unify.dead` holds.
#[derive(Serialize)]
struct DeadLetter<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    reason: &'static str,
    detail: &'a str,
}

enum Next {
    GoOn,
    End,
}

impl Lane {
    pub(super) fn new(
        name: String,
        shared: Arc<Shared>,
        twins: Arc<Twins>,
        router: Arc<Router>,
        number: usize,
    ) -> Self {
        let gathering = Gathering::new(shared.limits);
        let committed_at = Instant::now();
        let (ledgers, too_large) = (BTreeMap::new(), Vec::new());
        Self { name, number, shared, twins, router, ledgers, gathering, too_large, committed_at }
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self, orders: &mpsc::Receiver<Order>) -> anyhow::Result<()> {
        let mut producer =
            Transactional::new(&self.shared.cluster, &self.name).context("making the producer")?;
        let wal = LogReader::new(&self.shared.cluster, "unify", self.shared.cluster.topics().unify_wal())?;
        loop {
            let wait = match self.gathering.waiting(now()) {
                Waiting::ForInput => Duration::from_secs(1),
                Waiting::Until(until) => until.since(now()),
                Waiting::Ready if self.has_room() => Duration::ZERO,
                // What the store has taken is told.
                Waiting::Ready => Duration::from_secs(1),
            };
            match orders.recv_timeout(wait) {
                Ok(order) => {
                    if let Next::End = self.obey(order, &wal)? {
                        return Ok(());
                    }
                    // What else is there, before time is spent on a batch.
                    while let Ok(order) = orders.try_recv() {
                        if let Next::End = self.obey(order, &wal)? {
                            return Ok(());
                        }
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if self.gathering.waiting(now()) == Waiting::Ready && self.has_room() {
                self.batch(&mut producer)?;
            }
            if self.committed_at.elapsed() > IDLE_COMMIT && self.ledgers.values().any(Ledger::has_news) {
                self.commit_news(&mut producer, &wal)?;
            }
        }
    }

    fn has_room(&self) -> bool {
        self.ledgers.values().all(|ledger| ledger.lag() < LAG_MOST)
    }

    fn obey(&mut self, order: Order, wal: &LogReader) -> anyhow::Result<Next> {
        match order {
            Order::Message(received) => {
                let ours = self
                    .ledgers
                    .get(&received.position.partition)
                    .is_some_and(|ledger| ledger.accepts(received.position, received.epoch));
                if ours {
                    self.gathering.push(received, now());
                } else {
                    self.router.took(self.number, 1);
                }
            }
            Order::Assigned { partition, epoch } => self.recover(wal, partition, epoch)?,
            Order::Revoked { partitions, done } => {
                for partition in partitions {
                    self.drop_partition(partition);
                }
                // The one who waits may have given up.
                let _ = done.send(());
            }
            Order::Applied { partition, epoch, offsets, outcome } => {
                outcome.with_context(|| format!("applying what was committed of partition {partition}"))?;
                if let Some(ledger) =
                    self.ledgers.get_mut(&partition).filter(|ledger| ledger.epoch() == epoch)
                {
                    ledger.applied(&offsets);
                }
            }
            Order::Stop => return Ok(Next::End),
        }
        Ok(Next::GoOn)
    }

    fn recover(&mut self, wal: &LogReader, partition: i32, epoch: u64) -> anyhow::Result<()> {
        let still_ours = || self.router.is_ours(partition, epoch);
        let Some(recovered) = recover(&self.shared, &self.twins, wal, partition, still_ours)? else {
            return Ok(());
        };
        self.ledgers.insert(partition, Ledger::new(partition, epoch, recovered));
        ::metrics::gauge!(metrics::PARTITIONS).increment(1.0);
        if let Err(error) = self.twins.begin(partition, recovered.native, recovered.snapshots) {
            // It was taken from us meanwhile: the revocation is on its way.
            tracing::info!(partition, error = format!("{error:#}"), "not beginning a partition");
            self.drop_partition(partition);
            return Ok(());
        }
        if self.router.flow(self.number) == Flow::Held {
            self.twins.flow(&[partition], Flow::Held)?;
        }
        Ok(())
    }

    fn drop_partition(&mut self, partition: i32) {
        let before = self.gathering.len();
        self.gathering.forget(partition);
        self.router.took(self.number, before - self.gathering.len());
        if self.ledgers.remove(&partition).is_some() {
            ::metrics::gauge!(metrics::PARTITIONS).decrement(1.0);
        }
    }

    /// Takes a batch, decides it and commits it.
    fn batch(&mut self, producer: &mut Transactional) -> anyhow::Result<()> {
        let batch = self.gathering.take(now());
        ::metrics::histogram!(metrics::BATCH).record(batch.len() as f64);
        let taken = batch.len();
        let mut plans = Vec::new();
        for (partition, messages) in by_partition(&batch) {
            plans.push((partition, self.decide(partition, messages)?));
        }
        match self.commit(producer, &plans, &batch)? {
            Outcome::Committed(offsets) => {
                self.router.took(self.number, taken);
                self.too_large.clear();
                self.told(&plans);
                self.apply(plans, &offsets);
            }
            Outcome::Aborted => self.gathering.put_back(batch, now()),
            Outcome::TooLarge(position) => {
                self.too_large.push(position);
                self.gathering.put_back(batch, now());
            }
            Outcome::Unknown => {
                self.router.took(self.number, taken);
                self.start_over(producer)?;
            }
        }
        Ok(())
    }

    /// Commits what has been applied, also of partitions to which nothing comes any more.
    fn commit_news(&mut self, producer: &mut Transactional, wal: &LogReader) -> anyhow::Result<()> {
        self.committed_at = Instant::now();
        for ledger in self.ledgers.values_mut().filter(|ledger| ledger.has_news() && ledger.lag() == 0) {
            // Nothing of ours is open or unapplied: what else is there are markers and what was aborted. Left out, they
            // would look like a loss once the log begins after them.
            match wal.bounds(ledger.partition()) {
                Ok((_, end)) => ledger.nothing_below(end),
                Err(error) => tracing::info!(error = format!("{error:#}"), "asking for the end of unify.wal"),
            }
        }
        let news = self.ledgers.values().filter(|ledger| ledger.has_news());
        let plans: Vec<(i32, Plan)> = news
            .map(|ledger| (ledger.partition(), plan(ledger, Vec::new(), &mut Cells::default(), now())))
            .collect();
        match self.commit(producer, &plans, &[])? {
            Outcome::Committed(offsets) => self.apply(plans, &offsets),
            Outcome::Aborted | Outcome::TooLarge(_) => {}
            Outcome::Unknown => self.start_over(producer)?,
        }
        Ok(())
    }

    /// Reads what the messages of a partition want, and decides them.
    fn decide(&self, partition: i32, messages: Vec<&Received<TwinMessage>>) -> anyhow::Result<Plan> {
        let ledger = self.ledgers.get(&partition).context("a message of a partition that is not held")?;
        let given: Vec<Given> = messages.into_iter().map(|received| self.given(received)).collect();
        let begun = Instant::now();
        // Captured before the reads are sent: an answer can't miss what was dropped from the overlay meanwhile.
        let mut known = ledger.overlay().clone();
        let inputs = || given.iter().filter_map(|given| given.input.as_ref().ok());
        self.read(&mut known, inputs().flat_map(|input| input.first_wants()).collect())?;
        let then = inputs().flat_map(|input| input.then_wants(&known)).collect();
        self.read(&mut known, then)?;
        let read = Instant::now();
        phase("read", read - begun);
        let plan = plan(ledger, given, &mut known, now());
        phase("decide", read.elapsed());
        Ok(plan)
    }

    fn given(&self, received: &Received<TwinMessage>) -> Given {
        let position = received.position;
        let input = if self.too_large.contains(&position) {
            Err(Dead { reason: "too_large", detail: "an event of it is larger than its topic takes".into() })
        } else {
            input::read(&self.shared.catalog, position.twin, &received.message.payload)
        };
        Given { position, input }
    }

    fn read(&self, known: &mut Cells, mut wants: Vec<Want>) -> anyhow::Result<()> {
        let mut seen = std::collections::HashSet::new();
        wants.retain(|want| seen.insert(want.clone()));
        if wants.is_empty() {
            return Ok(());
        }
        let cells = self.shared.runtime.block_on(self.shared.state.read(&wants)).context("reading state")?;
        cells.into_iter().for_each(|cell| known.absorb(cell));
        Ok(())
    }

    /// One Kafka transaction: events, WAL records, dead letters, and the offsets of both twins of every partition.
    fn commit(
        &self,
        producer: &Transactional,
        plans: &[(i32, Plan)],
        batch: &[Received<TwinMessage>],
    ) -> anyhow::Result<Outcome> {
        let mut records = Vec::new();
        let mut wal_records = Vec::new();
        let mut positions = Vec::new();
        let mut offsets = Vec::new();
        let topics = self.shared.cluster.topics();
        for (partition, plan) in plans {
            for step in &plan.steps {
                for event in &step.events {
                    positions.push(step.wal.input);
                    records.push(Outgoing {
                        topic: topics.unified(event.event.resource, &event.project),
                        partition: None,
                        key: event.account.as_str().as_bytes().to_vec().into(),
                        payload: Some(framing::encode(event, self.shared.schemas)?.into()),
                        headers: framing::headers(event),
                    });
                }
                if let Some(dead) = &step.dead {
                    positions.push(step.wal.input);
                    let dead_message = batch.iter().find(|received| received.position == step.wal.input);
                    let account = dead_message.map(|received| received.message.key.clone());
                    records.push(self.dead_letter(step.wal.input, account.unwrap_or_default(), dead)?);
                }
                positions.push(step.wal.input);
                wal_records.push(records.len());
                records.push(Outgoing {
                    topic: topics.unify_wal(),
                    partition: Some(*partition),
                    payload: Some(codec::encode(&step.wal).into()),
                    ..Outgoing::default()
                });
            }
            let metadata = plan.metadata.to_text();
            for (topic, offset) in
                [(topics.ingest_native(), plan.next.0), (topics.poll_snapshots(), plan.next.1)]
            {
                offsets.push(NextOffset { topic, partition: *partition, offset, metadata: metadata.clone() });
            }
        }
        let member = self.twins.member()?;
        let begun = Instant::now();
        self.router.begun(self.number);
        let result = producer.run(&records, &offsets, &member);
        self.router.ended(self.number);
        phase("commit", begun.elapsed());
        let count = |outcome: &'static str| {
            ::metrics::counter!(metrics::TRANSACTIONS, "outcome" => outcome).increment(1)
        };
        match result {
            Ok(written) => {
                count("committed");
                Ok(Outcome::Committed(wal_records.into_iter().map(|index| written[index]).collect()))
            }
            Err(TransactionError::Aborted(error)) => {
                count("aborted");
                tracing::info!(lane = self.name, %error, "transaction aborted: deciding again");
                Ok(Outcome::Aborted)
            }
            Err(TransactionError::TooLarge { index }) => {
                count("aborted");
                Ok(Outcome::TooLarge(positions[index]))
            }
            Err(TransactionError::Unknown(error)) => {
                count("unknown");
                tracing::warn!(lane = self.name, %error, "outcome unknown: a new producer, and recovery");
                Ok(Outcome::Unknown)
            }
            Err(fenced @ TransactionError::Fenced(_)) => bail!(anyhow::Error::from(fenced)),
        }
    }

    fn dead_letter(
        &self,
        position: InputPosition,
        account: Vec<u8>,
        dead: &Dead,
    ) -> anyhow::Result<Outgoing> {
        let topics = self.shared.cluster.topics();
        let topic = match position.twin {
            Twin::Native => topics.ingest_native(),
            Twin::Snapshots => topics.poll_snapshots(),
        };
        let InputPosition { partition, offset, .. } = position;
        let letter =
            DeadLetter { topic: &topic, partition, offset, reason: dead.reason, detail: &dead.detail };
        tracing::warn!(
            topic,
            partition,
            offset,
            reason = dead.reason,
            detail = dead.detail,
            "message set aside"
        );
        let payload = Some(serde_json::to_vec(&letter)?.into());
        Ok(Outgoing { topic: topics.unify_dead(), key: account.into(), payload, ..Outgoing::default() })
    }

    fn told(&self, plans: &[(i32, Plan)]) {
        for step in plans.iter().flat_map(|(_, plan)| &plan.steps) {
            let twin = match step.wal.input.twin {
                Twin::Native => "native",
                Twin::Snapshots => "snapshots",
            };
            ::metrics::counter!(metrics::INPUTS, "twin" => twin).increment(1);
            for event in &step.events {
                ::metrics::counter!(metrics::EVENTS, "event" => event.event.to_string()).increment(1);
            }
            for note in &step.notes {
                ::metrics::counter!(metrics::NOTES, "note" => note.name()).increment(1);
            }
            if let Some(dead) = &step.dead {
                ::metrics::counter!(metrics::REJECTIONS, "reason" => dead.reason).increment(1);
            }
        }
    }

    /// Hands what was committed to the store, and goes on without waiting for it.
    fn apply(&mut self, plans: Vec<(i32, Plan)>, offsets: &[i64]) {
        let mut offsets = offsets;
        for (partition, plan) in plans {
            let (ours, rest) = offsets.split_at(plan.steps.len());
            offsets = rest;
            let Some(ledger) = self.ledgers.get_mut(&partition) else { continue };
            let epoch = ledger.epoch();
            let records = ledger.commit(plan.committed(ours));
            ::metrics::gauge!(metrics::WAL_LAG, "lane" => self.number.to_string()).set(ledger.lag() as f64);
            if records.is_empty() {
                continue;
            }
            let offsets: Vec<i64> = records.iter().map(|(offset, _)| *offset).collect();
            let mutations: Vec<(i64, Mutation)> =
                records.into_iter().flat_map(|(_, record)| (record.ts..).zip(record.mutations)).collect();
            let (state, router, lane) = (self.shared.state.clone(), self.router.clone(), self.number);
            self.shared.runtime.spawn(async move {
                let begun = Instant::now();
                let outcome = state.apply(&mutations).await.map_err(anyhow::Error::from);
                phase("apply", begun.elapsed());
                router.tell(lane, Order::Applied { partition, epoch, offsets, outcome });
            });
        }
    }

    /// After a transaction whose outcome is not known: a new producer with the same id, which ends the old transaction one
    /// way or the other, and then recovery. Never guess.
    fn start_over(&mut self, producer: &mut Transactional) -> anyhow::Result<()> {
        let partitions: Vec<(i32, u64)> =
            self.ledgers.values().map(|ledger| (ledger.partition(), ledger.epoch())).collect();
        for (partition, _) in &partitions {
            self.drop_partition(*partition);
        }
        *producer = Transactional::new(&self.shared.cluster, &self.name).context("making a new producer")?;
        // Messages that were read before still wait in the mailbox: they may not come in front of the recovered offset.
        self.router.recover_again(partitions);
        Ok(())
    }
}

enum Outcome {
    Committed(Vec<i64>),
    Aborted,
    TooLarge(InputPosition),
    Unknown,
}

fn by_partition(batch: &[Received<TwinMessage>]) -> BTreeMap<i32, Vec<&Received<TwinMessage>>> {
    let mut partitions: BTreeMap<i32, Vec<&Received<TwinMessage>>> = BTreeMap::new();
    for received in batch {
        partitions.entry(received.position.partition).or_default().push(received);
    }
    partitions
}

fn phase(phase: &'static str, took: Duration) {
    ::metrics::histogram!(metrics::PHASE_SECONDS, "phase" => phase).record(took.as_secs_f64());
}
