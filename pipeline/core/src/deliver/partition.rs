//! A partition of a log while it is this process's: how far the head has read, who stands where, what holds its commit,
//! and the sweeps that read on for those behind (design §7).

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
    time::Duration,
};

use tributary_schemas::id::WebhookId;

use super::{
    position::Position,
    process::Change,
    record::{LogKind, Reader, TenureId},
    webhook::Place,
};

/// Rows that are looked at at a time.
const LOOKS_MOST: usize = 512;
/// The most sweeps of a partition at a time.
pub(super) const SWEEPS_MOST: usize = 2;

/// Where a control record stands: its partition and offset.
pub type Seen = (i32, i64);

/// How far each partition of `control.webhooks` was read: the next offset.
pub type ViewPosition = BTreeMap<i32, i64>;

/// What becomes of a tenure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The partition is being claimed.
    Claiming,
    /// It is claimed; the view has not read as far as the last owner's had.
    Waiting,
    /// It is read.
    Open,
    /// It goes to another process: what was begun is finished.
    Leaving,
}

/// A position, with what the books say of it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) position: Position,
    /// What it holds, as listed in `holds`.
    hold: Option<i64>,
    /// Whether it is listed in `with_row`.
    has_row: bool,
    /// Where it is listed in its webhook's books.
    pub(super) place: Option<Place>,
    /// The record that made it begin, until the next owner would find it where it stands.
    begun_by: Option<Seen>,
}

/// One pass over a partition from where the oldest stands to the head.
#[derive(Debug)]
pub(super) struct Sweep {
    pub(super) id: u64,
    pub(super) at: i64,
    /// The block of offsets that it was in when it last looked what is worth reading.
    pub(super) block: i64,
    pub(super) riders: BTreeSet<Reader>,
}

/// A partition while it is ours.
#[derive(Debug)]
pub(super) struct Tenure {
    pub(super) id: TenureId,
    pub(super) kind: LogKind,
    pub(super) standing: Standing,
    /// What the head brings next.
    pub(super) next: i64,
    pub(super) committed: i64,
    /// How far the last owner's view had been read; `None` where nothing had been committed.
    pub(super) owned_view: Option<ViewPosition>,
    pub(super) committed_view: ViewPosition,
    pub(super) committed_at: Duration,
    /// How far the view had been read when the partition was given up: who is enabled later begins at the next owner.
    pub(super) left: Option<ViewPosition>,
    pub(super) entries: BTreeMap<Reader, Entry>,
    holds: BTreeSet<(i64, Reader)>,
    /// Those that the next owner would not find where they stand, by the record that made them begin.
    unbegun: BTreeSet<(i32, i64, WebhookId)>,
    /// Those that have a row.
    with_row: BTreeSet<Reader>,
    /// How far those were looked through.
    looked_to: Option<Reader>,
    /// Those that wait for a sweep, by where they read on.
    pub(super) ready: BTreeSet<(i64, Reader)>,
    pub(super) sweeps: Vec<Sweep>,
    /// Changes of rows that are on their way to the store.
    pub(super) writing: Option<Vec<Change>>,
    /// When the rows were last looked through.
    pub(super) looked: Duration,
}

impl Tenure {
    pub(super) fn new(id: TenureId, kind: LogKind) -> Self {
        Self {
            id,
            kind,
            standing: Standing::Claiming,
            next: 0,
            committed: 0,
            owned_view: None,
            committed_view: ViewPosition::new(),
            committed_at: Duration::ZERO,
            left: None,
            entries: BTreeMap::new(),
            holds: BTreeSet::new(),
            unbegun: BTreeSet::new(),
            with_row: BTreeSet::new(),
            looked_to: None,
            ready: BTreeSet::new(),
            sweeps: Vec::new(),
            writing: None,
            looked: Duration::ZERO,
        }
    }

    /// Puts a position in its place, instead of any that is there.
    pub(super) fn put(&mut self, reader: &Reader, position: Position, begun_by: Option<Seen>) {
        let entry = Entry { position, hold: None, has_row: false, place: None, begun_by };
        if let Some((partition, offset)) = begun_by {
            self.unbegun.insert((partition, offset, reader.webhook.clone()));
        }
        if let Some(before) = self.entries.insert(reader.clone(), entry) {
            if let Some(hold) = before.hold {
                self.holds.remove(&(hold, reader.clone()));
            }
            self.with_row.remove(reader);
            if let Some((partition, offset)) = before.begun_by
                && before.begun_by != begun_by
            {
                self.unbegun.remove(&(partition, offset, reader.webhook.clone()));
            }
            if let Some(entry) = self.entries.get_mut(reader) {
                entry.place = before.place;
            }
        }
    }

    /// Brings the partition's books in line with a position; gives where its webhook's books had it, and have it now.
    pub(super) fn booked(&mut self, reader: &Reader) -> (Option<Place>, Option<Place>) {
        let Some(entry) = self.entries.get_mut(reader) else { return (None, None) };
        let position = &entry.position;
        let hold = position.hold();
        if hold != entry.hold {
            if let Some(before) = entry.hold {
                self.holds.remove(&(before, reader.clone()));
            }
            if let Some(now) = hold {
                self.holds.insert((now, reader.clone()));
            }
            entry.hold = hold;
        }
        if position.stored_from().is_some() != entry.has_row {
            entry.has_row = !entry.has_row;
            if entry.has_row {
                self.with_row.insert(reader.clone());
            } else {
                self.with_row.remove(reader);
            }
        }
        if let Some((partition, offset)) = entry.begun_by
            && position.has_begun()
        {
            entry.begun_by = None;
            self.unbegun.remove(&(partition, offset, reader.webhook.clone()));
        }
        let stands = position.is_behind() || position.read().is_some();
        let now = stands.then(|| (position.since, self.id, reader.replay.clone()));
        let before = std::mem::replace(&mut entry.place, now.clone());
        if position.read().is_none() {
            self.unboard(reader);
        }
        let idle = self.entries.get(reader).is_some_and(|it| it.position.is_idle(self.next));
        if idle {
            self.entries.remove(reader);
        }
        (before, now)
    }

    /// It is in no sweep, and waits for none.
    pub(super) fn unboard(&mut self, reader: &Reader) {
        self.ready.retain(|(_, it)| it != reader);
        for sweep in &mut self.sweeps {
            sweep.riders.remove(reader);
        }
    }

    /// The offset that may be committed.
    pub(super) fn settled(&self) -> i64 {
        self.holds.first().map_or(self.next, |(hold, _)| (*hold).min(self.next))
    }

    /// How far the view was read whose webhooks the next owner finds where they stand.
    pub(super) fn begun_view(&self, view: &ViewPosition) -> ViewPosition {
        let mut begun = self.left.as_ref().unwrap_or(view).clone();
        for (partition, offset, _) in &self.unbegun {
            let next = begun.entry(*partition).or_insert(*offset);
            *next = (*next).min(*offset);
        }
        begun
    }

    /// Those whose rows are to be looked at: who holds the commit, and some of those that have one.
    pub(super) fn worth_a_look(&mut self) -> BTreeSet<Reader> {
        let mut readers: BTreeSet<Reader> = self.holds.iter().map(|(_, reader)| reader.clone()).collect();
        readers.extend(self.entries.keys().filter(|it| it.replay.is_some()).cloned());
        let after = self.looked_to.take();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let some: Vec<Reader> =
            self.with_row.range((from, Bound::Unbounded)).take(LOOKS_MOST).cloned().collect();
        if some.len() == LOOKS_MOST {
            self.looked_to = some.last().cloned();
        }
        readers.extend(some);
        readers
    }

    /// Whether any attempt is under way.
    pub(super) fn is_trying(&self) -> bool {
        self.entries.values().any(|entry| entry.position.is_trying())
    }

    /// The offset from which something is to be read, of those who ride or wait, from `at` on.
    pub(super) fn worth_reading(&mut self, sweep: usize, at: i64) -> i64 {
        let next = self.next;
        let Some(sweep) = self.sweeps.get(sweep) else { return at };
        let mut worth = next.max(at);
        let readers = sweep.riders.iter().cloned().collect::<Vec<Reader>>();
        for reader in readers {
            if let Some(entry) = self.entries.get_mut(&reader) {
                let replays = reader.replay.is_some();
                if !replays {
                    entry.position.blocks.known_to(next);
                }
                worth = worth.min(if replays { at } else { entry.position.blocks.next(at) });
            }
            if worth <= at {
                return at;
            }
        }
        let waiting = self.ready.range((at, first_reader())..).next().map(|(read, _)| *read);
        waiting.map_or(worth, |read| worth.min(read))
    }
}

/// Before all others in the order of readers.
fn first_reader() -> Reader {
    let webhook: WebhookId = "-".parse().expect("a dash is an id");
    Reader { webhook, replay: None::<Arc<str>> }
}
