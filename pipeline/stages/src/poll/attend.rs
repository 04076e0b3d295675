//! One look at an (account, resource): what is due, and how what was due ended.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use tributary_connectors::{
    Catalog, Connector,
    polling::{Polled, Setup},
};
use tributary_core::poll::cadence::{Cadence, Changed, Delta, Interest, Landed, Next, PollState, next};
use tributary_schemas::{
    entity::{Account, AccountStatus, Schedule, ScheduleDefault, Version},
    id::{AccountId, Bits, ProjectId, RemoteId},
    observation::{Announce, Run, TriggerReason},
    resource::Resource,
    time::Timestamp,
    topic::Topics,
};

use super::{
    Config,
    interest::Interests,
    listing::{Broken, Caller},
    run::{Failed, Found, Job},
};
use crate::{
    clock::now,
    dial::Dialer,
    entity::{WriteError, Writer},
    kafka::{Publisher, View},
    secret::{Field, KeyRing},
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
        let caller = Caller::new(dialer, config.page_bytes);
        Self { config, topics, stores, catalog, keys, caller, publisher, writer, interests: None }
    }

    pub(super) fn with(mut self, interests: View<Interests>) -> Self {
        self.interests = Some(interests);
        self
    }

    pub(super) fn concurrency(&self) -> usize {
        self.config.concurrency
    }

    pub(super) fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The resources of an account that can be polled.
    pub(super) fn resources(&self, account: &Account) -> Vec<Resource> {
        let connector = self.catalog.get(account.provider.as_str());
        connector.map(|it| it.polled_resources().map(|(resource, _)| resource).collect()).unwrap_or_default()
    }

    /// The account's credentials may have changed.
    pub(super) fn account_changed(&self, account: &AccountId) {
        self.caller.forget_session(account);
    }

    /// Notes that a person asked for a run.
    pub(super) async fn ask(
        &self,
        account: &AccountId,
        resource: Resource,
        reason: TriggerReason,
    ) -> anyhow::Result<()> {
        loop {
            let (mut state, version) = self.state(account, resource).await?;
            state.asked = Some(reason.clone());
            state.failed_at = None;
            if reason == TriggerReason::Resync {
                state.rebase(Announce::Created);
            }
            if self.save(account, resource, &state, version).await? == Cas::Done {
                return Ok(());
            }
        }
    }

    /// Looks what is due, and does it. What others changed meanwhile is decided anew at the next look.
    pub(super) async fn attend(
        &self,
        project: &ProjectId,
        id: &AccountId,
        resource: Resource,
    ) -> anyhow::Result<Attended> {
        // The account as it is now: its credentials may be newer than what we were told.
        let account: Option<Account> = self.writer.get(project, id.as_str()).await?;
        let Some(account) = account else { return Ok(Attended::Never) };
        let Some(connector) = self.catalog.get(account.provider.as_str()) else { return Ok(Attended::Never) };
        let Some(polled) = connector.polled(resource) else { return Ok(Attended::Never) };
        let (interest, cadence, ignored, id_prefix) = self.wishes(&account, connector, polled, resource);
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
        let projection = polled.projection(&ignored);
        let kind = match next(&state, &cadence, projection.version(), now(), jitter(id, resource)) {
            Next::At(at) => return Ok(Attended::At(at)),
            Next::Run(kind) => kind,
        };
        let begun_at = now();
        let run = state.claim();
        if self.save(id, resource, &state, version).await? == Cas::Conflict {
            return Ok(Attended::At(now()));
        }
        let version = version.unwrap_or(0) + 1;
        let (setup, hash_key) = self.open(&account)?;
        let mut job = Job {
            run: Run {
                source: account.source(),
                resource,
                run,
                begun_at,
                lasted: Duration::ZERO,
                projection: projection.version(),
                baseline: state.baseline,
                settle: connector.settle(),
                bits: Bits::NATIVE,
                id_prefix,
                key_name: polled.key_name().to_owned(),
            },
            account: &account,
            connector,
            polled,
            setup,
            hash_key,
            projection,
            kind,
        };
        let outcome = self.run(&mut job).await;
        self.settle(&job, state, version, outcome).await?;
        Ok(Attended::At(now()))
    }

    /// Notes how a run ended.
    async fn settle(
        &self,
        job: &Job<'_>,
        mut state: PollState,
        version: Version,
        outcome: Result<Found, Failed>,
    ) -> anyhow::Result<()> {
        job.count(&outcome);
        match outcome {
            Ok(found) => {
                let Run { run, begun_at, projection, .. } = job.run;
                let landed = Landed { run, begun_at, ended_at: now(), records: found.records, projection };
                let overlap = job.polled.delta_overlap().unwrap_or(Duration::ZERO);
                state.landed(job.kind, landed, found.doubted, overlap);
            }
            Err(Failed::Ours(error)) => return Err(error),
            Err(Failed::Theirs(broken)) => {
                let resource = job.run.resource;
                tracing::warn!(account = job.account.id.as_str(), %resource, error = %broken, "run failed");
                let not_before = match &broken {
                    Broken::Unauthorized => {
                        self.refuse(job.account).await?;
                        None
                    }
                    Broken::Wait(wait) => Some(now().plus(*wait)),
                    Broken::Other(_) => None,
                };
                state.failed(now(), broken.to_string(), not_before);
            }
        }
        // A conflict means that somebody asked for something meanwhile, or that a newer run was claimed: the run has
        // landed all the same, and what it found out is found out again.
        let _ = self.save(&job.account.id, job.run.resource, &state, Some(version)).await?;
        Ok(())
    }

    /// 401: the account can't be used until its credentials are changed.
    async fn refuse(&self, account: &Account) -> anyhow::Result<()> {
        let refused = |account: &mut Account| {
            account.status = AccountStatus::Error;
            account.status_reasons = vec!["the provider refuses the credentials".into()];
            Ok::<_, WriteError>(())
        };
        match self.writer.update(&account.project, account.id.as_str(), refused).await {
            Ok(_) | Err(WriteError::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn wishes(
        &self,
        account: &Account,
        connector: &Connector,
        polled: &Polled,
        resource: Resource,
    ) -> (Interest, Cadence, Vec<String>, String) {
        let own = account.schedules.get(&resource).copied().unwrap_or_default();
        let mut default = Schedule::default();
        let mut ignored = Vec::new();
        let mut id_prefix = "tr1!".to_owned();
        let mut interest = Interest::Unwanted;
        if let Some(view) = &self.interests {
            let view = view.read();
            interest = view.of(account, resource);
            if let Some(project) = view.project(&account.project) {
                id_prefix.clone_from(&project.id_prefix);
                let ours = |it: &&ScheduleDefault| it.provider == account.provider && it.resource == resource;
                if let Some(found) = project.schedules.iter().find(ours) {
                    default = found.schedule;
                    ignored.clone_from(&found.ignored_fields);
                }
            }
        }
        let usual =
            Duration::from_secs(self.config.interval_seconds).max(connector.shortest_interval(resource));
        let test = |millis: Option<u64>| millis.map(Duration::from_millis);
        let cadence = Cadence {
            interval: test(self.config.test_interval_ms)
                .or(own.interval)
                .or(default.interval)
                .unwrap_or(usual),
            full_interval: test(self.config.test_full_interval_ms)
                .or(own.full_interval)
                .or(default.full_interval),
            delta: if polled.delta_overlap().is_some() { Delta::Possible } else { Delta::Impossible },
        };
        (interest, cadence, ignored, id_prefix)
    }

    fn open(&self, account: &Account) -> anyhow::Result<(Setup, Vec<u8>)> {
        let credentials = self.keys.open(&Field::Credentials.of(&account.id), &account.credentials)?;
        let mut setup = account.setup.clone();
        let secret: std::collections::BTreeMap<String, String> =
            serde_json::from_slice(credentials.expose()).context("an account's credentials")?;
        setup.extend(secret);
        let hash_key = self.keys.open(&Field::HashKey.of(&account.id), &account.hash_key)?;
        Ok((Setup(setup), hash_key.expose().to_vec()))
    }

    async fn state(
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

    async fn save(
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

/// The same for an (account, resource) every time, so that a restart moves nothing.
fn jitter(account: &AccountId, resource: Resource) -> f64 {
    let key = RemoteId::new(format!("{account}/{resource}")).key();
    f64::from(key.0[0]) / 256.0
}
