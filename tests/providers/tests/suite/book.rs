//! What a subscriber is told, worked out apart from the pipeline: what is known of a resource, and what each run makes of it.

use std::collections::{BTreeMap, BTreeSet};

use tributary_connectors::engine::{
    listing::{Ended, Found, What},
    map::Mapping,
    position::Position,
    projection::Keyed,
};
use tributary_schemas::id::RecordHash;

/// A run, as it was seen.
pub(crate) struct Run {
    pub(crate) found: Vec<Found>,
    pub(crate) ended: Ended,
    pub(crate) full: bool,
}

/// What is known of a resource.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) known: BTreeMap<String, RecordHash>,
    /// Absent from the last full run, which was not to be believed alone.
    missing: BTreeSet<String>,
    pub(crate) position: Option<Position>,
    /// Fields that a record had.
    pub(crate) filled: BTreeSet<String>,
    /// Records that could not be mapped: how it was said.
    pub(crate) unread: BTreeSet<String>,
}

impl Book {
    /// Takes a run over; what is told of it, as `created <id>`.
    pub(crate) fn land(&mut self, run: &Run, mapping: &Mapping) -> Vec<String> {
        let mut told = Vec::new();
        let complete = match &run.ended {
            Ended::Complete(complete) => Some(complete),
            // A delta is landed at its end, and not before; a full run that broke off has listed nothing whole.
            Ended::Failed(_) => return told,
        };
        let mut seen = BTreeSet::new();
        for found in &run.found {
            let id = found.remote_id.as_str().to_owned();
            match &found.what {
                What::Gone(_) => {
                    seen.remove(&id);
                    self.missing.remove(&id);
                    if self.known.remove(&id).is_some() {
                        told.push(format!("deleted {id}"));
                    }
                }
                What::Unread(trouble) => {
                    self.unread.insert(trouble.to_string());
                    seen.insert(id);
                }
                What::Record(record, parents) => {
                    seen.insert(id.clone());
                    self.missing.remove(&id);
                    let names = parents.names();
                    let mapped = mapping
                        .hash(record, names, &[], &Keyed::new(b"suite"))
                        .and_then(|hash| Ok((hash, mapping.map(record, names, "tr1!")?)));
                    match mapped {
                        Err(trouble) => drop(self.unread.insert(trouble.to_string())),
                        Ok((hash, fields)) => {
                            self.filled.extend(fields.keys().cloned());
                            match self.known.insert(id.clone(), hash) {
                                None => told.push(format!("created {id}")),
                                Some(before) if before != hash => told.push(format!("updated {id}")),
                                Some(_) => {}
                            }
                        }
                    }
                }
            }
        }
        let Some(complete) = complete else { return told };
        if complete.position.is_some() {
            self.position.clone_from(&complete.position);
        }
        let blind = complete.doubts.iter().any(|doubt| doubt.contains("only looks back"));
        if run.full && complete.partial.is_empty() && !blind {
            let emptied = seen.is_empty() && !self.known.is_empty();
            let absent: Vec<String> = self.known.keys().filter(|id| !seen.contains(*id)).cloned().collect();
            for id in absent {
                if complete.doubts.is_empty() && !emptied || self.missing.contains(&id) {
                    self.known.remove(&id);
                    self.missing.remove(&id);
                    told.push(format!("deleted {id}"));
                } else {
                    self.missing.insert(id);
                }
            }
        }
        told
    }
}
