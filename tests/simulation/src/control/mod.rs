//! `tests/simulate control`: the subscriptions' planner and its errands in a world that does its worst (design §8): providers
//! that fail, lose answers, land calls late, list late, pause, forget, expire, refuse duplicates or not; owners that die, sleep
//! and overlap; clocks that differ. In the end what is wanted stands, once; what changed was told.

mod oracle;
mod owner;
mod provider;
mod world;

use std::{
    cell::Cell,
    collections::BTreeMap,
    ffi::OsString,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

use clap::Parser;
use tributary_core::control::guard::{self, Guard};

use self::{
    owner::Owner,
    world::{CALM, HOUR, MINUTE, SECOND, World, events, note},
};

/// Runs the subscriptions' lifecycle in a simulated world. Every seed is one history; the same seed is the same history.
/// Exits with 0 only if no history broke a promise.
#[derive(Parser)]
#[command(name = "simulate control")]
struct Arguments {
    /// How many histories.
    #[arg(long, default_value_t = 20_000)]
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
    let named = Guard::ALL.into_iter().find(|it| it.name() == name);
    named.ok_or_else(|| format!("no such guard: one of {}", known()))
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(true) };
}

/// Whether all guards are in: without one the world must see it, not the checker of plans.
fn guarded() -> bool {
    GUARDED.get()
}

fn live_through(seed: u64, without: Option<Guard>, trace: bool) -> (World, Result<(), String>) {
    guard::off(without);
    GUARDED.set(without.is_none());
    let mut world = World::new(seed, trace);
    for _ in 0..2 + world.chance.below(2) {
        let skew = world.chance.within(-2 * SECOND, 2 * SECOND);
        world.owners.push(Owner::new(skew));
    }
    for account in 0..1 + world.chance.below(2) {
        world.add_account();
        people(&mut world, account);
        weather(&mut world, account);
    }
    for owner in 0..world.owners.len() {
        for _ in 0..world.chance.below(3) {
            let at = world.chance.within(0, CALM);
            world.after(at, move |world| owner::kill(world, owner));
        }
    }
    world.after(MINUTE, World::scan);
    world.after(MINUTE, oracle::patrol);
    world.after(MINUTE, sweep);
    world.run();
    let verdict = oracle::judge(&world);
    guard::off(None);
    (world, verdict)
}

/// Every owner looks at its accounts now and then, whatever it was told.
fn sweep(world: &mut World) {
    for account in 0..world.accounts.len() {
        world.wake(account);
    }
    world.after(10 * MINUTE, sweep);
}

/// Webhooks come and go, the public URL moves, the account is deleted.
fn people(world: &mut World, account: usize) {
    for event in events() {
        let at = world.chance.span(CALM / 2);
        let of = event.clone();
        world.after(at, move |world| world.toggle(account, of, true));
        for _ in 0..world.chance.below(3) {
            let of = event.clone();
            let (at, wanted) = (world.chance.within(at, CALM), world.chance.permille(500));
            world.after(at, move |world| world.toggle(account, of, wanted));
        }
        for _ in 0..world.chance.below(40) {
            let of = event.clone();
            let at = world.chance.within(0, CALM);
            world.after(at, move |world| world.change(account, of));
        }
    }
    if world.chance.permille(200) {
        let at = world.chance.within(0, CALM);
        world.after(at, move |world| {
            world.accounts[account].base = "https://b.example".into();
            note!(world, "account {account}: the public URL is another");
            world.wake(account);
        });
    }
    if world.chance.permille(250) {
        let at = world.chance.within(0, CALM);
        world.after(at, move |world| world.leave(account));
    }
}

/// Providers misbehave, owners change.
fn weather(world: &mut World, account: usize) {
    for _ in 0..world.chance.below(4) {
        let at = world.chance.within(0, CALM);
        world.after(at, move |world| {
            let now = world.now;
            let mut chance = crate::chance::Chance::new(now as u64);
            world.accounts[account].provider.misbehave(now, &mut chance);
            note!(world, "account {account}: its provider misbehaves");
        });
    }
    if world.chance.permille(250) {
        let (at, lasts) = (world.chance.within(0, CALM), world.chance.span(HOUR));
        world.after(at, move |world| {
            let until = world.now + lasts;
            world.accounts[account].provider.forbids_until = until;
            note!(world, "account {account}: a scope is missing for {} s", lasts / SECOND);
            world.after(lasts, move |world| {
                world.accounts[account].changed_at = world.now;
                world.wake(account);
            });
        });
    }
    for _ in 0..world.chance.below(5) {
        let at = world.chance.within(0, CALM);
        world.after(at, move |world| owner::hand_over(world, account));
    }
}

/// How a search through seeds ended.
#[derive(Default)]
struct Found {
    seeds: u64,
    violations: BTreeMap<u64, String>,
    calls: u64,
    longest_double: i64,
}

fn search(from: u64, seeds: u64, without: Option<Guard>) -> Found {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let worker = || {
        let mut found = Found::default();
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                break;
            }
            let (world, verdict) = live_through(from + seed, without, false);
            found.seeds += 1;
            found.calls += world.calls;
            found.longest_double = found.longest_double.max(world.longest_double);
            if let Err(violation) = verdict {
                found.violations.insert(from + seed, violation);
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
    all.into_iter().fold(Found::default(), |one, other| Found {
        seeds: one.seeds + other.seeds,
        violations: one.violations.into_iter().chain(other.violations).collect(),
        calls: one.calls + other.calls,
        longest_double: one.longest_double.max(other.longest_double),
    })
}

/// `tests/simulate control …`.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = Arguments::parse_from(std::iter::once(OsString::from("control")).chain(arguments));
    if arguments.trace {
        let (world, verdict) = live_through(arguments.seed, arguments.without, true);
        world.trace.iter().flatten().for_each(|line| println!("{line}"));
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
        "{} histories, {} violations, in {:.1} s: {} calls; two spoke for one event for {} min at most",
        found.seeds,
        found.violations.len(),
        begun.elapsed().as_secs_f64(),
        found.calls,
        found.longest_double / MINUTE
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
