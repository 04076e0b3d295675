//! `tributary events tail|verify`: the unified topics, read.

mod tail;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;
use tributary_schemas::resource::Resource;
use tributary_stages::{config::Config, kafka::Cluster, registry};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print events as they come, read_committed. Ctrl-C ends it.
    Tail(tail::Arguments),
    /// Check that every event is there once and in its record's order, from the oldest that is kept to the newest; exit 1
    /// if one is not. Any reader can do the same by `sequence` and `previous_sequence`.
    Verify {
        /// The resources: hris_employees, …; without one, all.
        resources: Vec<Resource>,
    },
}

pub(crate) async fn run(config: &Config, command: Command) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::new(config.kafka.clone());
    let schemas = registry::schema_ids(&config.registry, cluster.topics()).await?;
    let cluster = cluster.with_schemas(schemas);
    match command {
        Command::Tail(arguments) => tail::run(&cluster, arguments).await.map(|()| ExitCode::SUCCESS),
        Command::Verify { resources } => {
            tokio::task::spawn_blocking(move || verify::run(&cluster, &resources)).await?
        }
    }
}
