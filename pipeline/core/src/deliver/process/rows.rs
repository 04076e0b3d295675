//! Rows and commits: what is behind for longer than a moment has a row, and an offset is committed over what is settled or
//! covered by one.

use super::*;
use crate::deliver::{
    guard::{Guard, holds},
    partition::Standing,
};

/// How long a commit waits for who may catch up, before that gets a row.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at a partition's rows.
const LOOK: Duration = Duration::from_millis(500);
/// How often a row is written again while it grows.
const REFRESH: Duration = Duration::from_secs(60);
/// Between two commits of a partition whose offset stays while the view goes on.
const VIEW: Duration = Duration::from_secs(60);
/// Bytes of a batch: past that no further row, which may have 4 KiB, is put into it.
const BATCH_MOST: usize = 32 << 10;
/// A row's bytes beside its bitmap, at the most.
const ROW: usize = 256;

impl Process {
    pub(super) fn tick(&mut self) {
        self.look_at_times();
        let now = self.now.up;
        for tenure in self.tenures.keys().copied().collect::<Vec<_>>() {
            let due = self
                .tenures
                .get(&tenure)
                .is_some_and(|it| it.standing == Standing::Open && now >= it.looked + LOOK);
            if due {
                self.look_at_rows(tenure);
                self.commit(tenure, VIEW);
            }
        }
        let hungry = |(_, it): &(&WebhookId, &Webhook)| it.refused && !it.behind.is_empty();
        let hungry: Vec<WebhookId> = self.webhooks.iter().filter(hungry).map(|(id, _)| id.clone()).collect();
        for id in hungry {
            self.read_on(&id);
        }
    }

    fn look_at_rows(&mut self, tenure: TenureId) {
        let now = self.now.up;
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        held.looked = now;
        let next = held.next;
        let (mut changes, mut bytes) = (Vec::new(), 0);
        let readers = held.worth_a_look();
        for reader in &readers {
            let Some(entry) = held.entries.get_mut(reader) else { continue };
            let position = &mut entry.position;
            let overdue = position.held_since(now).is_some_and(|since| now >= since + PATIENCE);
            let stored = position.stored_from();
            let lives = !position.is_behind() && position.read().is_none();
            if overdue && stored.is_some_and(|from| position.hold().is_some_and(|it| it >= from)) {
                // The row is still there: it stays.
                position.keep_row();
                continue;
            }
            if let (Some(_), true, false) = (stored, lives, overdue) {
                position.close_row(next);
            }
            let replay_is_new = reader.replay.is_some() && stored.is_none();
            let grows = stored.is_some() && position.from() != stored && !lives;
            let grows = grows && now >= position.written() + REFRESH;
            if held.writing.is_some() || bytes >= BATCH_MOST {
                continue;
            }
            if position.can_remove_row() {
                position.removes_row();
                bytes += ROW;
                changes.push(Change::Remove(reader.clone()));
            } else if (overdue || grows || replay_is_new)
                && let Some((from, until)) = position.row()
            {
                position.writes(from, now);
                if position.is_behind() {
                    position.blocks.known_to(next);
                }
                let facts = RowFacts {
                    why: position.why,
                    since: position.since,
                    missed: position.missed,
                    blocks: position.blocks.clone(),
                };
                bytes += ROW + facts.blocks.bytes();
                changes.push(Change::Put(reader.clone(), Row { from, until, facts }));
            }
        }
        if !changes.is_empty() {
            if !holds(Guard::RowBeforeCommit) {
                for change in &changes {
                    if let Change::Put(reader, row) = change
                        && let Some(entry) = held.entries.get_mut(reader)
                    {
                        entry.position.wrote(row.from);
                    }
                }
            }
            held.writing = Some(changes.clone());
            self.out.push(Output::Write { tenure, changes });
        }
        for reader in readers {
            self.book(tenure, &reader);
        }
    }

    pub(super) fn written(&mut self, tenure: TenureId, ours: bool) {
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        let Some(changes) = held.writing.take() else { return };
        if !ours {
            self.out.push(Output::Fenced(tenure));
            self.lost(tenure);
            return;
        }
        for change in changes {
            if let Change::Put(reader, row) = change {
                self.position(tenure, &reader, |position| position.wrote(row.from));
            }
        }
        self.commit(tenure, VIEW);
    }

    /// Commits what is settled or covered; if only the view has gone on, no more often than `view_every`.
    pub(super) fn commit(&mut self, tenure: TenureId, view_every: Duration) {
        let now = self.now.up;
        let Some(held) = self.tenures.get_mut(&tenure) else { return };
        let offset = held.settled();
        let view = held.begun_view(&self.view);
        let later = view != held.committed_view && now >= held.committed_at + view_every;
        if offset <= held.committed && !later {
            return;
        }
        let offset = offset.max(held.committed);
        (held.committed, held.committed_at) = (offset, now);
        held.committed_view = view.clone();
        self.out.push(Output::Commit { tenure, offset, view });
    }
}
