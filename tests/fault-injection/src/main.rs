//! `tests/faults`: three unify processes, real Kafka, a real database, and everything dies in turn.

#![allow(clippy::print_stdout)]

mod deployment;
mod generator;
mod network;
mod reader;
mod services;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{
    deployment::Deployment, generator::Generator, network::Weather, reader::Reader, services::Services,
};

/// How many unify processes share the partitions.
const PROCESSES: usize = 3;

/// Runs three unify processes against real Kafka and a real database; kills, stops and restarts them, the broker and the
/// database at random; and checks that a `read_committed` reader was told of every change exactly once. `tests/faults`
/// starts the services. Exits with 0 only if nothing was lost, told twice, or left behind.
#[derive(Parser)]
#[command(name = "faults")]
struct Arguments {
    /// How long faults are injected.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// The same seed chooses the same faults; their moments depend on the machine.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only these faults, equally often; otherwise all of them, the common ones more often.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Fault>,
    /// The binary to test.
    #[arg(long, env = "TRIBUTARY_BIN")]
    tributary: std::path::PathBuf,
    /// The folder of the services, as ops/local has it: they are killed and started again.
    #[arg(long, env = "TRIBUTARY_LOCAL")]
    local: std::path::PathBuf,
}

/// What is done to the deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Fault {
    /// kill -9, and a new process some time later.
    Kill,
    /// SIGTERM, and a new process at once.
    Restart,
    /// SIGSTOP for less than the session.
    Pause,
    /// SIGSTOP past the session, then SIGCONT: a zombie that goes on.
    Zombie,
    /// All three killed, one after the other.
    KillAll,
    /// One process can't reach the broker, and the broker says so.
    Partition,
    /// One process's connections to the broker are half open: nothing passes.
    HalfOpen,
    /// Everything between one process and the broker takes longer.
    Latency,
    /// One process's requests reach the broker, and the answers are lost: commits whose outcome nobody knows.
    LostAnswers,
    /// One process's clock is set forward or back by up to an hour, and put right some time later.
    Clock,
    /// kill -9 of the broker, and a new one.
    Broker,
    /// kill -9 of the database, which is away for up to half a minute.
    Database,
}

impl Fault {
    /// The common ones are there more often.
    const DECK: [Fault; 22] = [
        Self::Kill,
        Self::Kill,
        Self::Kill,
        Self::Kill,
        Self::Restart,
        Self::Restart,
        Self::Pause,
        Self::Pause,
        Self::Zombie,
        Self::Zombie,
        Self::KillAll,
        Self::Partition,
        Self::HalfOpen,
        Self::Latency,
        Self::LostAnswers,
        Self::LostAnswers,
        Self::LostAnswers,
        Self::Clock,
        Self::Clock,
        Self::Broker,
        Self::Broker,
        Self::Database,
    ];
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let services = Services::new(arguments.local)?;
    let mut deployment = Deployment::new(&services, arguments.tributary).await?;
    let reader = Reader::start(&deployment.cluster)?;
    let generator = Generator::start(&deployment.cluster, arguments.seed)?;
    for process in 0..PROCESSES {
        deployment.start(process)?;
    }
    let mut chance = StdRng::seed_from_u64(arguments.seed);
    let mut deck = if arguments.only.is_empty() { Fault::DECK.to_vec() } else { arguments.only };
    deck.retain(|fault| *fault != Fault::Clock || deployment.clock(0).is_some());
    let begun = Instant::now();
    let ends = begun + Duration::from_secs_f64(arguments.minutes * 60.0);
    reader.first(Duration::from_secs(60)).await?;
    let mut faults: Vec<Fault> = Vec::new();
    let mut stalls: Vec<(Fault, Duration)> = Vec::new();
    while Instant::now() < ends && reader.wrong().is_none() {
        let fault = *deck.choose(&mut chance).unwrap_or(&Fault::Kill);
        println!(
            "{:7.1} s  {fault:?} ({} changes told of {} made)",
            begun.elapsed().as_secs_f64(),
            reader.told(),
            generator.made()
        );
        reader.measure();
        inject(fault, &mut chance, &mut deployment, &services).await?;
        faults.push(fault);
        // Sometimes the next comes before all is well again.
        let calm = Duration::from_millis(chance.random_range(500..12_000));
        tokio::time::sleep(calm).await;
        stalls.push((fault, reader.stall()));
        deployment.revive()?;
    }
    println!("{:7.1} s  calm: waiting for what is left", begun.elapsed().as_secs_f64());
    let made = generator.stop().await?;
    deployment.revive()?;
    let verdict = reader.settle(&made, Duration::from_secs(180)).await;
    deployment.stop().await?;
    let verdict = match verdict {
        Ok(told) => deployment.check(&made).await.map(|()| told),
        broken => broken,
    };
    report(&faults, &stalls, &made, reader.told(), begun.elapsed());
    if let Err(error) = verdict {
        deployment.keep_logs();
        return Err(error);
    }
    println!(
        "nothing lost, nothing told twice, chains whole, state as it should be, no transaction left open"
    );
    Ok(())
}

async fn inject(
    fault: Fault,
    chance: &mut StdRng,
    deployment: &mut Deployment,
    services: &Services,
) -> anyhow::Result<()> {
    let process = chance.random_range(0..PROCESSES);
    let within =
        |chance: &mut StdRng, from: u64, to: u64| Duration::from_millis(chance.random_range(from..to));
    let network = |weather, span| deployment.network(process).suffer(weather, span);
    match fault {
        Fault::Kill => {
            deployment.kill(process).await?;
            tokio::time::sleep(within(chance, 0, 5_000)).await;
            deployment.start(process)?;
        }
        Fault::Restart => {
            deployment.terminate(process).await?;
            deployment.start(process)?;
        }
        Fault::Pause => deployment.pause(process, within(chance, 500, 10_000)).await?,
        Fault::Zombie => deployment.pause(process, within(chance, 13_000, 20_000)).await?,
        Fault::KillAll => {
            for process in 0..PROCESSES {
                deployment.kill(process).await?;
            }
            (0..PROCESSES).try_for_each(|process| deployment.start(process))?;
        }
        Fault::Partition => network(Weather::Cut, within(chance, 500, 20_000)).await,
        Fault::HalfOpen => network(Weather::Silent, within(chance, 500, 20_000)).await,
        Fault::Latency => {
            let by = within(chance, 10, 400);
            network(Weather::Slow(by), within(chance, 2_000, 15_000)).await;
        }
        Fault::LostAnswers => network(Weather::Deaf, within(chance, 20, 2_000)).await,
        Fault::Clock => {
            if let Some(clock) = deployment.clock(process) {
                clock.set(chance.random_range(-3_600..=3_600))?;
                tokio::time::sleep(within(chance, 500, 20_000)).await;
                clock.set(0)?;
            }
        }
        Fault::Broker => services.restart("kafka", within(chance, 0, 5_000)).await?,
        Fault::Database => services.restart("cassandra", within(chance, 0, 30_000)).await?,
    }
    Ok(())
}

/// What was seen, as a table.
fn report(
    faults: &[Fault],
    stalls: &[(Fault, Duration)],
    made: &generator::Made,
    told: usize,
    took: Duration,
) {
    println!("\n| fault | times | longest silence of a partition, p50 | p99 |");
    println!("|---|---|---|---|");
    let mut kinds = faults.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let mut of: Vec<Duration> =
            stalls.iter().filter(|(fault, _)| *fault == kind).map(|(_, stall)| *stall).collect();
        of.sort_unstable();
        let at = |share: f64| of[((of.len() - 1) as f64 * share).round() as usize].as_secs_f64();
        println!("| {kind:?} | {} | {:.1} s | {:.1} s |", of.len(), at(0.5), at(0.99));
    }
    println!(
        "\n{} faults in {:.1} min; {} records, {} changes made, {told} told",
        faults.len(),
        took.as_secs_f64() / 60.0,
        made.records(),
        made.changes(),
    );
}
