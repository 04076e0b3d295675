//! What ingest and poll tell unify: the messages of `ingest.native` and `poll.snapshots`; and what poll is asked for, by
//! `poll.triggers`.
//!
//! Every message carries what deciding needs (baseline, settle, whether absence is sure), so that unify reads no
//! control topic. Nothing that polling sends holds a polled field: only remote ids and keyed hashes (design §4). What a
//! provider told us by itself, and a record that it named and we fetched, travel as they are.

mod native;
mod run;
mod snapshot;
mod trigger;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::{
    native::{
        DeliveryId, DeliveryKey, DeliveryKeyTooLong, FetchedRecord, NativePayload, NativeRequest,
        Notification, RecordName,
    },
    run::{Announce, Baseline, Run},
    snapshot::{Absence, Content, DeltaPage, Listed, RangeListing, Snapshot, Summary, Tombstone},
    trigger::{Ask, Fetch, Trigger, TriggerReason},
};
use crate::id::{AccountId, ProjectId, ProviderId};

/// Whose records a message speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Source {
    /// The tenant.
    pub project: ProjectId,
    /// The linked connection.
    pub account: AccountId,
    /// The provider it links to.
    pub provider: ProviderId,
    /// The end customer's id in the project's own system, as the account has it: what readers filter by (contract §4).
    pub origin_owner_id: Option<Arc<str>>,
}
