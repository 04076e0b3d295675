//! `tributary connectors`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Subcommand;
use tributary_connectors::{Catalog, Connector, example};
use tributary_schemas::resource::EventName;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the connectors that ship, with what each can tell and how.
    List,
    /// Check a definition (<dir>/connector.yaml) and its examples (<dir>/examples/*.yaml).
    Check {
        /// The connector's folder.
        dir: PathBuf,
    },
}

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List => {
            for connector in Catalog::built_in()?.olds() {
                println!("{} ({})", connector.name(), connector.title());
                for event in EventName::all() {
                    if let Some(mode) = connector.mode(event.resource, event.action) {
                        println!("  {:<28} {}", event.to_string(), mode.name());
                    }
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Check { dir } => check(&dir),
    }
}

fn check(dir: &Path) -> anyhow::Result<ExitCode> {
    let file = dir.join("connector.yaml");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let connector = Connector::read(&file.display().to_string(), &text)?;
    let mut examples: Vec<PathBuf> = match std::fs::read_dir(dir.join("examples")) {
        Ok(entries) => entries.map(|entry| entry.map(|it| it.path())).collect::<Result<_, _>>()?,
        Err(_) => Vec::new(),
    };
    examples.sort();
    let mut failed = 0;
    for example in &examples {
        let text = std::fs::read_to_string(example)?;
        match example::check(&connector, &example.display().to_string(), &text) {
            Ok(()) => println!("ok      {}", example.display()),
            Err(error) => {
                failed += 1;
                println!("FAILED  {error}");
            }
        }
    }
    println!("{}: {} examples hold, {failed} do not", connector.name(), examples.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
