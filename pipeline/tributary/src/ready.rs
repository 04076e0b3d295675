//! `tributary ready`: whether the process on this machine is ready, for whoever has no HTTP client: health checks of
//! containers, scripts.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use tributary_stages::config::Config;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Wait so many seconds for it.
    #[arg(long, default_value_t = 0)]
    wait: u64,
}

/// How long the process may take to answer.
const LIMIT: Duration = Duration::from_secs(3);
/// How long between two looks.
const AGAIN: Duration = Duration::from_millis(250);

pub(crate) async fn run(config: &Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut admin = config.telemetry.listen;
    // What is listened on everywhere is asked here.
    if admin.ip().is_unspecified() {
        let here = if admin.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        };
        admin.set_ip(here);
    }
    let url = format!("http://{admin}/readyz");
    let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build()?;
    let patience = Duration::from_secs(arguments.wait);
    let begun = Instant::now();
    loop {
        let answer = client.get(&url).send().await;
        let ready = answer.as_ref().is_ok_and(|answer| answer.status().is_success());
        if !ready && begun.elapsed() < patience {
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        let answer = answer.with_context(|| format!("nothing answers at {admin} (telemetry.listen)"))?;
        print!("{}", answer.text().await?);
        return Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
}
