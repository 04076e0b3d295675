//! What a partition has announced and the store does not have yet. Whoever reads state reads this beside it.

use std::{collections::BTreeMap, sync::Arc};

use tributary_schemas::wal::WalRecord;

use super::{
    memory::{Memory, Permit},
    wal::{timed, weight},
};
use crate::cells::{Cells, Want, written};

/// What a partition has announced and the store does not have yet.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    cells: Cells,
    /// The records that are being applied, by offset.
    records: BTreeMap<i64, (Arc<WalRecord>, Permit)>,
}

impl Overlay {
    /// To be captured *before* a read is sent: a read that is answered after an entry was dropped would miss it.
    pub(super) fn pick<'a>(&self, wants: impl IntoIterator<Item = &'a Want>, known: &mut Cells) {
        if !self.cells.is_empty() {
            self.cells.pick(wants, known);
        }
    }

    /// Whether the store has everything.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// A record was committed.
    pub(super) fn announce(&mut self, offset: i64, record: &Arc<WalRecord>, memory: &Memory) {
        for (ts, mutation) in timed(record) {
            self.cells.mutate(ts, mutation);
        }
        // The record, and each of its cells once more.
        let permit = memory.permit(2 * weight(record));
        self.records.insert(offset, (record.clone(), permit));
    }

    /// The store has a record.
    pub(super) fn applied(&mut self, offset: i64) {
        let Some((record, _permit)) = self.records.remove(&offset) else { return };
        for (ts, mutation) in timed(&record) {
            self.cells.forget(&written(ts, mutation));
        }
    }
}
