//! One look at an (account, resource): what is due, and if a run is, the run.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use tributary_connectors::{
    Catalog, Connector,
    definition::ListingKind,
    polling::{More, Polled, PolledRecord, Scope, Setup},
    projection::Projection,
};
use tributary_core::{
    scan::{Scan, listed},
    schedule::{Cadence, Changed, Delta, Doubted, Interest, Kind, Landed, Next, PollState, Release, next},
};
use tributary_schemas::{
    codec,
    entity::{Account, AccountStatus, Schedule, Version},
    id::{AccountId, Bits, ProjectId, RunId},
    observation::{Absence, Announce, Content, DeltaPage, Listed, Run, Snapshot, Source, TriggerReason},
    resource::Resource,
    time::Timestamp,
    topic::Topics,
};

use super::{
    Config,
    interest::Interests,
    listing::{Broken, Caller},
    metrics,
};
use crate::{
    clock::now,
    dial::Dialer,
    entity::{WriteError, Writer},
    kafka::{Outgoing, PublishError, Publisher, Receipt, View},
    secret::{Field, KeyRing},
    store::{Cas, Stored, Stores},
};

/// Records of one delta message.
const DELTA_RECORDS: usize = 2_000;

/// What runs need: one for the process.
pub(super) struct Runner {
    config: Config,
    topics: Topics,
    stores: Stores,
    catalog: Catalog,
    keys: Arc<KeyRing>,
    caller: Caller,
    publisher: Publisher,
    writer: Writer,
    interests: Option<View<Interests>>,
}

/// What became of a look.
pub(super) enum Attended {
    /// Look again then.
    At(Timestamp),
    /// There is nothing to look at until the account or what is wanted changes.
    Never,
}

/// A run's end, if it did not land.
enum Failed {
    /// The provider's side: noted in the poll state, tried again later.
    Theirs(Broken),
    /// Ours: the broker or the store.
    Ours(anyhow::Error),
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::Ours(error)
    }
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Self {
        Self::Theirs(broken)
    }
}

/// One run under way.
struct Job<'a> {
    account: &'a Account,
    connector: &'a Connector,
    polled: &'a Polled,
    setup: Setup,
    hash_key: Vec<u8>,
    projection: Projection,
    run: Run,
}

/// What landed.
struct Found {
    records: u64,
    doubted: Doubted,
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
            state.asked = Some(reason);
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
        let job = Job {
            run: Run {
                source: Source {
                    project: account.project.clone(),
                    account: id.clone(),
                    provider: account.provider.clone(),
                },
                resource,
                run,
                begun_at,
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
        };
        let outcome = self.run(job, kind).await;
        self.settle(&account, connector, polled, resource, state, version, kind, run, begun_at, outcome)
            .await?;
        Ok(Attended::At(now()))
    }

    #[expect(clippy::too_many_arguments, reason = "all that a run was")]
    async fn settle(
        &self,
        account: &Account,
        connector: &Connector,
        polled: &Polled,
        resource: Resource,
        mut state: PollState,
        version: Version,
        kind: Kind,
        run: RunId,
        begun_at: Timestamp,
        outcome: Result<(Found, tributary_schemas::id::ProjectionVersion), Failed>,
    ) -> anyhow::Result<()> {
        let provider = connector.name().to_owned();
        let kind_name = match kind {
            Kind::Full(_) => "full",
            Kind::Delta { .. } => "delta",
        };
        let took = now().since(begun_at).as_secs_f64();
        ::metrics::histogram!(metrics::RUN_SECONDS, "provider" => provider.clone(), "kind" => kind_name)
            .record(took);
        let label = match &outcome {
            Ok(_) => "landed",
            Err(Failed::Theirs(Broken::Unauthorized)) => "unauthorized",
            Err(Failed::Theirs(Broken::Wait(_))) => "rate_limited",
            Err(Failed::Theirs(Broken::Other(_))) => "broken",
            Err(Failed::Ours(_)) => "ours",
        };
        ::metrics::counter!(metrics::RUNS, "provider" => provider, "kind" => kind_name, "outcome" => label)
            .increment(1);
        match outcome {
            Ok((found, projection)) => {
                let landed = Landed { run, begun_at, ended_at: now(), records: found.records, projection };
                let overlap = polled.delta_overlap().unwrap_or(Duration::ZERO);
                if found.doubted == Doubted::Absences {
                    ::metrics::counter!(metrics::DOUBTED).increment(1);
                }
                state.landed(kind, landed, found.doubted, overlap);
            }
            Err(Failed::Ours(error)) => return Err(error),
            Err(Failed::Theirs(broken)) => {
                tracing::warn!(account = account.id.as_str(), %resource, error = %broken, "run failed");
                if matches!(broken, Broken::Unauthorized) {
                    self.refuse(account).await?;
                }
                state.failed(now(), broken.to_string());
            }
        }
        // A conflict means that somebody asked for something meanwhile, or that a newer run was claimed: the run has
        // landed all the same, and what it found out is found out again.
        let _ = self.save(&account.id, resource, &state, Some(version)).await?;
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
                let ours = |it: &&tributary_schemas::entity::ScheduleDefault| {
                    it.provider == account.provider && it.resource == resource
                };
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

    async fn run(
        &self,
        mut job: Job<'_>,
        kind: Kind,
    ) -> Result<(Found, tributary_schemas::id::ProjectionVersion), Failed> {
        let version = job.projection.version();
        let found = match kind {
            Kind::Full(release) => self.scan(&mut job, release).await?,
            Kind::Delta { since } => self.delta(&mut job, since).await?,
        };
        Ok((found, version))
    }

    /// A full scan: buffered until the listing ended properly, then landed as its summary and the ranges that differ.
    async fn scan(&self, job: &mut Job<'_>, release: Release) -> Result<Found, Failed> {
        let mut scan = Scan::default();
        let mut listing = job.polled.list(Scope::Full, job.setup.clone());
        loop {
            let page = self.caller.page(job.connector, &job.account.id, &job.setup, &mut listing).await?;
            job.hash(page.records).into_iter().for_each(|listed| scan.add(listed));
            if scan.len() > self.config.scan_records {
                let most = self.config.scan_records;
                return Err(Broken::Other(format!(
                    "more than {most} records in one scan (poll.scan_records)"
                ))
                .into());
            }
            if page.more == More::No {
                break;
            }
        }
        let ranges =
            self.stores.state.ranges(&job.account.id, job.run.resource).await.map_err(anyhow::Error::from)?;
        job.run.bits = scan.cut(ranges.head);
        let rows = ranges.rows.into_iter().map(|(bits, range, row)| ((bits, range), row)).collect();
        let absence = match (release, job.polled.listing()) {
            (Release::Yes, _) => Absence::Released,
            (Release::No, ListingKind::Keyed) => Absence::Sure,
            (Release::No, ListingKind::Unkeyed) => Absence::Doubtful,
        };
        let compared = scan.compare(&job.run, &rows, absence);
        let (same, sent) =
            (u64::from(job.run.bits.ranges()) - compared.ranges.len() as u64, compared.ranges.len() as u64);
        ::metrics::counter!(metrics::RANGES, "outcome" => "same").increment(same);
        ::metrics::counter!(metrics::RANGES, "outcome" => "sent").increment(sent);
        let records = compared.summary.records;
        let summary = Snapshot::Summary(compared.summary);
        let messages = std::iter::once(summary).chain(compared.ranges.into_iter().map(Snapshot::Range));
        self.land(&job.account.id, messages).await?;
        Ok(Found { records, doubted: if compared.doubted { Doubted::Absences } else { Doubted::Nothing } })
    }

    /// A delta: each page lands by itself; the watermark moves when all have.
    async fn delta(&self, job: &mut Job<'_>, since: Timestamp) -> Result<Found, Failed> {
        let mut listing = job.polled.list(Scope::Since(since), job.setup.clone());
        let mut records = 0;
        loop {
            let page = self.caller.page(job.connector, &job.account.id, &job.setup, &mut listing).await?;
            let mut changed = job.hash(page.records);
            changed.sort_by_key(|listed| listed.remote_id.key());
            changed.dedup_by_key(|listed| listed.remote_id.key());
            records += changed.len() as u64;
            let messages: Vec<Snapshot> = changed
                .chunks(DELTA_RECORDS)
                .map(|chunk| {
                    Snapshot::Delta(DeltaPage {
                        run: job.run.clone(),
                        changed: chunk.to_vec(),
                        deleted: Vec::new(),
                    })
                })
                .collect();
            self.land(&job.account.id, messages).await?;
            if page.more == More::No {
                return Ok(Found { records, doubted: Doubted::Nothing });
            }
        }
    }

    /// Writes messages in their order, and waits until the broker has them all.
    async fn land(
        &self,
        account: &AccountId,
        messages: impl IntoIterator<Item = Snapshot>,
    ) -> anyhow::Result<()> {
        let mut receipts: Vec<Receipt> = Vec::new();
        for message in messages {
            let payload = codec::encode(&message);
            let record = Outgoing {
                topic: self.topics.poll_snapshots(),
                key: account.as_str().as_bytes().to_vec().into(),
                payload: Some(payload.into()),
                ..Outgoing::default()
            };
            let receipt = loop {
                match self.publisher.enqueue(record.clone()) {
                    Ok(receipt) => break receipt,
                    Err(PublishError::QueueFull) if !receipts.is_empty() => {
                        acknowledged(std::mem::take(&mut receipts)).await?;
                    }
                    Err(error) => bail!(anyhow::Error::from(error).context("landing a run")),
                }
            };
            receipts.push(receipt);
        }
        acknowledged(receipts).await
    }
}

impl Job<'_> {
    /// Hashes records in memory: only (remote id, hash) goes on.
    fn hash(&self, records: Vec<PolledRecord>) -> Vec<Listed> {
        let count = |content: &'static str, number: usize| {
            let provider = self.connector.name().to_owned();
            ::metrics::counter!(metrics::RECORDS, "provider" => provider, "content" => content)
                .increment(number as u64);
        };
        let unread = records.iter().filter(|record| record.mapped.is_none()).count();
        count("unread", unread);
        count("hash", records.len() - unread);
        let hashed = |record: PolledRecord| {
            let content = match &record.mapped {
                Some(mapped) => Content::Hash(self.projection.hash(&self.hash_key, mapped)),
                None => Content::Unread,
            };
            listed(record.remote_id, content)
        };
        records.into_iter().map(hashed).collect()
    }
}

async fn acknowledged(receipts: Vec<Receipt>) -> anyhow::Result<()> {
    for receipt in receipts {
        receipt.acknowledged().await.context("landing a run")?;
    }
    Ok(())
}

/// The same for an (account, resource) every time, so that a restart moves nothing.
fn jitter(account: &AccountId, resource: Resource) -> f64 {
    let key = tributary_schemas::id::RemoteId::new(format!("{account}/{resource}")).key();
    f64::from(key.0[0]) / 256.0
}
