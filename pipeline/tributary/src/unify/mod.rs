//! `tributary unify`: what an operator does where unify says that it can't go on by itself.

mod dead;

use clap::Subcommand;
use tributary_stages::{config::Config, kafka::Cluster};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Input that was set aside: undecodable, unmappable, too large. It is kept whole for 30 days.
    #[command(subcommand)]
    Dead(dead::Command),
}

pub(crate) async fn run(config: &Config, command: Command) -> anyhow::Result<()> {
    let cluster = Cluster::new(config.kafka.clone());
    match command {
        Command::Dead(command) => tokio::task::spawn_blocking(move || dead::run(&cluster, command)).await?,
    }
}
