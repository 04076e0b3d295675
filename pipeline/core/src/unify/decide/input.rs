//! An input message, and what must be read before it can be decided.

use std::{collections::BTreeSet, time::Duration};

use tributary_schemas::{
    id::{RecordKey, RemoteId},
    observation::{DeliveryId, RangeListing, Snapshot, Source},
    resource::{Action, Mode, Resource},
    time::Timestamp,
};

use crate::{
    cells::{CellKey, Cells, Want},
    guard::{Guard, holds},
    range::{Ground, overlapping},
};

/// One input message, decoded; native bodies are mapped by their connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A message of `poll.snapshots`.
    Snapshot(Snapshot),
    /// A message of `ingest.native`.
    Native(NativeInput),
}

/// A provider's request: one delivery, of one or several changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeInput {
    /// Whose it is.
    pub source: Source,
    /// When we acknowledged it.
    pub received_at: Timestamp,
    /// How its events count: manual or automatic.
    pub mode: Mode,
    /// How long after a deletion another event of the record may still be one that the deletion has overtaken.
    pub settle: Duration,
    /// The project's prefix of `record_id`.
    pub id_prefix: String,
    /// Makes the same delivery silent the second time.
    pub delivery: DeliveryId,
    /// What it tells, in its order.
    pub changes: Vec<NativeChange>,
}

/// One change that a provider's request tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeChange {
    /// What kind of record.
    pub resource: Resource,
    /// What happened to it.
    pub action: Action,
    /// The provider's name for it.
    pub remote_id: RemoteId,
    /// The name of the provider's key field, for `record_id`: `id`.
    pub key_name: String,
    /// When it happened by the provider's clock, where the request says so.
    pub occurred_at: Option<Timestamp>,
    /// This record's part of the request as JSON text: `{"headers":{…},"body":…}`.
    pub raw_event: Option<String>,
    /// What of it maps to the unified model, as JSON text.
    pub event_data: Option<String>,
    /// Its place in the request's body.
    pub index: u32,
}

impl Input {
    /// A message of `poll.snapshots` that the broker appended then, where it says so. Its run began no later than as long
    /// before as it had lasted, whatever the poller's wall clock says: one that is ahead would have it speak of what was
    /// learnt after it.
    pub fn of_poll(mut snapshot: Snapshot, appended_at: Option<Timestamp>) -> Self {
        if let (Some(run), Some(appended_at)) = (snapshot.run_mut(), appended_at)
            && holds(Guard::RunNotAhead)
        {
            run.begun_at = run.begun_at.min(appended_at.minus(run.lasted));
        }
        Self::Snapshot(snapshot)
    }

    /// Whose records it speaks of.
    pub fn source(&self) -> &Source {
        match self {
            Self::Snapshot(snapshot) => snapshot.source(),
            Self::Native(native) => &native.source,
        }
    }

    /// The kinds of records it speaks of.
    pub fn resources(&self) -> BTreeSet<Resource> {
        match self {
            Self::Snapshot(Snapshot::Summary(summary)) => [summary.run.resource].into(),
            Self::Snapshot(Snapshot::Range(listing)) => [listing.run.resource].into(),
            Self::Snapshot(Snapshot::Delta(page)) => [page.run.resource].into(),
            // Wherever it has records.
            Self::Snapshot(Snapshot::Forget(_)) => {
                Resource::ALL.into_iter().filter(|resource| *resource != Resource::Account).collect()
            }
            Self::Native(native) => native.resources(),
        }
    }

    /// The records that it names.
    pub(super) fn remote_ids(&self) -> impl Iterator<Item = &RemoteId> {
        let (listed, deleted, changes) = match self {
            Self::Snapshot(Snapshot::Summary(_) | Snapshot::Forget(_)) => (&[][..], &[][..], &[][..]),
            Self::Snapshot(Snapshot::Range(listing)) => (&listing.records[..], &[][..], &[][..]),
            Self::Snapshot(Snapshot::Delta(page)) => (&page.changed[..], &page.deleted[..], &[][..]),
            Self::Native(native) => (&[][..], &[][..], &native.changes[..]),
        };
        let listed = listed.iter().map(|listed| &listed.remote_id);
        let deleted = deleted.iter().map(|tombstone| &tombstone.remote_id);
        listed.chain(deleted).chain(changes.iter().map(|change| &change.remote_id))
    }

    /// What must be read first: whether the account is forgotten, how its resources stand, whether the delivery was decided.
    pub fn first_wants(&self) -> Vec<Want> {
        let account = &self.source().account;
        let heads = self.resources().into_iter().map(|resource| CellKey::Head(account.clone(), resource));
        let mark = self.delivery();
        std::iter::once(CellKey::Forgotten(account.clone()))
            .chain(heads)
            .chain(mark)
            .map(Want::Cell)
            .collect()
    }

    /// What must be read then, when what was wanted first is known: records, range rows, slices.
    pub fn then_wants(&self, known: &Cells) -> Vec<Want> {
        if known.marked(&CellKey::Forgotten(self.source().account.clone())) {
            return Vec::new();
        }
        match self {
            Self::Snapshot(Snapshot::Summary(_) | Snapshot::Forget(_)) => Vec::new(),
            Self::Snapshot(Snapshot::Range(listing)) => slices(listing, known),
            Self::Snapshot(Snapshot::Delta(page)) => {
                let run = &page.run;
                let ground = Ground::of(known, &run.source.account, run.resource);
                let changed = page.changed.iter().map(|listed| &listed.remote_id);
                let deleted = page.deleted.iter().map(|tombstone| &tombstone.remote_id);
                let keys: BTreeSet<_> = changed.chain(deleted).map(RemoteId::key).collect();
                keys.into_iter()
                    .flat_map(|key| points(&ground, key))
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect()
            }
            Self::Native(native) if native.decided(known) => Vec::new(),
            Self::Native(native) => {
                let of = |change: &NativeChange| {
                    let ground = Ground::of(known, &native.source.account, change.resource);
                    points(&ground, change.remote_id.key())
                };
                native.changes.iter().flat_map(of).collect::<BTreeSet<_>>().into_iter().collect()
            }
        }
    }

    fn delivery(&self) -> Option<CellKey> {
        match self {
            Self::Snapshot(_) => None,
            Self::Native(native) => native.delivery(),
        }
    }
}

impl NativeInput {
    /// The kinds of records it speaks of.
    pub fn resources(&self) -> BTreeSet<Resource> {
        self.changes.iter().map(|change| change.resource).collect()
    }

    /// Whether the same delivery has been decided before.
    pub fn decided(&self, known: &Cells) -> bool {
        self.delivery().is_some_and(|key| known.marked(&key))
    }

    fn delivery(&self) -> Option<CellKey> {
        let account = self.source.account.clone();
        self.delivery.key().map(|delivery| CellKey::Delivery { account, delivery })
    }
}

/// A record where it can be, with the rows of its ranges.
fn points(ground: &Ground, key: RecordKey) -> Vec<Want> {
    let cells = |bucket: tributary_schemas::state::Bucket| {
        [CellKey::Range(bucket.clone()), CellKey::Record(bucket, key)].map(Want::Cell)
    };
    ground.places(key).flat_map(cells).collect()
}

/// The listing's own slice, and those of the cuts that stand, as the listing may move them. Its summary may be in the
/// same batch, and not decided yet.
fn slices(listing: &RangeListing, known: &Cells) -> Vec<Want> {
    let run = &listing.run;
    let ground = Ground::of(known, &run.source.account, run.resource);
    let cuts = match known.head(&run.source.account, run.resource) {
        Some(head) => BTreeSet::from_iter([run.bits, head.bits].into_iter().chain(head.bits_before)),
        None => BTreeSet::from([run.bits]),
    };
    let of = |cut| overlapping(cut, run.bits, listing.range).map(move |range| (cut, range));
    cuts.into_iter().flat_map(of).map(|(cut, range)| Want::Slice(ground.bucket(cut, range))).collect()
}
