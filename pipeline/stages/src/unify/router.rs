//! From the polling thread to the lanes: messages, assignments, revocations.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use tributary_core::{
    cells::Cell,
    unify::{Event, Received},
};

use crate::kafka::{Flow, Listener, TwinMessage, Twins};

/// What a lane hears.
pub(super) enum Order {
    /// A message of a partition of ours.
    Message(Received<TwinMessage>),
    /// Partitions go. Answer when no transaction is open that has anything of them.
    Revoked { partitions: Vec<i32>, done: mpsc::Sender<()> },
    /// Anything else that the state machine is to hear.
    Happened(Event),
    /// Something that waiting does not mend.
    Failed(anyhow::Error),
    /// End, with the batch under way.
    Stop,
}

impl Order {
    pub(super) fn read(batch: u64, cells: Vec<Cell>) -> Self {
        Self::Happened(Event::Read { batch, cells })
    }
}

/// The lanes, and who has which partition.
pub(super) struct Router {
    lanes: Vec<Outbox>,
    backlog: usize,
    watchdog: Duration,
    held: Mutex<Held>,
}

pub(super) struct Outbox {
    orders: mpsc::Sender<Order>,
    /// Messages that wait in front of the lane.
    waiting: AtomicUsize,
    /// When the transaction under way was begun, if one is.
    begun: Mutex<Option<Instant>>,
    full: AtomicBool,
}

#[derive(Default)]
struct Held {
    /// The assignment under which a partition is ours. It grows with each, so that messages of an older one are known.
    epochs: HashMap<i32, u64>,
    ours: HashSet<i32>,
    /// Partitions that are to be recovered again, each with the assignment it was held under.
    again: Vec<(i32, u64)>,
}

pub(super) fn mailbox() -> (Outbox, mpsc::Receiver<Order>) {
    let (orders, receiver) = mpsc::channel();
    let outbox = Outbox {
        orders,
        waiting: AtomicUsize::new(0),
        begun: Mutex::default(),
        full: AtomicBool::new(false),
    };
    (outbox, receiver)
}

impl Router {
    /// `watchdog`: a transaction that takes longer is stuck.
    pub(super) fn new(lanes: Vec<Outbox>, backlog: usize, watchdog: Duration) -> Self {
        Self { lanes, backlog, watchdog, held: Mutex::default() }
    }

    /// Hands a message to its lane, and holds the lane's partitions back when too much waits in front of it.
    pub(super) fn route(&self, twins: &Twins, message: TwinMessage) -> anyhow::Result<()> {
        let partition = message.position.partition;
        let Some(epoch) = self.held().epochs.get(&partition).copied() else { return Ok(()) };
        let bytes = message.payload.len() + message.key.len();
        let lane = self.lane_of(partition);
        lane.waiting.fetch_add(1, Ordering::Relaxed);
        lane.send(Order::Message(Received { position: message.position, epoch, bytes, message }));
        self.regulate(twins, partition)
    }

    /// Lets partitions come again whose lanes have room.
    pub(super) fn release(&self, twins: &Twins) -> anyhow::Result<()> {
        (0..self.lanes.len()).try_for_each(|lane| self.regulate(twins, lane as i32))
    }

    fn regulate(&self, twins: &Twins, partition: i32) -> anyhow::Result<()> {
        let lane = self.lane_of(partition);
        let waiting = lane.waiting.load(Ordering::Relaxed);
        let full = lane.full.load(Ordering::Relaxed);
        let flow = match full {
            false if waiting >= self.backlog => Flow::Held,
            true if waiting <= self.backlog / 2 => Flow::Open,
            _ => return Ok(()),
        };
        lane.full.store(flow == Flow::Held, Ordering::Relaxed);
        let number = self.number_of(partition);
        let of_lane: Vec<i32> = self
            .held()
            .ours
            .iter()
            .copied()
            .filter(|partition| self.number_of(*partition) == number)
            .collect();
        twins.flow(&of_lane, flow)
    }

    /// Asks for a partition to be recovered again, from what the broker says is committed.
    pub(super) fn recover_again(&self, partition: i32, epoch: u64) {
        self.held().again.push((partition, epoch));
    }

    /// Stops what is to be recovered again, and gives it to its lane as a new assignment.
    ///
    /// To be called by the thread that polls: between the stop and the new number no message can be read, so what was read
    /// before is known by its number, and can't be taken for what follows the recovered offset.
    pub(super) fn begin_again(&self, twins: &Twins) -> anyhow::Result<()> {
        let again = std::mem::take(&mut self.held().again);
        for (partition, epoch) in again {
            if self.is_ours(partition, epoch) {
                twins.stop(partition)?;
                self.assigned(&[partition]);
            }
        }
        Ok(())
    }

    /// Notes that a lane took messages out of its mailbox and decided or dropped them.
    pub(super) fn took(&self, lane: usize, messages: usize) {
        self.lanes[lane].waiting.fetch_sub(messages, Ordering::Relaxed);
    }

    /// Whether a lane's partitions are held back: one that begins meanwhile must be too.
    pub(super) fn flow(&self, lane: usize) -> Flow {
        if self.lanes[lane].full.load(Ordering::Relaxed) { Flow::Held } else { Flow::Open }
    }

    /// Sends an order to a lane from elsewhere.
    pub(super) fn tell(&self, lane: usize, order: Order) {
        self.lanes[lane].send(order);
    }

    /// Whether a partition is still ours under an assignment.
    pub(super) fn is_ours(&self, partition: i32, epoch: u64) -> bool {
        let held = self.held();
        held.ours.contains(&partition) && held.epochs.get(&partition) == Some(&epoch)
    }

    pub(super) fn begun(&self, lane: usize) {
        *self.lanes[lane].begun() = Some(Instant::now());
    }

    pub(super) fn ended(&self, lane: usize) {
        *self.lanes[lane].begun() = None;
    }

    /// A lane whose transaction has been under way for too long.
    pub(super) fn stuck(&self) -> Option<usize> {
        let stuck = |lane: &Outbox| lane.begun().is_some_and(|begun| begun.elapsed() > self.watchdog);
        self.lanes.iter().position(stuck)
    }

    pub(super) fn stop(&self) {
        self.lanes.iter().for_each(|lane| lane.send(Order::Stop));
    }

    fn number_of(&self, partition: i32) -> usize {
        partition.unsigned_abs() as usize % self.lanes.len()
    }

    fn lane_of(&self, partition: i32) -> &Outbox {
        &self.lanes[self.number_of(partition)]
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Outbox {
    fn begun(&self) -> MutexGuard<'_, Option<Instant>> {
        self.begun.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn send(&self, order: Order) {
        // A lane that has ended hears nothing: its end ends the stage.
        let _ = self.orders.send(order);
    }
}

impl Listener for Router {
    fn assigned(&self, partitions: &[i32]) {
        for partition in partitions {
            let epoch = {
                let mut held = self.held();
                held.ours.insert(*partition);
                let epoch = held.epochs.entry(*partition).or_default();
                *epoch += 1;
                *epoch
            };
            let event = Event::Assigned { partition: *partition, epoch };
            self.lane_of(*partition).send(Order::Happened(event));
        }
    }

    fn revoked(&self, partitions: &[i32]) {
        let (done, answered) = mpsc::channel();
        {
            let mut held = self.held();
            for partition in partitions {
                held.ours.remove(partition);
            }
        }
        for lane in &self.lanes {
            lane.send(Order::Revoked { partitions: partitions.to_vec(), done: done.clone() });
        }
        drop(done);
        for _ in &self.lanes {
            // Until the lane is stuck for certain.
            if answered.recv_timeout(self.watchdog).is_err() {
                return;
            }
        }
    }
}
