//! What must be done, however often it fails.

use std::{fmt::Display, future::Future, time::Duration};

use rand::Rng;

use super::metrics;

/// Tries again with growing, jittered waits until it is done. Whoever waits is cut off from outside.
pub(super) async fn until_done<T, E, F>(doing: &'static str, mut attempt: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    let mut wait = Duration::from_millis(50);
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => {
                tracing::warn!(doing, error = format!("{error:#}"), "trying again");
                ::metrics::counter!(metrics::RETRIED, "reason" => doing).increment(1);
                let jitter = rand::rng().random_range(0.5..1.5);
                tokio::time::sleep(wait.mul_f64(jitter)).await;
                wait = (wait * 2).min(Duration::from_secs(2));
            }
        }
    }
}
