//! `tributary project`: the first step of a deployment.

use clap::Subcommand;
use tributary_stages::{
    config::Config,
    control::create_project,
    entity::Writer,
    kafka::{Cluster, Publisher},
    store::Stores,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a project and its first API key, which is shown this once.
    Create {
        /// What people call it.
        #[arg(long)]
        name: String,
    },
}

pub(crate) async fn run(config: &Config, Command::Create { name }: Command) -> anyhow::Result<()> {
    let stores = Stores::open(&config.store).await?;
    let cluster = Cluster::new(config.kafka.clone());
    let publisher = Publisher::new(&cluster, "cli")?;
    let writer = Writer::new(stores.control.clone(), publisher, cluster.topics().clone());
    let made = create_project(&writer, &*stores.control, &name).await?;
    println!("project  {}", made.project.id);
    println!("api key  {}   (shown this once)", made.api_key);
    Ok(())
}
