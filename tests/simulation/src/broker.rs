//! The broker: logs with a high watermark and a last stable offset, a transaction coordinator, a group coordinator.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tributary_core::unify::decide::Input;
use tributary_schemas::{
    event::UnifiedEvent,
    wal::{CommitMetadata, Twin, WalRecord},
};

use crate::world::{MILLI, PARTITIONS, SECOND, World, note};

/// How long the coordinator lets a transaction be open.
const TRANSACTION_LIMIT: i64 = 8 * SECOND;
/// How long a member may be silent.
pub(crate) const SESSION: i64 = 12 * SECOND;

pub(crate) type TransactionId = u64;

/// A partition of a topic that is written in transactions.
pub(crate) struct Log<T> {
    pub(crate) entries: Vec<(TransactionId, Option<T>)>,
    /// Transactions of which the marker is there: whether they were committed.
    decided: HashMap<TransactionId, bool>,
    pub(crate) begins: i64,
    /// When something was last appended.
    pub(crate) appended_at: i64,
}

impl<T> Log<T> {
    fn new() -> Self {
        Self { entries: Vec::new(), decided: HashMap::new(), begins: 0, appended_at: 0 }
    }

    pub(crate) fn end(&self) -> i64 {
        self.entries.len() as i64
    }

    /// The last stable offset.
    pub(crate) fn stable(&self) -> i64 {
        let open = |(id, _): &(TransactionId, Option<T>)| !self.decided.contains_key(id);
        self.entries.iter().position(open).map_or(self.end(), |offset| offset as i64)
    }

    /// What a `read_committed` reader sees, with offsets.
    pub(crate) fn committed(&self) -> impl Iterator<Item = (i64, &T)> {
        let stable = self.stable() as usize;
        self.entries[..stable].iter().enumerate().filter_map(|(offset, (id, record))| {
            let record = record.as_ref().filter(|_| self.decided.get(id) == Some(&true))?;
            Some((offset as i64, record))
        })
    }

    fn decide(&mut self, id: TransactionId, committed: bool) {
        self.decided.insert(id, committed);
        self.entries.push((id, None));
    }
}

/// What a transaction writes to one partition.
pub(crate) struct Writes {
    pub(crate) partition: i32,
    pub(crate) wal: Vec<WalRecord>,
    pub(crate) events: Vec<UnifiedEvent>,
}

/// A producer's name: its process and lane.
pub(crate) type Name = (usize, usize);

#[derive(Default)]
struct Coordinated {
    epoch: u64,
    open: Option<Open>,
    /// Markers that are still to be written.
    markers: usize,
}

struct Open {
    id: TransactionId,
    partitions: BTreeSet<i32>,
    offsets: bool,
}

/// An offset of a twin, with what is kept beside it.
pub(crate) type Committed = (i64, CommitMetadata);

struct Pending {
    id: TransactionId,
    offsets: Vec<(Twin, i32, Committed)>,
}

pub(crate) struct Broker {
    pub(crate) native: Vec<Vec<Input>>,
    pub(crate) snapshots: Vec<Vec<Input>>,
    pub(crate) wal: Vec<Log<WalRecord>>,
    pub(crate) events: Vec<Log<UnifiedEvent>>,
    producers: BTreeMap<Name, Coordinated>,
    transactions: TransactionId,
    pub(crate) offsets: BTreeMap<(Twin, i32), Committed>,
    pending: Vec<Pending>,
    pub(crate) group: Group,
    /// Away until then.
    pub(crate) away: i64,
}

/// The group: who is a member, and who has which partition.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) generation: u32,
    members: BTreeMap<usize, Member>,
    owners: BTreeMap<i32, usize>,
    target: BTreeMap<i32, usize>,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    token: u64,
    heard: i64,
}

/// Who a member says it is: its name, and the token of its joining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) process: usize,
    pub(crate) token: u64,
    pub(crate) generation: u32,
}

/// What a heartbeat is answered with.
pub(crate) struct Assignment {
    pub(crate) generation: u32,
    /// Partitions that are the member's now.
    pub(crate) owned: BTreeSet<i32>,
    /// Those of them that it must give away.
    pub(crate) leaving: BTreeSet<i32>,
}

impl Broker {
    pub(crate) fn new() -> Self {
        let each = || 0..PARTITIONS;
        Self {
            native: each().map(|_| Vec::new()).collect(),
            snapshots: each().map(|_| Vec::new()).collect(),
            wal: each().map(|_| Log::new()).collect(),
            events: each().map(|_| Log::new()).collect(),
            producers: BTreeMap::new(),
            transactions: 0,
            offsets: BTreeMap::new(),
            pending: Vec::new(),
            group: Group::default(),
            away: 0,
        }
    }

    pub(crate) fn twin(&self, twin: Twin, partition: i32) -> &Vec<Input> {
        match twin {
            Twin::Native => &self.native[partition as usize],
            Twin::Snapshots => &self.snapshots[partition as usize],
        }
    }

    /// What is committed of a twin; `None` while a transaction is open on it, if that matters to who asks.
    pub(crate) fn committed(&self, twin: Twin, partition: i32, stable: bool) -> Option<Option<Committed>> {
        let of = |(other, number, _): &(Twin, i32, Committed)| *other == twin && *number == partition;
        let open = self.pending.iter().any(|pending| pending.offsets.iter().any(of));
        if open && stable { None } else { Some(self.offsets.get(&(twin, partition)).copied()) }
    }

    /// Begins a transaction; `None` while the markers of the last one are on their way, `Some(None)` when fenced.
    pub(crate) fn begin(&mut self, name: Name, epoch: u64) -> Option<Option<TransactionId>> {
        let coordinated = self.producers.entry(name).or_default();
        if coordinated.epoch != epoch {
            return Some(None);
        }
        if coordinated.markers > 0 || coordinated.open.is_some() {
            return None;
        }
        self.transactions += 1;
        let open = Open { id: self.transactions, partitions: BTreeSet::new(), offsets: false };
        coordinated.open = Some(open);
        Some(Some(self.transactions))
    }

    /// Whether a transaction is open under this epoch.
    fn open(&mut self, name: Name, epoch: u64, id: TransactionId) -> Option<&mut Open> {
        let coordinated = self.producers.get_mut(&name).filter(|producer| producer.epoch == epoch)?;
        coordinated.open.as_mut().filter(|open| open.id == id)
    }

    /// Appends to the logs; gives the offsets of the WAL records, or nothing when fenced.
    pub(crate) fn append(
        &mut self,
        name: Name,
        epoch: u64,
        id: TransactionId,
        writes: Writes,
    ) -> Option<Vec<i64>> {
        self.open(name, epoch, id)?.partitions.insert(writes.partition);
        let events = &mut self.events[writes.partition as usize];
        events.entries.extend(writes.events.into_iter().map(|event| (id, Some(event))));
        let wal = &mut self.wal[writes.partition as usize];
        let from = wal.end();
        wal.entries.extend(writes.wal.into_iter().map(|record| (id, Some(record))));
        Some((from..wal.end()).collect())
    }

    /// Takes a transaction's offsets, if the member is one: its generation is checked, its partitions are not.
    pub(crate) fn take_offsets(
        &mut self,
        name: Name,
        epoch: u64,
        id: TransactionId,
        member: Membership,
        offsets: Vec<(Twin, i32, Committed)>,
    ) -> bool {
        if !self.group.knows(member) || self.group.generation != member.generation {
            return false;
        }
        let Some(open) = self.open(name, epoch, id) else { return false };
        open.offsets = true;
        self.pending.push(Pending { id, offsets });
        true
    }

    fn write_marker(&mut self, name: Name, id: TransactionId, partition: Option<i32>, committed: bool) {
        match partition {
            Some(partition) => {
                self.wal[partition as usize].decide(id, committed);
                self.events[partition as usize].decide(id, committed);
            }
            None => {
                let ours = |pending: &mut Pending| pending.id == id;
                for pending in self.pending.extract_if(.., ours) {
                    if committed {
                        let offsets = pending.offsets.into_iter();
                        self.offsets.extend(offsets.map(|(twin, partition, it)| ((twin, partition), it)));
                    }
                }
            }
        }
        if let Some(coordinated) = self.producers.get_mut(&name) {
            coordinated.markers -= 1;
        }
    }
}

impl World {
    /// Something happens at the broker: when it is away, once it is back.
    pub(crate) fn at_broker(&mut self, span: i64, job: impl FnOnce(&mut World) + 'static) {
        self.after(span, move |world| {
            let wait = world.broker.away - world.now;
            if wait > 0 { world.at_broker(wait, job) } else { job(world) }
        });
    }

    /// The coordinator ends a transaction that is open for too long, and fences its producer.
    pub(crate) fn limit_transaction(&mut self, name: Name, id: TransactionId) {
        self.at_broker(TRANSACTION_LIMIT, move |world| {
            let producer = world.broker.producers.entry(name).or_default();
            if producer.open.as_ref().is_some_and(|open| open.id == id) {
                producer.epoch += 1;
                note!(world, "coordinator: transaction {id} of {name:?} took too long");
                world.end_transaction(name, false);
            }
        });
    }

    /// Ends the transaction that is open under this epoch, whichever it is: the request names none.
    pub(crate) fn end(&mut self, name: Name, epoch: u64, commit: bool) -> bool {
        let producer = self.broker.producers.entry(name).or_default();
        if producer.epoch != epoch || producer.open.is_none() {
            return false;
        }
        self.end_transaction(name, commit);
        true
    }

    /// A producer of this name begins anew: it fences its predecessor and ends its transaction. `None`: not yet.
    pub(crate) fn init(&mut self, name: Name) -> Option<u64> {
        let producer = self.broker.producers.entry(name).or_default();
        if producer.open.is_some() {
            producer.epoch += 1;
            self.end_transaction(name, false);
        }
        let producer = self.broker.producers.entry(name).or_default();
        if producer.markers > 0 {
            return None;
        }
        producer.epoch += 1;
        Some(producer.epoch)
    }

    /// Decides; the markers reach each partition at a time of its own.
    fn end_transaction(&mut self, name: Name, commit: bool) {
        let Some(producer) = self.broker.producers.get_mut(&name) else { return };
        let Some(open) = producer.open.take() else { return };
        note!(
            self,
            "coordinator: transaction {} of {name:?} {}",
            open.id,
            if commit { "commits" } else { "aborts" }
        );
        let mut places: Vec<Option<i32>> = open.partitions.iter().copied().map(Some).collect();
        if open.offsets {
            places.push(None);
        }
        producer.markers = places.len();
        for place in places {
            let most = if self.stormy() && self.chance.permille(100) { 15 * SECOND } else { 400 * MILLI };
            let span = self.chance.span(most);
            self.at_broker(span, move |world| world.broker.write_marker(name, open.id, place, commit));
        }
    }

    /// The group notices who has been silent.
    pub(crate) fn watch_sessions(&mut self) {
        let now = self.now;
        let gone = |member: &Member| now - member.heard > SESSION;
        let group = &mut self.broker.group;
        let expelled: Vec<usize> =
            group.members.iter().filter(|(_, member)| gone(member)).map(|(name, _)| *name).collect();
        for process in &expelled {
            group.members.remove(process);
            group.owners.retain(|_, owner| owner != process);
        }
        if !expelled.is_empty() {
            group.rebalance();
            note!(self, "group: {expelled:?} expelled, generation {}", self.broker.group.generation);
        }
        self.at_broker(SECOND, World::watch_sessions);
    }
}

impl Group {
    fn knows(&self, member: Membership) -> bool {
        self.members.get(&member.process).is_some_and(|known| known.token == member.token)
    }

    /// A process joins. A static member that comes back takes its predecessor's place, and fences it.
    pub(crate) fn join(&mut self, process: usize, token: u64, now: i64) {
        let came_back = self.members.insert(process, Member { token, heard: now }).is_some();
        if !came_back {
            self.rebalance();
        }
    }

    /// A heartbeat; nothing when the member is not known (any more).
    pub(crate) fn heartbeat(&mut self, process: usize, token: u64, now: i64) -> Option<Assignment> {
        let member = self.members.get_mut(&process).filter(|member| member.token == token)?;
        member.heard = now;
        let owned: BTreeSet<i32> = self
            .owners
            .iter()
            .filter(|(_, owner)| **owner == process)
            .map(|(partition, _)| *partition)
            .collect();
        let stays = |partition: &&i32| self.target.get(*partition) == Some(&process);
        let leaving = owned.iter().filter(|partition| !stays(partition)).copied().collect();
        Some(Assignment { generation: self.generation, owned, leaving })
    }

    /// A member has let partitions go.
    pub(crate) fn released(&mut self, process: usize, token: u64, partitions: &BTreeSet<i32>) {
        if self.members.get(&process).is_some_and(|member| member.token == token) {
            self.owners.retain(|partition, owner| *owner != process || !partitions.contains(partition));
            self.rebalance();
        }
    }

    /// Spreads the partitions, moving as few as it takes; what is free has its new owner at once, what is not must be
    /// let go first.
    fn rebalance(&mut self) {
        self.generation += 1;
        let members: Vec<usize> = self.members.keys().copied().collect();
        self.target.clear();
        if members.is_empty() {
            return;
        }
        let most = (PARTITIONS as usize).div_ceil(members.len());
        let mut loads: BTreeMap<usize, usize> = members.iter().map(|member| (*member, 0)).collect();
        for (partition, owner) in &self.owners {
            if let Some(load) = loads.get_mut(owner).filter(|load| **load < most) {
                *load += 1;
                self.target.insert(*partition, *owner);
            }
        }
        for partition in 0..PARTITIONS {
            if !self.target.contains_key(&partition)
                && let Some((member, load)) = loads.iter_mut().min_by_key(|(_, load)| **load)
            {
                *load += 1;
                self.target.insert(partition, *member);
            }
            if let Some(member) = self.target.get(&partition) {
                self.owners.entry(partition).or_insert(*member);
            }
        }
    }
}
