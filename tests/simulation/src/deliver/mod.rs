//! `tests/simulate deliver`: deliver's state machine in a world that does its worst, judged by what the logs and the webhooks
//! say (design §7): owners that overlap, sleep and wake after their tenure, kills between row, commit and send, lagging
//! views, subscribers that hang, fail and answer late, events that are always refused, a store that is away.

mod member;
mod oracle;
mod world;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

use clap::Parser;
use tributary_core::deliver::guard::{self, Guard};
use tributary_schemas::entity::WebhookStatus;

use self::{
    member::Member,
    world::{CALM, EVENT_LOGS, MILLI, Manner, SECOND, World, note},
};

/// Runs delivery in a simulated world. Every seed is one history; the same seed is the same history. Exits with 0 only if
/// no history broke a promise.
#[derive(Parser)]
#[command(name = "simulate deliver")]
struct Arguments {
    /// How many histories.
    #[arg(long, default_value_t = 50_000)]
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
}

fn parse_guard(name: &str) -> Result<Guard, String> {
    let known = || Guard::ALL.map(Guard::name).join(", ");
    Guard::ALL
        .into_iter()
        .find(|it| it.name() == name)
        .ok_or_else(|| format!("no such guard: one of {}", known()))
}

fn live_through(seed: u64, without: Option<Guard>, tells: bool) -> (World, Result<(), String>) {
    guard::off(without);
    let mut world = World::new(seed, tells);
    for member in 0..2 + world.chance.below(2) {
        world.members.push(Member::new(0, 0));
        world.be_born(member);
    }
    people(&mut world);
    providers(&mut world);
    subscribers(&mut world);
    if !world.quiet {
        weather(&mut world);
    }
    world.after(0, |world| world.rebalance(false));
    world.after(CALM, |world| {
        world.manners.clear();
        world.store_away = 0;
        world.rebalance(false);
    });
    // Whoever slept is in the group again, or out of it.
    world.after(CALM + 15 * SECOND, |world| world.rebalance(false));
    world.run(oracle::is_over);
    let verdict = oracle::judge(&world);
    guard::off(None);
    (world, verdict)
}

const NAMES: [&str; 4] = ["w1", "w2", "w3", "w4"];

/// Webhooks are made, changed, disabled, enabled and deleted.
fn people(world: &mut World) {
    for name in NAMES.into_iter().take(2 + world.chance.below(3)) {
        let at = if world.chance.permille(400) { 0 } else { world.chance.within(0, CALM / 2) };
        world.after(at, move |world| world.set_webhook(name, |_| {}));
        for _ in 0..world.chance.below(3) {
            let wait = at + 1 + world.chance.span(CALM - at);
            let (what, back) = (world.chance.below(10), world.chance.span(10 * SECOND));
            world.after(wait, move |world| match what {
                0 => world.delete_webhook(name),
                1..=2 => world.set_webhook(name, |it| {
                    it.events = vec!["hris_employees.updated".parse().expect("a pattern")]
                }),
                3..=4 => world.set_webhook(name, |it| it.url.push('/')),
                _ => {
                    if !world.webhooks.contains_key(&name.parse().expect("an id")) {
                        return;
                    }
                    let reason = || "by request".into();
                    world.set_webhook(name, |it| it.status = WebhookStatus::Disabled { reason: reason() });
                    world.after(back, move |world| {
                        if world.webhooks.contains_key(&name.parse().expect("an id")) {
                            world.set_webhook(name, |it| it.status = WebhookStatus::Enabled);
                        }
                    });
                }
            });
        }
    }
}

fn providers(world: &mut World) {
    for _ in 0..20 + world.chance.below(120) {
        let at = world.chance.within(0, CALM + 5 * SECOND);
        world.after(at, World::announce);
    }
    // Many at once.
    if world.chance.permille(300) {
        let (at, count) = (world.chance.within(0, CALM), world.chance.below(150));
        world.after(at, move |world| (0..count).for_each(|_| world.announce()));
    }
}

fn subscribers(world: &mut World) {
    for name in NAMES {
        for _ in 0..world.chance.below(4) {
            let (at, lasts) = (world.chance.within(0, CALM), world.chance.span(40 * SECOND));
            let manner = [Manner::Slow, Manner::Hangs, Manner::Fails, Manner::Refuses][world.chance.below(4)];
            world.after(at, move |world| {
                note!(world, "{name} is {manner:?} for {} ms", lasts / MILLI);
                world.manners.insert(name.parse().expect("an id"), manner);
            });
            world.after(at + lasts, move |world| {
                world.manners.remove(&name.parse().expect("an id"));
            });
        }
    }
}

/// What happens to processes, the group, the logs and the store.
fn weather(world: &mut World) {
    for member in 0..world.members.len() {
        for _ in 0..world.chance.below(3) {
            let at = world.chance.within(0, CALM);
            world.after(at, move |world| {
                if world.members[member].alive {
                    world.kill(member);
                }
            });
        }
        for _ in 0..world.chance.below(3) {
            let (at, lasts) = (world.chance.within(0, CALM), world.chance.span(25 * SECOND));
            world.after(at, move |world| {
                note!(world, "{member} sleeps for {} ms", lasts / MILLI);
                world.faults += 1;
                world.members[member].asleep = world.now + lasts;
                // Past its session, its partitions are others'.
                if lasts > 10 * SECOND {
                    world.after(10 * SECOND, |world| world.rebalance(false));
                }
            });
        }
    }
    for _ in 0..world.chance.below(4) {
        let at = world.chance.within(0, CALM);
        world.after(at, |world| {
            world.faults += 1;
            world.rebalance(true);
        });
    }
    for _ in 0..world.chance.below(3) {
        let (at, log) = (world.chance.within(0, CALM), world.chance.below(EVENT_LOGS));
        world.after(at, move |world| world.take_away(log));
    }
    for _ in 0..world.chance.below(3) {
        let (at, lasts) = (world.chance.within(0, CALM), world.chance.span(15 * SECOND));
        world.after(at, move |world| {
            note!(world, "the store is away for {} ms", lasts / MILLI);
            world.faults += 1;
            world.store_away = world.store_away.max(world.now + lasts);
        });
    }
    if world.chance.permille(300) {
        for _ in 0..world.chance.below(3) {
            let (at, log) = (world.chance.within(0, CALM), world.chance.below(EVENT_LOGS));
            world.after(at, move |world| {
                world.faults += 1;
                world.retain(log);
            });
        }
    }
}

#[derive(Default)]
struct Found {
    seeds: u64,
    violations: BTreeMap<u64, String>,
    faults: u64,
    events: u64,
    sends: u64,
}

fn search(from: u64, seeds: u64, without: Option<Guard>) -> Found {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let worker = || {
        let mut found = Found::default();
        while !stop.load(Ordering::Relaxed) {
            let seed = from + next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                break;
            }
            let (world, verdict) = live_through(seed, without, false);
            found.seeds += 1;
            found.faults += world.faults;
            found.events += world.announced.len() as u64;
            found.sends += world.sends;
            if let Err(violation) = verdict {
                found.violations.insert(seed, violation);
                if without.is_some() || found.violations.len() >= 10 {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        }
        found
    };
    let all: Vec<Found> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
    });
    assert_eq!(all.len(), threads, "a history panicked");
    all.into_iter().fold(Found::default(), |mut sum, one| {
        sum.seeds += one.seeds;
        sum.violations.extend(one.violations);
        sum.faults += one.faults;
        sum.events += one.events;
        sum.sends += one.sends;
        sum
    })
}

/// Runs it: the arguments are those after `deliver`.
pub(crate) fn main(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    let arguments = Arguments::parse_from(std::iter::once("simulate deliver".into()).chain(arguments));
    if arguments.trace {
        let (world, verdict) = live_through(arguments.seed, arguments.without, true);
        world.trace.iter().for_each(|line| println!("{line}"));
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
    let found = search(arguments.seed, arguments.seeds, arguments.without);
    println!(
        "{} histories, {} violations, in {:.1} s: {} events, {} requests, {} faults",
        found.seeds,
        found.violations.len(),
        begun.elapsed().as_secs_f64(),
        found.events,
        found.sends,
        found.faults
    );
    for (seed, violation) in &found.violations {
        println!("seed {seed}: {violation}");
    }
    if found.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Takes each guard out in turn.
fn mutations(arguments: &Arguments) -> ExitCode {
    println!("| guard | without it | first missed by seed | after histories |");
    println!("|---|---|---|---|");
    let mut unseen = 0;
    for guard in Guard::ALL {
        let found = search(arguments.seed, arguments.seeds, Some(guard));
        let seed = found.violations.keys().next().map_or("**none**".to_owned(), u64::to_string);
        println!("| `{}` | {} | {seed} | {} |", guard.name(), guard.without(), found.seeds);
        unseen += u32::from(found.violations.is_empty());
    }
    if unseen == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
