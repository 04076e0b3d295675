//! Decides the events, exactly once: for a `read_committed` reader every change of every record appears once, in order
//! per record, whatever dies (design §6).
//!
//! The thread of [`run`](Unify::run) polls the twins and hears of rebalances; each lane is a thread with a transactional
//! producer and a share of the partitions. What is decided, and in which order things may happen, is in
//! `tributary_core::{decide, lane}`; here it is done.

mod ask;
pub mod dead;
mod input;
mod lane;
pub mod loss;
pub mod metrics;
pub mod repair;
mod router;
mod transaction;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tributary_connectors::Catalog;
use tributary_core::unify::{Limits, Memory};
use tributary_schemas::framing::SchemaIds;

use self::{lane::Lane, router::Router};
use crate::{
    kafka::{Cluster, Twins},
    store::{StateStore, StoreError},
};

/// Settings of unify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// This process's number among the unify processes: each its own, the same after a restart. It names the member of
    /// the group and the transactional ids.
    pub instance: u32,
    /// Lanes: threads with a transaction of their own. One account's ceiling is one lane's rate.
    pub lanes: u32,
    /// How long a batch gathers after its first message, in milliseconds. Also the gap between transactions that spares
    /// the next one a wait for the markers of the last.
    pub linger_ms: u64,
    /// The most a batch takes in, in bytes.
    pub batch_bytes: usize,
    /// The most messages of a batch.
    pub batch_messages: usize,
    /// The most events that a batch announces: the message that reaches it is its last. One range of a scan can have
    /// 16 384.
    pub batch_events: usize,
    /// A transaction that takes longer is stuck, in seconds: the process ends, and says so. Each call of a transaction
    /// has a limit of its own, 28 s in all, so a lower number ends processes that are merely slow.
    pub watchdog_seconds: u64,
    /// What messages that wait and WAL records that are not applied may take together, in bytes. What is above it waits at
    /// the broker; librdkafka's own queue takes an eighth of it.
    pub memory_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            instance: 0,
            lanes: 2,
            linger_ms: 5,
            batch_bytes: 1 << 20,
            batch_messages: 2_000,
            batch_events: 20_000,
            watchdog_seconds: 30,
            memory_bytes: 512 << 20,
        }
    }
}

/// The stage.
pub struct Unify {
    config: Config,
    shared: Arc<Shared>,
}

/// What all lanes use.
struct Shared {
    cluster: Cluster,
    state: Arc<dyn StateStore>,
    catalog: Catalog,
    schemas: SchemaIds,
    runtime: tokio::runtime::Handle,
    limits: Limits,
    memory: Memory,
}

impl Unify {
    /// Puts the stage together. Connects to nothing yet.
    pub fn build(
        config: Config,
        cluster: Cluster,
        state: Arc<dyn StateStore>,
        catalog: Catalog,
        runtime: tokio::runtime::Handle,
    ) -> Self {
        let limits = Limits {
            linger: Duration::from_millis(config.linger_ms),
            bytes: config.batch_bytes,
            messages: config.batch_messages,
            events: config.batch_events,
        };
        let schemas = cluster.schemas();
        let memory = Memory::new(config.memory_bytes / 8 * 7);
        let shared = Shared { cluster, state, catalog, schemas, runtime, limits, memory };
        Self { config, shared: Arc::new(shared) }
    }

    /// Runs until told to stop: then the open transactions are decided and the group is left.
    ///
    /// # Errors
    /// When the process should be restarted from the last commit: the broker or the store is away for long, the outcome of
    /// a transaction is unknown, or another process has this one's instance number.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        tokio::task::spawn_blocking(move || self.run_blocking(&shutdown)).await?
    }

    fn run_blocking(self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let lanes: Vec<_> = (0..self.config.lanes.max(1)).map(|_| router::mailbox()).collect();
        let (mailboxes, receivers): (Vec<_>, Vec<_>) = lanes.into_iter().unzip();
        let watchdog = Duration::from_secs(self.config.watchdog_seconds);
        let router = Arc::new(Router::new(mailboxes, self.shared.memory.clone(), watchdog));
        let queued = self.config.memory_bytes / 8;
        let twins = Twins::join(&self.shared.cluster, self.config.instance, queued, router.clone())?;
        let twins = Arc::new(twins);
        let failed = CancellationToken::new();
        let mut threads = Vec::new();
        for (number, mailbox) in receivers.into_iter().enumerate() {
            let name = format!("unify.{}.{number}", self.config.instance);
            let (shared, twins, router) = (self.shared.clone(), twins.clone(), router.clone());
            let failed = failed.clone();
            threads.push(std::thread::Builder::new().name(name.clone()).spawn(move || {
                let _failed = failed.drop_guard();
                Lane::new(name, shared, twins, router, number)?.run(&mailbox)
            })?);
        }
        tracing::info!(instance = self.config.instance, lanes = threads.len(), "unify runs");
        let polled = loop {
            if shutdown.is_cancelled() || failed.is_cancelled() {
                break Ok(());
            }
            if let Some(stuck) = router.stuck() {
                // A call that ignores its timeout can't be taken back: the producer is abandoned with its process.
                break Err(anyhow::anyhow!(
                    "lane {stuck} has been in one transaction for more than {watchdog:?}: restart the process"
                ));
            }
            router.fulfil(&twins)?;
            router.regulate(&twins)?;
            match twins.poll(Duration::from_millis(5)) {
                Ok(Some(message)) => router.route(message),
                Ok(None) => {}
                Err(error) => break Err(error),
            }
        };
        if polled.is_err() && router.stuck().is_some() {
            return polled;
        }
        router.stop();
        while threads.iter().any(|thread| !thread.is_finished()) {
            if let Some(stuck) = router.stuck() {
                anyhow::bail!(
                    "lane {stuck} has been in one transaction for more than {watchdog:?} at a stop"
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a lane panicked"))??;
        }
        tracing::info!("unify stopped");
        polled
    }
}

/// Asks the store until it answers: while it is away, or refuses for a reason that is everybody's (a schema, a permission),
/// the lane waits, and nothing is lost.
async fn patiently<T, F>(doing: &'static str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        let (counter, pause, error) = match ask().await {
            Ok(answer) => return answer,
            Err(error @ StoreError::Unavailable { .. }) => {
                (metrics::STORE_RETRIES, Duration::from_millis(200), error)
            }
            Err(error @ StoreError::Broken { .. }) => (metrics::STORE_REFUSED, Duration::from_secs(5), error),
        };
        ::metrics::counter!(counter).increment(1);
        tracing::warn!(error = format!("{:#}", anyhow::Error::from(error)), "{doing}: asking again");
        tokio::time::sleep(pause).await;
    }
}
