//! `tributary webhook verify`: whether a delivery verifies, and if not, why.

use std::{io::Read, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Subcommand;
use tributary_core::deliver::sign;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a body and its headers against a secret, by both schemes.
    Verify {
        /// The raw body, byte for byte as it came; `-` reads it from standard input.
        #[arg(long, value_name = "FILE")]
        body: PathBuf,
        /// The webhook's secret.
        #[arg(long, env = "TRIBUTARY_WEBHOOK_SECRET", hide_env_values = true)]
        secret: String,
        /// A header as it came, `name: value`; once for each.
        #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
        headers: Vec<String>,
        /// The compat signature's header.
        #[arg(long, default_value = "x-stackone-signature")]
        signature_header: String,
    },
}

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let Command::Verify { body, secret, headers, signature_header } = command;
    let bytes = if body.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes)?;
        bytes
    } else {
        std::fs::read(&body).with_context(|| format!("reading {}", body.display()))?
    };
    let header = |name: &str| {
        let split = |line: &String| {
            line.split_once(':').map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned()))
        };
        headers.iter().filter_map(split).find(|(given, _)| given == name).map(|(_, value)| value)
    };
    let mut verdicts = Vec::new();
    if let Some(signature) = header(&signature_header) {
        verdicts.push((signature_header.as_str(), sign::verify_compat(&secret, &bytes, &signature)));
    }
    if let Some(signature) = header("webhook-signature") {
        let id = header("webhook-id").context("header webhook-id is missing")?;
        let timestamp = header("webhook-timestamp").context("header webhook-timestamp is missing")?;
        verdicts
            .push(("webhook-signature", sign::verify_standard(&secret, &id, &timestamp, &bytes, &signature)));
    }
    if verdicts.is_empty() {
        anyhow::bail!("no signature to check: give -H '{signature_header}: …' or -H 'webhook-signature: …'");
    }
    let mut code = ExitCode::SUCCESS;
    for (name, verdict) in verdicts {
        match verdict {
            Ok(()) => println!("{name}: verified"),
            Err(why) => {
                println!("{name}: NOT verified: {why}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
