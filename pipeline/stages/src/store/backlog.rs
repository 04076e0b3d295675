//! What deliver keeps: where webhooks have fallen behind, which only a partition's owner may write (design §7), and since
//! when they fail.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tributary_core::deliver::{
    blocks::Blocks,
    position::{RowFacts, Why},
    process::Row,
    record::Reader,
};
use tributary_schemas::{
    codec::Format,
    id::{ProjectId, WebhookId},
    time::Timestamp,
};

use super::StoreError;

/// A partition of a log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
}

/// A webhook, or one of its replays, that is behind in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// Who.
    pub reader: Reader,
    /// Its tenant.
    pub project: ProjectId,
    /// Where, since when and why.
    pub row: Row,
}

/// A change of what is kept of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BacklogChange {
    /// It says this.
    Put(Backlog),
    /// It is behind no more.
    Remove(Reader),
}

/// What deliver keeps.
#[async_trait]
pub trait BacklogStore: Send + Sync {
    /// Makes `owner` the only one who may write a partition's rows. Returns when that is so; whoever was before is refused
    /// from then on.
    async fn claim(&self, at: &LogPartition, owner: &str) -> Result<(), StoreError>;

    /// A partition's rows, as they were written last.
    async fn backlogs(&self, at: &LogPartition) -> Result<Vec<Backlog>, StoreError>;

    /// Writes changes, all or none, if the partition is the owner's: gives whether it is. Repeatable.
    async fn write_backlogs(
        &self,
        at: &LogPartition,
        owner: &str,
        changes: &[BacklogChange],
    ) -> Result<bool, StoreError>;

    /// Where a webhook and its replays are behind.
    async fn backlogs_of(&self, webhook: &WebhookId) -> Result<Vec<(LogPartition, Backlog)>, StoreError>;

    /// Notes that a webhook fails since then, unless it is noted already: gives since when it fails, and whether this call
    /// noted it.
    async fn begin_failing(
        &self,
        webhook: &WebhookId,
        at: Timestamp,
    ) -> Result<(Timestamp, bool), StoreError>;

    /// Notes that it fails no more: gives since when it did.
    async fn end_failing(&self, webhook: &WebhookId) -> Result<Option<Timestamp>, StoreError>;
}

/// A row as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    project: ProjectId,
    from: i64,
    until: Option<i64>,
    why: Why,
    since: Timestamp,
    missed: u64,
    blocks: Blocks,
}

impl Format for Kept {
    const FORMAT: u8 = 2;
    const NAME: &'static str = "backlog";
}

impl Kept {
    pub(super) fn of(backlog: &Backlog) -> Self {
        let (row, facts) = (&backlog.row, &backlog.row.facts);
        Self {
            project: backlog.project.clone(),
            from: row.from,
            until: row.until,
            why: facts.why,
            since: facts.since,
            missed: facts.missed,
            blocks: facts.blocks.clone(),
        }
    }

    pub(super) fn backlog(self, reader: Reader) -> Backlog {
        let facts = RowFacts { why: self.why, since: self.since, missed: self.missed, blocks: self.blocks };
        Backlog { reader, project: self.project, row: Row { from: self.from, until: self.until, facts } }
    }
}
