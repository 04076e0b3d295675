//! How far each partition is settled.

use std::collections::{BTreeMap, HashMap};

use crate::kafka::Assignment;

/// The unsettled records of the partitions that are ours.
#[derive(Debug, Default)]
pub(super) struct Settled {
    partitions: HashMap<Assignment, Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    /// Deliveries still open, by the offset of their record.
    open: BTreeMap<i64, usize>,
    /// The offset after the last record read.
    next: i64,
    committed: i64,
}

impl Settled {
    /// Notes that a record was read, of which `deliveries` are to be made.
    pub(super) fn read(&mut self, at: &Assignment, offset: i64, deliveries: usize) {
        let partition = self.partitions.entry(at.clone()).or_default();
        partition.next = partition.next.max(offset + 1);
        if deliveries > 0 {
            partition.open.insert(offset, deliveries);
        }
    }

    /// Notes that one of a record's deliveries is settled.
    pub(super) fn settle(&mut self, at: &Assignment, offset: i64) {
        let Some(partition) = self.partitions.get_mut(at) else { return };
        if let Some(left) = partition.open.get_mut(&offset) {
            *left -= 1;
            if *left == 0 {
                partition.open.remove(&offset);
            }
        }
    }

    /// What can be committed and was not yet: the settled prefix of each partition.
    pub(super) fn news(&mut self) -> Vec<(Assignment, i64)> {
        let mut news = Vec::new();
        for (at, partition) in &mut self.partitions {
            let settled = partition.open.first_key_value().map_or(partition.next, |(offset, _)| *offset);
            if settled > partition.committed {
                partition.committed = settled;
                news.push((at.clone(), settled));
            }
        }
        news
    }

    /// Forgets a partition that is not ours any more.
    pub(super) fn forget(&mut self, at: &Assignment) {
        self.partitions.remove(at);
    }

    /// Deliveries that are open.
    pub(super) fn open(&self) -> usize {
        self.partitions.values().map(|partition| partition.open.values().sum::<usize>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_advances_over_the_settled_prefix_only() {
        let at = Assignment { topic: "t".into(), partition: 0 };
        let mut settled = Settled::default();
        for (offset, deliveries) in [(5, 2), (6, 1), (7, 0)] {
            settled.read(&at, offset, deliveries);
        }
        assert_eq!(settled.news(), [(at.clone(), 5)]);
        settled.settle(&at, 6);
        assert_eq!(settled.news(), []);
        settled.settle(&at, 5);
        assert_eq!((settled.news(), settled.open()), (vec![], 1), "one of two is not enough");
        settled.settle(&at, 5);
        assert_eq!((settled.news(), settled.open()), (vec![(at.clone(), 8)], 0));
        settled.forget(&at);
        settled.settle(&at, 8);
        assert_eq!(settled.news(), []);
    }
}
