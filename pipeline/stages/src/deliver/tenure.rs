//! A partition while it is this process's, as the shell holds it.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use tokio_util::sync::CancellationToken;
use tributary_core::deliver::{
    partition::ViewPosition,
    record::{LogKind, Record},
};
use tributary_schemas::time::Timestamp;

use super::committed;
use crate::{
    kafka::{Assignment, Committed},
    store::backlog::LogPartition,
};

/// A partition while it is ours.
pub(super) struct Tenure {
    pub(super) at: Assignment,
    pub(super) kind: LogKind,
    /// Who we are to the store.
    pub(super) owner: String,
    /// It is ours no more: what is under way of it is cut off.
    pub(super) gone: CancellationToken,
    /// Deliveries that the head has read and that are not due yet, in their order.
    pub(super) early: VecDeque<(Timestamp, Arc<Record>)>,
    /// What the machine's head has been given is below this.
    pub(super) given: i64,
    /// Records that are on their way to be set aside: the commit waits for them.
    asides: BTreeSet<i64>,
    /// What the machine wants committed, until it is.
    wanted: Option<(i64, ViewPosition)>,
    committed: Option<Committed>,
}

impl Tenure {
    pub(super) fn new(at: Assignment, kind: LogKind, owner: String, gone: CancellationToken) -> Self {
        Self {
            at,
            kind,
            owner,
            gone,
            early: VecDeque::new(),
            given: 0,
            asides: BTreeSet::new(),
            wanted: None,
            committed: None,
        }
    }

    pub(super) fn partition(&self) -> LogPartition {
        LogPartition { topic: self.at.topic.clone(), partition: self.at.partition }
    }

    /// A record is being set aside.
    pub(super) fn sets_aside(&mut self, offset: i64) {
        self.asides.insert(offset);
    }

    /// That is done.
    pub(super) fn set_aside(&mut self, offset: i64) {
        self.asides.remove(&offset);
    }

    /// The machine says that everything below an offset is settled or covered.
    pub(super) fn wants_committed(&mut self, offset: i64, view: ViewPosition) {
        self.wanted = Some((offset, view));
    }

    /// What is to be committed now, if anything is.
    pub(super) fn commit(&mut self) -> Option<(Assignment, Committed)> {
        let (offset, view) = self.wanted.as_ref()?;
        let next = self.asides.first().map_or(*offset, |aside| *offset.min(aside));
        let commit = Committed { next, metadata: committed::to_text(view) };
        if next == *offset {
            self.wanted = None;
        }
        if self.committed.as_ref() == Some(&commit) {
            return None;
        }
        self.committed = Some(commit.clone());
        Some((self.at.clone(), commit))
    }
}

#[cfg(test)]
mod tests {
    use tributary_schemas::resource::Resource;

    use super::*;

    #[test]
    fn a_commit_waits_for_what_is_being_set_aside() {
        let at = Assignment { topic: "t".into(), partition: 0 };
        let kind = LogKind::Events(Resource::HrisEmployees);
        let mut tenure = Tenure::new(at, kind, String::new(), CancellationToken::new());
        let next = |tenure: &mut Tenure| tenure.commit().map(|(_, it)| it.next);
        assert_eq!(next(&mut tenure), None);
        tenure.sets_aside(5);
        tenure.wants_committed(9, ViewPosition::new());
        assert_eq!(next(&mut tenure), Some(5));
        assert_eq!(next(&mut tenure), None, "as before");
        tenure.set_aside(5);
        assert_eq!(next(&mut tenure), Some(9));
        assert_eq!(next(&mut tenure), None);
    }
}
