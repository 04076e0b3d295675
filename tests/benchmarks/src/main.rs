//! `tests/bench`: what exactly once costs, and how fast it is.

#![allow(clippy::print_stdout)]

mod deployment;
mod events;
mod scans;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Parser;

use crate::{
    deployment::{Deployment, PARTITIONS, Process},
    events::{Reader, Writer},
};

/// Measures unify on real Kafka and a real database: its rate with transactions and without, the latency of native
/// events, the phases of a batch, and the takeover after a kill -9. Gives medians. `tests/bench` starts the services and
/// builds the two binaries.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// How often everything is measured.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Events of one throughput run.
    #[arg(long, default_value_t = 40_000)]
    events: usize,
    /// How long a latency run takes, in seconds.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Only these.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "throughput,latency,takeover")]
    only: Vec<Measure>,
    /// Accounts of a scans run.
    #[arg(long, default_value_t = 1_000)]
    accounts: usize,
    /// Records of each.
    #[arg(long, default_value_t = 1_000)]
    records: usize,
    /// Where ops/local keeps its services, whose CPU is measured too.
    #[arg(long, env = "TRIBUTARY_LOCAL")]
    services: Option<PathBuf>,
    /// tributary as it is.
    #[arg(long)]
    with: PathBuf,
    /// tributary without transactions.
    #[arg(long)]
    without: Option<PathBuf>,
    /// Kafka, as ops/local/up prints it.
    #[arg(long, env = "TRIBUTARY_KAFKA")]
    kafka: String,
    /// The database, as ops/local/up prints it.
    #[arg(long, env = "TRIBUTARY_CQL")]
    cql: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Measure {
    /// A backlog of native events, with transactions and without.
    Throughput,
    /// Native events at 100 and at 2 000 a second.
    Latency,
    /// One of two processes is killed.
    Takeover,
    /// Scans: a first load, changes, quiet ones, beside the least that a first load can cost.
    Scans,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.runs > 0, "--runs must be at least 1");
    // The HTTP client comes without a TLS provider of its own; a second installation is refused, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    for measure in &arguments.only {
        match measure {
            Measure::Throughput => throughput(&arguments).await?,
            Measure::Latency => {
                for rate in [100, 2_000] {
                    latency(&arguments, rate).await?;
                }
            }
            Measure::Takeover => takeover(&arguments).await?,
            Measure::Scans => scans::scans(&arguments).await?,
        }
    }
    Ok(())
}

impl Arguments {
    async fn deployment(&self, binary: &Path) -> anyhow::Result<Deployment> {
        Deployment::new(&self.kafka, &self.cql, binary).await
    }
}

/// A backlog that is there before the process starts; the first tenth warms up and is not counted.
async fn throughput(arguments: &Arguments) -> anyhow::Result<()> {
    let mut rates: HashMap<&str, Vec<f64>> = HashMap::new();
    let without = arguments.without.as_ref().context("--without: unify without transactions")?;
    for run in 0..arguments.runs {
        for (name, binary) in [("without", without), ("with", &arguments.with)] {
            let deployment = arguments.deployment(binary).await?;
            let mut writer = Writer::new(&deployment.cluster)?;
            for event in 0..arguments.events {
                writer.begin(event).await?;
            }
            writer.written().await?;
            let reader = Reader::start(&deployment.cluster)?;
            let process = deployment.start(0)?;
            let warm = arguments.events / 10;
            reader.told(warm, Duration::from_secs(120)).await?;
            let begun = Instant::now();
            reader.told(arguments.events, Duration::from_secs(600)).await?;
            let rate = (arguments.events - warm) as f64 / begun.elapsed().as_secs_f64();
            println!("run {run}: {name} transactions {rate:.0} events/s");
            rates.entry(name).or_default().push(rate);
            process.stop().await?;
        }
    }
    let ratios: Vec<f64> =
        rates["with"].iter().zip(&rates["without"]).map(|(with, without)| with / without).collect();
    println!(
        "\n| throughput, {} native events, one process, 2 lanes | median of {} |",
        arguments.events, arguments.runs
    );
    println!("|---|---|");
    println!("| with transactions | {:.0} events/s |", median(&rates["with"]));
    println!("| without | {:.0} events/s |", median(&rates["without"]));
    println!("| ratio (of runs in pairs) | {:.2} |\n", median(&ratios));
    Ok(())
}

/// From the acknowledgement of a native request to the event at a `read_committed` reader.
async fn latency(arguments: &Arguments, rate: u64) -> anyhow::Result<()> {
    let (mut p50, mut p99, mut phases) = (Vec::new(), Vec::new(), HashMap::<String, Vec<f64>>::new());
    for run in 0..arguments.runs {
        let deployment = arguments.deployment(&arguments.with).await?;
        let mut writer = Writer::new(&deployment.cluster)?;
        let reader = Reader::start(&deployment.cluster)?;
        let process = deployment.start(0)?;
        // Until every partition answers.
        let mut written = 0;
        while reader.partitions().len() < PARTITIONS as usize {
            writer.begin(written).await?;
            written += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
            ensure!(written < 5_000, "not every partition answered");
        }
        let (first, mut tick) = (written, tokio::time::interval(Duration::from_millis(10)));
        for _ in 0..arguments.seconds * 100 {
            tick.tick().await;
            for _ in 0..rate / 100 {
                writer.begin(written).await?;
                written += 1;
            }
        }
        let acknowledged = writer.written().await?;
        reader.told(written, Duration::from_secs(60)).await?;
        let read = reader.times();
        let mut took: Vec<f64> = (first..written)
            .map(|event| {
                let read = read.get(&event).context("an event was not told")?;
                Ok(read.saturating_duration_since(acknowledged[&event]).as_secs_f64() * 1e3)
            })
            .collect::<anyhow::Result<_>>()?;
        took.sort_by(f64::total_cmp);
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
        println!("run {run}: {rate}/s: p50 {:.1} ms, p99 {:.1} ms", at(0.5), at(0.99));
        p50.push(at(0.5));
        p99.push(at(0.99));
        for (phase, millis) in process.phases().await? {
            phases.entry(phase).or_default().push(millis);
        }
        process.stop().await?;
    }
    println!("\n| native events at {rate}/s, acknowledged to read | median of {} |", arguments.runs);
    println!("|---|---|");
    println!("| p50 | {:.1} ms |\n| p99 | {:.1} ms |", median(&p50), median(&p99));
    let mut phases: Vec<(String, Vec<f64>)> = phases.into_iter().collect();
    phases.sort_by(|a, b| a.0.cmp(&b.0));
    for (phase, millis) in phases {
        println!("| mean of a batch's {phase} | {:.1} ms |", median(&millis));
    }
    println!();
    Ok(())
}

/// kill -9 of one of two processes under 200 events a second: until each of its partitions tells again.
async fn takeover(arguments: &Arguments) -> anyhow::Result<()> {
    let deployment = arguments.deployment(&arguments.with).await?;
    let mut writer = Writer::new(&deployment.cluster)?;
    let reader = Reader::start(&deployment.cluster)?;
    let mut processes = vec![deployment.start(0)?, deployment.start(1)?];
    let mut written = 0;
    let mut took = Vec::new();
    for run in 0..arguments.runs {
        // Both have partitions, and all partitions tell.
        let balanced = Instant::now();
        loop {
            written = trickle(&mut writer, written, Duration::from_millis(500)).await?;
            let mut shares = Vec::new();
            for process in &processes {
                shares.push(process.partitions().await.unwrap_or_default());
            }
            if shares.iter().all(|share| *share > 0.0) && shares.iter().sum::<f64>() == f64::from(PARTITIONS)
            {
                break;
            }
            ensure!(
                balanced.elapsed() < Duration::from_secs(120),
                "the partitions were not shared: {shares:?}"
            );
        }
        let killed = processes.pop().context("a process")?;
        killed.kill().await?;
        let begun = Instant::now();
        let mut silent = 0.0_f64;
        let mut waiting: Vec<i32> = (0..PARTITIONS).collect();
        while !waiting.is_empty() {
            ensure!(begun.elapsed() < Duration::from_secs(120), "partitions {waiting:?} never told again");
            written = trickle(&mut writer, written, Duration::from_millis(100)).await?;
            let heard = reader.partitions();
            // What the dead had told may be read just after its death.
            let again = |partition: &i32| {
                heard.get(partition).is_some_and(|at| *at > begun + Duration::from_millis(500))
            };
            for partition in waiting.extract_if(.., |partition| again(partition)) {
                silent = silent.max(heard[&partition].saturating_duration_since(begun).as_secs_f64());
            }
        }
        println!("run {run}: taken over after {silent:.1} s");
        took.push(silent);
        processes.push(deployment.start(1)?);
    }
    for process in processes {
        process.stop().await?;
    }
    println!("\n| takeover after a kill -9 (session 12 s) | of {} |", arguments.runs);
    println!("|---|---|");
    println!("| median | {:.1} s |", median(&took));
    println!("| longest | {:.1} s |\n", took.iter().copied().fold(0.0, f64::max));
    Ok(())
}

/// 200 events a second for a while; says the next number.
async fn trickle(writer: &mut Writer, mut next: usize, span: Duration) -> anyhow::Result<usize> {
    let begun = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    while begun.elapsed() < span {
        tick.tick().await;
        writer.begin(next).await?;
        next += 1;
    }
    Ok(next)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

impl Process {
    /// The mean of each phase of a batch, in milliseconds.
    async fn phases(&self) -> anyhow::Result<HashMap<String, f64>> {
        let metrics = self.metrics().await?;
        let name = "tributary_unify_phase_seconds";
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        let of = |suffix: &str| -> HashMap<String, f64> {
            let lines = metrics.lines().filter(|line| line.starts_with(&format!("{name}_{suffix}{{")));
            lines.filter_map(|line| Some((line.split('"').nth(1)?.to_owned(), value(line)?))).collect()
        };
        let counts = of("count");
        Ok(of("sum")
            .into_iter()
            .filter_map(|(phase, sum)| {
                let mean = sum / counts.get(&phase)? * 1e3;
                Some((phase, mean))
            })
            .collect())
    }

    /// How many partitions it reads.
    pub(crate) async fn partitions(&self) -> anyhow::Result<f64> {
        let metrics = self.metrics().await?;
        let lines = metrics.lines().filter(|line| line.starts_with("tributary_unify_partitions{"));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}
