//! `tributary topics apply` and `tributary schema apply`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Subcommand;
use tributary_stages::{
    config::Config,
    kafka::{
        Cluster,
        topics::{self, Overrides, WantedTopic},
    },
    store::{self, cql},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Topics {
    /// Create what is missing, bring settings in line, refuse what would lose data or order. Repeatable.
    Apply {
        /// The topics; without it the ones that ship (ops/topics.yaml).
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Replicas of every topic: 1 on a single broker.
        #[arg(long)]
        replication: Option<i32>,
        /// Partitions of every topic: fewer on one machine.
        #[arg(long)]
        partitions: Option<i32>,
        /// Only say what differs; exit 1 if anything does.
        #[arg(long)]
        check: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Schema {
    /// Make the keyspace and bring it to this release's schema. Repeatable.
    Apply,
}

pub(crate) async fn topics(config: &Config, command: Topics) -> anyhow::Result<ExitCode> {
    let Topics::Apply { file, replication, partitions, check } = command;
    let cluster = Cluster::new(config.kafka.clone());
    let wanted = wanted(&cluster, file.as_deref(), Overrides { replication, partitions })?;
    let findings = if check {
        topics::check(&cluster, &wanted).await?
    } else {
        topics::apply(&cluster, &wanted).await?
    };
    findings.iter().for_each(|finding| println!("{finding}"));
    match (check, findings.len()) {
        (_, 0) => println!("{} topics are as they should be", wanted.len()),
        (true, differ) => println!("{differ} differences"),
        (false, done) => println!("{done} changes made"),
    }
    Ok(if check && !findings.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The topics as a file, or the one that ships, wants them.
pub(crate) fn wanted(
    cluster: &Cluster,
    file: Option<&Path>,
    overrides: Overrides,
) -> anyhow::Result<Vec<WantedTopic>> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?,
        None => topics::BUILT_IN.to_owned(),
    };
    topics::read(&text, cluster.topics(), overrides)
}

pub(crate) async fn schema(config: &Config, Schema::Apply: Schema) -> anyhow::Result<()> {
    let store::Config::Cql(config) = &config.store else {
        bail!("the embedded store has no schema: configure [store.cql]");
    };
    let applied = cql::migrate::apply(config).await?;
    applied.iter().for_each(|name| println!("applied {name}"));
    println!("the keyspace `{}` has this release's schema", config.keyspace);
    Ok(())
}
