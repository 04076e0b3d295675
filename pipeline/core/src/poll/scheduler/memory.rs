//! What waiting runs keep in memory, and who gives it up when it is too much.

use std::collections::{BTreeMap, HashMap};

use tributary_schemas::id::ProjectId;

use super::Ticket;

/// What a waiting run costs beside what it says that it holds.
const OVERHEAD: u64 = 8 << 10;

/// The bytes that waiting runs hold, by project.
#[derive(Debug)]
pub(super) struct Held {
    most: u64,
    total: u64,
    projects: HashMap<ProjectId, Holdings>,
}

#[derive(Debug, Default)]
struct Holdings {
    bytes: u64,
    runs: BTreeMap<Ticket, u64>,
}

impl Held {
    pub(super) fn new(most: u64) -> Self {
        Self { most, total: 0, projects: HashMap::new() }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn hold(&mut self, project: &ProjectId, run: Ticket, bytes: u64) {
        let bytes = bytes.saturating_add(OVERHEAD);
        let holdings = self.projects.entry(project.clone()).or_default();
        holdings.bytes = holdings.bytes.saturating_add(bytes);
        holdings.runs.insert(run, bytes);
        self.total = self.total.saturating_add(bytes);
    }

    pub(super) fn release(&mut self, project: &ProjectId, run: Ticket) {
        let Some(holdings) = self.projects.get_mut(project) else { return };
        let Some(bytes) = holdings.runs.remove(&run) else { return };
        holdings.bytes = holdings.bytes.saturating_sub(bytes);
        self.total = self.total.saturating_sub(bytes);
        if holdings.runs.is_empty() {
            self.projects.remove(project);
        }
    }

    /// Who gives up its place while more is held than may be: the largest run of the project that holds most.
    pub(super) fn evict(&mut self) -> Option<Ticket> {
        if self.total <= self.most {
            return None;
        }
        let (project, holdings) =
            self.projects.iter().max_by(|a, b| (a.1.bytes, b.0).cmp(&(b.1.bytes, a.0)))?;
        let (run, _) = holdings.runs.iter().max_by_key(|(run, bytes)| (**bytes, **run))?;
        let (project, run) = (project.clone(), *run);
        self.release(&project, run);
        Some(run)
    }
}
