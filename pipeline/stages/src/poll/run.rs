//! One run: listed, hashed and landed whole.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use anyhow::{Context, bail};
use tributary_connectors::{
    Connector,
    legacy::ListingKind,
    polling::{self, Polled, PolledRecord, Scope, Setup},
    projection::Projection,
};
use tributary_core::poll::{
    cadence::{Doubted, Kind, Release},
    listing::{Belief, Bounds, Checked, Judged, Listing, PageFacts, Whole, judge},
    outcome::Outcome,
    scan::{Scan, listed},
};
use tributary_schemas::{
    codec,
    entity::Account,
    id::{AccountId, RecordKey},
    observation::{Absence, Content, DeltaPage, Listed, Run, Snapshot},
    time::Timestamp,
};

use super::{
    attend::Runner,
    listing::{Answered, Broken},
    metrics,
    place::Place,
};
use crate::{
    clock::uptime,
    kafka::{Outgoing, PublishError, Receipt},
};

/// Records of one delta message.
const DELTA_RECORDS: usize = 2_000;
/// Messages of a run that the broker has not acknowledged, at most: they are held in memory.
const UNACKNOWLEDGED: usize = 64;
/// Said of an empty listing.
const NOTHING: &str = "nothing was listed where records were known";

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
    pub(super) place: &'a Place,
    /// When it began, by uptime.
    pub(super) began: Duration,
    /// The longest that it may take (`poll.run_seconds`).
    pub(super) lasts: Duration,
    /// The last scan listed nothing where something was.
    pub(super) emptied_before: bool,
}

/// A listing that is being read, and what is believed of it.
struct Reading<'a> {
    pages: polling::Listing<'a>,
    belief: Listing,
    next: Option<String>,
    nameless: usize,
    /// The provider's clock as the first request was sent.
    provider_clock: Option<Timestamp>,
}

impl Reading<'_> {
    /// The next page, hashed; `held` is what the run keeps in memory.
    async fn page(&mut self, runner: &Runner, job: &Job<'_>, held: u64) -> Result<Vec<Listed>, Failed> {
        let Answered { page, provider_clock } = runner.caller.page(job, &mut self.pages, held).await?;
        self.provider_clock = self.provider_clock.or(provider_clock);
        (self.next, self.nameless) = (page.next, page.nameless);
        ::metrics::counter!(metrics::NAMELESS, "provider" => job.connector.name().to_owned())
            .increment(page.nameless as u64);
        Ok(job.hash(page.records))
    }

    /// Whether the listing goes on after the page that was read last, or has ended.
    fn believe(&mut self, records: usize, fresh: usize, lasted: Duration) -> Result<Option<Whole>, Broken> {
        let page = PageFacts { next: self.next.as_deref(), records, fresh, nameless: self.nameless };
        match self.belief.page(page, lasted) {
            Belief::GoOn => Ok(None),
            Belief::Ended(whole) => Ok(Some(whole)),
            Belief::Endless(why) => Err(Broken::new(Outcome::Endless, why.to_string())),
        }
    }

    fn found(&self, whole: Whole, records: u64, doubted: Doubted) -> Found {
        let (outcome, words) = match whole {
            Whole::Yes => (Outcome::Landed, None),
            Whole::No => {
                let words = format!("{} records without an id", self.belief.nameless());
                (Outcome::Partial, Some(words))
            }
        };
        Found { outcome, records, doubted, provider_clock: self.provider_clock, words }
    }
}

/// What landed.
pub(super) struct Found {
    pub(super) outcome: Outcome,
    pub(super) records: u64,
    pub(super) doubted: Doubted,
    /// The provider's clock as its first request was sent.
    pub(super) provider_clock: Option<Timestamp>,
    pub(super) words: Option<String>,
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
        let mut reading = self.read(job, Scope::Full);
        let whole = loop {
            let page = reading.page(self, job, scan.held()).await?;
            let (records, most) = (page.len(), self.config.scan_records);
            let fresh = page.into_iter().map(|listed| usize::from(scan.add(listed))).sum();
            if scan.len() > most {
                let words = format!("more than {most} records in one scan (poll.scan_records)");
                return Err(Broken::new(Outcome::TooLarge, words).into());
            }
            if let Some(whole) = reading.believe(records, fresh, job.lasted())? {
                break whole;
            }
        };
        scan.end();
        let ranges =
            self.stores.state.ranges(&job.account.id, job.run.resource).await.map_err(anyhow::Error::from)?;
        job.run.bits = scan.cut(ranges.head);
        job.run.lasted = job.lasted();
        let rows: HashMap<_, _> =
            ranges.rows.into_iter().map(|(bits, range, row)| ((bits, range), row)).collect();
        let usual = match job.polled.listing() {
            ListingKind::Keyed => Absence::Sure,
            ListingKind::Unkeyed => Absence::Doubtful,
        };
        let listed = (scan.len() as u64, whole);
        let before = (job.emptied_before, Checked::No);
        let Judged { absence, emptied } = judge(listed, rows.values(), usual, release, before);
        let compared = scan.compare(&job.run, &rows, absence).map_err(anyhow::Error::from)?;
        let (same, sent) =
            (u64::from(job.run.bits.ranges()) - compared.ranges.len() as u64, compared.ranges.len() as u64);
        ::metrics::counter!(metrics::RANGES, "outcome" => "same").increment(same);
        ::metrics::counter!(metrics::RANGES, "outcome" => "sent").increment(sent);
        let records = compared.summary.records;
        let summary = Snapshot::Summary(compared.summary);
        let messages = std::iter::once(summary).chain(compared.ranges.map(Snapshot::Range));
        self.land(&job.account.id, messages).await?;
        let doubted = if emptied { Doubted::Absences } else { compared.doubted };
        let found = reading.found(whole, records, doubted);
        Ok(match emptied {
            true => Found { outcome: Outcome::Emptied, words: Some(NOTHING.into()), ..found },
            false => found,
        })
    }

    /// A delta: each page lands by itself; the watermark moves when all have.
    async fn delta(&self, job: &Job<'_>, since: Timestamp) -> Result<Found, Failed> {
        let mut seen: HashSet<RecordKey> = HashSet::new();
        let mut reading = self.read(job, Scope::Since(since));
        let mut records = 0;
        loop {
            let held = seen.capacity() as u64 * size_of::<RecordKey>() as u64;
            let mut changed = reading.page(self, job, held).await?;
            let on_page = changed.len();
            // Of the same id twice the later wins: it comes first, and the first is kept.
            changed.reverse();
            changed.sort_by_key(|listed| listed.remote_id.key());
            changed.dedup_by_key(|listed| listed.remote_id.key());
            records += changed.len() as u64;
            let fresh = changed.iter().filter(|listed| seen.insert(listed.remote_id.key())).count();
            let run = Run { lasted: job.lasted(), ..job.run.clone() };
            let page = |chunk: &[Listed]| {
                Snapshot::Delta(DeltaPage {
                    run: run.clone(),
                    changed: chunk.to_vec(),
                    deleted: Vec::new(),
                    notification: None,
                })
            };
            let messages: Vec<Snapshot> = changed.chunks(DELTA_RECORDS).map(page).collect();
            self.land(&job.account.id, messages).await?;
            if let Some(whole) = reading.believe(on_page, fresh, job.lasted())? {
                return Ok(reading.found(whole, records, Doubted::Nothing));
            }
        }
    }

    fn read<'a>(&self, job: &Job<'a>, scope: Scope) -> Reading<'a> {
        Reading {
            pages: job.polled.list(scope, job.setup.clone()),
            belief: Listing::new(Bounds { pages: self.config.pages, lasts: job.lasts }),
            next: None,
            nameless: 0,
            provider_clock: None,
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
            if receipts.len() >= UNACKNOWLEDGED {
                acknowledged(std::mem::take(&mut receipts)).await?;
            }
        }
        acknowledged(receipts).await
    }
}

impl Job<'_> {
    /// How long it has lasted, by uptime.
    pub(super) fn lasted(&self) -> Duration {
        uptime().saturating_sub(self.began)
    }

    /// Counts how the run ended, and how long it took.
    pub(super) fn count(&self, outcome: &Result<Found, Failed>) {
        let provider = self.connector.name().to_owned();
        let kind = match self.kind {
            Kind::Full(_) => "full",
            Kind::Delta { .. } => "delta",
        };
        let label = match outcome {
            Ok(Found { doubted, outcome, .. }) => {
                ::metrics::counter!(metrics::DOUBTED).increment(u64::from(*doubted == Doubted::Absences));
                outcome.name()
            }
            Err(Failed::Theirs(broken)) => broken.outcome.name(),
            Err(Failed::Ours(_)) => Outcome::Ours.name(),
        };
        let took = self.lasted().as_secs_f64();
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
