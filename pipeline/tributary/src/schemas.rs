//! `tributary schemas apply|check`: the schemas of `unified.*` in a Confluent-compatible registry.

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use tributary_schemas::{framing, resource::Resource, topic::Topics};
use tributary_stages::{
    config::Config,
    registry::{Registry, Standing},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Register the schemas of all unified topics, and hold their subjects to full compatibility. Repeatable.
    Apply,
    /// Say how the registry stands to this release's schemas; exit 1 if one is absent or incompatible.
    Check,
}

pub(crate) async fn run(config: &Config, command: Command) -> anyhow::Result<ExitCode> {
    let registry = Registry::new(&config.registry)?.context(
        "no registry is configured: set registry.url. Without one, control serves the schemas itself",
    )?;
    let topics = Topics::with_prefix(config.kafka.prefix.clone());
    let mut differ = 0;
    for resource in Resource::ALL {
        let subject = Registry::subject(&topics, resource);
        let schema = framing::schema_text(resource);
        let standing = registry.standing(&subject, schema).await?;
        let said = match (&command, standing) {
            (_, Standing::Current(id)) => format!("schema {id}"),
            (Command::Apply, Standing::Absent | Standing::Incompatible) => {
                format!("registered as schema {}", registry.register(&subject, schema).await?)
            }
            (Command::Check, Standing::Absent) => {
                differ += 1;
                "absent: run `tributary schemas apply`".to_owned()
            }
            (Command::Check, Standing::Incompatible) => {
                differ += 1;
                "incompatible: it holds a schema that is not Tributary's, or a newer release's".to_owned()
            }
        };
        println!("{subject:<40} {said}");
    }
    Ok(if differ > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
