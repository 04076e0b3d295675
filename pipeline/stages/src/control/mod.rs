//! The REST API over the entities (contract §5): read your own writes, one tenant never sees another's.

mod accounts;
mod api;
mod bounds;
mod caller;
mod connectors;
mod deliveries;
mod idempotency;
mod keys;
pub mod metrics;
mod native;
mod openapi;
mod operator;
mod projects;
mod quota;
mod read;
mod route;
mod schedules;
mod setup;
mod webhooks;

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tributary_connectors::Catalog;
use tributary_core::address::Allowed;

pub use self::projects::{NewProject, create_project};
use crate::{
    dial,
    entity::Writer,
    kafka::{Cluster, Publisher, Skew},
    listen::{self, Limits},
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
    /// Connections at a time; further ones wait.
    pub connections: usize,
    /// Requests a minute that a project may make: more are 429.
    pub requests_per_minute: NonZeroU32,
    /// Accounts that a project may have.
    pub accounts: usize,
    /// Webhooks that a project may have.
    pub webhooks: usize,
    /// Accounts and webhooks that a project may make a minute, and ten times as many at once.
    pub made_per_minute: NonZeroU32,
    /// Which addresses webhooks may have beside global ones.
    pub dial: dial::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8081).into(),
            public_url: "http://127.0.0.1:8080".into(),
            connections: 1_024,
            requests_per_minute: NonZeroU32::new(600).unwrap_or(NonZeroU32::MIN),
            accounts: 50_000,
            webhooks: 1_000,
            made_per_minute: NonZeroU32::new(120).unwrap_or(NonZeroU32::MIN),
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
    /// What time it is at the brokers: webhooks are enabled by that.
    skew: Skew,
    topics: tributary_schemas::topic::Topics,
    catalog: Catalog,
    keys: Arc<KeyRing>,
    gate: caller::Gate,
    uses: keys::Uses,
    quotas: quota::Quotas,
    /// The digest of the operator's key, if there is one.
    operator_key: Option<String>,
    /// The header that deliveries are signed in.
    signature_header: String,
    document: serde_json::Value,
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
        keys_ring: Arc<KeyRing>,
    ) -> anyhow::Result<Self> {
        let publisher = Publisher::new(cluster, "control")?;
        let topics = cluster.topics().clone();
        let writer = Writer::new(stores.control.clone(), publisher.clone(), topics.clone());
        let public_url = config.public_url.trim_end_matches('/').to_owned();
        let own = url::Url::parse(&public_url)
            .with_context(|| format!("control.public_url: `{public_url}` is no absolute URL"))?;
        let mut allowed = config.dial.allowed();
        allowed.own.push(own);
        let shared = Arc::new(Shared {
            public_url,
            allowed,
            stores,
            writer,
            publisher,
            skew: cluster.skew().clone(),
            topics,
            catalog,
            keys: keys_ring,
            gate: caller::Gate::new(config.requests_per_minute),
            uses: keys::Uses::default(),
            quotas: quota::Quotas::new(&config),
            operator_key: caller::operator_key()?,
            signature_header: "x-stackone-signature".into(),
            document: api::described(),
        });
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
        let limits =
            Limits { listener: "control", connections: self.config.connections, ..Limits::default() };
        listen::serve(listener, router, limits, shutdown).await;
        sweep.await?;
        Ok(())
    }
}
