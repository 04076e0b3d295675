//! State as timestamped cells: what a store answers, what is not yet applied, and what a batch is about to write
//! are all the same thing, and of two cells with one key the later timestamp wins (design §6, step 1).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tributary_schemas::{
    codec::{self, Undecodable},
    id::{AccountId, RecordKey},
    observation::DeliveryKey,
    resource::Resource,
    state::{Bucket, Head, Known, RangeRow},
    wal::Mutation,
};

/// Names one cell of unify's state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CellKey {
    /// What is known of a record, in one bucket.
    Record(Bucket, RecordKey),
    /// A range's row.
    Range(Bucket),
    /// How an (account, resource) stands.
    Head(AccountId, Resource),
    /// Whether a provider's delivery has been decided.
    Delivery {
        /// The account.
        account: AccountId,
        /// Its id.
        delivery: DeliveryKey,
    },
    /// Whether the account was deleted.
    Forgotten(AccountId),
}

/// What a cell holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CellValue {
    /// Of a [`CellKey::Record`].
    Record(Known),
    /// Of a [`CellKey::Range`].
    Range(RangeRow),
    /// Of a [`CellKey::Head`].
    Head(Head),
    /// Of a [`CellKey::Delivery`] or [`CellKey::Forgotten`]: it is there.
    Mark,
    /// Of any: it is there, but can't be decoded. Its account is set aside.
    Unreadable,
}

impl CellValue {
    /// Reads what a store holds of a cell. What can't be decoded is a value too: it is its account's trouble alone.
    ///
    /// # Errors
    /// When a later release wrote it: that is nobody's trouble, but must wait for one.
    pub fn read(key: &CellKey, bytes: &[u8]) -> Result<Self, Undecodable> {
        let read = match key {
            CellKey::Record(..) => codec::decode(bytes).map(Self::Record),
            CellKey::Range(_) => codec::decode(bytes).map(Self::Range),
            CellKey::Head(..) => codec::decode(bytes).map(Self::Head),
            CellKey::Delivery { .. } | CellKey::Forgotten(_) => Ok(Self::Mark),
        };
        match read {
            Err(error @ Undecodable::Newer { .. }) => Err(error),
            read => Ok(read.unwrap_or(Self::Unreadable)),
        }
    }
}

/// A cell with the timestamp that it was written with; no value means that it was removed at that time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Which cell.
    pub key: CellKey,
    /// Microseconds, as given out by the WAL.
    pub ts: i64,
    /// What it holds.
    pub value: Option<CellValue>,
}

/// What must be read before an input can be decided.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Want {
    /// One cell.
    Cell(CellKey),
    /// All records of a bucket, and its range row.
    Slice(Bucket),
}

/// A set of cells in which the later timestamp wins.
#[derive(Debug, Clone, Default)]
pub struct Cells {
    records: BTreeMap<(Bucket, RecordKey), Stamped>,
    others: HashMap<CellKey, Stamped>,
    /// Accounts forgotten, and when: older cells of theirs are gone.
    forgotten: HashMap<AccountId, i64>,
    /// Accounts of which a cell can't be decoded.
    unreadable: BTreeSet<AccountId>,
}

#[derive(Debug, Clone)]
struct Stamped {
    ts: i64,
    value: Option<CellValue>,
}

impl Cells {
    /// Takes a cell in, unless a later one is there.
    pub fn absorb(&mut self, cell: Cell) {
        let Cell { key, ts, value } = cell;
        if let CellKey::Forgotten(account) = &key
            && value.is_some()
        {
            let since = self.forgotten.entry(account.clone()).or_insert(ts);
            *since = ts.max(*since);
        }
        if value == Some(CellValue::Unreadable) {
            self.unreadable.insert(key.account().clone());
        }
        let stamped = Stamped { ts, value };
        let later = |held: &Stamped| held.ts > ts;
        match key {
            CellKey::Record(bucket, record) => {
                let slot = (bucket, record);
                if !self.records.get(&slot).is_some_and(later) {
                    self.records.insert(slot, stamped);
                }
            }
            key @ (CellKey::Range(_)
            | CellKey::Head(..)
            | CellKey::Delivery { .. }
            | CellKey::Forgotten(_)) => {
                if !self.others.get(&key).is_some_and(later) {
                    self.others.insert(key, stamped);
                }
            }
        }
    }

    /// Takes all cells of `other` in.
    pub fn absorb_all(&mut self, other: &Cells) {
        other.cells().for_each(|cell| self.absorb(cell));
    }

    /// When a cell was written or removed, if that is known here; the forgetting of its account counts.
    pub fn stamp(&self, key: &CellKey) -> Option<i64> {
        let forgotten = self.forgotten.get(key.account()).copied();
        self.stamped(key).map(|stamped| stamped.ts).max(forgotten)
    }

    /// Copies what is wanted of these into `to`, with what was removed.
    pub fn pick<'a>(&self, wants: impl IntoIterator<Item = &'a Want>, to: &mut Cells) {
        let mut copy = |key: CellKey, stamped: &Stamped| {
            to.absorb(Cell { key, ts: stamped.ts, value: stamped.value.clone() });
        };
        for want in wants {
            let one = match want {
                Want::Cell(key) => key.clone(),
                Want::Slice(bucket) => {
                    for ((bucket, record), stamped) in self.records.range(all_of(bucket)) {
                        copy(CellKey::Record(bucket.clone(), *record), stamped);
                    }
                    CellKey::Range(bucket.clone())
                }
            };
            if let Some(stamped) = self.stamped(&one) {
                copy(one, stamped);
            }
        }
    }

    /// Takes in what a mutation writes at `ts`.
    pub fn mutate(&mut self, ts: i64, mutation: &Mutation) {
        self.absorb(written(ts, mutation));
    }

    /// What a cell holds, and since when; `None` if it is not known here, was removed, or its account forgotten.
    pub fn get(&self, key: &CellKey) -> Option<&CellValue> {
        let stamped = self.stamped(key)?;
        self.visible(key.account(), stamped)
    }

    /// What is known of a record in a bucket.
    pub fn record(&self, bucket: &Bucket, key: RecordKey) -> Option<&Known> {
        match self.get(&CellKey::Record(bucket.clone(), key))? {
            CellValue::Record(known) => Some(known),
            CellValue::Range(_) | CellValue::Head(_) | CellValue::Mark | CellValue::Unreadable => None,
        }
    }

    /// All known records of a bucket, by key.
    pub fn slice<'a>(&'a self, bucket: &Bucket) -> impl Iterator<Item = (RecordKey, &'a Known)> + use<'a> {
        self.records.range(all_of(bucket)).filter_map(|((bucket, key), stamped)| {
            match self.visible(&bucket.account, stamped)? {
                CellValue::Record(known) => Some((*key, known)),
                CellValue::Range(_) | CellValue::Head(_) | CellValue::Mark | CellValue::Unreadable => None,
            }
        })
    }

    /// A range's row.
    pub fn range(&self, bucket: &Bucket) -> Option<&RangeRow> {
        match self.get(&CellKey::Range(bucket.clone()))? {
            CellValue::Range(row) => Some(row),
            CellValue::Record(_) | CellValue::Head(_) | CellValue::Mark | CellValue::Unreadable => None,
        }
    }

    /// How an (account, resource) stands.
    pub fn head(&self, account: &AccountId, resource: Resource) -> Option<Head> {
        match self.get(&CellKey::Head(account.clone(), resource))? {
            CellValue::Head(head) => Some(*head),
            CellValue::Record(_) | CellValue::Range(_) | CellValue::Mark | CellValue::Unreadable => None,
        }
    }

    /// Whether a cell of an account that is held here can't be decoded.
    pub fn is_unreadable(&self, account: &AccountId) -> bool {
        self.unreadable.contains(account)
    }

    /// Whether a mark (a delivery, a forgotten account) is there.
    pub fn marked(&self, key: &CellKey) -> bool {
        self.get(key).is_some()
    }

    /// Drops a cell, if it is the very one that is held: the store has it now.
    pub fn forget(&mut self, cell: &Cell) {
        let held = |stamped: Option<&Stamped>| stamped.is_some_and(|stamped| stamped.ts == cell.ts);
        match &cell.key {
            CellKey::Record(bucket, record) => {
                let slot = (bucket.clone(), *record);
                if held(self.records.get(&slot)) {
                    self.records.remove(&slot);
                }
            }
            key @ (CellKey::Range(_)
            | CellKey::Head(..)
            | CellKey::Delivery { .. }
            | CellKey::Forgotten(_)) => {
                if held(self.others.get(key)) {
                    self.others.remove(key);
                }
            }
        }
        if let CellKey::Forgotten(account) = &cell.key
            && self.forgotten.get(account) == Some(&cell.ts)
        {
            self.forgotten.remove(account);
        }
    }

    /// Every cell, with what was removed.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        let records = self.records.iter().map(|((bucket, key), stamped)| Cell {
            key: CellKey::Record(bucket.clone(), *key),
            ts: stamped.ts,
            value: stamped.value.clone(),
        });
        let others = self.others.iter().map(|(key, stamped)| Cell {
            key: key.clone(),
            ts: stamped.ts,
            value: stamped.value.clone(),
        });
        records.chain(others)
    }

    /// How many cells are held.
    pub fn len(&self) -> usize {
        self.records.len() + self.others.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn stamped(&self, key: &CellKey) -> Option<&Stamped> {
        match key {
            CellKey::Record(bucket, record) => self.records.get(&(bucket.clone(), *record)),
            CellKey::Range(_) | CellKey::Head(..) | CellKey::Delivery { .. } | CellKey::Forgotten(_) => {
                self.others.get(key)
            }
        }
    }

    fn visible<'a>(&self, account: &AccountId, stamped: &'a Stamped) -> Option<&'a CellValue> {
        let forgotten = self.forgotten.get(account).is_some_and(|since| stamped.ts < *since);
        if forgotten { None } else { stamped.value.as_ref() }
    }
}

impl CellKey {
    /// Whose cell it is.
    pub fn account(&self) -> &AccountId {
        match self {
            Self::Record(bucket, _) | Self::Range(bucket) => &bucket.account,
            Self::Head(account, _) | Self::Delivery { account, .. } | Self::Forgotten(account) => account,
        }
    }
}

/// The keys of a bucket's records.
fn all_of(bucket: &Bucket) -> std::ops::RangeInclusive<(Bucket, RecordKey)> {
    (bucket.clone(), RecordKey([0; 16]))..=(bucket.clone(), RecordKey([0xff; 16]))
}

/// The cell that a mutation writes at `ts`.
pub fn written(ts: i64, mutation: &Mutation) -> Cell {
    let (key, value) = match mutation {
        Mutation::Record { bucket, key, known } => {
            (CellKey::Record(bucket.clone(), *key), known.clone().map(CellValue::Record))
        }
        Mutation::Range { bucket, row } => {
            (CellKey::Range(bucket.clone()), row.clone().map(CellValue::Range))
        }
        Mutation::Head { account, resource, head } => {
            (CellKey::Head(account.clone(), *resource), Some(CellValue::Head(*head)))
        }
        Mutation::Delivery { account, delivery } => {
            let (account, delivery) = (account.clone(), delivery.clone());
            (CellKey::Delivery { account, delivery }, Some(CellValue::Mark))
        }
        Mutation::Forget { account, .. } => (CellKey::Forgotten(account.clone()), Some(CellValue::Mark)),
    };
    Cell { key, ts, value }
}
