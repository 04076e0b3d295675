//! The messages of `poll.snapshots`.

use serde::{Deserialize, Serialize};

use super::{Notification, Run, Source};
use crate::{
    codec::Format,
    id::{RecordHash, RemoteId},
    time::Timestamp,
};

/// A message of `poll.snapshots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum Snapshot {
    /// A full scan ended properly. It comes before the scan's ranges.
    Summary(Summary),
    /// One range of a full scan.
    Range(RangeListing),
    /// One page of changed records.
    Delta(DeltaPage),
    /// The account was deleted: forget all of it, and drop whatever comes later.
    Forget(Source),
}

impl Snapshot {
    /// Whose records it speaks of.
    pub fn source(&self) -> &Source {
        match self {
            Self::Forget(source) => source,
            Self::Summary(Summary { run, .. })
            | Self::Range(RangeListing { run, .. })
            | Self::Delta(DeltaPage { run, .. }) => &run.source,
        }
    }

    /// The run that it is part of; a forgetting is of none.
    pub fn run_mut(&mut self) -> Option<&mut Run> {
        match self {
            Self::Forget(_) => None,
            Self::Summary(Summary { run, .. })
            | Self::Range(RangeListing { run, .. })
            | Self::Delta(DeltaPage { run, .. }) => Some(run),
        }
    }
}

impl Format for Snapshot {
    const FORMAT: u8 = 2;
    const NAME: &'static str = "snapshot";
}

/// What a full scan found, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Summary {
    /// The run.
    pub run: Run,
    /// Records listed.
    pub records: u64,
    /// Ranges that follow, because they differ.
    pub ranges_sent: u32,
}

/// "In this range exactly these records exist."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct RangeListing {
    /// The run.
    pub run: Run,
    /// Which of the `2^bits` ranges.
    pub range: u32,
    /// Whether a record that is not listed is surely gone.
    pub absence: Absence,
    /// Every record of the range, sorted by record key, each once.
    pub records: Vec<Listed>,
}

/// Whether a record that a full scan did not list is surely gone (design §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// The listing is keyed: it can't skip.
    Sure,
    /// The listing may have skipped it: mark it, and let the next full run decide.
    Doubtful,
    /// A person released the doubt: absence deletes, however much is gone.
    Released,
    /// The run is partial (a failed parent, a record without an id): what it names counts, and nothing is taken for absent.
    Partial,
}

/// Changed records, and the gone ones where the provider has a feed of deletions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct DeltaPage {
    /// The run.
    pub run: Run,
    /// Records that changed, each once.
    pub changed: Vec<Listed>,
    /// Records that the provider says are gone.
    pub deleted: Vec<Tombstone>,
    /// The provider's notification that made the feed be read: decided by hash all the same, but told as native.
    pub notification: Option<Notification>,
}

/// A record that a feed of deletions names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Tombstone {
    /// The provider's name for it.
    pub remote_id: RemoteId,
    /// When it went, by the feed. What we learnt of the record after that stays.
    pub deleted_at: Option<Timestamp>,
}

/// A record in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Listed {
    /// The provider's name for it.
    pub remote_id: RemoteId,
    /// What was read of it.
    pub content: Content,
}

/// What was read of a listed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum Content {
    /// Its projection's digest.
    Hash(RecordHash),
    /// It exists, but could not be read whole: what is known of it stays.
    Unread,
}
