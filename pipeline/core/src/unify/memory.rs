//! Bytes that are held. What waits, and what is not applied yet, has a [`Permit`] of what it weighs, and its drop gives the
//! bytes back: nobody counts them down by hand.
//!
//! What is full holds back its own partition. Each partition may always hold one message, so that none waits for another's;
//! and one that is held back comes again only once there is clearly room, as a pause throws away what was fetched ahead.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// The bytes of a process.
#[derive(Debug, Clone)]
pub struct Memory {
    held: Arc<AtomicUsize>,
    most: usize,
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub struct Permit {
    bytes: usize,
    from: [Option<Arc<AtomicUsize>>; 2],
}

impl Memory {
    /// At most so many bytes; one message and one WAL record of each partition may be above it.
    pub fn new(most: usize) -> Self {
        Self { held: Arc::default(), most }
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether all of it is held.
    pub fn is_full(&self) -> bool {
        self.held() >= self.most
    }

    /// Holds bytes.
    pub fn permit(&self, bytes: usize) -> Permit {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Permit { bytes, from: [Some(self.held.clone()), None] }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        for held in self.from.iter().flatten() {
            held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

/// Whether messages of a partition come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They do.
    Open,
    /// They wait at the broker.
    Held,
}

/// Which partitions are held back.
#[derive(Debug)]
pub struct Gates {
    memory: Memory,
    partitions: BTreeMap<i32, Gate>,
}

#[derive(Debug)]
struct Gate {
    waiting: Arc<AtomicUsize>,
    flow: Flow,
}

impl Gates {
    /// Of a process's memory.
    pub fn new(memory: Memory) -> Self {
        Self { memory, partitions: BTreeMap::new() }
    }

    /// A partition's message waits.
    pub fn permit(&mut self, partition: i32, bytes: usize) -> Permit {
        let gate = self.gate(partition);
        gate.waiting.fetch_add(bytes, Ordering::Relaxed);
        let waiting = Some(gate.waiting.clone());
        self.memory.held.fetch_add(bytes, Ordering::Relaxed);
        Permit { bytes, from: [Some(self.memory.held.clone()), waiting] }
    }

    /// A partition begins to be read: it is open.
    pub fn begin(&mut self, partition: i32) {
        self.partitions.remove(&partition);
        self.gate(partition);
    }

    /// A partition goes.
    pub fn forget(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    /// What is to be held back from now on, and what comes again.
    pub fn changes(&mut self) -> Vec<(i32, Flow)> {
        let (held, most) = (self.memory.held(), self.memory.most);
        // No partition takes more than a quarter of it by waiting alone.
        let share = most / 4;
        let mut changes = Vec::new();
        for (partition, gate) in &mut self.partitions {
            let waiting = gate.waiting.load(Ordering::Relaxed);
            let flow = match gate.flow {
                Flow::Open if waiting > 0 && (held >= most || waiting >= share) => Flow::Held,
                Flow::Held if waiting == 0 || (held < most / 4 * 3 && waiting < share / 2) => Flow::Open,
                flow => flow,
            };
            if flow != gate.flow {
                gate.flow = flow;
                changes.push((*partition, flow));
            }
        }
        changes
    }

    fn gate(&mut self, partition: i32) -> &mut Gate {
        self.partitions.entry(partition).or_insert_with(|| Gate { waiting: Arc::default(), flow: Flow::Open })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_full_holds_back_its_own_partition_and_comes_again_once_there_is_room() {
        let memory = Memory::new(100);
        let mut gates = Gates::new(memory.clone());
        let quiet = gates.permit(2, 0);
        let mut waiting: Vec<Permit> = (0..3).map(|_| gates.permit(1, 10)).collect();
        assert_eq!(gates.changes(), [(1, Flow::Held)], "a quarter of it is one partition's share");
        waiting.pop();
        assert_eq!(gates.changes(), [], "not at once");
        waiting.clear();
        assert_eq!(gates.changes(), [(1, Flow::Open)]);
        assert_eq!(memory.held(), 0);
        drop(quiet);
    }

    #[test]
    fn a_partition_may_hold_one_message_whatever_others_hold() {
        let memory = Memory::new(100);
        let mut gates = Gates::new(memory.clone());
        let unapplied = memory.permit(500);
        gates.begin(1);
        assert_eq!(gates.changes(), [], "nothing of it waits");
        let one = gates.permit(1, 10);
        assert_eq!(gates.changes(), [(1, Flow::Held)]);
        drop(one);
        assert_eq!(gates.changes(), [(1, Flow::Open)], "the next may come, though all is held");
        drop(unapplied);
    }

    #[test]
    fn bytes_of_a_partition_that_went_are_given_back_too() {
        let memory = Memory::new(100);
        let mut gates = Gates::new(memory.clone());
        let before = gates.permit(1, 90);
        gates.forget(1);
        gates.begin(1);
        assert_eq!((memory.held(), gates.changes()), (90, vec![]));
        drop(before);
        assert_eq!(memory.held(), 0);
    }
}
