//! From the polling thread to the lanes: messages, assignments, revocations; and from the lanes to it, what only that thread
//! may do with the consumer. It alone begins, stops, holds back and lets come, so that none of these can cross another.

use std::{
    sync::{Mutex, MutexGuard, mpsc},
    time::{Duration, Instant},
};

use tributary_core::{
    cells::Cell,
    unify::{Event, Flow, Gates, Memory, Permit, Roster},
};

use crate::kafka::{Listener, TwinMessage, Twins};

/// What a message weighs beside its bytes, and how often these: as it came, decoded, and in part once more.
const OVERHEAD: usize = 512;
const COPIES: usize = 3;

/// What a lane hears.
pub(super) enum Order {
    /// A message of a partition of ours, read under this assignment.
    Message { message: TwinMessage, epoch: u64, permit: Permit },
    /// Partitions go. Answer when no transaction is open that has anything of them.
    Revoked { partitions: Vec<i32>, done: mpsc::Sender<()> },
    /// Anything else that the state machine is to hear.
    Happened(Event),
}

impl Order {
    pub(super) fn read(batch: u64, cells: Vec<Cell>) -> Self {
        Self::Happened(Event::Read { batch, cells })
    }
}

/// What only the polling thread may do.
enum Wish {
    /// Read both twins of a partition from these offsets.
    Begin { partition: i32, epoch: u64, native: i64, snapshots: i64 },
    /// Recover a partition again, from what the broker says is committed.
    Again { partition: i32, epoch: u64 },
}

/// The lanes, and who has which partition.
pub(super) struct Router {
    lanes: Vec<Outbox>,
    watchdog: Duration,
    roster: Mutex<Roster>,
    gates: Mutex<Gates>,
    wishes: Mutex<Vec<Wish>>,
}

pub(super) struct Outbox {
    orders: mpsc::Sender<Order>,
    /// When the transaction under way was begun, if one is.
    begun: Mutex<Option<Instant>>,
}

pub(super) fn mailbox() -> (Outbox, mpsc::Receiver<Order>) {
    let (orders, receiver) = mpsc::channel();
    (Outbox { orders, begun: Mutex::default() }, receiver)
}

impl Router {
    /// `watchdog`: a transaction that takes longer is stuck.
    pub(super) fn new(lanes: Vec<Outbox>, memory: Memory, watchdog: Duration) -> Self {
        let roster = Mutex::new(Roster::new(lanes.len()));
        Self { lanes, watchdog, roster, gates: Mutex::new(Gates::new(memory)), wishes: Mutex::default() }
    }

    /// Hands a message to its lane.
    pub(super) fn route(&self, message: TwinMessage) {
        let partition = message.position.partition;
        let Some((lane, epoch)) = locked(&self.roster).of(partition) else { return };
        let bytes = OVERHEAD + COPIES * (message.payload.len() + message.key.len());
        let permit = locked(&self.gates).permit(partition, bytes);
        self.lanes[lane].send(Order::Message { message, epoch, permit });
    }

    /// Holds partitions back whose messages take too much memory, and lets those come again that have room.
    pub(super) fn regulate(&self, twins: &Twins) -> anyhow::Result<()> {
        let changes = locked(&self.gates).changes();
        for (partition, flow) in changes {
            if flow == Flow::Held {
                ::metrics::counter!(super::metrics::HELD_BACK).increment(1);
            }
            twins.flow(&[partition], flow)?;
        }
        Ok(())
    }

    /// Does what lanes wished for.
    ///
    /// To be called by the thread that polls: between a stop and the new number no message can be read, so what was read
    /// before is known by its number, and can't be taken for what follows the recovered offset.
    pub(super) fn fulfil(&self, twins: &Twins) -> anyhow::Result<()> {
        let wishes = std::mem::take(&mut *locked(&self.wishes));
        for wish in wishes {
            match wish {
                // It may have been taken from us meanwhile.
                Wish::Begin { partition, epoch, .. } | Wish::Again { partition, epoch }
                    if !self.is_ours(partition, epoch) => {}
                Wish::Begin { partition, native, snapshots, .. } => {
                    twins.begin(partition, native, snapshots)?;
                    locked(&self.gates).begin(partition);
                }
                Wish::Again { partition, .. } => {
                    twins.stop(partition)?;
                    self.assigned(&[partition]);
                }
            }
        }
        Ok(())
    }

    /// Asks for both twins of a partition to be read from these offsets.
    pub(super) fn begin(&self, partition: i32, epoch: u64, native: i64, snapshots: i64) {
        locked(&self.wishes).push(Wish::Begin { partition, epoch, native, snapshots });
    }

    /// Asks for a partition to be recovered again, from what the broker says is committed.
    pub(super) fn recover_again(&self, partition: i32, epoch: u64) {
        locked(&self.wishes).push(Wish::Again { partition, epoch });
    }

    /// Sends an order to a lane from elsewhere.
    pub(super) fn tell(&self, lane: usize, order: Order) {
        self.lanes[lane].send(order);
    }

    /// Whether a partition is still ours under an assignment.
    pub(super) fn is_ours(&self, partition: i32, epoch: u64) -> bool {
        locked(&self.roster).is_ours(partition, epoch)
    }

    pub(super) fn begun(&self, lane: usize) {
        *locked(&self.lanes[lane].begun) = Some(Instant::now());
    }

    pub(super) fn ended(&self, lane: usize) {
        *locked(&self.lanes[lane].begun) = None;
    }

    /// A lane whose transaction has been under way for too long.
    pub(super) fn stuck(&self) -> Option<usize> {
        let stuck = |lane: &Outbox| locked(&lane.begun).is_some_and(|begun| begun.elapsed() > self.watchdog);
        self.lanes.iter().position(stuck)
    }

    pub(super) fn stop(&self) {
        self.lanes.iter().for_each(|lane| lane.send(Order::Happened(Event::Stop)));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Outbox {
    fn send(&self, order: Order) {
        // A lane that has ended hears nothing: its end ends the stage.
        let _ = self.orders.send(order);
    }
}

impl Listener for Router {
    fn assigned(&self, partitions: &[i32]) {
        for partition in partitions {
            let (lane, epoch) = locked(&self.roster).assigned(*partition);
            let event = Event::Assigned { partition: *partition, epoch };
            self.lanes[lane].send(Order::Happened(event));
        }
    }

    fn revoked(&self, partitions: &[i32]) {
        let (done, answered) = mpsc::channel();
        locked(&self.roster).revoked(partitions);
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
        let mut gates = locked(&self.gates);
        partitions.iter().for_each(|partition| gates.forget(*partition));
    }
}
