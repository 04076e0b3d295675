//! A lane's thread: tells the state machine what happened, and does what it says.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use anyhow::Context;
use tributary_core::unify::{
    self, Abort, Action, Dead, Event, Message, Now, Outcome, Part, Permit, Received, Transaction, timed,
    weight,
};
use tributary_schemas::wal::WalRecord;

use super::{
    Shared,
    ask::Ask,
    input::{self, Unread},
    metrics,
    router::{Order, Router},
    transaction,
};
#[cfg(feature = "without-transactions")]
use crate::kafka::Plain as Transactional;
#[cfg(not(feature = "without-transactions"))]
use crate::kafka::Transactional;
use crate::{
    clock::{now, uptime},
    kafka::{TransactionError, TwinMessage, Twins},
};

/// The longest that a lane sleeps.
const SLEEP: Duration = Duration::from_secs(1);

/// How long a new producer may take: behind an open transaction of its predecessor it waits for the broker's limit.
const PRODUCER_LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Lane {
    name: String,
    number: usize,
    shared: Arc<Shared>,
    twins: Arc<Twins>,
    router: Arc<Router>,
    ask: Ask,
    producer: Transactional,
    machine: unify::Lane,
    /// When the recovery of a partition began, under its assignment.
    recoveries: HashMap<(i32, u64), Instant>,
    /// Who waits for a revocation, by ticket.
    revocations: HashMap<u64, mpsc::Sender<()>>,
    tickets: u64,
}

enum Next {
    GoOn,
    End,
}

impl Lane {
    /// Makes the producer, which ends what a predecessor of this name left open.
    pub(super) fn new(
        name: String,
        shared: Arc<Shared>,
        twins: Arc<Twins>,
        router: Arc<Router>,
        number: usize,
    ) -> anyhow::Result<Self> {
        let producer = producer(&shared, &name)?;
        let ask = Ask::new(number, shared.clone(), twins.clone(), router.clone())?;
        let machine = unify::Lane::new(shared.limits, shared.memory.clone());
        let (recoveries, revocations) = (HashMap::new(), HashMap::new());
        Ok(Self {
            name,
            number,
            shared,
            twins,
            router,
            ask,
            producer,
            machine,
            recoveries,
            revocations,
            tickets: 0,
        })
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self, orders: &mpsc::Receiver<Order>) -> anyhow::Result<()> {
        loop {
            let until = |wake: Duration| wake.saturating_sub(uptime()).min(SLEEP);
            let wait = self.machine.wake().map_or(SLEEP, until);
            match orders.recv_timeout(wait) {
                Ok(order) => {
                    if let Next::End = self.obey(order)? {
                        return Ok(());
                    }
                    // What else is there, before time is spent on a batch.
                    while let Ok(order) = orders.try_recv() {
                        if let Next::End = self.obey(order)? {
                            return Ok(());
                        }
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if let Next::End = self.happened(Event::Tick)? {
                return Ok(());
            }
            let gauge = |name| ::metrics::gauge!(name, "lane" => self.name.clone());
            gauge(metrics::WAL_LAG).set(self.machine.lag() as f64);
            gauge(metrics::PARTITIONS).set(self.machine.reading() as f64);
            ::metrics::gauge!(metrics::MEMORY).set(self.shared.memory.held() as f64);
        }
    }

    fn obey(&mut self, order: Order) -> anyhow::Result<Next> {
        match order {
            Order::Message { message, epoch, permit } => {
                let event = self.decoded(message, epoch, permit);
                self.happened(event)
            }
            Order::Revoked { partitions, done } => {
                self.tickets += 1;
                self.revocations.insert(self.tickets, done);
                self.happened(Event::Revoked { partitions, ticket: self.tickets })
            }
            Order::Happened(event) => self.happened(event),
        }
    }

    fn decoded(&self, message: TwinMessage, epoch: u64, permit: Permit) -> Event {
        let TwinMessage { position, key, payload, appended_at } = message;
        let input = match input::read(&self.shared.catalog, position.twin, &payload, appended_at) {
            Ok(input) => Ok(input),
            Err(Unread::Dead(dead)) => Err(dead),
            Err(Unread::Newer(error)) => {
                let detail = error.to_string();
                return Event::Newer { position, epoch, detail };
            }
        };
        let bytes = payload.len() + key.len();
        let message = Message { key, payload: payload.into(), input };
        Event::Message(Box::new(Received { position, epoch, bytes, permit, message }))
    }

    /// Tells the machine, and does what it says, until nothing is left to do.
    fn happened(&mut self, event: Event) -> anyhow::Result<Next> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.machine.on(event, clocks()) {
                if matches!(action, Action::Stopped) {
                    return Ok(Next::End);
                }
                events.extend(self.act(action)?);
            }
        }
        Ok(Next::GoOn)
    }

    /// Does one thing. What takes time goes on beside, and its answer comes by the mailbox; but not the transaction:
    /// this thread is there for it.
    fn act(&mut self, action: Action) -> anyhow::Result<Option<Event>> {
        match action {
            Action::AskOffsets { partition, epoch, .. } => {
                // It may be asked again in one recovery.
                self.recoveries.entry((partition, epoch)).or_insert_with(Instant::now);
                self.ask.offsets(partition, epoch);
            }
            Action::AskWal { partition, epoch } => self.ask.wal(partition, epoch),
            Action::ReadWal { partition, epoch, from, end } => {
                self.ask.replay(partition, epoch, from, end);
            }
            Action::Begin { partition, epoch, native, snapshots } => {
                self.begin(partition, epoch, native, snapshots);
            }
            Action::Read { batch, wants } => self.read(batch, wants),
            Action::Apply { partition, epoch, records } => self.apply(partition, epoch, records),
            Action::Commit(transaction) => return self.commit(&transaction).map(Event::Ended).map(Some),
            Action::Measure { partition, begun } => return Ok(Some(self.measure(partition, begun))),
            Action::Leave => {
                anyhow::bail!(
                    "this process's clock is more than 30 s ahead of the broker's, and stays so: set it right, then start again"
                );
            }
            Action::NewProducer => {
                self.producer = producer(&self.shared, &self.name)?;
                ::metrics::counter!(metrics::PRODUCERS).increment(1);
                return Ok(Some(Event::NewProducer));
            }
            Action::RecoverAgain { partition, epoch } => self.router.recover_again(partition, epoch),
            Action::Released { ticket } => {
                // The one who waits may have given up.
                let _ = self.revocations.remove(&ticket).map(|done| done.send(()));
            }
            Action::Halt(loss) => {
                ::metrics::counter!(metrics::HALTED, "kind" => loss.kind.name()).increment(1);
                tracing::error!(partition = loss.partition, %loss, "partition halted");
            }
            Action::Stopped => {}
        }
        Ok(None)
    }

    fn begin(&mut self, partition: i32, epoch: u64, native: i64, snapshots: i64) {
        let begun = self.recoveries.remove(&(partition, epoch));
        // Those of older assignments came to nothing.
        self.recoveries.retain(|(other, _), _| *other != partition);
        let seconds = begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64());
        ::metrics::histogram!(metrics::RECOVERY_SECONDS).record(seconds);
        tracing::info!(partition, epoch, native, snapshots, seconds, "partition recovered");
        self.router.begin(partition, epoch, native, snapshots);
    }

    fn read(&self, batch: u64, wants: Vec<tributary_core::cells::Want>) {
        let (state, router, lane) = (self.shared.state.clone(), self.router.clone(), self.number);
        self.shared.runtime.spawn(async move {
            let begun = Instant::now();
            let read = super::patiently("reading state", || state.read(&wants)).await;
            phase("read", begun.elapsed());
            router.tell(lane, Order::read(batch, read));
        });
    }

    fn apply(&self, partition: i32, epoch: u64, records: Vec<(i64, Arc<WalRecord>)>) {
        let (state, router, lane) = (self.shared.state.clone(), self.router.clone(), self.number);
        let bytes = records.iter().map(|(_, record)| weight(record)).sum();
        let permit = self.shared.memory.permit(bytes);
        self.shared.runtime.spawn(async move {
            let begun = Instant::now();
            let mutations = records.iter().flat_map(|(_, record)| timed(record));
            let mutations: Vec<_> = mutations.map(|(ts, mutation)| (ts, mutation.clone())).collect();
            super::patiently("applying what was committed", || state.apply(&mutations)).await;
            drop(permit);
            phase("apply", begun.elapsed());
            let offsets = records.into_iter().map(|(offset, _)| offset).collect();
            router.tell(lane, Order::Happened(Event::Applied { partition, epoch, offsets }));
        });
    }

    fn measure(&self, partition: i32, begun: Duration) -> Event {
        self.router.begun(self.number);
        let shown = self.producer.time(&self.shared.cluster.topics().unify_wal(), partition);
        self.router.ended(self.number);
        match shown {
            // A topic without times of its own, as the sandbox's: there is but one clock.
            Ok(shown) => Event::Measured { begun, shown: shown.or(Some(now())) },
            Err(TransactionError::Unknown(error)) => {
                tracing::warn!(lane = self.name, %error, "asking the broker what time it is");
                Event::Ended(Outcome::Unknown)
            }
            Err(error) => {
                tracing::info!(lane = self.name, %error, "asking the broker what time it is: asking again");
                Event::Measured { begun, shown: None }
            }
        }
    }

    fn commit(&self, transaction: &Transaction) -> anyhow::Result<Outcome> {
        let encoded = transaction::encode(&self.shared, transaction);
        // Who we are is asked for first. A member that has lost its partitions, and perhaps joined again under a new
        // generation, may still be let by the broker: the transaction of a member without a name is not refused, and
        // a generation says nothing about partitions. Both are heard by the router before the member joins again.
        let member = self.twins.member()?;
        let ours = |part: &Part| self.router.is_ours(part.partition, part.epoch);
        let (Some(member), true) = (member, transaction.parts.iter().all(ours)) else {
            tracing::info!(lane = self.name, "not committing: a partition of it is not ours any more");
            return Ok(Outcome::Aborted(Abort::Again));
        };
        let begun = Instant::now();
        self.router.begun(self.number);
        let result = self.producer.run(&encoded.records, &encoded.offsets, &member);
        self.router.ended(self.number);
        phase("commit", begun.elapsed());
        let (name, outcome) = match result {
            Ok(written) => {
                transaction::count(transaction);
                (
                    "committed",
                    Outcome::Committed(encoded.wal.into_iter().map(|index| written[index]).collect()),
                )
            }
            Err(TransactionError::Aborted(error)) => {
                tracing::info!(lane = self.name, %error, "transaction aborted: deciding again");
                ("aborted", Outcome::Aborted(Abort::Again))
            }
            Err(TransactionError::TooSlow(error)) => {
                tracing::warn!(lane = self.name, %error, "transaction aborted: deciding less at once");
                ("aborted", Outcome::Aborted(Abort::TooSlow))
            }
            Err(TransactionError::Refused { records, reason, source }) => {
                let mut messages: Vec<_> =
                    records.into_iter().map(|index| encoded.positions[index]).collect();
                messages.sort_unstable();
                messages.dedup();
                // A record that is too large is named; others are refused with all that was sent beside them.
                if reason == "too_large" {
                    messages.truncate(1);
                }
                let detail = format!("what it makes can't be written: {source}");
                ("aborted", Outcome::Aborted(Abort::Refused(messages, Dead { reason, detail })))
            }
            Err(TransactionError::Unknown(error)) => {
                tracing::warn!(lane = self.name, %error, "outcome unknown: a new producer, and recovery");
                ("unknown", Outcome::Unknown)
            }
        };
        ::metrics::counter!(metrics::TRANSACTIONS, "outcome" => name).increment(1);
        Ok(outcome)
    }
}

/// Makes a producer, as soon as the broker lets us.
fn producer(shared: &Shared, name: &str) -> anyhow::Result<Transactional> {
    let begun = Instant::now();
    loop {
        match Transactional::new(&shared.cluster, name) {
            Err(error @ TransactionError::Unknown(_)) if begun.elapsed() < PRODUCER_LIMIT => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(lane = name, error, "making the producer: trying again");
            }
            made => return made.with_context(|| format!("making the producer `{name}`")),
        }
    }
}

fn clocks() -> Now {
    Now { wall: now(), uptime: uptime() }
}

fn phase(phase: &'static str, took: Duration) {
    ::metrics::histogram!(metrics::PHASE_SECONDS, "phase" => phase).record(took.as_secs_f64());
}
