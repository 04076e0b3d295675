//! Rows of those behind.

use tributary_core::deliver::process::Change;

use super::*;
use crate::store::backlog::BacklogChange;

impl Shell {
    /// Writes a tick's changes, however long it takes: the machine commits nothing over them before.
    pub(super) fn write(&mut self, tenure: TenureId, changes: Vec<Change>) {
        let Some(held) = self.tenures.get(&tenure) else { return };
        let change = |it: Change| match it {
            Change::Put(reader, row) => {
                // Whoever is behind was told of, or a row or a delivery names it.
                let project = self.subscribers.project(&reader.webhook).cloned()?;
                Some(BacklogChange::Put(Backlog { reader, project, row }))
            }
            Change::Remove(reader) => Some(BacklogChange::Remove(reader)),
        };
        let changes: Vec<BacklogChange> = changes.into_iter().filter_map(change).collect();
        let (backlogs, at, owner) = (self.backlogs.clone(), held.partition(), held.owner.clone());
        self.spawn_in(held.gone.clone(), async move {
            let ours = until_done("rows", || backlogs.write_backlogs(&at, &owner, &changes)).await;
            Said::Input(Input::Written { tenure, ours })
        });
    }
}
