//! A partition's recovery, before anything is read of it (design §6, step 5).

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tributary_core::lane::Recovered;
use tributary_schemas::{
    codec,
    wal::{Mutation, Twin, WalRecord},
};

use super::{Shared, metrics};
use crate::kafka::{LogReader, Twins};

/// How long the last transaction of a predecessor may take to be decided.
const STABLE_LIMIT: Duration = Duration::from_secs(60);
/// Mutations that are applied at once.
const CHUNK: usize = 5_000;

/// Replays what was committed but perhaps not applied, and finds where to read on.
///
/// # Errors
/// When the broker or the store does not answer for long, or the WAL has lost something.
pub(super) fn recover(
    shared: &Shared,
    twins: &Twins,
    wal: &LogReader,
    partition: i32,
    still_ours: impl Fn() -> bool,
) -> anyhow::Result<Option<Recovered>> {
    let begun = Instant::now();
    let native = patiently(&still_ours, || twins.committed(Twin::Native, partition))?;
    let snapshots = patiently(&still_ours, || twins.committed(Twin::Snapshots, partition))?;
    let (Some(native), Some(snapshots)) = (native, snapshots) else { return Ok(None) };
    let (begins, end) = wal.bounds(partition).context("asking for the bounds of unify.wal")?;
    // What a predecessor left open is decided by now, or within its transaction's limit: until then a committed record
    // could still come to light below the end.
    while !wal.is_stable(partition, end)? {
        if !still_ours() {
            return Ok(None);
        }
        if begun.elapsed() > STABLE_LIMIT {
            bail!("unify.wal [{partition}]: a transaction has been open for more than a minute");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let metadata = Recovered::greater(
        native.and_then(|committed| committed.metadata),
        snapshots.and_then(|committed| committed.metadata),
    );
    let (from, mut last_ts) = Recovered::replay_from(partition, metadata, begins)?;
    let mut replayed: Vec<(i64, Mutation)> = Vec::new();
    let mut records = 0_u64;
    let apply = |mutations: &mut Vec<(i64, Mutation)>| {
        let result = shared.runtime.block_on(shared.state.apply(mutations));
        mutations.clear();
        result.context("replaying unify.wal")
    };
    wal.read(partition, from, end, |_, payload| {
        let record: WalRecord = codec::decode(payload)?;
        records += 1;
        last_ts = last_ts.max(record.last_ts()).max(record.ts - 1);
        replayed.extend((record.ts..).zip(record.mutations));
        if replayed.len() >= CHUNK { apply(&mut replayed) } else { Ok(()) }
    })?;
    apply(&mut replayed)?;
    let offset = |twin, committed: Option<crate::kafka::CommittedOffset>| match committed {
        Some(committed) => Ok(committed.offset),
        None => twins.beginning(twin, partition),
    };
    let recovered = Recovered {
        native: offset(Twin::Native, native)?,
        snapshots: offset(Twin::Snapshots, snapshots)?,
        wal_applied: end,
        told: from,
        last_ts,
    };
    let seconds = begun.elapsed().as_secs_f64();
    ::metrics::histogram!(metrics::RECOVERY_SECONDS).record(seconds);
    tracing::info!(partition, replayed = records, seconds, "partition recovered");
    Ok(Some(recovered))
}

/// Asks again while the partition is ours: a timeout is not "none". `None` when it is not ours any more.
fn patiently<T>(
    still_ours: &impl Fn() -> bool,
    mut ask: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<Option<T>> {
    let begun = Instant::now();
    loop {
        if !still_ours() {
            return Ok(None);
        }
        match ask() {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) if begun.elapsed() > STABLE_LIMIT => return Err(error),
            Err(error) => tracing::info!(error = format!("{error:#}"), "asking the broker again"),
        }
    }
}
