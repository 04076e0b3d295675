//! Scans as unify takes them in: a first load, one in a hundred changed, and quiet ones; beside them the floor: a loop that
//! encodes the same events, writes them in transactions as large, and then the same rows.
//!
//! What counts is CPU: of our process, and beside it of the broker and the database.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tributary_schemas::{
    codec,
    event::{Subject, UnifiedEvent},
    framing,
    id::{Bits, EventId, ProjectionDigest, ProjectionVersion, RecordHash, RemoteId, RunId, Sequence},
    observation::{
        Absence, Announce, Baseline, Content, Listed, RangeListing, Run, Snapshot, Source, Summary,
    },
    record_id,
    resource::{Action, EventName, Mode, Resource},
    state::{At, Bucket, Introduced, Known, RangeRow, State},
    time::Timestamp,
    wal::Mutation,
};
use tributary_stages::{
    kafka::{Outgoing, Publisher, Transactional},
    store::{Config as StoreConfig, Stores, cql},
};

use crate::{
    Arguments,
    deployment::{Deployment, PARTITIONS, Process},
    median,
};

/// Quiet scans of each account.
const QUIET: u64 = 20;
/// The floor's transactions hold as many events as unify's.
const EVENTS: usize = 20_000;
/// How long one measurement may take.
const LIMIT: Duration = Duration::from_secs(1_200);

/// What one measurement cost.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: Duration,
    /// Of our process, the broker and the database.
    cpu: [Duration; 3],
}

/// The processes whose CPU is measured.
struct Watch {
    pids: [u32; 3],
    begun: Instant,
    cpu: [Duration; 3],
}

impl Watch {
    fn begin(ours: u32, services: &Path) -> anyhow::Result<Self> {
        let pid = |service: &str| -> anyhow::Result<u32> {
            let path = services.join(service).join("pid");
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            Ok(text.trim().parse()?)
        };
        let pids = [ours, pid("kafka")?, pid("cassandra")?];
        Ok(Self { pids, begun: Instant::now(), cpu: cpu(pids)? })
    }

    fn end(self) -> anyhow::Result<Cost> {
        let now = cpu(self.pids)?;
        let cpu = std::array::from_fn(|index| now[index].saturating_sub(self.cpu[index]));
        Ok(Cost { wall: self.begun.elapsed(), cpu })
    }
}

fn cpu(pids: [u32; 3]) -> anyhow::Result<[Duration; 3]> {
    let mut all = [Duration::ZERO; 3];
    for (pid, cpu) in pids.iter().zip(&mut all) {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(')').next().context("a stat line")?.split_whitespace().collect();
        // utime and stime, in hundredths of a second.
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        *cpu = Duration::from_millis(ticks * 10);
    }
    Ok(all)
}

/// The most that a process has had in memory, in MiB.
fn peak(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).context("VmHWM")?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse::<f64>()? / 1024.0)
}

#[derive(Default)]
struct Results {
    first: Vec<Cost>,
    changed: Vec<Cost>,
    quiet: Vec<Cost>,
    floor: Vec<Cost>,
    peaks: Vec<f64>,
}

/// Measures, and prints a table of medians.
pub(crate) async fn scans(arguments: &Arguments) -> anyhow::Result<()> {
    let (accounts, records) = (arguments.accounts, arguments.records);
    let services = arguments.services.as_ref().context("--services: where ops/local keeps its services")?;
    let mut results = Results::default();
    for run in 0..arguments.runs {
        let deployment = arguments.deployment(&arguments.with).await?;
        let publisher = Publisher::new(&deployment.cluster, "bench")?;
        let process = deployment.start(0)?;
        while process.partitions().await.unwrap_or_default() < f64::from(PARTITIONS) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let pid = process.pid()?;
        let mut inputs = 0;
        for (into, rounds, step) in [
            (&mut results.first, 1..2, Step::All),
            (&mut results.changed, 2..3, Step::OneInAHundred),
            (&mut results.quiet, 3..3 + QUIET, Step::Quiet),
        ] {
            let watch = Watch::begin(pid, services)?;
            for number in rounds {
                inputs += send(&deployment, &publisher, (accounts, records), number, step).await?;
            }
            done(&process, inputs).await?;
            into.push(watch.end()?);
        }
        results.peaks.push(peak(pid)?);
        process.stop().await?;
        let floor = arguments.deployment(&arguments.with).await?;
        results.floor.push(write_floor(&floor, arguments, services.clone()).await?);
        let rate = |costs: &[Cost]| (accounts * records) as f64 / costs[run].cpu[0].as_secs_f64() / 1e3;
        println!(
            "run {run}: first load {:.0} k, changed {:.0} k, floor {:.0} k records per CPU-second",
            rate(&results.first),
            rate(&results.changed),
            rate(&results.floor)
        );
    }
    print(arguments, &results);
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Every range, with every record new.
    All,
    /// Every range, with one record in a hundred changed.
    OneInAHundred,
    /// Summaries alone.
    Quiet,
}

/// Sends one scan of each account; says how many messages that were.
async fn send(
    deployment: &Deployment,
    publisher: &Publisher,
    (accounts, records): (usize, usize),
    number: u64,
    step: Step,
) -> anyhow::Result<usize> {
    let topic = deployment.cluster.topics().poll_snapshots();
    let (mut receipts, mut sent) = (Vec::new(), 0);
    for account in 0..accounts {
        let run = run(account, number)?;
        let summary = Summary { run: run.clone(), records: records as u64, ranges_sent: 1 };
        let mut messages = vec![Snapshot::Summary(summary)];
        if step != Step::Quiet {
            let content = |index: usize| match step {
                Step::OneInAHundred if index.is_multiple_of(100) => 2,
                Step::All | Step::OneInAHundred | Step::Quiet => 1,
            };
            let listed = |index: usize| Listed {
                remote_id: remote_id(index),
                content: Content::Hash(RecordHash([content(index); 16])),
            };
            let mut listed: Vec<Listed> = (0..records).map(listed).collect();
            listed.sort_by_cached_key(|listed| listed.remote_id.key());
            let absence = Absence::Sure;
            messages.push(Snapshot::Range(RangeListing { run, range: 0, absence, records: listed }));
        }
        for message in messages {
            sent += 1;
            receipts.push(publisher.enqueue(Outgoing {
                topic: topic.clone(),
                key: format!("account-{account}").into_bytes().into(),
                payload: Some(codec::encode(&message).into()),
                ..Outgoing::default()
            })?);
        }
        if receipts.len() > 200 {
            for receipt in receipts.drain(..) {
                receipt.acknowledged().await?;
            }
        }
    }
    for receipt in receipts {
        receipt.acknowledged().await?;
    }
    Ok(sent)
}

/// Waits until so many messages were decided, and the store has all of it.
async fn done(process: &Process, inputs: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let metrics = process.metrics().await?;
        let sum = |name: &str| -> f64 {
            let lines = metrics.lines().filter(|line| line.starts_with(name));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let decided = sum("tributary_unify_inputs_total{");
        if decided >= inputs as f64 && sum("tributary_unify_wal_unapplied_records{") == 0.0 {
            return Ok(());
        }
        ensure!(begun.elapsed() < LIMIT, "{decided} messages of {inputs} within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The least that a first load can cost with these libraries: no input, no decision, no WAL.
async fn write_floor(
    deployment: &Deployment,
    arguments: &Arguments,
    services: PathBuf,
) -> anyhow::Result<Cost> {
    let config = cql::Config {
        hosts: vec![arguments.cql.clone()],
        keyspace: deployment.keyspace.clone(),
        replication: 1,
        ..cql::Config::default()
    };
    let stores = Stores::open(&StoreConfig::Cql(config)).await?;
    let cluster = deployment.cluster.clone();
    let producer = tokio::task::block_in_place(|| Transactional::new(&cluster, "floor"))?;
    let watch = Watch::begin(std::process::id(), &services)?;
    let (accounts, records) = (arguments.accounts, arguments.records);
    let each = (EVENTS / records).max(1);
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    let mut applying = None::<tokio::task::JoinHandle<anyhow::Result<()>>>;
    for first in (0..accounts).step_by(each) {
        let (mut outgoing, mut mutations) = (Vec::new(), Vec::new());
        for account in first..(first + each).min(accounts) {
            let run = run(account, 1)?;
            let bits = run.bits;
            let bucket =
                Bucket { account: run.source.account.clone(), resource: run.resource, bits, range: 0 };
            for index in 0..records {
                let sequence = Sequence(now.as_micros() + mutations.len() as i64);
                let event = event(&run, index, sequence, now);
                outgoing.push(Outgoing {
                    topic: cluster.topics().unified(event.event.resource, &event.project),
                    key: event.account.as_str().as_bytes().to_vec().into(),
                    payload: Some(framing::encode(&event, cluster.schemas()).into()),
                    headers: framing::headers(&event),
                    ..Outgoing::default()
                });
                let known = Known {
                    state: State::Live(RecordHash([1; 16])),
                    at: At::Run { run: run.run, begun_at: run.begun_at },
                    introduced: Introduced::Yes,
                    sequence: Some(sequence),
                    remote_id: remote_id(index),
                };
                let key = known.remote_id.key();
                let known = Some(known);
                mutations.push((sequence.0, Mutation::Record { bucket: bucket.clone(), key, known }));
            }
            mutations.push((now.as_micros(), Mutation::Range { bucket, row: Some(RangeRow::EMPTY) }));
        }
        tokio::task::block_in_place(|| producer.write(&outgoing))?;
        if let Some(before) = applying.take() {
            before.await??;
        }
        let state = stores.state.clone();
        applying = Some(tokio::spawn(async move { Ok(state.apply(&mutations).await?) }));
    }
    if let Some(last) = applying {
        last.await??;
    }
    watch.end()
}

fn event(run: &Run, index: usize, sequence: Sequence, now: Timestamp) -> UnifiedEvent {
    let Source { project, account, provider, origin_owner_id } = run.source.clone();
    let remote_id = remote_id(index);
    UnifiedEvent {
        event_id: EventId::digest(&[account.as_str().as_bytes(), &sequence.0.to_be_bytes()]),
        sequence,
        previous_sequence: None,
        project,
        account,
        provider,
        origin_owner_id,
        event: EventName { resource: run.resource, action: Action::Created },
        event_date: now,
        detected_at: now,
        mode: Mode::Synthetic,
        subject: Subject::Record {
            record_id: record_id::encode(&run.id_prefix, &run.key_name, &remote_id),
            remote_id,
            raw_event: None,
            event_data: None,
        },
    }
}

fn remote_id(index: usize) -> RemoteId {
    RemoteId::new(format!("{}", 1_000_000 + index))
}

fn run(account: usize, number: u64) -> anyhow::Result<Run> {
    let version = ProjectionDigest([1; 8]);
    Ok(Run {
        source: Source {
            project: "bench".parse()?,
            account: format!("account-{account}").parse()?,
            provider: "demo".parse()?,
            origin_owner_id: None,
        },
        resource: Resource::HrisEmployees,
        run: RunId(number),
        begun_at: Timestamp::from_micros(1_700_000_000_000_000 + number as i64 * 1_000_000),
        lasted: Duration::ZERO,
        projection: ProjectionVersion { identity: version, content: version },
        baseline: Baseline { from: RunId(1), announce: Announce::Created },
        settle: Duration::ZERO,
        bits: Bits::new(0).context("no bits")?,
        id_prefix: "tr1!".into(),
        key_name: "id".into(),
    })
}

fn print(arguments: &Arguments, results: &Results) {
    let records = (arguments.accounts * arguments.records) as f64;
    let summaries = arguments.accounts as f64 * QUIET as f64;
    println!(
        "\n| {} accounts of {} records, one process, 2 lanes; medians of {} | a CPU-second of ours | wall, a second | CPU us each: ours | broker | database |",
        arguments.accounts, arguments.records, arguments.runs
    );
    println!("|---|--:|--:|--:|--:|--:|");
    let line = |what: &str, costs: &[Cost], number: f64| {
        let of = |value: &dyn Fn(&Cost) -> f64| median(&costs.iter().map(value).collect::<Vec<_>>());
        let micros = |index: usize| of(&|cost: &Cost| cost.cpu[index].as_secs_f64() / number * 1e6);
        println!(
            "| {what} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} |",
            of(&|cost: &Cost| number / cost.cpu[0].as_secs_f64().max(0.01)),
            of(&|cost: &Cost| number / cost.wall.as_secs_f64()),
            micros(0),
            micros(1),
            micros(2)
        );
    };
    line("first load, all created: records", &results.first, records);
    line("1 % changed: records", &results.changed, records);
    line("quiet: summaries", &results.quiet, summaries);
    line("floor of the first load: records", &results.floor, records);
    let ratios = |value: &dyn Fn(&Cost) -> f64| {
        let pairs =
            results.floor.iter().zip(&results.first).map(|(floor, first)| value(floor) / value(first));
        median(&pairs.collect::<Vec<_>>())
    };
    println!(
        "| first load against the floor, CPU (of runs in pairs) | {:.2} |",
        ratios(&|it| it.cpu[0].as_secs_f64())
    );
    println!("| first load against the floor, wall | {:.2} |", ratios(&|it| it.wall.as_secs_f64()));
    println!("| peak RSS of our process, MiB | {:.0} |\n", median(&results.peaks));
}
