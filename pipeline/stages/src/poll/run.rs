//! One run: listed, hashed and landed whole.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use tributary_connectors::engine::{
    auth::Credentials,
    connector::Connector,
    listing::{Complete, Most, RunScope},
    projection::Keyed,
    run::{self, Asked, Digests, Keep, Sighting},
};
use tributary_core::poll::{
    cadence::{Doubted, Kind, Move, Release},
    delta::Delta,
    listing::{Checked, Judged, Whole, judge},
    outcome::Outcome,
    scan::Scan,
};
use tributary_schemas::{
    codec,
    entity::Account,
    id::AccountId,
    observation::{Absence, Content, Run, Snapshot},
};

use super::{
    ask::{Broken, Driven, Turn},
    attend::Runner,
    metrics,
    place::Place,
};
use crate::{
    clock::uptime,
    kafka::{Outgoing, PublishError, Receipt},
};

/// Messages of a run that the broker has not acknowledged, at most: they are held in memory.
const UNACKNOWLEDGED: usize = 64;
/// Said of an empty listing.
const NOTHING: &str = "nothing was listed where records were known";

/// A run's end, if it did not land.
pub(super) enum Failed {
    /// The provider's side: noted in the poll state, tried again later.
    Theirs(Broken),
    /// The provider does not keep the position any more.
    Expired(String),
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
    pub(super) connector: Arc<Connector>,
    pub(super) credentials: Credentials,
    pub(super) key: Keyed,
    /// Fields that the project leaves out.
    pub(super) ignored: Vec<String>,
    pub(super) kind: Kind,
    pub(super) scope: RunScope,
    pub(super) run: Run,
    pub(super) place: &'a Place,
    /// When it began, by uptime.
    pub(super) began: Duration,
    /// The longest that it may take (`poll.run_seconds`).
    pub(super) lasts: Duration,
    /// The last scan listed nothing where something was.
    pub(super) emptied_before: bool,
}

/// What landed.
pub(super) struct Found {
    pub(super) outcome: Outcome,
    pub(super) records: u64,
    pub(super) doubted: Doubted,
    /// Where deltas go on.
    pub(super) to: Move,
    pub(super) words: Option<String>,
}

impl Runner {
    /// Runs what is due.
    pub(super) async fn run(&self, job: &mut Job<'_>) -> Result<Found, Failed> {
        let asked = Asked {
            resource: job.run.resource,
            scope: job.scope.clone(),
            credentials: &job.credentials,
            most: Most { pages: self.config.pages, held: self.config.page_bytes },
            begun: job.run.begun_at,
        };
        let digests = Digests { key: job.key.clone(), ignored: job.ignored.clone(), keep: Keep::Digests };
        let run = run::Run::begin(&job.connector, asked, digests).context("a resource that is not listed")?;
        let driven = Driven::new(run);
        match job.kind {
            Kind::Full(release) => self.scan(job, driven, release).await,
            Kind::Delta => self.delta(job, driven).await,
        }
    }

    /// A full scan: buffered until the listing ended properly, then landed as its summary and the ranges that differ, and the
    /// deletions that it told.
    async fn scan(&self, job: &mut Job<'_>, mut driven: Driven, release: Release) -> Result<Found, Failed> {
        let (mut scan, mut gone) = (Scan::default(), Delta::default());
        let complete = loop {
            match self.caller.turn(job, &mut driven, scan.held() + gone.held()).await? {
                Turn::Complete(complete) => break complete,
                Turn::Expired(words) => return Err(Failed::Expired(words)),
                Turn::Told(told) => {
                    job.count_records(&told);
                    for sighting in told {
                        match sighting {
                            Sighting::Gone(tombstone) => gone.gone(tombstone),
                            Sighting::Listed(listed, _) => {
                                gone.forget(listed.remote_id.key());
                                scan.add(listed);
                            }
                        }
                    }
                    self.bound(scan.len() + gone.len())?;
                }
            }
        };
        scan.end();
        let ranges =
            self.stores.state.ranges(&job.account.id, job.run.resource).await.map_err(anyhow::Error::from)?;
        job.run.bits = scan.cut(ranges.head);
        job.run.lasted = job.lasted();
        let rows: HashMap<_, _> =
            ranges.rows.into_iter().map(|(bits, range, row)| ((bits, range), row)).collect();
        let usual = if complete.doubts.is_empty() { Absence::Sure } else { Absence::Doubtful };
        let listed = (scan.len() as u64, whole(&complete));
        let checked = match job.emptied_before && scan.is_empty() {
            true => self.caller.check(job, scan.held()).await?,
            false => Checked::No,
        };
        let Judged { absence, emptied } =
            judge(listed, rows.values(), usual, release, (job.emptied_before, checked));
        let compared = scan.compare(&job.run, &rows, absence).map_err(anyhow::Error::from)?;
        let (same, sent) =
            (u64::from(job.run.bits.ranges()) - compared.ranges.len() as u64, compared.ranges.len() as u64);
        ::metrics::counter!(metrics::RANGES, "outcome" => "same").increment(same);
        ::metrics::counter!(metrics::RANGES, "outcome" => "sent").increment(sent);
        // Where nothing differs, nothing is known that they would delete.
        gone.retain(|key| compared.differing.get(key.range(job.run.bits) as usize) == Some(&true));
        let records = compared.summary.records;
        let summary = Snapshot::Summary(compared.summary);
        let deletions = gone.pages(job.run.clone(), None).map(Snapshot::Delta);
        let messages = std::iter::once(summary).chain(compared.ranges.map(Snapshot::Range)).chain(deletions);
        self.land(&job.account.id, messages).await?;
        let doubted = if emptied { Doubted::Absences } else { compared.doubted };
        let found = self.found(job, &driven, complete, records, doubted)?;
        Ok(match emptied {
            true => Found { outcome: Outcome::Emptied, words: Some(NOTHING.into()), ..found },
            false => found,
        })
    }

    /// A delta: buffered, so that a later page wins over an earlier one, and landed at its end.
    async fn delta(&self, job: &Job<'_>, mut driven: Driven) -> Result<Found, Failed> {
        let mut delta = Delta::default();
        let complete = loop {
            match self.caller.turn(job, &mut driven, delta.held()).await? {
                Turn::Complete(complete) => break complete,
                Turn::Expired(words) => return Err(Failed::Expired(words)),
                Turn::Told(told) => {
                    job.count_records(&told);
                    for sighting in told {
                        match sighting {
                            Sighting::Listed(listed, _) => delta.add(listed),
                            Sighting::Gone(tombstone) => delta.gone(tombstone),
                        }
                    }
                    self.bound(delta.len())?;
                }
            }
        };
        let records = delta.len() as u64;
        let run = Run { lasted: job.lasted(), ..job.run.clone() };
        self.land(&job.account.id, delta.pages(run, None).map(Snapshot::Delta)).await?;
        self.found(job, &driven, complete, records, Doubted::Nothing)
    }

    fn bound(&self, records: usize) -> Result<(), Broken> {
        let most = self.config.scan_records;
        match records > most {
            true => Err(Broken::new(
                Outcome::TooLarge,
                format!("more than {most} records in one run (poll.scan_records)"),
            )),
            false => Ok(()),
        }
    }

    /// What a run that ended properly amounts to.
    fn found(
        &self,
        job: &Job<'_>,
        driven: &Driven,
        complete: Complete,
        records: u64,
        doubted: Doubted,
    ) -> Result<Found, Failed> {
        let provider = job.connector.name().to_owned();
        ::metrics::counter!(metrics::NAMELESS, "provider" => provider).increment(complete.nameless);
        let outcome = match whole(&complete) {
            Whole::Yes => Outcome::Landed,
            Whole::No => Outcome::Partial,
        };
        let to = match (&complete.position, job.kind) {
            (Some(position), _) => Move::To(self.seal(&job.account.id, job.run.resource, position)?),
            (None, Kind::Delta) => Move::Stay,
            (None, Kind::Full(_)) => Move::Nowhere,
        };
        let mut words = complete.partial.clone();
        if complete.unread > 0 {
            let why: Vec<&str> = driven.run().troubles().map(|(words, _)| words).collect();
            words.push(format!("{} records could not be read: {}", complete.unread, why.join("; ")));
        }
        let words = (!words.is_empty()).then(|| words.join("; "));
        Ok(Found { outcome, records, doubted, to, words })
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
            Kind::Delta => "delta",
        };
        let label = match outcome {
            Ok(Found { doubted, outcome, .. }) => {
                ::metrics::counter!(metrics::DOUBTED).increment(u64::from(*doubted == Doubted::Absences));
                outcome.name()
            }
            Err(Failed::Theirs(broken)) => broken.outcome.name(),
            Err(Failed::Expired(_)) => "expired",
            Err(Failed::Ours(_)) => Outcome::Ours.name(),
        };
        let took = self.lasted().as_secs_f64();
        ::metrics::histogram!(metrics::RUN_SECONDS, "provider" => provider.clone(), "kind" => kind)
            .record(took);
        ::metrics::counter!(metrics::RUNS, "provider" => provider, "kind" => kind, "outcome" => label)
            .increment(1);
    }

    /// Counts what was read of records.
    fn count_records(&self, told: &[Sighting]) {
        let of = |content: &Sighting| match content {
            Sighting::Listed(listed, _) => match listed.content {
                Content::Hash(_) => "hash",
                Content::Unread => "unread",
            },
            Sighting::Gone(_) => "gone",
        };
        for content in ["hash", "unread", "gone"] {
            let number = told.iter().filter(|sighting| of(sighting) == content).count() as u64;
            let provider = self.connector.name().to_owned();
            ::metrics::counter!(metrics::RECORDS, "provider" => provider, "content" => content)
                .increment(number);
        }
    }
}

/// Whether a listing named all that there is.
fn whole(complete: &Complete) -> Whole {
    if complete.partial.is_empty() { Whole::Yes } else { Whole::No }
}

async fn acknowledged(receipts: Vec<Receipt>) -> anyhow::Result<()> {
    for receipt in receipts {
        receipt.acknowledged().await.context("landing a run")?;
    }
    Ok(())
}
