//! `tests/simulate`: unify's state machines in a world that does its worst, judged by a sequential reference.

#![allow(clippy::print_stdout)]

mod broker;
mod chance;
mod control;
mod deliver;
mod oracle;
mod process;
mod source;
mod store;
mod world;

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tributary_core::guard::{self, Guard};

use crate::world::{CALM, HOUR, MILLI, SECOND, World, note};

/// Runs unify's protocol in a simulated world: processes that die, sleep and come back, late and lost requests, markers
/// that take their time, a store that is slow and out of order. Every seed is one history; the same seed is the same
/// history. Exits with 0 only if no history broke a promise.
#[derive(Parser)]
#[command(name = "simulate")]
struct Arguments {
    /// How many histories.
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
    /// The first seed; with --trace, the only one.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Tell what happens in the history of --seed.
    #[arg(long)]
    trace: bool,
    /// Take a guard out, and stop at the first violation. Exits with 1 when there is one, as there must be.
    #[arg(long, value_name = "GUARD", value_parser = parse_guard)]
    without: Option<Guard>,
    /// Take each guard out in turn and show how soon it is missed. Exits with 0 only if each is, within --seeds.
    #[arg(long, conflicts_with_all = ["without", "trace"])]
    mutations: bool,
    /// Name the guards.
    #[arg(long)]
    list_guards: bool,
}

fn parse_guard(name: &str) -> Result<Guard, String> {
    Guard::ALL.into_iter().find(|guard| guard.name() == name).ok_or("no such guard: see --list-guards".into())
}

/// What a history came to.
struct History {
    world: World,
    verdict: Result<(), String>,
}

fn live_through(seed: u64, without: Option<Guard>, trace: bool) -> History {
    guard::off(without);
    let mut world = World::new(seed, trace);
    for _ in 0..1 + world.chance.below(3) {
        world.add_provider();
    }
    for _ in 0..2 + world.chance.below(2) {
        world.add_process();
    }
    weather(&mut world);
    world.watch_sessions();
    world.run();
    let verdict = oracle::judge(&world);
    guard::off(None);
    History { world, verdict }
}

/// What happens to everyone: the broker and the store go away, clocks jump, old records go.
fn weather(world: &mut World) {
    for _ in 0..world.chance.below(3) {
        let (at, lasts) = (world.chance.within(0, CALM), world.chance.span(12 * SECOND));
        world.after(at, move |world| {
            note!(world, "the broker is away for {} ms", lasts / MILLI);
            world.faults += 1;
            world.broker.away = world.broker.away.max(world.now + lasts);
        });
    }
    for _ in 0..world.chance.below(3) {
        let (at, lasts) = (world.chance.within(0, CALM), world.chance.span(20 * SECOND));
        world.after(at, move |world| {
            note!(world, "the store is away for {} ms", lasts / MILLI);
            world.faults += 1;
            world.store.away = world.store.away.max(world.now + lasts);
        });
    }
    for process in 0..world.processes.len() {
        if world.chance.permille(400) {
            let (at, skew) = (world.chance.within(0, CALM), world.chance.within(-HOUR, HOUR));
            world.after(at, move |world| world.set_clock(process, skew));
            // Somebody sets it right in the end.
            world.after(CALM, move |world| world.set_clock(process, 0));
        }
        for _ in 0..world.chance.below(3) {
            let at = world.chance.within(0, CALM);
            world.after(at, move |world| world.kill(process));
        }
    }
    for _ in 0..world.chance.below(4) {
        let at = world.chance.within(0, CALM + 100 * SECOND);
        world.after(at, World::retain);
    }
    // Long after everything, retention passes what is quiet; and then somebody begins anew.
    if world.chance.permille(300) {
        let at = CALM + 110 * SECOND + world.chance.within(0, 20 * SECOND);
        world.after(at, World::retain_nothing_old);
        for process in 0..world.processes.len() {
            world.after(at + SECOND, move |world| world.kill(process));
        }
    }
}

/// How a search through seeds ended.
struct Found {
    seeds: u64,
    /// The seeds with a violation, and what it was.
    violations: BTreeMap<u64, String>,
    faults: u64,
    inputs: u64,
    events: u64,
}

fn search(from: u64, seeds: u64, without: Option<Guard>, progress: &ProgressBar) -> Found {
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let worker = || {
        let mut found = Found { seeds: 0, violations: BTreeMap::new(), faults: 0, inputs: 0, events: 0 };
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                break;
            }
            let History { world, verdict } = live_through(from + seed, without, false);
            found.seeds += 1;
            found.faults += world.faults;
            let twins = world.broker.native.iter().chain(&world.broker.snapshots);
            found.inputs += twins.map(|inputs| inputs.len() as u64).sum::<u64>();
            found.events += world.broker.events.iter().map(|log| log.committed().count() as u64).sum::<u64>();
            if let Err(violation) = verdict {
                found.violations.insert(from + seed, violation);
                // Without a guard one is enough; with all of them, ten are.
                if without.is_some() || found.violations.len() >= 10 {
                    stop.store(true, Ordering::Relaxed);
                }
            }
            done.fetch_add(1, Ordering::Relaxed);
            progress.inc(1);
        }
        found
    };
    let all: Vec<Found> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    });
    assert_eq!(all.len(), threads, "a history panicked");
    all.into_iter().reduce(merged).unwrap_or_else(|| unreachable!("there is a thread"))
}

fn merged(one: Found, other: Found) -> Found {
    Found {
        seeds: one.seeds + other.seeds,
        violations: one.violations.into_iter().chain(other.violations).collect(),
        faults: one.faults + other.faults,
        inputs: one.inputs + other.inputs,
        events: one.events + other.events,
    }
}

fn bar(seeds: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} histories, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    ProgressBar::with_draw_target(Some(seeds), target).with_style(style)
}

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|it| it == "control") {
        return control::main(std::env::args_os().skip(2));
    }
    if std::env::args_os().nth(1).is_some_and(|it| it == "deliver") {
        return deliver::main(std::env::args_os().skip(2));
    }
    let arguments = Arguments::parse();
    if arguments.list_guards {
        for guard in Guard::ALL {
            println!("{:24} without: {}", guard.name(), guard.without());
        }
        return ExitCode::SUCCESS;
    }
    if arguments.trace {
        let History { world, verdict } = live_through(arguments.seed, arguments.without, true);
        world.trace.iter().flatten().for_each(|line| println!("{line}"));
        for (partition, log) in world.broker.wal.iter().enumerate() {
            for (offset, record) in log.committed() {
                println!("wal {partition}/{offset}: {record:?}");
            }
        }
        for (partition, log) in world.broker.events.iter().enumerate() {
            for (offset, event) in log.committed() {
                println!("told {partition}/{offset}: {:?}", oracle::facts(event));
            }
        }
        return match verdict {
            Ok(()) => ExitCode::SUCCESS,
            Err(violation) => {
                println!("seed {}: {violation}", arguments.seed);
                ExitCode::FAILURE
            }
        };
    }
    if arguments.mutations {
        return mutations(&arguments);
    }
    let begun = Instant::now();
    let found = search(arguments.seed, arguments.seeds, arguments.without, &bar(arguments.seeds));
    told(&found, begun.elapsed());
    for (seed, violation) in &found.violations {
        println!("seed {seed}: {violation}");
    }
    match found.violations.keys().next() {
        None => ExitCode::SUCCESS,
        Some(seed) => {
            let without =
                arguments.without.map_or(String::new(), |guard| format!(" --without {}", guard.name()));
            println!("see it happen: tests/simulate --seed {seed} --trace{without}");
            ExitCode::FAILURE
        }
    }
}

fn told(found: &Found, took: Duration) {
    let Found { seeds, violations, faults, inputs, events, .. } = found;
    println!(
        "{seeds} histories, {} violations, in {:.1} s: {inputs} messages, {events} events, {faults} faults",
        violations.len(),
        took.as_secs_f64()
    );
}

/// Takes each guard out in turn.
fn mutations(arguments: &Arguments) -> ExitCode {
    println!("| guard | without it | first missed by seed | after histories |");
    println!("|---|---|---|---|");
    let mut unseen = 0;
    for guard in Guard::ALL {
        let found = search(arguments.seed, arguments.seeds, Some(guard), &bar(arguments.seeds));
        let seed = found.violations.keys().next().map_or("**none**".to_owned(), u64::to_string);
        println!("| `{}` | {} | {seed} | {} |", guard.name(), guard.without(), found.seeds);
        unseen += u32::from(found.violations.is_empty());
    }
    if unseen == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
