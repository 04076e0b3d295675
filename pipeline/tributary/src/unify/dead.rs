//! `tributary unify dead list|redrive`.

use clap::{Args, Subcommand};
use serde_json::json;
use tributary_schemas::{id::AccountId, time::Timestamp};
use tributary_stages::{
    kafka::Cluster,
    unify::dead::{self, Filter, SetAside},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what was set aside, the first first.
    List {
        #[command(flatten)]
        which: Which,
        /// A JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Send what was set aside to its topic again, each once: what was sent before is left out, also if this is repeated.
    Redrive {
        #[command(flatten)]
        which: Which,
        /// All of it: without a filter it must be said.
        #[arg(long, conflicts_with_all = ["account", "reason", "since", "until"])]
        all: bool,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Only this account's.
    #[arg(long)]
    account: Option<AccountId>,
    /// Only what was set aside for this reason: undecodable, unmappable, too_large, unreadable_state, …
    #[arg(long)]
    reason: Option<String>,
    /// Only what was set aside then or later, as 2026-11-25T13:00:00Z.
    #[arg(long)]
    since: Option<Timestamp>,
    /// Only what was set aside before that.
    #[arg(long)]
    until: Option<Timestamp>,
}

impl Which {
    fn is_all(&self) -> bool {
        let Self { account, reason, since, until } = self;
        account.is_none() && reason.is_none() && since.is_none() && until.is_none()
    }

    fn filter(self) -> Filter {
        let Self { account, reason, since, until } = self;
        Filter { account, reason, since, until }
    }
}

pub(crate) fn run(cluster: &Cluster, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { which, json } => print(&dead::list(cluster, &which.filter())?, json),
        Command::Redrive { which, all, json } => {
            anyhow::ensure!(
                all || !which.is_all(),
                "say which: --account, --reason, --since, --until, or --all"
            );
            let dead::Resent { sent, before, empty } = dead::redrive(cluster, &which.filter())?;
            if json {
                println!("{}", json!({ "sent": sent, "sent_before": before, "nothing_to_send": empty }));
            } else {
                println!("{sent} sent again, {before} had been before, {empty} hold nothing to send");
            }
        }
    }
    Ok(())
}

fn print(found: &[SetAside], json: bool) {
    if json {
        for SetAside { place, account, letter, bytes, redriven } in found {
            let line = json!({
                "at": letter.at, "account": account, "reason": letter.reason, "detail": letter.detail,
                "topic": letter.topic, "partition": letter.partition, "offset": letter.offset, "bytes": bytes,
                "redriven_at": redriven,
                "letter": { "partition": place.partition, "offset": place.offset },
            });
            println!("{line}");
        }
        return;
    }
    println!(
        "{:<24} {:<26} {:<18} {:>9} {:<24} detail",
        "set aside", "account", "reason", "bytes", "sent again"
    );
    for SetAside { account, letter, bytes, redriven, .. } in found {
        let again = redriven.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let (at, reason, detail) = (letter.at.to_string(), &letter.reason, &letter.detail);
        println!("{at:<24} {account:<26} {reason:<18} {bytes:>9} {again:<24} {detail}");
    }
    println!("{} set aside", found.len());
}
