//! Takes providers' requests in: what it acknowledges is on the broker (contract §5, native ingest).

mod accounts;
pub mod metrics;
mod receive;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tributary_connectors::Catalog;

use self::{accounts::Accounts, receive::Receiver};
use crate::{
    entity::Writer,
    kafka::{Cluster, Publisher, View},
    poll::interest::Interests,
    secret::KeyRing,
    store::Stores,
};

/// Settings of ingest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where providers' requests come in. TLS ends in front of it.
    pub listen: SocketAddr,
    /// The most that a body may hold, in bytes: more is 413.
    pub body_bytes: usize,
    /// How long a request may take to arrive, in seconds.
    pub request_seconds: u64,
    /// Requests at a time; more are 503, and providers try again.
    pub concurrency: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ([0, 0, 0, 0], 8080).into(),
            body_bytes: 1 << 20,
            request_seconds: 15,
            concurrency: 1_024,
        }
    }
}

/// The stage.
pub struct Ingest {
    config: Config,
    receiver: Arc<Receiver>,
}

impl Ingest {
    /// Puts the stage together.
    ///
    /// # Errors
    /// When a client can't be made.
    pub fn build(
        config: Config,
        cluster: &Cluster,
        stores: &Stores,
        catalog: Catalog,
        keys: Arc<KeyRing>,
    ) -> anyhow::Result<Self> {
        metrics::describe();
        let publisher = Publisher::new(cluster, "ingest")?;
        let accounts =
            View::follow(cluster, "ingest", cluster.topics().control_accounts(), Accounts::default())?;
        let projects =
            View::follow(cluster, "ingest", cluster.topics().control_webhooks(), Interests::default())?;
        let writer = Writer::new(stores.control.clone(), publisher.clone(), cluster.topics().clone());
        let receiver = Receiver {
            topic: cluster.topics().ingest_native(),
            body_bytes: config.body_bytes,
            request_limit: Duration::from_secs(config.request_seconds),
            store: stores.control.clone(),
            slots: tokio::sync::Semaphore::new(config.concurrency),
            publisher,
            accounts,
            projects,
            writer,
            catalog,
            keys,
        };
        Ok(Self { config, receiver: Arc::new(receiver) })
    }

    /// Runs until told to stop: then nothing new is taken, and what was begun is finished.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        self.receiver.accounts.ready().await;
        self.receiver.projects.ready().await;
        let listener = tokio::net::TcpListener::bind(self.config.listen)
            .await
            .with_context(|| format!("ingest.listen: {} can't be listened on", self.config.listen))?;
        tracing::info!(listen = %self.config.listen, "ingest runs");
        let router = receive::router(self.receiver);
        axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await?;
        Ok(())
    }
}
