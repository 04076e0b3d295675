//! `tributary sandbox`.
use std::process::ExitCode;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// End with success after so many verified deliveries; with failure after 60 s without one.
    #[arg(long)]
    pub(crate) deliveries: Option<u64>,
}

pub(crate) async fn run(_arguments: Arguments) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not yet")
}
