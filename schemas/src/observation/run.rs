//! A run: one execution of a scan or delta.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Source;
use crate::{
    id::{Bits, ProjectionVersion, RunId},
    resource::Resource,
    time::Timestamp,
};

/// The run that a message is part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Run {
    /// Whose records.
    pub source: Source,
    /// What kind of records.
    pub resource: Resource,
    /// The run's number, one sequence per (account, resource) for scans and deltas alike.
    pub run: RunId,
    /// When the run began, by the poller's wall clock: it says nothing about what we learnt later.
    pub begun_at: Timestamp,
    /// How long it had lasted when this message was made, by the poller's uptime: it began no later than so long before
    /// the message was appended, whatever the poller's wall clock says (design §6).
    pub lasted: Duration,
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
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Baseline {
    /// A range whose row has no run, or an earlier one, takes over what this run says of it.
    pub from: RunId,
    /// Whether taking over is told.
    pub announce: Announce,
}

/// Whether a baseline is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[serde(rename_all = "snake_case")]
pub enum Announce {
    /// What is there already is taken over in silence.
    Nothing,
    /// Each record is told as `created` (backfill, resync).
    Created,
}
