//! What ingest and poll tell unify: the messages of `ingest.native` and `poll.snapshots`.
//!
//! Every message carries what deciding needs (baseline, settle, whether absence is sure), so that unify reads no
//! control topic. Nothing here holds a polled field: only remote ids and keyed hashes (design §4).

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    codec::Format,
    id::{AccountId, Bits, ProjectId, ProjectionVersion, ProviderId, RecordHash, RemoteId, RunId},
    resource::{Mode, Resource},
    time::Timestamp,
};

/// Whose records a message speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The tenant.
    pub project: ProjectId,
    /// The linked connection.
    pub account: AccountId,
    /// The provider it links to.
    pub provider: ProviderId,
}

/// The run that a message is part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Whose records.
    pub source: Source,
    /// What kind of records.
    pub resource: Resource,
    /// The run's number, one sequence per (account, resource) for scans and deltas alike.
    pub run: RunId,
    /// When the run began: it says nothing about what we learnt later.
    pub begun_at: Timestamp,
    /// What made the hashes.
    pub projection: ProjectionVersion,
    /// Which runs are the first that count, and how the first is told.
    pub baseline: Baseline,
    /// How long after a native event a run is not to be trusted about its record.
    pub settle: Duration,
    /// The cut of the record-key space.
    pub bits: Bits,
    /// The project's prefix of `record_id` (contract §2): `tr1!`.
    pub id_prefix: String,
    /// The name of the provider's key field, for `record_id`: `id`.
    pub key_name: String,
}

/// Set when an account is linked, when a resource is wanted anew, and by `resync` (design §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// A range whose row has no run, or an earlier one, takes over what this run says of it.
    pub from: RunId,
    /// Whether taking over is told.
    pub announce: Announce,
}

/// Whether a baseline is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Announce {
    /// What is there already is taken over in silence.
    Nothing,
    /// Each record is told as `created` (backfill, resync).
    Created,
}

/// A message of `poll.snapshots`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
            Self::Summary(summary) => &summary.run.source,
            Self::Range(listing) => &listing.run.source,
            Self::Delta(page) => &page.run.source,
            Self::Forget(source) => source,
        }
    }
}

impl Format for Snapshot {
    const FORMAT: u8 = 1;
    const NAME: &'static str = "snapshot";
}

/// What a full scan found, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// The listing is keyed: it can't skip.
    Sure,
    /// The listing may have skipped it: mark it, and let the next full run decide.
    Doubtful,
    /// A person released the doubt: absence deletes, however much is gone.
    Released,
}

/// Changed records, and the gone ones where the provider has a feed of deletions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaPage {
    /// The run.
    pub run: Run,
    /// Records that changed, each once.
    pub changed: Vec<Listed>,
    /// Records that the provider says are gone.
    pub deleted: Vec<RemoteId>,
}

/// A record in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The provider's name for it.
    pub remote_id: RemoteId,
    /// What was read of it.
    pub content: Content,
}

/// What was read of a listed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Its projection's digest.
    Hash(RecordHash),
    /// It exists, but could not be read whole: what is known of it stays.
    Unread,
}

/// A message of `ingest.native`: a verified provider request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NativeRequest {
    /// Whose it is.
    pub source: Source,
    /// When we acknowledged it.
    pub received_at: Timestamp,
    /// How its events count: manual or automatic.
    pub mode: Mode,
    /// The chosen headers, names in lower case; never credentials or signatures.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Bytes,
    /// The provider's own id of this delivery, where its definition finds one (design §6).
    pub delivery: DeliveryId,
    /// What of it may go on (a project's setting).
    pub payload: NativePayload,
    /// The project's prefix of `record_id`.
    pub id_prefix: String,
    /// How long after a native event a run is not to be trusted about its record.
    pub settle: Duration,
}

impl Format for NativeRequest {
    const FORMAT: u8 = 1;
    const NAME: &'static str = "native request";
}

/// Makes the same provider delivery silent the second time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeliveryId {
    /// The provider names its deliveries.
    Declared(String),
    /// The body's digest: it holds its own time, so no two are alike.
    Digest([u8; 16]),
    /// Nothing tells two deliveries apart: each speaks.
    None,
}

/// What of a provider's request leaves in events (design §4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NativePayload {
    /// `raw_event` and `event_data`.
    #[default]
    Full,
    /// `event_data` only.
    EventData,
    /// Neither.
    None,
}

/// A message of `poll.triggers`: run the change feed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Whose feed.
    pub source: Source,
    /// Which resources; empty means all that are polled.
    pub resources: Vec<Resource>,
    /// Why.
    pub reason: TriggerReason,
    /// When it was asked for.
    pub at: Timestamp,
}

impl Format for Trigger {
    const FORMAT: u8 = 1;
    const NAME: &'static str = "trigger";
}

/// Why a run is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerReason {
    /// A provider's notification that names no record.
    Notification,
    /// A person: poll now.
    RunNow,
    /// A person: announce every record as created again.
    Resync,
    /// A person: confirm doubtful absences with a full scan now.
    Release,
}
