//! Simulates the SaaS providers that Tributary connects: their listings, feeds, tokens, limits and callbacks, and, when told
//! to, their faults. Written from public documentation, apart from the connectors, so that it can judge them: nothing here
//! may depend on another crate of this workspace, and a request that a provider doesn't document is a failure.
//!
//! Every provider answers at `/<provider>/<tenant>/…`; tests drive it at `/_sim/…`.

mod auth;
mod call;
mod clock;
mod control;
mod fault;
mod provider;
mod providers;
mod rate;
mod reply;
mod report;
mod server;
mod sign;
mod table;
mod webhooks;
mod world;

use anyhow::Context;
use std::sync::{Arc, Mutex};
use tokio::{net::TcpListener, sync::Notify};

/// Serves all providers, for as long as the process lives.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(std::time::Duration::from_secs(10))
        .build()
        .context("making the client for callbacks")?;
    let shared = server::Shared {
        world: Arc::new(Mutex::new(world::World::new(providers::all()))),
        wake: Arc::new(Notify::new()),
        client,
    };
    tokio::spawn(webhooks::deliver(shared.world.clone(), shared.wake.clone(), shared.client.clone()));
    let app = axum::Router::new().fallback(server::handle).with_state(shared);
    axum::serve(listener, app).await.context("serving")
}

/// The table of what each provider offers, in Markdown: the README's.
#[must_use]
pub fn offers() -> String {
    table::markdown(&world::World::new(providers::all()))
}
