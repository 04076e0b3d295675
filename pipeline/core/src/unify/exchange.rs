//! What a lane hears, and what it asks for.

use std::sync::Arc;

use tributary_schemas::{
    time::Timestamp,
    wal::{CommitMetadata, InputPosition, Mutation, Twin, WalRecord},
};

use super::{
    gathering::Received,
    ledger::Ledger,
    plan::{Message, Plan},
    recovery::Loss,
};
use crate::{
    cells::{Cell, Want},
    guard::{Guard, holds},
};

/// What happened. An answer that comes late, or for an assignment that is over, changes nothing.
#[derive(Debug)]
pub enum Event {
    /// Time passed: [`Lane::wake`](super::Lane::wake) said when.
    Tick,
    /// A message was read.
    Message(Box<Received<Message>>),
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
        records: Vec<(i64, WalRecord)>,
        /// Where to read on; the `end` that was asked for once there is no more.
        next: i64,
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
    /// Answers [`Action::NewProducer`].
    NewProducer,
    /// Answers [`Action::Apply`]: the store has all of it.
    Applied {
        /// The partition.
        partition: i32,
        /// The assignment.
        epoch: u64,
        /// The offsets, as they were given.
        offsets: Vec<i64>,
    },
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
    /// Write these to the store, each at its timestamp, however often it takes.
    Apply {
        /// The partition.
        partition: i32,
        /// The assignment.
        epoch: u64,
        /// The WAL records that they are of.
        offsets: Vec<i64>,
        /// What to write.
        mutations: Vec<(i64, Mutation)>,
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
    /// So many messages have been decided or dropped: there is room for others.
    Took(usize),
    /// State is lost: stop, and say so.
    Halt(Loss),
}

/// What the broker has of a twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The committed offset, if there is one, and what is kept beside it.
    pub committed: Option<(i64, Option<CommitMetadata>)>,
    /// Where the log begins: there it is read where nothing is committed.
    pub begins: i64,
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is there; the WAL records have these offsets, in their order.
    Committed(Vec<i64>),
    /// Nothing of it is.
    Aborted,
    /// Nothing of it is: what this message makes is too large for its topic.
    TooLarge(InputPosition),
    /// Nobody can say.
    Unknown,
}

/// What one Kafka transaction writes.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// By partition.
    pub parts: Vec<Part>,
}

/// A partition's part of a transaction.
#[derive(Debug, Clone)]
pub struct Part {
    /// The partition, of the twins and of the WAL.
    pub partition: i32,
    /// The assignment.
    pub epoch: u64,
    /// What was decided: events, WAL records, dead letters.
    pub plan: Plan,
    /// The twins' next offsets, to be committed with the plan's metadata.
    pub offsets: Vec<(Twin, i64)>,
}

impl Part {
    /// What was decided of a partition, with the offsets of both twins: the broker forgets a twin's that nobody commits, and
    /// what is kept beside them must be the same.
    pub(super) fn of(ledger: &Ledger, plan: Plan) -> Self {
        let (native, snapshots) = plan.next;
        let both = [(Twin::Native, native), (Twin::Snapshots, snapshots)];
        let moved = |(twin, next): &(Twin, i64)| {
            let before = InputPosition { twin: *twin, partition: ledger.partition(), offset: *next - 1 };
            ledger.accepts(before, ledger.epoch())
        };
        let offsets =
            both.into_iter().filter(|twin| holds(Guard::BothTwinsMetadata) || moved(twin)).collect();
        Self { partition: ledger.partition(), epoch: ledger.epoch(), plan, offsets }
    }

    /// Whether a message is among those decided.
    pub(super) fn decides(&self, position: InputPosition) -> bool {
        let (native, snapshots) = self.plan.next;
        let next = match position.twin {
            Twin::Native => native,
            Twin::Snapshots => snapshots,
        };
        position.partition == self.partition && position.offset < next
    }
}

impl Transaction {
    /// When the native requests were acknowledged that it answers.
    pub fn received(&self) -> impl Iterator<Item = Timestamp> {
        self.parts.iter().flat_map(|part| &part.plan.steps).filter_map(|step| step.received_at)
    }
}
