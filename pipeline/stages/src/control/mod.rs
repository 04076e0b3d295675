//! The REST API over the entities (contract §5): read your own writes, one tenant never sees another's.

mod accounts;
mod api;
mod connectors;
pub mod metrics;
mod projects;
mod schedules;
mod webhooks;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tributary_connectors::Catalog;
use tributary_core::address::Allowed;

pub use self::projects::{NewProject, create_project};
use crate::{
    dial,
    entity::Writer,
    kafka::{Cluster, Publisher},
    secret::KeyRing,
    store::Stores,
};

/// Settings of control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the API is served. TLS ends in front of it.
    pub listen: SocketAddr,
    /// What providers reach ingest by: the beginning of the URLs shown to people.
    pub public_url: String,
    /// Which addresses webhooks may have beside global ones.
    pub dial: dial::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8081).into(),
            public_url: "http://127.0.0.1:8080".into(),
            dial: dial::Config::default(),
        }
    }
}

/// The stage.
pub struct Control {
    config: Config,
    shared: Arc<Shared>,
}

/// What all handlers use.
struct Shared {
    public_url: String,
    allowed: Allowed,
    stores: Stores,
    writer: Writer,
    publisher: Publisher,
    topics: tributary_schemas::topic::Topics,
    catalog: Catalog,
    keys: Arc<KeyRing>,
}

impl Control {
    /// Puts the stage together.
    ///
    /// # Errors
    /// When the producer can't be made.
    pub fn build(
        config: Config,
        cluster: &Cluster,
        stores: Stores,
        catalog: Catalog,
        keys: Arc<KeyRing>,
    ) -> anyhow::Result<Self> {
        metrics::describe();
        let publisher = Publisher::new(cluster, "control")?;
        let topics = cluster.topics().clone();
        let writer = Writer::new(stores.control.clone(), publisher.clone(), topics.clone());
        let allowed = Allowed { networks: config.dial.allow.clone() };
        let public_url = config.public_url.trim_end_matches('/').to_owned();
        let shared =
            Arc::new(Shared { public_url, allowed, stores, writer, publisher, topics, catalog, keys });
        Ok(Self { config, shared })
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let listener = tokio::net::TcpListener::bind(self.config.listen)
            .await
            .with_context(|| format!("control.listen: {} can't be listened on", self.config.listen))?;
        tracing::info!(listen = %self.config.listen, "control runs");
        let sweep = tokio::spawn(self.shared.writer.clone().sweep_until(shutdown.clone()));
        let router = api::router(self.shared);
        axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await?;
        sweep.await?;
        Ok(())
    }
}
