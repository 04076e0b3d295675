//! A record's events in their order, for webhooks with `ordering: record`: at most one delivery of a line is in flight, and
//! none is tried while one of a lower sequence is not settled.
//!
//! What was read and is not settled stands in the [`Lineup`] of its process. What is parked has a row in the store, for
//! whatever process reads what comes after it. The row is written before the delivery is parked and removed when it is
//! settled for good; its own row never holds a delivery back. So a crash in between leaves the row of a delivery that is
//! read again. (If its webhook does not want the event by then, the row holds its record back until it expires.)
//!
//! Deliveries that people asked for (`deliver.requests`) stand in line as all do: they are held back by what is parked, and
//! when they are parked they hold back what comes after them. But a process does not know whom another one has in flight:
//! one that was not parked yet may be in flight beside its record's events that another process reads.
//!
//! A repetition after a crash has the same id, and may come after events that were delivered since.

use std::sync::Arc;

use tributary_schemas::{delivery::Delivery, time::Timestamp};

use super::lineup::{Lineup, Member, Turn};
use crate::{
    clock::now,
    store::{ControlStore, Held, StoreError},
};

/// The header of deliveries that were parked in their line: their order is kept and their rows are removed whatever
/// became of their webhook.
const HEADER: &str = "ordering";

/// Whether a delivery has a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Absent,
    /// It was written at this time or before.
    Present(Timestamp),
    /// It is settled here: delivered, refused for good, or parked with a row.
    Over,
}

/// How a delivery was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// From an event, or parked by a webhook that has no order.
    Free,
    /// Parked in its line.
    Line,
}

impl Origin {
    pub(super) fn of(headers: &[(String, bytes::Bytes)]) -> Self {
        if headers.iter().any(|(name, _)| name == HEADER) { Self::Line } else { Self::Free }
    }
}

/// Puts deliveries into their order.
pub(super) struct Orders {
    lineup: Lineup<Row>,
    store: Arc<dyn ControlStore>,
}

/// A delivery's order.
pub(super) enum Order {
    /// It waits for none.
    Free,
    /// It stands in line.
    Record(Standing),
}

/// A place in line, in this process and in the store.
pub(super) struct Standing {
    turn: Turn<Row>,
    store: Arc<dyn ControlStore>,
}

impl Orders {
    pub(super) fn new(store: Arc<dyn ControlStore>) -> Self {
        Self { lineup: Lineup::default(), store }
    }

    /// Joins the delivery's line. Call it in the order of reading.
    pub(super) fn join(&self, delivery: &Delivery) -> Order {
        let turn = self.lineup.join(delivery.line(), delivery.event.sequence, Row::Absent);
        Order::Record(Standing { turn, store: self.store.clone() })
    }
}

impl Order {
    /// Returns when those that were read before are settled, with when the one that it is parked behind is due, if any is.
    pub(super) async fn come(&mut self) -> Result<Option<Timestamp>, StoreError> {
        match self {
            Self::Free => Ok(None),
            Self::Record(standing) => standing.come().await,
        }
    }

    /// Makes that it can be parked until `due`: what comes after it is held back from now on.
    pub(super) async fn hold(&self, due: Timestamp) -> Result<(), StoreError> {
        match self {
            Self::Free => Ok(()),
            Self::Record(standing) => standing.hold(due).await,
        }
    }

    /// It is settled for good, and holds back nobody.
    pub(super) async fn let_go(&self) -> Result<(), StoreError> {
        match self {
            Self::Free => Ok(()),
            Self::Record(standing) => standing.let_go().await,
        }
    }

    /// The headers of the delivery when it is parked.
    pub(super) fn headers(&self) -> Vec<(String, Vec<u8>)> {
        match self {
            Self::Free => Vec::new(),
            Self::Record(_) => vec![(HEADER.into(), b"record".to_vec())],
        }
    }
}

impl Standing {
    async fn come(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.turn.come().await;
        let own = self.turn.own();
        let mut ahead = None;
        // Its own row, and that of the nearest before it.
        for held in self.store.held(self.turn.line(), own.sequence, 2).await? {
            if held.sequence == own.sequence {
                // Whoever wrote it did so before it was due, by a clock that may be ahead of ours.
                *own.note.lock().await = Row::Present(held.due);
            } else {
                ahead = ahead.or(Some(held.due));
            }
        }
        Ok(ahead)
    }

    async fn hold(&self, due: Timestamp) -> Result<(), StoreError> {
        // Parked before its turn, it leaves its line: then only rows hold it back when it comes again, and the one before may
        // have none, and be under way for longer than it is parked.
        if let Some(before) = self.turn.before() {
            let mut row = before.note.lock().await;
            if *row == Row::Absent {
                let at = now();
                self.write(before, at, at).await?;
                *row = Row::Present(at);
            }
        }
        let own = self.turn.own();
        let mut row = own.note.lock().await;
        self.write(own, due, after(*row)).await?;
        *row = Row::Over;
        Ok(())
    }

    async fn let_go(&self) -> Result<(), StoreError> {
        let own = self.turn.own();
        let mut row = own.note.lock().await;
        if let Row::Present(_) = *row {
            self.store.let_go(self.turn.line(), own.sequence, after(*row)).await?;
        }
        *row = Row::Over;
        Ok(())
    }

    async fn write(&self, member: &Member<Row>, due: Timestamp, at: Timestamp) -> Result<(), StoreError> {
        self.store.hold(self.turn.line(), Held { sequence: member.sequence, due }, at).await
    }
}

/// Now, but not before the row was written.
fn after(row: Row) -> Timestamp {
    match row {
        Row::Absent | Row::Over => now(),
        Row::Present(at) => now().max(at),
    }
}
