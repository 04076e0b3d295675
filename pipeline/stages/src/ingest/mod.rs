//! Takes providers' requests in: what it acknowledges is on the broker (contract §5, native ingest).

mod accounts;
mod body;
mod client;
pub mod metrics;
mod receive;
mod refusal;
mod shares;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tributary_connectors::Catalog;

use self::{accounts::Accounts, body::Pace, receive::Receiver, shares::Shares};
use crate::{
    entity::Writer,
    kafka::{Cluster, Publisher, View},
    listen::{self, Limits},
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
    /// How long a body may take to arrive, in seconds.
    pub request_seconds: u64,
    /// The least pace at which it must, in bytes a second: slower is 503, and the provider tries again.
    pub least_bytes_per_second: u32,
    /// Bytes of bodies in memory at a time: beyond it 503. An account may hold an eighth of it.
    pub held_bytes: usize,
    /// Connections at a time; further ones wait.
    pub connections: usize,
    /// Requests a second of an account; a project may make five times as many. More are 429.
    pub account_requests_per_second: u32,
    /// Bytes a second of an account; a project may send five times as many. More are 429, before they are read.
    pub account_bytes_per_second: u32,
    /// Requests of an account at a time; of a project five times as many. More are 429.
    pub account_concurrency: u32,
    /// Look-ups a second of tokens that are not known, by address. More are 429.
    pub address_look_ups_per_second: u32,
    /// Networks of proxies in front of us, whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ([0, 0, 0, 0], 8080).into(),
            body_bytes: 1 << 20,
            request_seconds: 15,
            least_bytes_per_second: 4_096,
            held_bytes: 256 << 20,
            connections: 4_096,
            account_requests_per_second: 50,
            account_bytes_per_second: 4 << 20,
            account_concurrency: 64,
            address_look_ups_per_second: 20,
            trusted_proxies: Vec::new(),
        }
    }
}

/// The stage.
pub struct Ingest {
    config: Config,
    receiver: Arc<Receiver>,
}

impl Ingest {
    /// Puts the stage together. `public_url` is what providers reach us by: the beginning of what they sign, where they sign
    /// the URL.
    ///
    /// # Errors
    /// When a client can't be made.
    pub fn build(
        config: Config,
        public_url: &str,
        cluster: &Cluster,
        stores: &Stores,
        catalog: Catalog,
        keys: Arc<KeyRing>,
    ) -> anyhow::Result<Self> {
        let publisher = Publisher::new(cluster, "ingest")?;
        let accounts =
            View::follow(cluster, "ingest", cluster.topics().control_accounts(), Accounts::default())?;
        let projects =
            View::follow(cluster, "ingest", cluster.topics().control_webhooks(), Interests::default())?;
        let writer = Writer::new(stores.control.clone(), publisher.clone(), cluster.topics().clone());
        let receiver = Receiver {
            topic: cluster.topics().ingest_native(),
            public_url: public_url.trim_end_matches('/').to_owned(),
            pace: Pace {
                most: config.body_bytes,
                longest: Duration::from_secs(config.request_seconds),
                least: config.least_bytes_per_second,
            },
            proxies: config.trusted_proxies.clone(),
            shares: Arc::new(Shares::new(&config)),
            store: stores.control.clone(),
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
        let limits = Limits { listener: "ingest", connections: self.config.connections, ..Limits::default() };
        listen::serve(listener, router, limits, shutdown).await;
        Ok(())
    }
}
