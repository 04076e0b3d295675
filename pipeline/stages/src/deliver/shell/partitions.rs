//! Partitions come and go.

use super::{super::committed, *};
use crate::kafka::Committed;

impl Shell {
    pub(super) fn group(&mut self, event: MemberEvent) {
        match event {
            MemberEvent::Assigned(assigned) => {
                tracing::info!(partitions = assigned.len(), "assigned");
                assigned.into_iter().for_each(|at| self.assign(at));
            }
            MemberEvent::Revoked(revoked, revocation) => self.revoked(&revoked, revocation),
            MemberEvent::Record(weighed) => self.record(weighed.open()),
            MemberEvent::Gone(at, to) => {
                if let Some(Some(tenure)) = self.ours.get(&at) {
                    let tenure = *tenure;
                    self.feed(Input::Expired { tenure, sweep: None, to });
                }
            }
        }
    }

    /// A partition is ours: its tenure begins.
    pub(super) fn assign(&mut self, at: Assignment) {
        let Some(kind) = self.logs.kind(&at.topic) else { return };
        self.last_tenure += 1;
        let tenure = TenureId(self.last_tenure);
        let owner = format!("{}-{}", self.name, self.last_tenure);
        let held = Tenure::new(at.clone(), kind, owner, self.over.child_token());
        self.ours.insert(at, Some(tenure));
        self.tenures.insert(tenure, held);
        self.feed(Input::Assigned { tenure, kind });
    }

    /// The partition's rows become ours, and are read after that; then where its reading was left.
    pub(super) fn claim(&mut self, tenure: TenureId) {
        let Some(held) = self.tenures.get(&tenure) else { return };
        let (backlogs, claims, at, owner) =
            (self.backlogs.clone(), self.claims.clone(), held.partition(), held.owner.clone());
        let (place, committed, beginning) =
            (held.at.clone(), self.member.committed(), self.member.beginning());
        let read = Arc::new(move || -> anyhow::Result<Committed> {
            match committed(&place)? {
                Some(committed) => Ok(committed),
                None => Ok(Committed { next: beginning(&place)?, metadata: String::new() }),
            }
        });
        self.spawn_in(held.gone.clone(), async move {
            let _turn = claims.acquire().await;
            until_done("claim", || backlogs.claim(&at, &owner)).await;
            let rows = until_done("backlogs", || backlogs.backlogs(&at)).await;
            let read = until_done("committed", || {
                let read = read.clone();
                async move { tokio::task::spawn_blocking(move || read()).await? }
            });
            let Committed { next, metadata } = read.await;
            Said::Owned { tenure, next, view: committed::from_text(&metadata), rows }
        });
    }

    pub(super) fn owned(
        &mut self,
        tenure: TenureId,
        next: i64,
        view: Option<ViewPosition>,
        rows: Vec<Backlog>,
    ) {
        if let Some(held) = self.tenures.get_mut(&tenure) {
            held.given = next;
            let row = |it: Backlog| {
                self.subscribers.belongs(&it.reader.webhook, &it.project);
                (it.reader, it.row)
            };
            let rows = rows.into_iter().map(row).collect();
            self.feed(Input::Owned { tenure, next, view, rows });
        }
    }

    /// Partitions go: what is under way of them may end, all else goes on.
    fn revoked(&mut self, revoked: &[Assignment], revocation: Revocation) {
        tracing::info!(partitions = revoked.len(), "revoked");
        let tenures: HashSet<TenureId> =
            revoked.iter().filter_map(|at| self.ours.remove(at).flatten()).collect();
        let until = Instant::now() + HAND_OVER;
        self.hand_overs.push(HandOver { tenures: tenures.clone(), until, _revocation: revocation });
        for tenure in tenures {
            self.feed(Input::Leave(tenure));
        }
        self.hand_overs.retain(|it| !it.tenures.is_empty());
    }

    /// Nothing of a partition is under way any more: it goes, with its offset.
    pub(super) fn released(&mut self, tenure: TenureId) {
        self.commit();
        self.drop_tenure(tenure);
    }

    /// Whose time is over goes as it is: what is under way is cut off, and is the next owner's.
    pub(super) fn hand_over_late(&mut self) {
        let now = Instant::now();
        let late = self.hand_overs.iter().filter(|it| now >= it.until);
        for tenure in late.flat_map(|it| it.tenures.iter().copied()).collect::<Vec<_>>() {
            self.lose(tenure);
        }
    }

    pub(super) fn lose(&mut self, tenure: TenureId) {
        self.feed(Input::Lost(tenure));
        self.commit();
        self.drop_tenure(tenure);
    }

    /// Another owns the partition's rows. If the group still says that it is ours, that one has lost it.
    pub(super) fn fenced(&mut self, tenure: TenureId) {
        let Some(held) = self.tenures.get(&tenure) else { return };
        tracing::warn!(topic = &*held.at.topic, partition = held.at.partition, "its rows are another's");
        ::metrics::counter!(metrics::FENCED).increment(1);
        let at = held.at.clone();
        self.drop_tenure(tenure);
        self.reclaim(at);
    }

    /// A partition that the group still says is ours is opened anew, a second later.
    pub(super) fn reclaim(&mut self, at: Assignment) {
        if let Some(ours) = self.ours.get_mut(&at) {
            *ours = None;
            self.member.stop(at.clone());
            self.spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Said::Reclaim(at)
            });
        }
    }

    fn drop_tenure(&mut self, tenure: TenureId) {
        self.uncommitted.remove(&tenure);
        self.sweeps.retain(|_, it| it.tenure != tenure);
        if let Some(held) = self.tenures.remove(&tenure) {
            held.gone.cancel();
        }
        for hand_over in &mut self.hand_overs {
            hand_over.tenures.remove(&tenure);
        }
        self.hand_overs.retain(|it| !it.tenures.is_empty());
    }

    pub(super) fn leave_all(&mut self) {
        tracing::info!("what is under way is finished");
        for tenure in self.tenures.keys().copied().collect::<Vec<_>>() {
            self.feed(Input::Leave(tenure));
        }
    }

    /// What is to be committed.
    pub(super) fn commits(&mut self) -> Vec<(Assignment, Committed)> {
        let tenures = std::mem::take(&mut self.uncommitted);
        tenures.iter().filter_map(|it| self.tenures.get_mut(it)?.commit()).collect()
    }

    pub(super) fn commit(&mut self) {
        let commits = self.commits();
        if let Err(error) = self.member.commit(&commits) {
            tracing::warn!(error = format!("{error:#}"), "offsets are committed with the next");
        }
    }
}
