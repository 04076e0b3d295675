//! The one writing function of an entity, used by control and by poll (design §8): compare-and-set in the store, then
//! publish. What could not be published is registered, and a sweep repeats it.
//!
//! Each version of an account is an event. One that is still registered is announced before the next takes its place,
//! by whoever makes the next: so none is skipped when its own maker has died, and at the worst it is told twice under one
//! id. The compacted topics hold what there is: whoever has written there looks again whether it still is.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio_util::sync::CancellationToken;
use tributary_schemas::{
    codec,
    entity::{Account, Project, Version, Wanted, Webhook},
    event::{AccountFacts, Subject, UnifiedEvent},
    framing::{self, SchemaIds},
    id::{EventId, ProjectId, Sequence},
    observation::{Snapshot, Source},
    resource::{Action, EventName, Mode, Resource},
    time::Timestamp,
    topic::Topics,
};

use crate::{
    clock::now,
    kafka::{Outgoing, PublishError, Publisher},
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
    /// The account that it is, if it is one: only accounts have events.
    fn as_account(&self) -> Option<&Account> {
        None
    }
}

macro_rules! entity {
    ($type:ty, $kind:expr, $project:ident $(, $($more:item)*)?) => {
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
            $($($more)*)?
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

/// What was written to a compacted topic.
#[derive(Debug, Clone, Copy)]
struct Sent {
    version: Version,
    deleted: bool,
}

impl Sent {
    fn of<T: Entity>(document: &Document<T>) -> Self {
        Self { version: document.entity.version(), deleted: document.deleted }
    }
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
}

/// Compare-and-sets that are tried before a write gives up.
const TRIES: usize = 8;
/// How often the sweep looks.
const SWEEP: Duration = Duration::from_secs(10);
/// A change that was registered this long ago is not under way any more: whoever made it has died, or could not publish.
const UNDER_WAY: Duration = Duration::from_secs(30);
/// A change that was registered this long ago and is not in the store was never made.
const NEVER_MADE: Duration = Duration::from_secs(86_400);

impl Writer {
    /// Writes to this store, and publishes with this producer.
    pub fn new(store: Arc<dyn ControlStore>, publisher: Publisher, topics: Topics) -> Self {
        Self { store, publisher, topics }
    }

    /// Reads an entity.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn get<T: Entity>(&self, project: &ProjectId, id: &str) -> Result<Option<T>, WriteError> {
        let entity = EntityRef { kind: T::KIND, project: project.clone(), id: id.to_owned() };
        Ok(self.read(&entity).await?.filter(|found: &Document<T>| !found.deleted).map(|found| found.entity))
    }

    /// Lists a project's entities of a kind by id.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list<T: Entity>(
        &self,
        project: &ProjectId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<T>, WriteError> {
        let listed = self.store.list(T::KIND, project, after, limit).await?;
        let mut entities = Vec::new();
        for (_, stored) in listed {
            let found: Document<T> = serde_json::from_slice(&stored.doc)?;
            entities.extend((!found.deleted).then_some(found.entity));
        }
        Ok(entities)
    }

    /// Writes a new entity, of version 1.
    ///
    /// # Errors
    /// [`WriteError::Exists`] when its id is taken.
    pub async fn create<T: Entity>(&self, mut entity: T) -> Result<T, WriteError> {
        entity.touch(1, now());
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
            let mut entity = before.clone();
            change(&mut entity)?;
            if entity == before {
                return Ok(entity);
            }
            self.announce_first(&before).await?;
            entity.touch(before.version() + 1, now());
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
            self.announce_first(&entity).await?;
            entity.touch(before + 1, now());
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
            Some(stored) => Ok(Some(serde_json::from_slice(&stored.doc)?)),
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
        let change = Unpublished { entity: document.entity.reference(), version, registered_at: now() };
        self.store.register(&change).await?;
        let stored = Stored { version, doc: serde_json::to_vec(document)? };
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

    /// Repeats what was not published, until told to stop.
    pub async fn sweep_until(self, shutdown: CancellationToken) {
        let mut tick = tokio::time::interval(SWEEP);
        while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
            if let Err(error) = self.sweep().await {
                tracing::warn!(error = format!("{error:#}"), "sweeping");
            }
        }
    }

    /// Repeats what was not published; gives how many changes that were.
    ///
    /// # Errors
    /// When the store or the broker does not answer.
    pub async fn sweep(&self) -> anyhow::Result<usize> {
        let mut published = 0;
        for change in self.store.unpublished().await? {
            let age = now().since(change.registered_at);
            if age < UNDER_WAY {
                continue;
            }
            let found = self.store.get(&change.entity).await?.filter(|it| it.version >= change.version);
            if let Some(found) = found {
                // A later one was not made before this one was announced.
                if change.entity.kind == Kind::Account && found.version == change.version {
                    self.announce(&serde_json::from_slice::<Document<Account>>(&found.doc)?).await?;
                }
                self.spread(&change).await?;
                published += 1;
            } else if age > NEVER_MADE {
                self.store.published(&change).await?;
            }
        }
        Ok(published)
    }

    async fn publish<T: Entity>(&self, change: &Unpublished, document: &Document<T>) -> anyhow::Result<()> {
        self.announce(document).await?;
        self.spread(change).await
    }

    /// Announces a version that may not have been, before there is a next one.
    async fn announce_first<T: Entity>(&self, version: &T) -> Result<(), WriteError> {
        if version.as_account().is_none()
            || !self.store.is_registered(&version.reference(), version.version()).await?
        {
            return Ok(());
        }
        let document = Document { entity: version.clone(), deleted: false };
        self.announce(&document).await.map_err(WriteError::Unannounced)
    }

    /// Writes the event of an account's version.
    async fn announce<T: Entity>(&self, document: &Document<T>) -> anyhow::Result<()> {
        let Some(account) = document.entity.as_account() else { return Ok(()) };
        let action = match (document.deleted, account.version) {
            (true, _) => Action::Deleted,
            (false, 1) => Action::Created,
            (false, _) => Action::Updated,
        };
        let event = event(account, action)?;
        let payload = framing::encode(&event, SchemaIds::default())?;
        let topic = self.topics.unified(Resource::Account, &account.project);
        let headers = framing::headers(&event);
        Ok(self.send(topic, account.id.as_str(), Some(payload), headers).await?)
    }

    /// Writes an entity as it is to its compacted topic, and notes that `change` is published.
    async fn spread(&self, change: &Unpublished) -> anyhow::Result<()> {
        let entity = &change.entity;
        let gone = loop {
            let sent = match entity.kind {
                Kind::Account => self.spread_account(entity).await?,
                Kind::Webhook => self.spread_wanted(entity, Wanted::Webhook).await?,
                Kind::Project => self.spread_wanted(entity, Wanted::Project).await?,
                Kind::ApiKey => self.read::<ApiKey>(entity).await?.as_ref().map(Sent::of),
            };
            // Another may have set and sent a later one between our reading and our writing.
            if self.store.get(entity).await?.map(|found| found.version) == sent.map(|sent| sent.version) {
                break sent.filter(|sent| sent.deleted);
            }
        };
        self.store.published(change).await?;
        if let Some(gone) = gone {
            // Lost races mean that somebody else removed it.
            let _ = self.store.delete(entity, gone.version).await?;
        }
        Ok(())
    }

    async fn spread_wanted<T: Entity>(
        &self,
        entity: &EntityRef,
        wanted: impl FnOnce(T) -> Wanted,
    ) -> anyhow::Result<Option<Sent>> {
        let Some(document) = self.read::<T>(entity).await? else { return Ok(None) };
        let sent = Sent::of(&document);
        let payload = if sent.deleted { None } else { Some(serde_json::to_vec(&wanted(document.entity))?) };
        self.send(self.topics.control_webhooks(), &entity.id, payload, Vec::new()).await?;
        Ok(Some(sent))
    }

    async fn spread_account(&self, entity: &EntityRef) -> anyhow::Result<Option<Sent>> {
        let Some(document) = self.read::<Account>(entity).await? else { return Ok(None) };
        let (sent, account) = (Sent::of(&document), document.entity);
        let payload = if sent.deleted { None } else { Some(serde_json::to_vec(&account)?) };
        self.send(self.topics.control_accounts(), &entity.id, payload, Vec::new()).await?;
        if sent.deleted {
            let Account { project, id: account, provider, .. } = account;
            let forget = Snapshot::Forget(Source { project, account: account.clone(), provider });
            let forget = Some(codec::encode(&forget));
            self.send(self.topics.poll_snapshots(), &entity.id, forget, Vec::new()).await?;
            self.store.delete_poll_states(&account).await?;
        }
        Ok(Some(sent))
    }

    async fn send(
        &self,
        topic: String,
        key: &str,
        payload: Option<Vec<u8>>,
        headers: Vec<(String, Vec<u8>)>,
    ) -> Result<(), PublishError> {
        let key = key.as_bytes().to_vec().into();
        let record = Outgoing { topic, key, payload: payload.map(Into::into), headers, partition: None };
        self.publisher.send(record).await.map(drop)
    }
}

/// The account event of a version: the same id whenever it is told.
fn event(account: &Account, action: Action) -> anyhow::Result<UnifiedEvent> {
    let version = i64::try_from(account.version).context("a version")?;
    let setup = (!account.setup.is_empty()).then(|| serde_json::to_string(&account.setup)).transpose()?;
    Ok(UnifiedEvent {
        event_id: EventId::digest(&[b"account", account.id.as_str().as_bytes(), &version.to_be_bytes()]),
        sequence: Sequence(version),
        previous_sequence: (version > 1).then_some(Sequence(version - 1)),
        project: account.project.clone(),
        account: account.id.clone(),
        provider: account.provider.clone(),
        event: EventName { resource: Resource::Account, action },
        event_date: account.updated_at,
        detected_at: account.updated_at,
        mode: Mode::NativeAutomatic,
        subject: Subject::Account(AccountFacts {
            origin_owner_id: account.origin_owner_id.clone(),
            origin_owner_name: account.origin_owner_name.clone(),
            origin_username: account.origin_username.clone(),
            setup_information: setup,
        }),
    })
}
