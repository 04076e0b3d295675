//! The unified topics, decoded, a line each.

use clap::Args;
use tributary_schemas::{
    event::Subject,
    framing,
    id::{EventId, ProjectId},
    resource::Resource,
};
use tributary_stages::kafka::{Cluster, From, Group, GroupConfig, GroupEvent};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The resource: hris_employees, …
    resource: Resource,
    /// Begin with the oldest event that is kept.
    #[arg(long)]
    from_beginning: bool,
    /// Only this project's.
    #[arg(long)]
    project: Option<ProjectId>,
    /// End after so many.
    #[arg(long)]
    count: Option<u64>,
}

pub(crate) async fn run(cluster: &Cluster, arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { resource, from_beginning, project, count } = arguments;
    let tail = std::process::id().to_be_bytes();
    let config = GroupConfig {
        role: "tail".into(),
        group: format!("tail-{}", EventId::digest(&[&tail])),
        instance: None,
        topics: vec![cluster.topics().unified_shared(resource)],
        twin: None,
        from: if from_beginning { From::Committed } else { From::CommittedOrEnd },
        queue: 100,
    };
    let (_group, mut events) = Group::join(cluster, config)?;
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let event = tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            event = events.recv() => event,
        };
        let Some(event) = event else { anyhow::bail!("the membership has ended") };
        let GroupEvent::Record(record) = event else { continue };
        let decoded = framing::decode(record.payload.as_deref().unwrap_or_default(), cluster.schemas());
        match decoded {
            Ok(event) if project.as_ref().is_none_or(|it| *it == event.project) => {
                let (record, remote) = match &event.subject {
                    Subject::Record { record_id, remote_id, .. } => (record_id.as_str(), remote_id.as_str()),
                    Subject::Account(_) => (event.account.as_str(), ""),
                };
                println!(
                    "{} {:<28} account={} record={record} remote={remote} sequence={} mode={} event_id={}",
                    event.event_date,
                    event.event.to_string(),
                    event.account,
                    event.sequence.0,
                    event.mode.name(),
                    event.event_id
                );
                left -= 1;
            }
            Ok(_) => {}
            Err(error) => eprintln!("offset {}: {error}", record.offset),
        }
    }
    Ok(())
}
