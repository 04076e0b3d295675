//! Which partitions are a process's, under which assignment, and which of its lanes has each.

use std::collections::{BTreeMap, BTreeSet};

/// Which partitions are ours.
#[derive(Debug)]
pub struct Roster {
    lanes: usize,
    /// The assignment under which a partition was last ours. It grows with each, so that messages of an older one are known.
    epochs: BTreeMap<i32, u64>,
    /// The lane of each partition that is ours.
    ours: BTreeMap<i32, usize>,
}

impl Roster {
    /// Nothing yet, for so many lanes.
    pub fn new(lanes: usize) -> Self {
        Self { lanes: lanes.max(1), epochs: BTreeMap::new(), ours: BTreeMap::new() }
    }

    /// A partition is ours now: gives its lane and the assignment's number. It goes to the lane that has the fewest, so that
    /// no assignor's pattern leaves one idle; one that is assigned anew stays where it is.
    pub fn assigned(&mut self, partition: i32) -> (usize, u64) {
        let epoch = self.epochs.entry(partition).or_default();
        *epoch += 1;
        let load = |lane: &usize| self.ours.values().filter(|other| *other == lane).count();
        let lane = self.ours.get(&partition).copied();
        let lane = lane.or_else(|| (0..self.lanes).min_by_key(load)).unwrap_or(0);
        self.ours.insert(partition, lane);
        (lane, *epoch)
    }

    /// Partitions go. What was read of them under their assignment is nobody's.
    pub fn revoked(&mut self, partitions: &[i32]) {
        let partitions: BTreeSet<i32> = partitions.iter().copied().collect();
        self.ours.retain(|partition, _| !partitions.contains(partition));
    }

    /// The lane and the assignment's number of a partition of ours.
    pub fn of(&self, partition: i32) -> Option<(usize, u64)> {
        Some((*self.ours.get(&partition)?, *self.epochs.get(&partition)?))
    }

    /// Whether a partition is still ours under an assignment.
    pub fn is_ours(&self, partition: i32, epoch: u64) -> bool {
        self.of(partition).is_some_and(|(_, current)| current == epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pattern_of_an_assignment_leaves_a_lane_idle() {
        let mut roster = Roster::new(2);
        let lanes: Vec<_> = [0, 2, 4, 6].map(|partition| roster.assigned(partition).0).into();
        assert_eq!(lanes, [0, 1, 0, 1]);
        roster.revoked(&[2, 6]);
        assert_eq!(roster.assigned(8).0, 1);
    }

    #[test]
    fn an_assignment_s_number_grows_and_its_lane_stays() {
        let mut roster = Roster::new(2);
        assert_eq!((roster.assigned(1), roster.assigned(3)), ((0, 1), (1, 1)));
        assert_eq!(roster.assigned(3), (1, 2), "recovered again");
        assert!(roster.is_ours(3, 2) && !roster.is_ours(3, 1));
        roster.revoked(&[3]);
        assert_eq!(roster.of(3), None);
        assert_eq!(roster.assigned(3).1, 3);
    }
}
