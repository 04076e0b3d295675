//! A partition that halted, and how an operator has it go on without what was lost.
//!
//! Its owner looks at it again every few seconds: it goes on by itself, once what is committed says that nothing is missing.

use std::{ops::ControlFlow, time::Duration};

use anyhow::{Context, bail};
use tokio::task::block_in_place;
use tributary_core::unify::{Accepted, Found, Loss, LossKind, accept, applied_of, lost_of, timed};
use tributary_schemas::{
    codec::{self, Undecodable},
    wal::{Mutation, Twin, WalRecord},
};

use crate::{
    clock::now,
    kafka::{Cluster, LogReader, Outsider, Transactional},
    store::StateStore,
};

/// How long a loss must be seen before it is believed: a leader that has just become one shows less than it has.
pub const BELIEVED: Duration = Duration::from_secs(30);
/// Names who accepts: a second ends what the first has open.
const TRANSACTIONAL_ID: &str = "unify.accept-loss";

/// A partition as it stands at the broker.
struct Standing {
    native: Found,
    snapshots: Found,
    /// Where the WAL begins and ends.
    wal: (i64, i64),
    /// What is lost, if anything.
    loss: Option<Loss>,
    /// What the WAL holds that is not applied, and can be read.
    unapplied: Vec<(i64, Mutation)>,
}

/// What is lost of a partition, if anything.
///
/// # Errors
/// When the broker is away.
pub fn look(cluster: &Cluster, partition: i32) -> anyhow::Result<Option<Loss>> {
    Ok(Standing::look(cluster, partition)?.loss)
}

/// Has a partition go on without what was lost. What is still there is neither lost nor skipped. `None`: nothing is lost.
///
/// # Errors
/// When the broker or the store is away, or what is lost is not the same for as long as it takes to believe it. Nothing was
/// changed then.
pub async fn accept_loss(
    cluster: &Cluster,
    state: &dyn StateStore,
    partition: i32,
    believed: Duration,
) -> anyhow::Result<Option<(Loss, Accepted)>> {
    let Some(first) = block_in_place(|| look(cluster, partition))? else { return Ok(None) };
    tokio::time::sleep(believed).await;
    // Whoever else accepts is ended before we look again.
    let producer = block_in_place(|| Transactional::new(cluster, TRANSACTIONAL_ID))?;
    let standing = block_in_place(|| Standing::look(cluster, partition))?;
    let Some(loss) = standing.loss else { return Ok(None) };
    if loss.kind.name() != first.kind.name() {
        bail!("it was another loss {believed:?} ago ({first}), and is now: {loss}");
    }
    let passed = match &loss.kind {
        LossKind::Unreadable { .. } => {
            state.apply(&standing.unapplied).await.context("applying what can be read of unify.wal")?;
            Some(standing.wal.1)
        }
        LossKind::Unapplied { .. }
        | LossKind::WalShorter { .. }
        | LossKind::NoOffsets { .. }
        | LossKind::Input { .. } => None,
        LossKind::Newer { .. } | LossKind::Future { .. } => bail!("{loss}"),
    };
    let accepted = accept(standing.native, standing.snapshots, standing.wal, passed, now());
    let nexts = [(Twin::Native, accepted.native), (Twin::Snapshots, accepted.snapshots)];
    block_in_place(|| {
        let group = Outsider::new(cluster)?;
        group.commit(&producer, partition, nexts, &accepted.metadata.to_text())?;
        anyhow::Ok(())
    })?;
    Ok(Some((loss, accepted)))
}

impl Standing {
    fn look(cluster: &Cluster, partition: i32) -> anyhow::Result<Self> {
        let group = Outsider::new(cluster)?;
        let found = |twin| -> anyhow::Result<Found> {
            let committed = group.committed(twin, partition)?.map(|it| (it.offset, it.metadata));
            let (begins, end) = group.bounds(twin, partition)?;
            Ok(Found { committed, begins, end })
        };
        let (native, snapshots) = (found(Twin::Native)?, found(Twin::Snapshots)?);
        let log = LogReader::new(cluster, "unify", cluster.topics().unify_wal())?;
        let wal @ (begins, end) = log.bounds(partition)?;
        if log.stable_end(partition)? < end {
            bail!("a transaction is open on unify.wal [{partition}]: a moment later ask again");
        }
        let mut standing = Self { native, snapshots, wal, loss: None, unapplied: Vec::new() };
        standing.loss = lost_of(partition, native, snapshots, wal);
        if standing.loss.is_none() {
            let from = applied_of(native, snapshots, begins);
            log.read(partition, from, end, |offset, payload| {
                match codec::decode::<WalRecord>(payload) {
                    Ok(record) => {
                        standing.unapplied.extend(timed(&record).map(|(ts, it)| (ts, it.clone())));
                    }
                    Err(error @ Undecodable::Newer { .. }) => return Err(error.into()),
                    Err(error) => {
                        let kind = LossKind::Unreadable { offset, detail: error.to_string() };
                        standing.loss.get_or_insert(Loss { partition, kind });
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(standing)
    }
}
