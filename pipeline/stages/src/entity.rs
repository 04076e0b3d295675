//! The one writing function of an entity, used by control and by poll (design §8): compare-and-set in the store, then
//! publish. What could not be published is registered, and a sweep repeats it.
//!
//! Each version of an account is an event. One that is still registered is announced before the next takes its place,
//! by whoever makes the next: so none is skipped when its own maker has died, and at the worst it is told twice under one
//! id. The compacted topics hold what there is: whoever has written there looks again whether it still is.

pub mod metrics;
mod publish;

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tributary_schemas::{
    entity::{Account, Project, Version, Webhook},
    id::ProjectId,
    time::Timestamp,
    topic::Topics,
};

use crate::{
    clock::now,
    kafka::Publisher,
    store::{Cas, ControlStore, EntityRef, Kind, StoreError, Stored, Unpublished},
};

/// What can be written here.
pub trait Entity: Serialize + DeserializeOwned + Clone + PartialEq + Send + Sync {
    /// Its kind.
    const KIND: Kind;
    /// Its name in the store.
    fn reference(&self) -> EntityRef;
    /// Its version.
    fn version(&self) -> Version;
    /// Notes a change.
    fn touch(&mut self, version: Version, at: Timestamp);
    /// Notes what this version tells, beside the one before; without one it is the first or the last.
    fn tell(&mut self, _before: Option<&Self>) {}
    /// The account that it is, if it is one: only accounts have events.
    fn as_account(&self) -> Option<&Account> {
        None
    }
}

macro_rules! entity {
    ($type:ty, $kind:expr, $project:ident $(, $more:item)*) => {
        impl Entity for $type {
            const KIND: Kind = $kind;
            fn reference(&self) -> EntityRef {
                let id = self.id.to_string();
                EntityRef { kind: $kind, project: self.$project.clone(), id }
            }
            fn version(&self) -> Version {
                self.version
            }
            fn touch(&mut self, version: Version, at: Timestamp) {
                self.version = version;
                self.updated_at = at;
            }
            $($more)*
        }
    };
}
entity!(Project, Kind::Project, id);
entity!(
    Account,
    Kind::Account,
    project,
    fn as_account(&self) -> Option<&Account> {
        Some(self)
    },
    fn tell(&mut self, before: Option<&Self>) {
        Account::tell(self, before);
    }
);
entity!(Webhook, Kind::Webhook, project);
entity!(ApiKey, Kind::ApiKey, project);

/// A project's key to the API. The key itself is shown once; its SHA-256 finds it. A plain hash will do, because the key
/// is 256 random bits: there is nothing to guess.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: String,
    /// Its tenant.
    pub project: ProjectId,
    /// Grows with each change.
    pub version: Version,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the key, in hex.
    pub hash: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// An entity as the store keeps it: deleted ones until that is published, with their last values.
#[derive(Serialize, Deserialize)]
struct Document<T> {
    #[serde(flatten)]
    entity: T,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

/// A write that was not made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is none.
    #[error("not found")]
    NotFound,
    /// Its id is taken.
    #[error("already exists")]
    Exists,
    /// Others change it all the time.
    #[error("changed by others at the same time: try again")]
    Contended,
    /// It is not the version that the caller expected.
    #[error("if-match: the version is {0} now: read it again")]
    Changed(Version),
    /// It is larger than its topic takes.
    #[error("body: what is kept of it would be {0} bytes: expected at most {MOST_BYTES}")]
    TooLarge(usize),
    /// The change before could not be announced: the broker is away, or refuses.
    #[error("the change before this one has not been announced yet: try again")]
    Unannounced(#[source] anyhow::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store holds can't be read.
    #[error("reading an entity")]
    Broken(#[from] serde_json::Error),
}

/// Writes entities, and publishes them.
#[derive(Clone)]
pub struct Writer {
    store: Arc<dyn ControlStore>,
    publisher: Publisher,
    topics: Topics,
    expected: Option<Version>,
}

/// A page of a list: it may be empty, and is no end of the list.
#[derive(Debug)]
pub struct Page<T> {
    /// The entities.
    pub entities: Vec<T>,
    /// Where the next page begins; absent at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// The same page of something made from each.
    pub fn map<U>(self, each: impl FnMut(T) -> U) -> Page<U> {
        Page { entities: self.entities.into_iter().map(each).collect(), next: self.next }
    }
}

/// The most that a document may hold: its topic takes more, as it wraps it, and its event too.
const MOST_BYTES: usize = 256 << 10;
/// Compare-and-sets that are tried before a write gives up.
const TRIES: usize = 8;

impl Writer {
    /// Writes to this store, and publishes with this producer.
    pub fn new(store: Arc<dyn ControlStore>, publisher: Publisher, topics: Topics) -> Self {
        Self { store, publisher, topics, expected: None }
    }

    /// The same, but it changes and deletes only what has this version; without one, whatever version there is.
    #[must_use]
    pub fn expecting(&self, version: Option<Version>) -> Self {
        Self { expected: version, ..self.clone() }
    }

    fn is_expected(&self, version: Version) -> Result<(), WriteError> {
        match self.expected {
            Some(expected) if expected != version => Err(WriteError::Changed(version)),
            Some(_) | None => Ok(()),
        }
    }

    /// Reads an entity.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn get<T: Entity>(&self, project: &ProjectId, id: &str) -> Result<Option<T>, WriteError> {
        let entity = EntityRef { kind: T::KIND, project: project.clone(), id: id.to_owned() };
        Ok(self.read(&entity).await?.filter(|found: &Document<T>| !found.deleted).map(|found| found.entity))
    }

    /// Lists a project's entities of a kind by id. What can't be read is logged, counted and passed over.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list<T: Entity>(
        &self,
        project: &ProjectId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<T>, WriteError> {
        let listed = self.store.list(T::KIND, project, after, limit).await?;
        let next = (listed.len() == limit).then(|| listed.last().map(|(id, _)| id.clone())).flatten();
        let mut entities = Vec::new();
        for (id, stored) in listed {
            match serde_json::from_slice::<Document<T>>(&stored.doc) {
                Ok(found) => entities.extend((!found.deleted).then_some(found.entity)),
                Err(error) => unreadable(T::KIND, &id, &error),
            }
        }
        Ok(Page { entities, next })
    }

    /// Writes a new entity, of version 1.
    ///
    /// # Errors
    /// [`WriteError::Exists`] when its id is taken.
    pub async fn create<T: Entity>(&self, mut entity: T) -> Result<T, WriteError> {
        entity.touch(1, now());
        entity.tell(None);
        let document = Document { entity, deleted: false };
        match self.write(&document, None).await? {
            Cas::Done => Ok(document.entity),
            Cas::Conflict => Err(WriteError::Exists),
        }
    }

    /// Changes an entity. A change that changes nothing is silent. `change` may be called again, on what others wrote.
    ///
    /// # Errors
    /// What `change` says, or [`WriteError`].
    pub async fn update<T: Entity, E: From<WriteError>>(
        &self,
        project: &ProjectId,
        id: &str,
        mut change: impl FnMut(&mut T) -> Result<(), E>,
    ) -> Result<T, E> {
        for _ in 0..TRIES {
            let before: T = self.get(project, id).await?.ok_or(WriteError::NotFound)?;
            self.is_expected(before.version())?;
            let mut entity = before.clone();
            change(&mut entity)?;
            if entity == before {
                return Ok(entity);
            }
            self.announce_first(&before).await?;
            entity.touch(before.version() + 1, now());
            entity.tell(Some(&before));
            let document = Document { entity, deleted: false };
            match self.write(&document, Some(before.version())).await? {
                Cas::Done => return Ok(document.entity),
                Cas::Conflict => {}
            }
        }
        Err(WriteError::Contended.into())
    }

    /// Deletes an entity, and gives its last values.
    ///
    /// # Errors
    /// [`WriteError::NotFound`] when there is none.
    pub async fn delete<T: Entity>(&self, project: &ProjectId, id: &str) -> Result<T, WriteError> {
        for _ in 0..TRIES {
            let mut entity: T = self.get(project, id).await?.ok_or(WriteError::NotFound)?;
            let before = entity.version();
            self.is_expected(before)?;
            self.announce_first(&entity).await?;
            entity.touch(before + 1, now());
            entity.tell(None);
            let document = Document { entity, deleted: true };
            match self.write(&document, Some(before)).await? {
                Cas::Done => return Ok(document.entity),
                Cas::Conflict => {}
            }
        }
        Err(WriteError::Contended)
    }

    async fn read<T: Entity>(&self, entity: &EntityRef) -> Result<Option<Document<T>>, WriteError> {
        match self.store.get(entity).await? {
            Some(stored) => match serde_json::from_slice(&stored.doc) {
                Ok(document) => Ok(Some(document)),
                Err(error) => {
                    unreadable(entity.kind, &entity.id, &error);
                    Err(error.into())
                }
            },
            None => Ok(None),
        }
    }

    /// Registers, sets, publishes: in this order nothing that was set can stay unpublished for ever.
    async fn write<T: Entity>(
        &self,
        document: &Document<T>,
        expected: Option<Version>,
    ) -> Result<Cas, WriteError> {
        let version = document.entity.version();
        let stored = Stored { version, doc: serde_json::to_vec(document)? };
        if stored.doc.len() > MOST_BYTES && !document.deleted {
            return Err(WriteError::TooLarge(stored.doc.len()));
        }
        let change = Unpublished { entity: document.entity.reference(), version, registered_at: now() };
        self.store.register(&change).await?;
        let cas = self.store.put(&change.entity, expected, &stored).await?;
        if cas == Cas::Done
            && let Err(error) = self.publish(&change, document).await
        {
            tracing::warn!(
                entity = change.entity.id,
                version,
                error = format!("{error:#}"),
                "left to the sweep"
            );
        }
        Ok(cas)
    }
}

/// Counts an entity of ours that can't be read. It stays as it is, for a release that reads it.
fn unreadable(kind: Kind, id: &str, error: &serde_json::Error) {
    ::metrics::counter!(metrics::UNREADABLE, "kind" => kind.name()).increment(1);
    tracing::error!(kind = kind.name(), id, %error, "an entity can't be read");
}
