//! The parked deliveries of webhooks with `ordering: record`: each has a row in the store, for whatever process reads what
//! comes after it in its line. The row is written before the delivery is parked and removed when it is settled for good, so a
//! crash in between leaves the row of a delivery that is read again; its own row never holds a delivery back.
//!
//! A process has one of a line under way at a time (`core::deliver::queue`); it does not know whom another one has in flight
//! of the same line: what people asked for (`deliver.requests`) may be under way beside it before it is parked.

use std::sync::Arc;

use tributary_schemas::{delivery::Line, id::Sequence, time::Timestamp};

use crate::{
    clock::now,
    store::{ControlStore, Held, StoreError},
};

/// Whether a delivery has a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Row {
    #[default]
    Absent,
    /// It was written at this time or before, by a clock that may be ahead of ours.
    Present(Timestamp),
}

/// The rows of lines.
#[derive(Clone)]
pub(super) struct Lines {
    store: Arc<dyn ControlStore>,
}

impl Lines {
    pub(super) fn new(store: Arc<dyn ControlStore>) -> Self {
        Self { store }
    }

    /// The delivery's own row, and when the nearest one before it is due, if any is parked.
    pub(super) async fn look(
        &self,
        line: &Line,
        sequence: Sequence,
    ) -> Result<(Row, Option<Timestamp>), StoreError> {
        let (mut own, mut ahead) = (Row::Absent, None);
        for held in self.store.held(line, sequence, 2).await? {
            if held.sequence == sequence {
                own = Row::Present(held.due);
            } else {
                ahead = ahead.or(Some(held.due));
            }
        }
        Ok((own, ahead))
    }

    /// It is to be parked until `due`: what comes after it is held back from now on.
    pub(super) async fn hold(
        &self,
        line: &Line,
        sequence: Sequence,
        due: Timestamp,
        own: Row,
    ) -> Result<(), StoreError> {
        self.store.hold(line, Held { sequence, due }, after(own)).await
    }

    /// It is settled for good.
    pub(super) async fn let_go(&self, line: &Line, sequence: Sequence, own: Row) -> Result<(), StoreError> {
        match own {
            Row::Absent => Ok(()),
            Row::Present(_) => self.store.let_go(line, sequence, after(own)).await,
        }
    }
}

/// Now, but not before the row was written.
fn after(row: Row) -> Timestamp {
    match row {
        Row::Absent => now(),
        Row::Present(at) => now().max(at),
    }
}
