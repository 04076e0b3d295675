//! `tests/bench slots`: what an idle slot of poll costs, how long a start takes, how late timers are, and what a large scan
//! keeps in memory. No services: the scheduler is a pure machine, and so is a scan.

#![allow(clippy::print_stdout)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Parser;
use tributary_core::poll::{
    cadence::Interest,
    scan::Scan,
    scheduler::{Action, FIRST_LOOKS_A_SECOND, Facts, Scheduler, Uptime, Wake},
    turns::Limits,
};
use tributary_schemas::{
    entity::Account,
    id::{Bits, ProjectionDigest, ProjectionVersion, RecordHash, RemoteId, RunId},
    observation::{Absence, Announce, Baseline, Content, Listed, Run},
    resource::Resource,
};

/// Measures poll's scheduler with many idle slots, and a scan of many records.
#[derive(Parser)]
struct Arguments {
    /// Accounts, one slot each: the worst case, as several slots share an account's row.
    #[arg(long, default_value_t = 1_000_000)]
    slots: usize,
    /// Records of the scan.
    #[arg(long, default_value_t = 1_000_000)]
    records: usize,
    /// How long timers are watched, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    scheduler(&arguments)?;
    scan(&arguments)
}

/// Resident memory of this process, in bytes.
fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kilobytes << 10)
}

/// An account as it stands on `control.accounts`.
fn account(number: usize) -> String {
    format!(
        r#"{{"id":"acc{number:019}","project":"project-{}","version":3,"provider":"demo","status":"active","label":"An account",
        "origin_owner_id":"customer-{number}","origin_owner_name":"Customer","origin_username":"hr@customer.example",
        "setup":{{"base_url":"https://tenant-{}.provider.example"}},"credentials":"v1.k1.{}","hash_key":"v1.k1.{}",
        "native":{{"token_hash":"{}","token":"v1.k1.{}"}},"created_at":"2026-01-01T00:00:00.000Z","updated_at":"2026-01-01T00:00:00.000Z"}}"#,
        number / 50,
        number % 1_000,
        "c".repeat(160),
        "h".repeat(80),
        "0".repeat(64),
        "t".repeat(80),
    )
}

fn scheduler(arguments: &Arguments) -> anyhow::Result<()> {
    let before = resident()?;
    let mut scheduler = Scheduler::new(Limits { workers: 64, per_host: 16 }, 256 << 20);
    let begun = Instant::now();
    let now = |begun: &Instant| Uptime(begun.elapsed().as_millis() as u64);
    for number in 0..arguments.slots {
        let account: Account = serde_json::from_str(&account(number))?;
        let facts = Facts {
            project: account.project.clone(),
            provider: account.provider.clone(),
            origin_owner_id: account.origin_owner_id.as_deref().map(Into::into),
            host: format!("tenant-{}.provider.example", number % 1_000).into(),
            partition: (number % 32) as i32,
        };
        let wanted = vec![(Resource::HrisEmployees, Interest::Wanted)];
        scheduler.wake(Wake::Account(account.id, facts, wanted), now(&begun));
    }
    let took = begun.elapsed();
    let grown = resident()?.saturating_sub(before);
    println!("| idle slots | bytes a slot | start | ");
    println!("|---|---|---|");
    println!(
        "| {} | {} | {:.1} s, of which making the accounts' JSON is a part |",
        arguments.slots,
        grown / arguments.slots.max(1) as u64,
        took.as_secs_f64()
    );

    let (mut late, end) = (Vec::new(), begun.elapsed() + Duration::from_secs(arguments.seconds));
    // What has become due while the slots were made is no measure of timers.
    while let Some(action) = scheduler.next(now(&begun)) {
        done(&mut scheduler, action, now(&begun));
    }
    while begun.elapsed() < end {
        let Some(due) = scheduler.wakes_at() else { break };
        std::thread::sleep(Duration::from_millis(due.0.saturating_sub(now(&begun).0)));
        while let Some(action) = scheduler.next(now(&begun)) {
            late.push(now(&begun).0.saturating_sub(due.0));
            done(&mut scheduler, action, now(&begun));
        }
    }
    late.sort_unstable();
    let at = |part: f64| late.get((late.len() as f64 * part) as usize).copied().unwrap_or(0);
    println!();
    println!(
        "| looks in {} s (at most {FIRST_LOOKS_A_SECOND} first ones a second) | late p50 | p99 | most |",
        arguments.seconds
    );
    println!("|---|---|---|---|");
    println!("| {} | {} ms | {} ms | {} ms |", late.len(), at(0.5), at(0.99), late.last().unwrap_or(&0));
    Ok(())
}

/// Every look finds nothing due for an hour.
fn done(scheduler: &mut Scheduler, action: Action, now: Uptime) {
    if let Action::Start(_, ticket) = action {
        scheduler.wake(Wake::Ended(ticket, Some(Duration::from_secs(3_600))), now);
    }
}

fn scan(arguments: &Arguments) -> anyhow::Result<()> {
    let before = resident()?;
    let (mut scan, begun) = (Scan::default(), Instant::now());
    for number in 0..arguments.records {
        let remote_id = RemoteId::new(format!("{number:08}-0000-4000-8000-000000000000"));
        scan.add(Listed { remote_id, content: Content::Hash(RecordHash([number as u8; 16])) });
    }
    scan.end();
    let listed = resident()?.saturating_sub(before);
    let version = ProjectionDigest([0; 8]);
    let run = Run {
        source: serde_json::from_str::<Account>(&account(0))?.source(),
        resource: Resource::HrisEmployees,
        run: RunId(1),
        begun_at: tributary_schemas::time::Timestamp::from_micros(0),
        lasted: Duration::ZERO,
        projection: ProjectionVersion { identity: version, content: version },
        baseline: Baseline { from: RunId(1), announce: Announce::Nothing },
        settle: Duration::ZERO,
        bits: scan.cut(None),
        id_prefix: "tr1!".into(),
        key_name: "id".into(),
    };
    let compared = scan.compare(&run, &Default::default(), Absence::Sure)?;
    let mut most = 0;
    let mut sent = 0_usize;
    for range in compared.ranges {
        sent += black_box(range).records.len();
        most = most.max(resident()?.saturating_sub(before));
    }
    anyhow::ensure!(sent == arguments.records && run.bits > Bits::NATIVE, "every record is sent once");
    println!();
    println!("| records of a scan, 36 bytes of id each | listed | compared, every range sent | took |");
    println!("|---|---|---|---|");
    println!("| {sent} | {} MB | {} MB | {:.1} s |", listed >> 20, most >> 20, begun.elapsed().as_secs_f64());
    Ok(())
}
