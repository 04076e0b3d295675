//! One look at an (account, resource): what is due, and how what was due ended.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context;
use tributary_connectors::{
    Catalog,
    engine::{
        auth::Credentials,
        connector::Connector,
        listing::{self, RunScope},
        position::Position,
        projection::Keyed,
    },
};
use tributary_core::poll::{
    asks::Ask,
    cadence::{Cadence, Changed, Delta, Doubted, Interest, Kind, Next, PollState, Release, Taken, next},
    outcome::Outcome,
    turns::Limits,
};
use tributary_schemas::{
    entity::{Account, AccountStatus, Schedule, ScheduleDefault, Sealed, Version},
    id::{AccountId, Bits, ProjectId, RemoteId},
    observation::Run,
    resource::Resource,
    time::Timestamp,
    topic::Topics,
};

use super::{
    Config,
    ask::{self, Caller},
    interest::{Interests, facts},
    place::Place,
    run::{Failed, Job},
};
use crate::{
    clock::{now, uptime},
    dial::Dialer,
    entity::Writer,
    kafka::{Publisher, View},
    secret::{Field, KeyRing, Secret},
    store::{Cas, Stored, Stores},
};

/// What runs need: one for the process.
pub(super) struct Runner {
    pub(super) config: Config,
    pub(super) topics: Topics,
    pub(super) stores: Stores,
    pub(super) catalog: Catalog,
    pub(super) keys: Arc<KeyRing>,
    pub(super) caller: Caller,
    pub(super) publisher: Publisher,
    pub(super) writer: Writer,
    pub(super) interests: Option<View<Interests>>,
}

/// What became of a look.
pub(super) enum Attended {
    /// Look again then.
    At(Timestamp),
    /// There is nothing to look at until the account or what is wanted changes.
    Never,
}

impl Runner {
    #[expect(clippy::too_many_arguments, reason = "each is another thing that a run needs")]
    pub(super) fn new(
        config: Config,
        topics: Topics,
        stores: Stores,
        catalog: Catalog,
        keys: Arc<KeyRing>,
        dialer: Dialer,
        publisher: Publisher,
        writer: Writer,
    ) -> Self {
        let deadline = Duration::from_secs(config.request_seconds);
        let caller = Caller::new(dialer, config.page_bytes, deadline);
        Self { config, topics, stores, catalog, keys, caller, publisher, writer, interests: None }
    }

    pub(super) fn with(mut self, interests: View<Interests>) -> Self {
        self.interests = Some(interests);
        self
    }

    pub(super) fn limits(&self) -> Limits {
        Limits { workers: self.config.concurrency.max(1), per_host: self.config.per_host.max(1) }
    }

    pub(super) fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The resources of an account that can be polled.
    pub(super) fn resources(&self, account: &Account) -> Vec<Resource> {
        let connector = self.catalog.get(account.provider.as_str());
        connector.map(|it| it.resources().map(|resource| resource.name()).collect()).unwrap_or_default()
    }

    /// The account's credentials may have changed.
    pub(super) fn account_changed(&self, account: &AccountId) {
        self.caller.forget_session(account);
    }

    /// Notes that something was asked.
    pub(super) async fn ask(
        &self,
        account: &AccountId,
        resource: Resource,
        ask: Ask,
    ) -> anyhow::Result<Taken> {
        loop {
            let (mut state, version) = self.state(account, resource).await?;
            let taken = state.ask(ask, now());
            if self.save(account, resource, &state, version).await? == Cas::Done {
                return Ok(taken);
            }
        }
    }

    /// Looks what is due, and does it. What others changed meanwhile is decided anew at the next look.
    pub(super) async fn attend(
        &self,
        project: &ProjectId,
        id: &AccountId,
        resource: Resource,
        place: &Place,
    ) -> anyhow::Result<Attended> {
        // The account as it is now: its credentials may be newer than what we were told.
        let account: Option<Account> = self.writer.get(project, id.as_str()).await?;
        let Some(account) = account else { return Ok(Attended::Never) };
        let Some(connector) = self.catalog.get(account.provider.as_str()) else { return Ok(Attended::Never) };
        let Some(listed) = connector.resource(resource) else { return Ok(Attended::Never) };
        let (interest, cadence, ignored, id_prefix) = self.wishes(&account, &connector, listed);
        let (mut state, mut version) = self.state(id, resource).await?;
        if version.is_none() && interest == Interest::Unwanted {
            return Ok(Attended::Never);
        }
        if state.want(interest) == Changed::Yes {
            if self.save(id, resource, &state, version).await? == Cas::Conflict {
                return Ok(Attended::At(now()));
            }
            version = Some(version.unwrap_or(0) + 1);
        }
        if interest == Interest::Unwanted || account.status != AccountStatus::Active {
            return Ok(Attended::Never);
        }
        // Whatever was wrong may have been mended.
        if state.failed_version != account.version {
            (state.failed_at, state.not_before) = (None, None);
        }
        if state.doubted == Doubted::Perhaps {
            let known = self.stores.state.ranges(id, resource).await?;
            let missing = known.rows.iter().map(|(_, _, row)| u64::from(row.missing)).sum();
            if state.looked(known.head, missing) == Changed::Yes {
                let doubted = state.doubted == Doubted::Absences;
                ::metrics::counter!(super::metrics::DOUBTED).increment(u64::from(doubted));
                if self.save(id, resource, &state, version).await? == Cas::Conflict {
                    return Ok(Attended::At(now()));
                }
                version = Some(version.unwrap_or(0) + 1);
            }
        }
        let projection = listed.projection(&ignored);
        let kind = match next(&state, &cadence, projection, now(), jitter(id, resource)) {
            Next::At(at) => return Ok(Attended::At(at)),
            Next::Run(kind) => kind,
        };
        let begun_at = now();
        let (kind, scope) = self.scope(id, listed, &state, kind);
        let run = state.claim();
        if self.save(id, resource, &state, version).await? == Cas::Conflict {
            return Ok(Attended::At(now()));
        }
        let (setup, hash_key) = self.open(&account)?;
        let credentials = ask::credentials(&connector, &setup);
        let mut job = Job {
            run: Run {
                source: account.source(),
                resource,
                run,
                begun_at,
                lasted: Duration::ZERO,
                projection,
                baseline: state.baseline,
                settle: listed.settle(),
                bits: Bits::NATIVE,
                id_prefix,
                key_name: listed.key_name(),
            },
            account: &account,
            connector: Arc::clone(&connector),
            credentials: Credentials::default(),
            key: Keyed::new(&hash_key),
            ignored,
            kind,
            scope,
            place,
            began: uptime(),
            lasts: Duration::from_secs(self.config.run_seconds),
            emptied_before: state.standing.is_some_and(|it| it.outcome == Outcome::Emptied),
        };
        let ended = match credentials {
            Ok(credentials) => {
                job.credentials = credentials;
                self.run(&mut job).await
            }
            Err(broken) => Err(Failed::Theirs(broken)),
        };
        let Some(state) = self.settle(&job, ended).await? else { return Ok(Attended::At(now())) };
        Ok(match next(&state, &cadence, projection, now(), jitter(id, resource)) {
            Next::At(at) => Attended::At(at),
            Next::Run(_) => Attended::At(now()),
        })
    }

    /// What a run asks for. A position that can't be read, or is older than the provider looks back, is none.
    fn scope(
        &self,
        account: &AccountId,
        listed: &listing::Resource,
        state: &PollState,
        kind: Kind,
    ) -> (Kind, RunScope) {
        let full = (Kind::Full(Release::No), RunScope::Full);
        let Kind::Delta = kind else { return (kind, RunScope::Full) };
        let Some(held) = &state.position else { return full };
        let opened = self.keys.open(&Field::Position.of(slot(account, listed.name())), &held.sealed);
        let position = opened.ok().and_then(|it| serde_json::from_slice::<Position>(it.expose()).ok());
        match position.filter(|position| !position.is_older_than(listed.back(), now())) {
            Some(position) => (kind, RunScope::Changes(position)),
            None => full,
        }
    }

    /// A position, sealed.
    pub(super) fn seal(
        &self,
        account: &AccountId,
        resource: Resource,
        at: &Position,
    ) -> anyhow::Result<Sealed> {
        let secret = Secret::new(serde_json::to_vec(at)?);
        self.keys.seal(&Field::Position.of(slot(account, resource)), &secret)
    }

    fn wishes(
        &self,
        account: &Account,
        connector: &Connector,
        listed: &listing::Resource,
    ) -> (Interest, Cadence, Vec<String>, String) {
        let resource = listed.name();
        let own = account.schedules.get(&resource).copied().unwrap_or_default();
        let mut default = Schedule::default();
        let mut ignored = Vec::new();
        let mut id_prefix = "tr1!".to_owned();
        let mut interest = Interest::Unwanted;
        if let Some(view) = &self.interests {
            let view = view.read();
            interest = view.of(&account.id, &facts(account), resource);
            if let Some(project) = view.project(&account.project) {
                id_prefix.clone_from(&project.id_prefix);
                let ours = |it: &&ScheduleDefault| it.provider == account.provider && it.resource == resource;
                if let Some(found) = project.schedules.iter().find(ours) {
                    default = found.schedule;
                    ignored.clone_from(&found.ignored_fields);
                }
            }
        }
        let usual = listed.every().unwrap_or(Duration::from_secs(self.config.interval_seconds));
        let usual = usual.max(connector.shortest_interval(resource));
        // Whether changes can be asked for may hang on what linking asked for; on a secret of it nothing does.
        let setup = account.setup.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        let credentials = Credentials { setup, ..Credentials::default() };
        let test = |millis: Option<u64>| millis.map(Duration::from_millis);
        let cadence = Cadence {
            interval: test(self.config.test_interval_ms)
                .or(own.interval)
                .or(default.interval)
                .unwrap_or(usual),
            full_interval: test(self.config.test_full_interval_ms)
                .or(own.full_interval)
                .or(default.full_interval),
            delta: match connector.tells_changes(resource, &credentials) {
                true => Delta::Possible,
                false => Delta::Impossible,
            },
        };
        (interest, cadence, ignored, id_prefix)
    }

    fn open(&self, account: &Account) -> anyhow::Result<(BTreeMap<String, String>, Vec<u8>)> {
        let credentials = self.keys.open(&Field::Credentials.of(&account.id), &account.credentials)?;
        let mut setup = account.setup.clone();
        let secret: BTreeMap<String, String> =
            serde_json::from_slice(credentials.expose()).context("an account's credentials")?;
        setup.extend(secret);
        let hash_key = self.keys.open(&Field::HashKey.of(&account.id), &account.hash_key)?;
        Ok((setup, hash_key.expose().to_vec()))
    }

    pub(super) async fn state(
        &self,
        account: &AccountId,
        resource: Resource,
    ) -> anyhow::Result<(PollState, Option<Version>)> {
        match self.stores.control.poll_state(account, resource).await? {
            Some(stored) => {
                let state = serde_json::from_slice(&stored.doc).context("a poll state")?;
                Ok((state, Some(stored.version)))
            }
            None => Ok((PollState::new(), None)),
        }
    }

    pub(super) async fn save(
        &self,
        account: &AccountId,
        resource: Resource,
        state: &PollState,
        expected: Option<Version>,
    ) -> anyhow::Result<Cas> {
        let stored = Stored { version: expected.unwrap_or(0) + 1, doc: serde_json::to_vec(state)? };
        Ok(self.stores.control.put_poll_state(account, resource, expected, &stored).await?)
    }
}

/// The context of what is sealed of an (account, resource).
fn slot(account: &AccountId, resource: Resource) -> String {
    format!("{account}/{resource}")
}

/// The same for an (account, resource) every time, so that a restart moves nothing.
fn jitter(account: &AccountId, resource: Resource) -> f64 {
    let key = RemoteId::new(format!("{account}/{resource}")).key();
    f64::from(key.0[0]) / 256.0
}
