//! What the black-box tests share: a deployment of their own made of the real binary, the clients of other people,
//! Tryton, a clock that can be set, what operators touch, and the unify processes of the faults and benchmarks. Nothing of Tributary's code is used here.

pub mod client;
pub mod clock;
pub mod deployment;
pub mod greenhouse;
pub mod operations;
pub mod prometheus;
pub mod tryton;
pub mod unify;

use std::time::Duration;

/// How long anything that must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A variable that `tests/run` sets.
///
/// # Panics
/// When it is not set.
pub fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests by tests/run"))
}

/// An HTTP client.
///
/// # Errors
/// When it can't be made.
pub fn http() -> anyhow::Result<reqwest::Client> {
    // The client comes without a TLS provider of its own; a second installation is refused, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?)
}

/// The `tributary` binary.
pub fn binary() -> String {
    env("TRIBUTARY_BIN")
}
