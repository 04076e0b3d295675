//! `tributary unify`: what an operator does where unify says that it can't go on by itself.

mod dead;
mod loss;

use clap::Subcommand;
use tributary_schemas::id::AccountId;
use tributary_stages::{config::Config, kafka::Cluster, store::Stores, unify::repair};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Input that was set aside: undecodable, unmappable, too large. It is kept whole for 30 days.
    #[command(subcommand)]
    Dead(dead::Command),
    /// Have a partition that halted go on without what was lost. Restore what was lost instead, if you can.
    AcceptLoss(loss::Arguments),
    /// Take away what can't be read of an account's state, so that it can be decided again; then redrive what was set aside.
    Repair {
        /// The account.
        account: AccountId,
    },
}

pub(crate) async fn run(config: &Config, command: Command) -> anyhow::Result<()> {
    let cluster = Cluster::new(config.kafka.clone());
    match command {
        Command::Dead(command) => tokio::task::spawn_blocking(move || dead::run(&cluster, command)).await?,
        Command::AcceptLoss(arguments) => loss::run(config, &cluster, arguments).await,
        Command::Repair { account } => {
            let stores = Stores::open(&config.store).await?;
            let repair::Repaired { records, rows, heads, miscounted } =
                repair::repair(&*stores.state, &account).await?;
            println!(
                "{records} records, {rows} ranges' rows and {heads} heads could not be read; {miscounted} rows were miscounted"
            );
            println!("next: tributary unify dead redrive --account {account}");
            Ok(())
        }
    }
}
