//! Reads the unified topics from their beginning to their present end, and checks every record's chain.

use std::{ops::ControlFlow, process::ExitCode};

use tributary_core::chain::{Chains, Link};
use tributary_schemas::{event::UnifiedEvent, framing, resource::Resource};
use tributary_stages::kafka::{Cluster, LogReader};

/// Broken links that are printed; the others are counted.
const SHOWN: u64 = 20;

/// What was found on one topic.
#[derive(Debug, Default)]
struct Findings {
    events: u64,
    repeated: u64,
    broken: u64,
    unreadable: u64,
}

pub(crate) fn run(cluster: &Cluster, resources: &[Resource]) -> anyhow::Result<ExitCode> {
    let resources = if resources.is_empty() { Resource::ALL.to_vec() } else { resources.to_vec() };
    let mut wrong = 0;
    println!("{:<22} {:>12} {:>12} {:>10} {:>10}", "resource", "events", "records", "broken", "unreadable");
    for resource in resources {
        let mut chains = Chains::default();
        let found = topic(cluster, resource, &mut chains)?;
        let (events, records) = (found.events, chains.records());
        let name = resource.to_string();
        println!("{name:<22} {events:>12} {records:>12} {:>10} {:>10}", found.broken, found.unreadable);
        if found.repeated > 0 {
            println!("  {} events told again, as account events may be", found.repeated);
        }
        wrong += found.broken + found.unreadable;
    }
    Ok(if wrong > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn topic(cluster: &Cluster, resource: Resource, chains: &mut Chains) -> anyhow::Result<Findings> {
    let log = LogReader::new(cluster, "verify", cluster.topics().unified_shared(resource))?;
    let mut found = Findings::default();
    for partition in 0..log.partitions()? {
        let (begin, _) = log.bounds(partition)?;
        let end = log.stable_end(partition)?;
        log.read(partition, begin, end, |offset, payload| {
            match framing::decode(payload, cluster.schemas()) {
                Ok(event) => judge(&mut found, chains.take(&event), &event, (partition, offset)),
                Err(error) => {
                    found.unreadable += 1;
                    if found.unreadable <= SHOWN {
                        println!("  {resource} [{partition}] at {offset}: {error}");
                    }
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(found)
}

fn judge(found: &mut Findings, link: Link, event: &UnifiedEvent, (partition, offset): (i32, i64)) {
    found.events += 1;
    if link.holds(event.event.resource) {
        found.repeated += u64::from(link == Link::Repeated);
        return;
    }
    found.broken += 1;
    if found.broken <= SHOWN {
        let (id, sequence, previous) =
            (event.event_id, event.sequence.0, event.previous_sequence.map(|it| it.0));
        let said = match link {
            Link::Repeated => "told twice".to_owned(),
            Link::Gap { seen } => format!("follows {previous:?}, but the last one seen is {}", seen.0),
            Link::Disordered { seen } => format!("comes after the newer {}", seen.0),
            Link::Whole | Link::First => return,
        };
        println!(
            "  {} [{partition}] at {offset}: event {id}, sequence {sequence}: {said}",
            event.event.resource
        );
    }
}
