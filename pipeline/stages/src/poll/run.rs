//! One run: listed, hashed and landed whole.

use anyhow::{Context, bail};
use tributary_connectors::{
    Connector,
    legacy::ListingKind,
    polling::{More, Polled, PolledRecord, Scope, Setup},
    projection::Projection,
};
use tributary_core::poll::{
    cadence::{Doubted, Kind, Release},
    scan::{Scan, listed},
};
use tributary_schemas::{
    codec,
    entity::Account,
    id::AccountId,
    observation::{Absence, Content, DeltaPage, Listed, Run, Snapshot},
    time::Timestamp,
};

use super::{attend::Runner, listing::Broken, metrics};
use crate::{
    clock::now,
    kafka::{Outgoing, PublishError, Receipt},
};

/// Records of one delta message.
const DELTA_RECORDS: usize = 2_000;

/// A run's end, if it did not land.
pub(super) enum Failed {
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
pub(super) struct Job<'a> {
    pub(super) account: &'a Account,
    pub(super) connector: &'a Connector,
    pub(super) polled: &'a Polled,
    pub(super) setup: Setup,
    pub(super) hash_key: Vec<u8>,
    pub(super) projection: Projection,
    pub(super) kind: Kind,
    pub(super) run: Run,
}

/// What landed.
pub(super) struct Found {
    pub(super) records: u64,
    pub(super) doubted: Doubted,
}

impl Runner {
    /// Runs what is due.
    pub(super) async fn run(&self, job: &mut Job<'_>) -> Result<Found, Failed> {
        match job.kind {
            Kind::Full(release) => self.scan(job, release).await,
            Kind::Delta { since } => self.delta(job, since).await,
        }
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
                scan.end();
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
        let compared = scan.compare(&job.run, &rows, absence).map_err(anyhow::Error::from)?;
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
                        notification: None,
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
    /// Counts how the run ended, and how long it took.
    pub(super) fn count(&self, outcome: &Result<Found, Failed>) {
        let provider = self.connector.name().to_owned();
        let kind = match self.kind {
            Kind::Full(_) => "full",
            Kind::Delta { .. } => "delta",
        };
        let label = match outcome {
            Ok(Found { doubted, .. }) => {
                ::metrics::counter!(metrics::DOUBTED).increment(u64::from(*doubted == Doubted::Absences));
                "landed"
            }
            Err(Failed::Theirs(Broken::Unauthorized)) => "unauthorized",
            Err(Failed::Theirs(Broken::Wait(_))) => "rate_limited",
            Err(Failed::Theirs(Broken::Other(_))) => "broken",
            Err(Failed::Ours(_)) => "ours",
        };
        let took = now().since(self.run.begun_at).as_secs_f64();
        ::metrics::histogram!(metrics::RUN_SECONDS, "provider" => provider.clone(), "kind" => kind)
            .record(took);
        ::metrics::counter!(metrics::RUNS, "provider" => provider, "kind" => kind, "outcome" => label)
            .increment(1);
    }

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
