//! How an entity's change becomes known: an event for each version of an account, and the compacted topics.

use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tributary_schemas::{
    codec,
    entity::{Account, Version, Wanted},
    event::{AccountFacts, Subject, UnifiedEvent},
    framing,
    id::{EventId, Sequence},
    observation::Snapshot,
    resource::{Action, EventName, Mode, Resource},
};

use super::{ApiKey, Document, Entity, WriteError, Writer, metrics};
use crate::{
    clock::now,
    kafka::{Outgoing, PublishError},
    store::{EntityRef, Kind, Unpublished},
};

/// How often the sweep looks.
const SWEEP: Duration = Duration::from_secs(10);
/// A change that was registered this long ago is not under way any more: whoever made it has died, or could not publish.
const UNDER_WAY: Duration = Duration::from_secs(30);
/// A change that was registered this long ago and is not in the store was never made.
const NEVER_MADE: Duration = Duration::from_secs(86_400);

/// What became of a change that was registered.
enum Repeated {
    Published,
    Left,
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

impl Writer {
    /// Repeats what was not published, until told to stop.
    pub async fn sweep_until(self, shutdown: CancellationToken) {
        let mut tick = tokio::time::interval(SWEEP);
        while shutdown.run_until_cancelled(tick.tick()).await.is_some() {
            if let Err(error) = self.sweep().await {
                ::metrics::counter!(metrics::FAILED_SWEEPS).increment(1);
                tracing::warn!(error = format!("{error:#}"), "sweeping");
            }
        }
    }

    /// Repeats what was not published; gives how many changes that were. One that can't be is counted, and stops no other.
    ///
    /// # Errors
    /// When the store does not say what there is.
    pub async fn sweep(&self) -> anyhow::Result<usize> {
        let (mut published, mut stuck) = (0, 0);
        for change in self.store.unpublished().await? {
            match self.repeat(&change).await {
                Ok(Repeated::Published) => published += 1,
                Ok(Repeated::Left) => {}
                Err(error) => {
                    stuck += 1;
                    tracing::warn!(
                        kind = change.entity.kind.name(),
                        entity = change.entity.id,
                        version = change.version,
                        error = format!("{error:#}"),
                        "a change could not be published"
                    );
                }
            }
        }
        ::metrics::gauge!(metrics::STUCK).set(f64::from(stuck));
        Ok(published)
    }

    /// Publishes a change that its maker has left, if it was made.
    async fn repeat(&self, change: &Unpublished) -> anyhow::Result<Repeated> {
        let age = now().since(change.registered_at);
        if age < UNDER_WAY {
            return Ok(Repeated::Left);
        }
        let found = self.store.get(&change.entity).await?.filter(|it| it.version >= change.version);
        if let Some(found) = found {
            // A later one was not made before this one was announced.
            if change.entity.kind == Kind::Account && found.version == change.version {
                self.announce(&serde_json::from_slice::<Document<Account>>(&found.doc)?).await?;
            }
            self.spread(change).await?;
            return Ok(Repeated::Published);
        }
        if age > NEVER_MADE {
            self.store.published(change).await?;
        }
        Ok(Repeated::Left)
    }

    pub(super) async fn publish<T: Entity>(
        &self,
        change: &Unpublished,
        document: &Document<T>,
    ) -> anyhow::Result<()> {
        self.announce(document).await?;
        self.spread(change).await
    }

    /// Announces a version that may not have been, before there is a next one.
    pub(super) async fn announce_first<T: Entity>(&self, version: &T) -> Result<(), WriteError> {
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
        let Some(account) = document.entity.as_account().filter(|it| it.is_told()) else { return Ok(()) };
        let action = match (document.deleted, account.version) {
            (true, _) => Action::Deleted,
            (false, 1) => Action::Created,
            (false, _) => Action::Updated,
        };
        let event = event(account, action)?;
        let payload = framing::encode(&event, self.publisher.schemas());
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
            let forget = Some(codec::encode(&Snapshot::Forget(account.source())));
            self.send(self.topics.poll_snapshots(), &entity.id, forget, Vec::new()).await?;
            self.store.delete_poll_states(&account.id).await?;
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
    let before = if account.told.version == 0 { version - 1 } else { i64::try_from(account.told.before)? };
    let setup = (!account.setup.is_empty()).then(|| serde_json::to_string(&account.setup)).transpose()?;
    Ok(UnifiedEvent {
        event_id: EventId::digest(&[b"account", account.id.as_str().as_bytes(), &version.to_be_bytes()]),
        sequence: Sequence(version),
        previous_sequence: (before > 0).then_some(Sequence(before)),
        project: account.project.clone(),
        account: account.id.clone(),
        provider: account.provider.clone(),
        origin_owner_id: account.origin_owner_id.as_deref().map(Into::into),
        event: EventName { resource: Resource::Account, action },
        event_date: account.updated_at,
        detected_at: account.updated_at,
        mode: Mode::NativeAutomatic,
        subject: Subject::Account(AccountFacts {
            origin_owner_name: account.origin_owner_name.clone(),
            origin_username: account.origin_username.clone(),
            setup_information: setup,
        }),
    })
}
