//! `tributary unify accept-loss`.

use clap::Args;
use tokio::task::block_in_place;
use tributary_stages::{
    config::Config,
    kafka::Cluster,
    store::Stores,
    unify::loss::{self, BELIEVED},
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The partition, as the log and the alert name it.
    partition: i32,
    /// Only say what is lost.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(config: &Config, cluster: &Cluster, arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { partition, dry_run } = arguments;
    if dry_run {
        match block_in_place(|| loss::look(cluster, partition))? {
            Some(loss) => println!("{loss}"),
            None => println!("partition {partition}: nothing is lost"),
        }
        return Ok(());
    }
    let stores = Stores::open(&config.store).await?;
    println!("partition {partition}: looking twice, {} s apart", BELIEVED.as_secs());
    match loss::accept_loss(cluster, &*stores.state, partition, BELIEVED).await? {
        None => println!("partition {partition}: nothing is lost, and nothing was changed"),
        Some((loss, accepted)) => {
            let (native, snapshots, wal) =
                (accepted.native, accepted.snapshots, accepted.metadata.wal_applied);
            println!("accepted: partition {partition}: {}", loss.kind);
            println!(
                "it goes on within 10 s: ingest.native from {native}, poll.snapshots from {snapshots}, unify.wal from {wal}"
            );
        }
    }
    Ok(())
}
