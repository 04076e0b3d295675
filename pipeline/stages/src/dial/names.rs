//! The addresses of names: found without a thread each, kept for as long as they hold, and so many asked for at a time. Whoever
//! hangs holds up nobody else's.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use tokio::sync::Semaphore;

/// Names that are asked for at a time.
const ASKED_MOST: usize = 256;
/// Names that are kept.
const KEPT: u64 = 4_096;
/// How long an answer is waited for, and how often it is asked for.
const ANSWER: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// An answer holds no longer than this: an address that was taken away is asked for no more.
const HOLDS_MOST: Duration = Duration::from_secs(60);

/// Finds addresses.
pub(super) struct Names {
    resolver: TokioResolver,
    turns: Semaphore,
}

impl Names {
    /// Asks these name servers; none: the system's, and its hosts file.
    pub(super) fn new(servers: &[SocketAddr]) -> anyhow::Result<Self> {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().unwrap_or_else(|error| {
                tracing::warn!(%error, "the system names no name server: only its hosts file is read");
                let nobody = ResolverConfig::from_parts(None, Vec::new(), Vec::new());
                TokioResolver::builder_with_config(nobody, TokioRuntimeProvider::default())
            })
        } else {
            let servers = servers.iter().map(|server| {
                let over = |mut connection: ConnectionConfig| {
                    connection.port = server.port();
                    connection
                };
                let connections = vec![over(ConnectionConfig::udp()), over(ConnectionConfig::tcp())];
                NameServerConfig::new(server.ip(), true, connections)
            });
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        (options.timeout, options.attempts, options.cache_size) = (ANSWER, ATTEMPTS, KEPT);
        (options.positive_max_ttl, options.negative_max_ttl) = (Some(HOLDS_MOST), Some(HOLDS_MOST));
        Ok(Self { resolver: builder.build()?, turns: Semaphore::new(ASKED_MOST) })
    }

    /// All addresses of a name.
    pub(super) async fn addresses(&self, name: &str) -> anyhow::Result<Vec<IpAddr>> {
        let _turn = self.turns.acquire().await?;
        Ok(self.resolver.lookup_ip(name).await?.iter().collect())
    }
}
