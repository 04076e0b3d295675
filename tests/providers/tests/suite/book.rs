//! What a subscriber is told, worked out apart from the pipeline: what is known of a resource, and what each run makes of it.

use std::collections::{BTreeMap, BTreeSet};

use tributary_connectors::engine::{listing::Ended, position::Position, run::Sighting};
use tributary_schemas::{
    id::RecordHash,
    observation::{Content, Listed, Tombstone},
};

/// A run, as it was seen.
pub(crate) struct Run {
    pub(crate) found: Vec<Sighting>,
    /// What was wrong with records that could not be read.
    pub(crate) troubles: Vec<String>,
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
    pub(crate) fn land(&mut self, run: &Run) -> Vec<String> {
        let mut told = Vec::new();
        // A run is landed at its end, and not before.
        let Ended::Complete(complete) = &run.ended else { return told };
        let mut seen = BTreeSet::new();
        self.unread.extend(run.troubles.iter().cloned());
        for found in &run.found {
            match found {
                Sighting::Gone(Tombstone { remote_id, .. }) => {
                    let id = remote_id.as_str();
                    seen.remove(id);
                    self.missing.remove(id);
                    if self.known.remove(id).is_some() {
                        told.push(format!("deleted {id}"));
                    }
                }
                Sighting::Listed(Listed { remote_id, content }, record) => {
                    let id = remote_id.as_str().to_owned();
                    seen.insert(id.clone());
                    self.missing.remove(&id);
                    self.filled.extend(record.iter().flat_map(|record| record.keys().cloned()));
                    let Content::Hash(hash) = content else { continue };
                    match self.known.insert(id.clone(), *hash) {
                        None => told.push(format!("created {id}")),
                        Some(before) if before != *hash => told.push(format!("updated {id}")),
                        Some(_) => {}
                    }
                }
            }
        }
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

    /// Whether nothing waits for another run to be believed.
    pub(crate) fn is_settled(&self) -> bool {
        self.missing.is_empty()
    }
}
