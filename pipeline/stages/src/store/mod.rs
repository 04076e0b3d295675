//! What is kept: unify's state, and control's entities. Each store has two implementations, and both run the same tests:
//! [`cql`] for ScyllaDB and Cassandra, [`embedded`] for the sandbox.

pub mod api;
pub mod backlog;
pub mod cql;
pub mod embedded;
pub mod metrics;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tributary_core::cells::{Cell, Want};
use tributary_schemas::{
    delivery::Line,
    entity::Version,
    id::{AccountId, Bits, ProjectId, Sequence, WebhookId},
    resource::Resource,
    state::{Head, RangeRow},
    time::Timestamp,
    wal::Mutation,
};

/// Where things are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Config {
    /// In ScyllaDB or Cassandra.
    Cql(cql::Config),
    /// In a folder of this machine: one process only.
    Embedded {
        /// The folder.
        path: PathBuf,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self::Cql(cql::Config::default())
    }
}

/// Both stores.
#[derive(Clone)]
pub struct Stores {
    /// unify's state.
    pub state: Arc<dyn StateStore>,
    /// control's entities.
    pub control: Arc<dyn ControlStore>,
    /// What the API keeps beside them.
    pub api: Arc<dyn api::ApiStore>,
    /// Where webhooks have fallen behind.
    pub backlog: Arc<dyn backlog::BacklogStore>,
}

impl Stores {
    /// Opens the stores as configured.
    ///
    /// # Errors
    /// When the database can't be reached or opened, or its schema is not there.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        match config {
            Config::Cql(config) => {
                let store = Arc::new(cql::CqlStore::connect(config).await?);
                Ok(Self { state: store.clone(), control: store.clone(), api: store.clone(), backlog: store })
            }
            Config::Embedded { path } => {
                let store = Arc::new(embedded::EmbeddedStore::open(path)?);
                Ok(Self { state: store.clone(), control: store.clone(), api: store.clone(), backlog: store })
            }
        }
    }
}

/// A store that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is away, overloaded or too slow: asking again is right.
    #[error("{doing}: the store is unavailable")]
    Unavailable {
        /// What we were doing.
        doing: &'static str,
        /// What the driver said.
        source: anyhow::Error,
    },
    /// What it holds is not what this release reads.
    #[error("{doing}: the store holds what this release can't read")]
    Broken {
        /// What we were doing.
        doing: &'static str,
        /// What is wrong.
        source: anyhow::Error,
    },
}

impl StoreError {
    /// What is wrong, as a label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Broken { .. } => "broken",
        }
    }
    fn unavailable(doing: &'static str) -> impl FnOnce(anyhow::Error) -> Self {
        move |source| Self::Unavailable { doing, source }
    }
    fn broken(doing: &'static str) -> impl FnOnce(anyhow::Error) -> Self {
        move |source| Self::Broken { doing, source }
    }
}

/// unify's state: cells of which the later timestamp wins (design §6).
#[async_trait]
pub trait StateStore: Send + Sync {
    /// Reads what is wanted. Cells that are not there are left out; a slice gives all records of its bucket and the
    /// range's row. Each cell has the timestamp that it was written with.
    async fn read(&self, wants: &[Want]) -> Result<Vec<Cell>, StoreError>;

    /// Writes mutations, each at its timestamp. Repeatable, and in any order: an older write never shows.
    /// Retries by itself for a while; after an error some may have been written.
    async fn apply(&self, mutations: &[(i64, Mutation)]) -> Result<(), StoreError>;

    /// Every head and every range's row of an account, of all its resources and cuts, also what can't be read.
    async fn outline(&self, account: &AccountId) -> Result<Vec<Cell>, StoreError>;

    /// The range rows of an (account, resource), and how it stands: what a poller compares a scan with.
    async fn ranges(&self, account: &AccountId, resource: Resource) -> Result<Ranges, StoreError>;
}

/// What is known of an (account, resource), by range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    /// How it stands, if anything is known.
    pub head: Option<Head>,
    /// Its rows, of every cut.
    pub rows: Vec<(Bits, u32, RangeRow)>,
}

/// The kinds of entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "named after what they are")]
pub enum Kind {
    Project,
    Account,
    Webhook,
    ApiKey,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 4] = [Self::Project, Self::Account, Self::Webhook, Self::ApiKey];

    /// Its name in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Account => "account",
            Self::Webhook => "webhook",
            Self::ApiKey => "api_key",
        }
    }
}

/// Names an entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntityRef {
    /// What it is.
    pub kind: Kind,
    /// Whose it is. A project is its own.
    pub project: ProjectId,
    /// Its id.
    pub id: String,
}

/// An entity as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Grows by one with each change.
    pub version: Version,
    /// The entity as JSON.
    pub doc: Vec<u8>,
}

/// What became of a compare-and-set.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cas {
    /// It was set.
    Done,
    /// The version was another: read again, decide again.
    Conflict,
}

/// A change that may not have been published yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unpublished {
    /// Which entity.
    pub entity: EntityRef,
    /// The version that the change made; for a deletion, the one after the last.
    pub version: Version,
    /// When it was registered. Not part of its name.
    pub registered_at: Timestamp,
}

/// How an entity is found without its project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// By the SHA-256 of an API key, in hex.
    ApiKey,
    /// By the SHA-256 of a native webhook's token, in hex.
    Token,
}

impl Lookup {
    const fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Token => "token",
        }
    }
}

/// One attempt of a delivery, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// The webhook.
    pub webhook: WebhookId,
    /// The delivery's id.
    pub delivery: String,
    /// When it was tried.
    pub at: Timestamp,
    /// The attempt as JSON.
    pub doc: Vec<u8>,
}

/// A delivery that is parked, and holds back those of its line that come after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Its event's place among the record's events.
    pub sequence: Sequence,
    /// When it is tried again.
    pub due: Timestamp,
}

/// control's entities, and what poll and deliver keep.
#[async_trait]
pub trait ControlStore: Send + Sync {
    /// Reads an entity, as it was written last.
    async fn get(&self, entity: &EntityRef) -> Result<Option<Stored>, StoreError>;

    /// Lists a project's entities of a kind by id, from the first after `after`.
    async fn list(
        &self,
        kind: Kind,
        project: &ProjectId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Stored)>, StoreError>;

    /// Writes an entity if its version is `expected`; `None`: if it is not there.
    async fn put(
        &self,
        entity: &EntityRef,
        expected: Option<Version>,
        stored: &Stored,
    ) -> Result<Cas, StoreError>;

    /// Deletes an entity if its version is `expected`.
    async fn delete(&self, entity: &EntityRef, expected: Version) -> Result<Cas, StoreError>;

    /// Notes that a change is about to be made, so that a sweep can publish it if we can't.
    async fn register(&self, change: &Unpublished) -> Result<(), StoreError>;

    /// Notes that a change was published, or never made.
    async fn published(&self, change: &Unpublished) -> Result<(), StoreError>;

    /// Whether a change of an entity to this version may not have been published.
    async fn is_registered(&self, entity: &EntityRef, version: Version) -> Result<bool, StoreError>;

    /// Changes that may not have been published.
    async fn unpublished(&self) -> Result<Vec<Unpublished>, StoreError>;

    /// Finds an entity's project and id.
    async fn find(&self, by: Lookup, hash: &str) -> Result<Option<(ProjectId, String)>, StoreError>;

    /// Makes an entity findable.
    async fn index(&self, by: Lookup, hash: &str, project: &ProjectId, id: &str) -> Result<(), StoreError>;

    /// Makes it findable no more.
    async fn unindex(&self, by: Lookup, hash: &str) -> Result<(), StoreError>;

    /// What poll keeps of an (account, resource), as JSON.
    async fn poll_state(&self, account: &AccountId, resource: Resource)
    -> Result<Option<Stored>, StoreError>;

    /// Writes what poll keeps, if its version is `expected`.
    async fn put_poll_state(
        &self,
        account: &AccountId,
        resource: Resource,
        expected: Option<Version>,
        stored: &Stored,
    ) -> Result<Cas, StoreError>;

    /// Deletes what poll keeps of an account.
    async fn delete_poll_states(&self, account: &AccountId) -> Result<(), StoreError>;

    /// Adds attempts to the log; they are kept for 7 days.
    async fn add_attempts(&self, attempts: &[AttemptRow]) -> Result<(), StoreError>;

    /// A webhook's attempts before `before`, the latest first.
    async fn attempts(
        &self,
        webhook: &WebhookId,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<AttemptRow>, StoreError>;

    /// A delivery's attempts, the first first.
    async fn attempts_of(&self, webhook: &WebhookId, delivery: &str) -> Result<Vec<AttemptRow>, StoreError>;

    /// Notes that a delivery is parked. It is kept for as long as the retry topics keep the delivery itself, 5 days. What is
    /// noted `at` a later time wins.
    async fn hold(&self, line: &Line, held: Held, at: Timestamp) -> Result<(), StoreError>;

    /// Notes that a delivery is settled for good: what was noted of it up to `at` is gone, also if that arrives later.
    async fn let_go(&self, line: &Line, sequence: Sequence, at: Timestamp) -> Result<(), StoreError>;

    /// A line's parked deliveries up to a sequence and with it, the last first.
    async fn held(&self, line: &Line, until: Sequence, limit: usize) -> Result<Vec<Held>, StoreError>;
}

/// How long attempts are kept.
pub const ATTEMPTS_KEPT_DAYS: i64 = 7;
