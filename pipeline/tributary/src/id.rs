//! `tributary id`.

use clap::Args;
use tributary_schemas::{id::RemoteId, record_id};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The record id; with --encode the provider's own id.
    id: String,
    /// Make a record id of the provider's own.
    #[arg(long)]
    encode: bool,
    /// The name of the provider's key field.
    #[arg(long, default_value = "id", requires = "encode")]
    key: String,
    /// The project's prefix.
    #[arg(long, default_value = "tr1!", requires = "encode")]
    prefix: String,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.encode {
        println!(
            "{}",
            record_id::encode(&arguments.prefix, &arguments.key, &RemoteId::new(arguments.id.as_str()))
        );
    } else {
        let parts = record_id::decode(&arguments.id)?;
        println!("key        {}\nremote id  {}", parts.key, parts.remote);
    }
    Ok(())
}
