//! Runs scans and deltas: what lands is complete, and holds no polled field (design §4, §5).
//!
//! Whoever owns a partition of `control.accounts` schedules its accounts (`schedule`), notes what is asked (`triggers`) and
//! looks what is due (`attend`); a run asks a provider for a resource (`ask`), and lands the digests of what it reads (`run`), waits without a
//! worker (`place`), and its end is noted (`settle`). All that can be wrong about it is decided in `tributary_core::poll`.

mod ask;
mod attend;
pub mod interest;
pub mod metrics;
mod place;
mod run;
mod schedule;
mod settle;
mod triggers;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tributary_connectors::Catalog;

use self::{attend::Runner, interest::Interests, schedule::Shell};
use crate::{
    dial::{self, Dialer},
    entity::Writer,
    kafka::{Cluster, From, Group, GroupConfig, Publisher, View},
    secret::KeyRing,
    store::Stores,
};

/// Settings of poll.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Between two runs of a resource, in seconds, where neither account nor project say otherwise.
    pub interval_seconds: u64,
    /// Runs at a time in this process that have a worker. A run that waits has none.
    pub concurrency: usize,
    /// Runs at a time at one host.
    pub per_host: usize,
    /// What runs that wait may hold in memory together, in bytes: more, and the largest holders begin anew.
    pub held_bytes: u64,
    /// The most pages of a run: more, and the listing is taken to have no end.
    pub pages: u64,
    /// The longest that a run may take, waits and all, in seconds.
    pub run_seconds: u64,
    /// How long one request to a provider may take, in seconds.
    pub request_seconds: u64,
    /// The most that a page may hold, in bytes.
    pub page_bytes: usize,
    /// The most records of one scan: they are held in memory until the listing has ended, about 200 bytes each.
    pub scan_records: usize,
    /// Which providers' addresses may be dialled beside global ones.
    pub dial: dial::Config,
    /// For tests only: every resource is polled this often, in milliseconds, whatever schedules say.
    pub test_interval_ms: Option<u64>,
    /// For tests only: every resource is scanned whole this often, in milliseconds.
    pub test_full_interval_ms: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval_seconds: 3_600,
            concurrency: 32,
            per_host: 16,
            held_bytes: 256 << 20,
            pages: 100_000,
            run_seconds: 21_600,
            request_seconds: 60,
            page_bytes: 32 << 20,
            scan_records: 5_000_000,
            dial: dial::Config::default(),
            test_interval_ms: None,
            test_full_interval_ms: None,
        }
    }
}

/// The stage.
pub struct Poll {
    cluster: Cluster,
    interests: View<Interests>,
    runner: Arc<Runner>,
}

impl Poll {
    /// Puts the stage together.
    ///
    /// # Errors
    /// When a client can't be made.
    pub fn build(
        config: Config,
        cluster: Cluster,
        stores: Stores,
        catalog: Catalog,
        keys: Arc<KeyRing>,
    ) -> anyhow::Result<Self> {
        let publisher = Publisher::new(&cluster, "poll")?;
        let topic = cluster.topics().control_webhooks();
        let interests = View::follow(&cluster, "poll", topic, Interests::default())?;
        let dialer = Dialer::new(&config.dial, Duration::from_secs(config.request_seconds))?;
        let writer = Writer::new(stores.control.clone(), publisher.clone(), cluster.topics().clone());
        let runner =
            Runner::new(config, cluster.topics().clone(), stores, catalog, keys, dialer, publisher, writer);
        Ok(Self { cluster, interests: interests.clone(), runner: Arc::new(runner.with(interests)) })
    }

    /// Runs until told to stop; runs under way are given a moment to land.
    ///
    /// # Errors
    /// When the process should be restarted.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        self.interests.ready().await;
        let (group, events) = Group::join(
            &self.cluster,
            GroupConfig {
                role: "poll".into(),
                group: "poll".into(),
                instance: None,
                topics: vec![self.cluster.topics().control_accounts()],
                twin: Some(self.cluster.topics().poll_triggers()),
                from: From::Beginning,
                queue: 1_000,
            },
        )?;
        tracing::info!("poll runs");
        let (shell, inbox) = Shell::new(self.runner, group, self.interests);
        shell.run(inbox, events, shutdown).await
    }
}
