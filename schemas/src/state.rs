//! What unify knows: of a record, of a range, of an (account, resource). Each is one cell with a format byte first,
//! because one cell cannot be torn (design §6).

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    codec::Format,
    id::{AccountId, Bits, ProjectionVersion, RecordHash, RecordKey, RemoteId, RunId, Sequence},
    resource::Resource,
    time::Timestamp,
};

/// What we know of a record, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Known {
    /// What the record is to us.
    pub state: State,
    /// Who told us last.
    pub at: At,
    /// It came with a baseline, or its `created` was told.
    pub introduced: Introduced,
    /// Its last event, if it has had one.
    pub sequence: Option<Sequence>,
    /// The provider's name for it.
    pub remote_id: RemoteId,
}

impl Format for Known {
    const FORMAT: u8 = 2;
    const NAME: &'static str = "record";
}

/// What a record can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum State {
    /// It exists, with this content.
    Live(RecordHash),
    /// A full scan missed it, but its absence is doubtful.
    Missing {
        /// Its content when last seen; `None` if only a native event told of it.
        hash: Option<RecordHash>,
        /// The run that missed it.
        run: RunId,
    },
    /// A native event told of it; its present hash is not known.
    Touched,
    /// It was deleted.
    Gone,
}

/// Who told us last about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum At {
    /// The run that last changed it.
    Run {
        /// Its number.
        run: RunId,
        /// When it began: what it says of the record was so no earlier.
        begun_at: Timestamp,
    },
    /// A native event, at the time we received it.
    Native(Timestamp),
}

/// Whether readers have been told that a record exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum Introduced {
    /// It came with a baseline, or its `created` was told.
    Yes,
    /// Only an `updated` or `deleted` was told.
    No,
}

/// An (account, resource) cut into ranges, and one of them: the state's bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Bucket {
    /// The account.
    pub account: AccountId,
    /// The resource.
    pub resource: Resource,
    /// The cut.
    pub bits: Bits,
    /// The range.
    pub range: u32,
}

/// What unify knows of a range: one small row, kept by whoever changes a record in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct RangeRow {
    /// What made the hashes, once a run has been here.
    pub projection: Option<ProjectionVersion>,
    /// The last full run that changed something here, or took the range over. A range whose row has none has had no
    /// baseline, so a full scan sends every range whose row has no run, empty ones too.
    pub run: Option<RunId>,
    /// Live records.
    pub live: u32,
    /// Touched records.
    pub touched: u32,
    /// Missing records.
    pub missing: u32,
    /// [`weight`]s of the live records, added up modulo 2^128.
    pub sum: u128,
}

impl RangeRow {
    /// A range of which nothing is known.
    pub const EMPTY: RangeRow =
        RangeRow { projection: None, run: None, live: 0, touched: 0, missing: 0, sum: 0 };
}

impl Format for RangeRow {
    const FORMAT: u8 = 2;
    const NAME: &'static str = "range row";
}

/// What a live record adds to its range's sum: XXH3-128 of record key and hash. The hash is keyed, so nobody can aim at a sum.
pub fn weight(key: RecordKey, hash: RecordHash) -> u128 {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&key.0);
    bytes[16..].copy_from_slice(&hash.0);
    xxh3_128(&bytes)
}

/// What unify knows of an (account, resource): the static column beside its ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Head {
    /// The last full run whose summary was seen.
    pub last_full_run: Option<RunId>,
    /// The cut.
    pub bits: Bits,
    /// The cut before it, while ranges are still being moved. Until it is `None` again, full runs send every range that
    /// has no row, empty ones too; once one has been moved, they keep to `bits`.
    pub bits_before: Option<Bits>,
    /// How many of the `2^bits` ranges have been moved from `bits_before`; 0 when nothing is being moved.
    pub moved: u32,
}

impl Head {
    /// Where only native events have been seen.
    pub const NATIVE: Head = Head { last_full_run: None, bits: Bits::NATIVE, bits_before: None, moved: 0 };
}

impl Format for Head {
    const FORMAT: u8 = 2;
    const NAME: &'static str = "head";
}
