//! Metrics and health, in every role: `/metrics`, `/livez`, `/readyz` on one port.

mod metric;
mod recorder;

pub(crate) use self::metric::declare;
pub use self::metric::{Kind, LABELS, Metric};

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use self::recorder::Declared;
use crate::{
    clock::now,
    kafka::Skew,
    listen::{self, Limits},
};

/// Settings of the admin port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where metrics and health are served. Not for the public.
    pub listen: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: ([127, 0, 0, 1], 9464).into() }
    }
}

/// What must be true before a process is ready, by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, bool>>>);

impl Readiness {
    /// Names something that is not ready yet.
    pub fn expect(&self, name: &'static str) {
        self.held().insert(name, false);
    }
    /// It is.
    pub fn ready(&self, name: &'static str) {
        self.held().insert(name, true);
    }
    /// What is not ready.
    pub fn missing(&self) -> Vec<&'static str> {
        self.held().iter().filter(|(_, ready)| !**ready).map(|(name, _)| *name).collect()
    }
    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, bool>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

declare! {
    /// 1: what was built, by `version` and `commit`.
    gauge BUILD_INFO = "tributary_build_info" [version, commit];
    /// 1 for each stage that this process runs.
    gauge STAGES = "tributary_process_stages" [stage];
    /// When the process began, in seconds since 1970.
    gauge STARTED = "tributary_process_start_time_seconds";
}

/// Seconds, from half a millisecond to a minute: latencies.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Seconds, from a tenth to six hours: runs.
const RUN_SECONDS: [f64; 10] = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 7_200.0, 21_600.0];
/// How often what histograms have gathered is summed up, whether anyone scrapes or not.
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the process's recorder of these metrics.
///
/// # Errors
/// When one is installed already.
pub fn install(metrics: impl IntoIterator<Item = Metric>) -> anyhow::Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Full("tributary_poll_run_seconds".into()), &RUN_SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".into()), &[1e2, 1e3, 1e4, 1e5, 1e6, 1e7])?
        .set_buckets_for_metric(Matcher::Suffix("_messages".into()), &[1.0, 10.0, 100.0, 1e3, 1e4])?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(Declared::new(recorder, metrics))
        .map_err(|_| anyhow::anyhow!("a metrics recorder is installed already"))?;
    let commit = option_env!("TRIBUTARY_COMMIT").unwrap_or("unknown");
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "commit" => commit).set(1);
    metrics::gauge!(STARTED).set(now().as_micros() as f64 / 1e6);
    Ok(handle)
}

/// Says that a stage runs here, and begins its counters that have no labels: what has not happened yet is 0, not absent.
pub fn begin(stage: &'static str, metrics: &[Metric]) {
    metrics::gauge!(STAGES, "stage" => stage).set(1);
    for metric in metrics.iter().filter(|it| it.kind() == Kind::Counter && it.labels().is_empty()) {
        metrics::counter!(*metric).increment(0);
    }
}

/// Serves the admin port until told to stop. Ready is what `readiness` expects, and a clock that agrees with the brokers'.
///
/// # Errors
/// When the address is taken.
pub async fn serve(
    config: Config,
    metrics: PrometheusHandle,
    readiness: Readiness,
    skew: Skew,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let upkeep = metrics.clone();
    let summed = shutdown.clone();
    tokio::spawn(async move {
        while summed.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
            upkeep.run_upkeep();
        }
    });
    let ready = |State((readiness, skew)): State<(Readiness, Skew)>| async move {
        let mut missing = readiness.missing();
        missing.extend(skew.is_large().then_some("clock"));
        match missing.as_slice() {
            [] => (StatusCode::OK, "ready\n".to_owned()),
            missing => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", "))),
        }
    };
    let router = Router::new()
        .route("/metrics", get(move || std::future::ready(metrics.render())))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .with_state((readiness, skew));
    let listener = tokio::net::TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("telemetry.listen: {} can't be listened on", config.listen))?;
    let limits = Limits { listener: "telemetry", connections: 64, ..Limits::default() };
    listen::serve(listener, router, limits, shutdown).await;
    Ok(())
}
