//! `unify.wal`: what an input message changed, committed in the transaction that tells of it.
//!
//! Mutations are logical, never rows; mutation *i* of a record is written at `ts + i` (design §6), so applying is
//! commutative and repeatable.

use serde::{Deserialize, Serialize};

use crate::{
    codec::Format,
    id::{AccountId, RecordKey},
    observation::DeliveryId,
    resource::Resource,
    state::{Bucket, Head, Known, RangeRow},
    time::Timestamp,
};

/// What one input message changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalRecord {
    /// The first mutation's timestamp, in microseconds; the others follow one by one. Grows per WAL partition.
    pub ts: i64,
    /// The message that was decided.
    pub input: InputPosition,
    /// What changed. May be empty: then nothing is written for it.
    pub mutations: Vec<Mutation>,
}

impl WalRecord {
    /// The mutations, each with the timestamp that it is written with.
    pub fn timed(&self) -> impl Iterator<Item = (i64, &Mutation)> {
        (self.ts..).zip(&self.mutations)
    }
    /// The last timestamp that the record uses; `ts - 1` if it changes nothing.
    pub fn last_ts(&self) -> i64 {
        self.ts + self.mutations.len() as i64 - 1
    }
}

impl Format for WalRecord {
    const FORMAT: u8 = 1;
    const NAME: &'static str = "WAL record";
}

/// Which of the twin topics an input came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Twin {
    /// `ingest.native`.
    Native,
    /// `poll.snapshots`.
    Snapshots,
}

/// Where an input stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InputPosition {
    /// Its topic.
    pub twin: Twin,
    /// Its partition, which is the WAL's.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// A change of what is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mutation {
    /// A record is known so; `None` removes it from this bucket.
    Record {
        /// Where it is kept.
        bucket: Bucket,
        /// Its key.
        key: RecordKey,
        /// What is known.
        known: Option<Known>,
    },
    /// A range's row is so; `None` removes it (its slice moved to a finer cut).
    Range {
        /// The range.
        bucket: Bucket,
        /// The row.
        row: Option<RangeRow>,
    },
    /// An (account, resource) stands so.
    Head {
        /// The account.
        account: AccountId,
        /// The resource.
        resource: Resource,
        /// How it stands.
        head: Head,
    },
    /// A provider's delivery has been decided: the same one again is silent.
    Delivery {
        /// The account.
        account: AccountId,
        /// When it was received; its day is its bucket.
        received_at: Timestamp,
        /// Its id.
        delivery: DeliveryId,
    },
    /// The account was deleted: all that is known of it goes, and a mark stays.
    Forget {
        /// The account.
        account: AccountId,
    },
}

/// The metadata that unify commits with the offsets of both twins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitMetadata {
    /// Every WAL record below this offset has been applied.
    pub wal_applied: i64,
    /// The greatest timestamp ever given out for this partition.
    pub last_ts: i64,
}

impl CommitMetadata {
    /// As committed: `v1 <wal_applied> <last_ts>`.
    pub fn to_text(self) -> String {
        format!("v1 {} {}", self.wal_applied, self.last_ts)
    }
    /// Reads [`to_text`](Self::to_text); `None` for anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        (words.next()? == "v1").then_some(())?;
        let metadata =
            Self { wal_applied: words.next()?.parse().ok()?, last_ts: words.next()?.parse().ok()? };
        words.next().is_none().then_some(metadata)
    }
}
