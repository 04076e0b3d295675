//! `unify.wal`: what an input message changed, committed in the transaction that tells of it.
//!
//! Mutations are logical, never rows; mutation *i* of a record is written at `ts + i` (design §6), so applying is
//! commutative and repeatable.

use serde::{Deserialize, Serialize};

use crate::{
    codec::Format,
    id::{AccountId, Bits, RecordKey},
    observation::DeliveryKey,
    resource::Resource,
    state::{Bucket, Head, Known, RangeRow},
};

/// What one input message changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
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
    const FORMAT: u8 = 2;
    const NAME: &'static str = "WAL record";
}

/// Which of the twin topics an input came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum Twin {
    /// `ingest.native`.
    Native,
    /// `poll.snapshots`.
    Snapshots,
}

/// Where an input stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
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
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
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
        /// Its id.
        delivery: DeliveryKey,
    },
    /// The account was deleted: all that is known of it goes, and a mark stays.
    Forget {
        /// The account.
        account: AccountId,
        /// Where its records and rows can be: it is carried out without a read, so that what is applied before it or beside
        /// it makes no difference.
        cuts: Vec<Cut>,
    },
}

/// How the records of a resource of an account are cut into ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Cut {
    /// The resource.
    pub resource: Resource,
    /// Into `2^bits` ranges.
    pub bits: Bits,
}

/// The metadata that unify commits with the offsets of both twins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct CommitMetadata {
    /// Every WAL record below this offset has been applied.
    pub wal_applied: i64,
    /// The greatest timestamp ever given out for this partition.
    pub last_ts: i64,
    /// Whether all of the WAL had been applied.
    pub idle: Idle,
}

/// Whether all of a partition's WAL had been applied when a transaction began, and the transaction adds nothing to it: then
/// a WAL that begins behind `wal_applied` has lost nothing (design §6, step 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum Idle {
    /// It had.
    Yes,
    /// Not, or the transaction adds to it.
    No,
}

/// A text beside a committed offset that is no [`CommitMetadata`] of this release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "what is committed beside an offset is not this release's (`v2 <wal_applied> <last_ts> <idle|busy>`): `v1` was \
     written before the first release that is kept, so begin with new topics, a new keyspace and a new group"
)]
pub struct InvalidMetadata;

impl CommitMetadata {
    /// As committed: `v2 <wal_applied> <last_ts> <idle|busy>`.
    pub fn to_text(self) -> String {
        let idle = match self.idle {
            Idle::Yes => "idle",
            Idle::No => "busy",
        };
        format!("v2 {} {} {idle}", self.wal_applied, self.last_ts)
    }
    /// Reads [`to_text`](Self::to_text); `None` for an offset that was committed without anything, by a tool.
    ///
    /// # Errors
    /// [`InvalidMetadata`] for anything else.
    pub fn from_text(text: &str) -> Result<Option<Self>, InvalidMetadata> {
        let words: Vec<&str> = text.split(' ').collect();
        let number = |word: &str| word.parse().map_err(|_| InvalidMetadata);
        match words.as_slice() {
            [""] => Ok(None),
            ["v2", wal_applied, last_ts, idle @ ("idle" | "busy")] => Ok(Some(Self {
                wal_applied: number(wal_applied)?,
                last_ts: number(last_ts)?,
                idle: if *idle == "idle" { Idle::Yes } else { Idle::No },
            })),
            _ => Err(InvalidMetadata),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn metadata_reads_as_it_was_first_written_and_nothing_else_does() {
        let metadata = CommitMetadata { wal_applied: 7, last_ts: 1_764_000_000_000_001, idle: Idle::Yes };
        assert_eq!(CommitMetadata::from_text("v2 7 1764000000000001 idle"), Ok(Some(metadata)));
        assert_eq!(CommitMetadata::from_text(""), Ok(None));
        for other in ["v1 7 9", "v2 7 9", "v2 7 9 idle ", "v2 7 9 tired", "v2 7 x idle", "v3 7 9 idle", " "] {
            assert_eq!(CommitMetadata::from_text(other), Err(InvalidMetadata), "{other}");
        }
    }

    proptest! {
        #[test]
        fn metadata_reads_back(metadata: CommitMetadata) {
            prop_assert_eq!(CommitMetadata::from_text(&metadata.to_text()), Ok(Some(metadata)));
        }
    }
}
