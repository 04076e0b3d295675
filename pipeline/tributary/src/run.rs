//! `tributary run`: the stages of this process. One that fails takes the process with it: restarting from the last
//! commit is the one recovery there is.

use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use tokio::{signal::unix::SignalKind, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tributary_connectors::Catalog;
use tributary_stages::{
    config::Config,
    control::Control,
    deliver::Deliver,
    ingest::Ingest,
    kafka::Cluster,
    measures,
    poll::Poll,
    registry,
    secret::KeyRing,
    store::Stores,
    telemetry::{self, Readiness},
    unify::Unify,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The stages to run, comma-separated; without it all five.
    #[arg(long, value_delimiter = ',', value_enum)]
    stages: Vec<Stage>,
}

/// A stage of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// Takes providers' requests in.
    Ingest,
    /// Scans and deltas of providers' APIs.
    Poll,
    /// Decides the events, exactly once.
    Unify,
    /// Delivers events to webhooks.
    Deliver,
    /// The REST API.
    Control,
}

impl Stage {
    pub(crate) const ALL: [Stage; 5] = [Self::Ingest, Self::Poll, Self::Unify, Self::Deliver, Self::Control];

    fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Poll => "poll",
            Self::Unify => "unify",
            Self::Deliver => "deliver",
            Self::Control => "control",
        }
    }
}

pub(crate) async fn run(config: Config, arguments: Arguments) -> anyhow::Result<()> {
    let stages = if arguments.stages.is_empty() { Stage::ALL.to_vec() } else { arguments.stages };
    let keys = Arc::new(KeyRing::from_env()?);
    let metrics = telemetry::install(measures::all())?;
    let readiness = Readiness::default();
    stages.iter().for_each(|stage| readiness.expect(stage.name()));
    let shutdown = CancellationToken::new();
    let cluster = Cluster::new(config.kafka.clone());
    let schemas = registry::schema_ids(&config.registry, cluster.topics()).await?;
    let cluster = cluster.with_schemas(schemas);
    let admin = tokio::spawn(telemetry::serve(
        config.telemetry.clone(),
        metrics,
        readiness.clone(),
        cluster.skew().clone(),
        shutdown.clone(),
    ));
    let stores = Stores::open(&config.store).await?;
    let mut running = start(&config, cluster, &stages, stores, keys, &readiness, &shutdown)?;
    tokio::spawn(until_told(shutdown.clone()));
    let outcome = finish(&mut running, &shutdown).await;
    shutdown.cancel();
    admin.await.context("the admin port")??;
    outcome
}

/// Starts stages in this process.
pub(crate) fn start(
    config: &Config,
    cluster: Cluster,
    stages: &[Stage],
    stores: Stores,
    keys: Arc<KeyRing>,
    readiness: &Readiness,
    shutdown: &CancellationToken,
) -> anyhow::Result<JoinSet<anyhow::Result<&'static str>>> {
    let catalog = Catalog::built_in()?;
    let mut running = JoinSet::new();
    for stage in stages.iter().copied() {
        measures::begin(stage.name());
        let stop = shutdown.clone();
        let (stores, keys, catalog) = (stores.clone(), keys.clone(), catalog.clone());
        match stage {
            Stage::Ingest => {
                let ingest = Ingest::build(
                    config.ingest.clone(),
                    &config.control.public_url,
                    &cluster,
                    &stores,
                    catalog,
                    keys,
                )?;
                running.spawn(async move { named(stage, ingest.run(stop).await) });
            }
            Stage::Poll => {
                let poll = Poll::build(config.poll.clone(), cluster.clone(), stores, catalog, keys)?;
                running.spawn(async move { named(stage, poll.run(stop).await) });
            }
            Stage::Unify => {
                let runtime = tokio::runtime::Handle::current();
                let unify =
                    Unify::build(config.unify.clone(), cluster.clone(), stores.state, catalog, runtime);
                running.spawn(async move { named(stage, unify.run(stop).await) });
            }
            Stage::Deliver => {
                let mut settings = config.deliver.clone();
                // A delivery to our own ingest would come back as an event, and be delivered again.
                settings.dial.own.extend(config.control.public_url.parse().ok());
                let deliver = Deliver::build(settings, cluster.clone(), stores, keys)?;
                running.spawn(async move { named(stage, deliver.run(stop).await) });
            }
            Stage::Control => {
                let control = Control::build(config.control.clone(), &cluster, stores, catalog, keys)?;
                running.spawn(async move { named(stage, control.run(stop).await) });
            }
        }
        readiness.ready(stage.name());
    }
    Ok(running)
}

fn named(stage: Stage, outcome: anyhow::Result<()>) -> anyhow::Result<&'static str> {
    outcome.with_context(|| format!("the stage {}", stage.name())).map(|()| stage.name())
}

/// Waits until every stage has ended. The first that fails stops the others.
pub(crate) async fn finish(
    running: &mut JoinSet<anyhow::Result<&'static str>>,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while let Some(ended) = running.join_next().await {
        match ended.context("a stage panicked").and_then(|ended| ended) {
            Ok(stage) => tracing::info!(stage, "ended"),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "a stage failed: stopping the others");
                shutdown.cancel();
                outcome = outcome.and(Err(error));
            }
        }
    }
    outcome
}

/// Stops on SIGINT and SIGTERM; a second one ends the process at once.
pub(crate) async fn until_told(shutdown: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        tokio::signal::unix::signal(SignalKind::interrupt()),
        tokio::signal::unix::signal(SignalKind::terminate()),
    ) else {
        return;
    };
    for times in 1.. {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if times > 1 {
            std::process::exit(130);
        }
        tracing::info!("stopping; once more to end at once");
        shutdown.cancel();
    }
}
