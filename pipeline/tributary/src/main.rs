//! Webhooks and polled changes in, one unified exactly-once event stream out.
#![expect(clippy::print_stdout, reason = "a command line prints")]

mod apply;
mod connectors;
mod doctor;
mod events;
mod id;
mod project;
mod ready;
mod run;
mod sandbox;
mod schemas;
mod unify;
mod webhook;

use std::{io::IsTerminal, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use tributary_stages::{config::Config, secret::KeyRing};

/// Providers' webhooks and polled changes in, one unified, exactly-once event stream out: on Kafka topics and as signed
/// webhooks.
///
/// Start with `tributary sandbox`: it needs nothing. Then see the README for one's own Kafka and ScyllaDB.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    /// The configuration file; ops/tributary.toml has every key with its default.
    #[arg(long, short, global = true, env = "TRIBUTARY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Log as JSON lines.
    #[arg(long, global = true, env = "TRIBUTARY_LOG_JSON")]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the stages: all of them, or the ones that are named.
    Run(run::Arguments),
    /// Try it: broker, database, provider, stages and subscriber in this one process. Needs nothing.
    Sandbox(sandbox::Arguments),
    /// Check that everything around Tributary is as it must be: each line says what is wrong and what to change.
    Doctor(doctor::Arguments),
    /// Ask the process on this machine whether it is ready; exits 1 if it is not.
    Ready(ready::Arguments),
    /// Create and check the Kafka topics.
    #[command(subcommand)]
    Topics(apply::Topics),
    /// Create and migrate the database's schema.
    #[command(subcommand)]
    Schema(apply::Schema),
    /// The schemas of the unified topics in a schema registry.
    #[command(subcommand)]
    Schemas(schemas::Command),
    /// Make a project, the owner of accounts and webhooks, with its first API key.
    #[command(subcommand)]
    Project(project::Command),
    /// What providers are known, and whether a definition holds.
    #[command(subcommand)]
    Connectors(connectors::Command),
    /// Read the unified topics.
    #[command(subcommand)]
    Events(events::Command),
    /// What to do where unify can't go on by itself.
    #[command(subcommand)]
    Unify(unify::Command),
    /// Turn a record id into the provider's own, or the other way round.
    Id(id::Arguments),
    /// Check what a webhook received.
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// Keys that encrypt secrets at rest.
    #[command(subcommand)]
    Keys(Keys),
    /// Print what is measured: the page ops/metrics.md.
    Metrics,
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Print a new key ring for TRIBUTARY_KEYS. Keep it where you keep secrets: without it nothing sealed opens again.
    Generate,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    logs(cli.log_json);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let outcome = runtime.block_on(dispatch(cli));
            // What still runs on other threads has had its chance.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            outcome
        });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    // A configuration that can't be read is a usage error.
    let config = match Config::load(cli.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error:#}");
            return Ok(ExitCode::from(2));
        }
    };
    match cli.command {
        Command::Run(arguments) => run::run(config, arguments).await?,
        Command::Sandbox(arguments) => return sandbox::run(arguments).await,
        Command::Doctor(arguments) => return doctor::run(&config, arguments).await,
        Command::Ready(arguments) => return ready::run(&config, arguments).await,
        Command::Topics(command) => return apply::topics(&config, command).await,
        Command::Schema(command) => apply::schema(&config, command).await?,
        Command::Schemas(command) => return schemas::run(&config, command).await,
        Command::Project(command) => project::run(&config, command).await?,
        Command::Connectors(command) => return connectors::run(command),
        Command::Events(command) => return events::run(&config, command).await,
        Command::Unify(command) => unify::run(&config, command).await?,
        Command::Id(arguments) => id::run(&arguments)?,
        Command::Webhook(command) => return webhook::run(command),
        Command::Metrics => print!("{}", tributary_stages::measures::page()),
        Command::Keys(Keys::Generate) => {
            println!("{}={}", tributary_stages::secret::KEYS, KeyRing::generate())
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn logs(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,scylla=warn"));
    // Colours are for people: what is piped into a file holds none.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if json {
        builder.json().init();
    } else {
        builder.with_target(false).init();
    }
}
