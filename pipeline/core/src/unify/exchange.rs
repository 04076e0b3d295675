//! What a lane hears, and what it asks for.

use std::{sync::Arc, time::Duration};

use tributary_schemas::{
    time::Timestamp,
    wal::{InputPosition, WalRecord},
};

use super::{inbox::Received, loss::Loss, message::Dead, plan::Transaction, recovery::Found};
use crate::cells::{Cell, Want};

/// What happened. An answer that comes late, or for an assignment that is over, changes nothing.
#[derive(Debug)]
pub enum Event {
    /// Time passed: [`Lane::wake`](super::Lane::wake) said when.
    Tick,
    /// A message was read.
    Message(Box<Received>),
    /// A message was read that a later release wrote. It must be decided before all that follow it.
    Newer {
        /// Where it stands.
        position: InputPosition,
        /// The assignment.
        epoch: u64,
        /// What is wrong.
        detail: String,
    },
    /// A partition is ours, under an assignment whose number is greater than any before.
    Assigned {
        /// The partition.
        partition: i32,
        /// The assignment.
        epoch: u64,
    },
    /// Partitions go. The group waits for [`Action::Released`].
    Revoked {
        /// Which.
        partitions: Vec<i32>,
        /// Names the wait.
        ticket: u64,
    },
    /// Answers [`Action::AskOffsets`].
    Offsets {
        /// The partition.
        partition: i32,
        /// The assignment.
        epoch: u64,
        /// What is committed of `ingest.native`.
        native: Found,
        /// What is committed of `poll.snapshots`.
        snapshots: Found,
    },
    /// Answers [`Action::AskWal`].
    Wal {
        /// The partition.
        partition: i32,
        /// The assignment.
        epoch: u64,
        /// The log's first offset.
        begins: i64,
        /// The high watermark: everything ever written is below it.
        end: i64,
        /// The last stable offset, asked for after the high watermark: everything below it is decided.
        stable: i64,
    },
    /// Answers [`Action::ReadWal`].
    Replayed {
        /// The partition.
        partition: i32,
        /// The assignment.
        epoch: u64,
        /// Committed records, with their offsets.
        records: Vec<(i64, Arc<WalRecord>)>,
        /// Where to read on; the `end` that was asked for once there is no more.
        next: i64,
    },
    /// Answers [`Action::ReadWal`] too: a committed record can't be read.
    Unreadable {
        /// The partition.
        partition: i32,
        /// The assignment.
        epoch: u64,
        /// Where it stands.
        offset: i64,
        /// What is wrong.
        detail: String,
    },
    /// Answers [`Action::Read`].
    Read {
        /// The batch.
        batch: u64,
        /// What is there of what was wanted.
        cells: Vec<Cell>,
    },
    /// Answers [`Action::Commit`].
    Ended(Outcome),
    /// Answers [`Action::Measure`].
    Measured {
        /// When it was begun, as it was given.
        begun: Duration,
        /// What the broker's clock showed; `None` if nothing was written, and that is certain.
        shown: Option<Timestamp>,
    },
    /// Answers [`Action::NewProducer`].
    NewProducer,
    /// Answers [`Action::Apply`]: the store has all of it.
    Applied {
        /// The partition.
        partition: i32,
        /// The assignment.
        epoch: u64,
        /// The offsets of the records.
        offsets: Vec<i64>,
    },
    /// No more batches: end what was begun, and tell what has been applied. [`Action::Stopped`] comes at last.
    Stop,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Ask for the twins' committed offsets. A timeout is not "none": ask until the broker says.
    AskOffsets {
        /// The partition.
        partition: i32,
        /// The assignment.
        epoch: u64,
        /// Only once no transaction is open on them: always, but for the simulation.
        stable: bool,
    },
    /// Ask where the WAL begins and ends, then how far it is stable.
    AskWal {
        /// The partition.
        partition: i32,
        /// The assignment.
        epoch: u64,
    },
    /// Read committed WAL records of `from..end`, from the first on, as many as memory bears.
    ReadWal {
        /// The partition.
        partition: i32,
        /// The assignment.
        epoch: u64,
        /// The first offset.
        from: i64,
        /// Behind the last.
        end: i64,
    },
    /// Write these to the store, each mutation [at its timestamp](super::timed), however often it takes.
    Apply {
        /// The partition.
        partition: i32,
        /// The assignment.
        epoch: u64,
        /// The WAL records, with their offsets.
        records: Vec<(i64, Arc<WalRecord>)>,
    },
    /// Read both twins from here, each message under this assignment's number.
    Begin {
        /// The partition.
        partition: i32,
        /// The assignment.
        epoch: u64,
        /// The offset of `ingest.native`.
        native: i64,
        /// The offset of `poll.snapshots`.
        snapshots: i64,
    },
    /// Read state.
    Read {
        /// The batch.
        batch: u64,
        /// What.
        wants: Vec<Want>,
    },
    /// Commit in one Kafka transaction, and say how it ended. Nothing else is committed meanwhile.
    Commit(Arc<Transaction>),
    /// Have the broker say what time it is, by a transaction of one empty WAL record that is aborted. If nobody can say whether
    /// it was, answer with [`Outcome::Unknown`].
    Measure {
        /// The partition of the WAL.
        partition: i32,
        /// To be given back.
        begun: Duration,
    },
    /// The wall clock is ahead, and stays so: leave the group, and say so.
    Leave,
    /// Replace the producer by one with the same transactional id, which decides what the old one left open.
    NewProducer,
    /// Stop reading a partition, and assign it anew if it is still ours under this number.
    RecoverAgain {
        /// The partition.
        partition: i32,
        /// The assignment.
        epoch: u64,
    },
    /// The group need not wait any more.
    Released {
        /// Names the wait.
        ticket: u64,
    },
    /// Something of a partition is lost: say so. It is not read any more; the others are.
    Halt(Loss),
    /// Answers [`Event::Stop`].
    Stopped,
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is there; the WAL records have these offsets, in their order.
    Committed(Vec<i64>),
    /// Nothing of it is.
    Aborted(Abort),
    /// Nobody can say.
    Unknown,
}

/// Why nothing of a transaction is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Abort {
    /// For a reason that has nothing to do with what it holds (a rebalance, a broker that is away, a permission): decide again.
    Again,
    /// It took too long: decide again, less at once.
    TooSlow,
    /// What these messages make can't be written, for good. One alone is set aside; of several, the next batch is half as
    /// many, until it stands alone.
    Refused(Vec<InputPosition>, Dead),
}
