//! Delivers events to webhooks, signed: at least once, with a stable id (design §7).
//!
//! A webhook that can't keep up falls behind in the log, as any reader does, and reads on from there; nothing is copied and
//! nobody else waits. What happens is decided by `core::deliver`'s machine; [`shell`] does what it says. Here is no rule of
//! who wants what, what waits, or what is committed.
//!
//! With a webhook's `ordering: record`, a record's events come in the order of their `sequence`, one at a time: what is parked
//! has a row ([`line`]).

mod again;
mod committed;
mod disable;
mod line;
mod log;
mod logs;
pub mod metrics;
mod post;
mod shell;
mod subscribers;
mod tenure;
mod work;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tributary_core::deliver::process::Limits;

use self::{
    line::Lines,
    log::Log,
    logs::Logs,
    post::Post,
    shell::{Ears, Parts, Shell},
    subscribers::{Subscribers, Teller},
    work::Work,
};
use crate::{
    dial::{self, Dialer},
    entity::Writer,
    kafka::{Cluster, Member, Publisher, Sweeper, View},
    secret::KeyRing,
    store::Stores,
};

/// Settings of deliver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// One deadline over DNS, connect, TLS and the answer's head of an attempt, in seconds.
    pub deadline_seconds: u64,
    /// First attempts in flight in this process.
    pub first_attempts: usize,
    /// Retries in flight in this process: slots of their own, so that retries never starve first attempts.
    pub retries: usize,
    /// What may wait in memory, in bytes; when it is spent, whoever holds most falls behind.
    pub memory_bytes: usize,
    /// Readers for those behind, in this process.
    pub sweeps: usize,
    /// The compat signature's header.
    pub signature_header: String,
    /// Which addresses may be dialled beside global ones.
    pub dial: dial::Config,
    /// For tests only: retry waits are multiplied by this.
    pub test_retry_scale: Option<f64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            deadline_seconds: 15,
            first_attempts: 512,
            retries: 128,
            memory_bytes: 128 << 20,
            sweeps: 8,
            signature_header: "x-stackone-signature".into(),
            dial: dial::Config::default(),
            test_retry_scale: None,
        }
    }
}

/// The stage.
pub struct Deliver {
    cluster: Cluster,
    config: Config,
    stores: Stores,
    publisher: Publisher,
    keys: Arc<KeyRing>,
    post: Post,
}

impl Deliver {
    /// Puts the stage together.
    ///
    /// # Errors
    /// When a client can't be made.
    pub fn build(
        config: Config,
        cluster: Cluster,
        stores: Stores,
        keys: Arc<KeyRing>,
    ) -> anyhow::Result<Self> {
        let publisher = Publisher::new(&cluster, "deliver")?;
        let dialer = Dialer::new(&config.dial, Duration::from_secs(config.deadline_seconds))?;
        let post = Post::new(dialer, config.signature_header.clone());
        Ok(Self { cluster, config, stores, publisher, keys, post })
    }

    /// Runs until told to stop; attempts in flight are given their deadline.
    ///
    /// # Errors
    /// When the process should be restarted from what was settled.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { cluster, config, stores, publisher, keys, post } = self;
        let topics = cluster.topics().clone();
        let (teller, told) = mpsc::unbounded_channel();
        let view = View::follow(&cluster, "deliver", topics.control_webhooks(), Teller(teller))?;
        // Whoever is a member knows all webhooks that there were when it became one.
        if shutdown.run_until_cancelled(view.ready()).await.is_none() {
            return Ok(());
        }
        let logs = Logs::new(&topics, publisher.schemas());
        let (member, group) = Member::join(&cluster, "deliver", "deliver", &logs.topics())?;
        let (sweeper, swept) = Sweeper::new(&cluster);
        let work = Work {
            topics: topics.clone(),
            publisher: publisher.clone(),
            post,
            lines: Lines::new(stores.control.clone()),
            log: Log::new(topics.clone(), publisher.clone(), &stores),
            scale: config.test_retry_scale.unwrap_or(1.0),
        };
        let parts = Parts {
            limits: Limits {
                first_attempts: config.first_attempts,
                retries: config.retries,
                memory: config.memory_bytes,
                sweeps: config.sweeps,
            },
            deadline: Duration::from_secs(config.deadline_seconds),
            member,
            sweeper,
            logs,
            subscribers: Subscribers::new(keys),
            work,
            backlogs: stores.backlog.clone(),
            writer: Writer::new(stores.control.clone(), publisher.clone(), topics),
        };
        tracing::info!("deliver runs");
        Shell::run(parts, Ears { group, swept, told }, shutdown).await?;
        drop(view);
        publisher.flush(Duration::from_secs(5))
    }
}
