//! The records that a listing has named, kept in some 60 bytes each beside their remote ids: a million of them stay below
//! 120 MB.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use tributary_schemas::{
    id::{RecordHash, RecordKey, RemoteId},
    observation::{Content, Listed},
};

/// Entries of a chunk: what grows by chunks never has to be copied to grow.
const CHUNK: usize = 4_096;
/// Bytes of a block of remote ids. A longer one has a block of its own.
const BLOCK: usize = 1 << 16;

/// Records by key, each once: the later wins.
#[derive(Debug, Default)]
pub(super) struct Records {
    entries: Vec<Vec<Entry>>,
    places: HashTable<u32>,
    hasher: RandomState,
    ids: Vec<Vec<u8>>,
    len: usize,
    id_bytes: u64,
}

/// Where the remote id of a record is, and what was read of it.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: RecordKey,
    hash: [u8; 16],
    block: u32,
    len: u32,
    start: u16,
    read: bool,
}

impl Entry {
    fn set(&mut self, content: Content) {
        (self.read, self.hash) = match content {
            Content::Hash(hash) => (true, hash.0),
            Content::Unread => (false, [0; 16]),
        };
    }

    const fn content(&self) -> Content {
        if self.read { Content::Hash(RecordHash(self.hash)) } else { Content::Unread }
    }
}

impl Records {
    /// Says whether it was not there.
    pub(super) fn add(&mut self, listed: &Listed) -> bool {
        let key = listed.remote_id.key();
        let (entries, hasher) = (&mut self.entries, &self.hasher);
        let found = self.places.find(hasher.hash_one(key), |at| entry(entries, *at).key == key);
        if let Some(at) = found {
            let at = *at as usize;
            entries[at / CHUNK][at % CHUNK].set(listed.content);
            return false;
        }
        let at = u32::try_from(self.len).expect("a scan holds far less than 2^32 records");
        self.places.insert_unique(hasher.hash_one(key), at, |at| hasher.hash_one(entry(entries, *at).key));
        let (block, start) = self.keep_id(listed.remote_id.as_str().as_bytes());
        let len = u32::try_from(listed.remote_id.as_str().len()).expect("a page is far less than 4 GiB");
        let mut added = Entry { key, hash: [0; 16], block, len, start, read: false };
        added.set(listed.content);
        if self.len.is_multiple_of(CHUNK) {
            self.entries.push(Vec::with_capacity(CHUNK));
        }
        self.entries[self.len / CHUNK].push(added);
        self.len += 1;
        true
    }

    fn keep_id(&mut self, id: &[u8]) -> (u32, u16) {
        let fits = |block: &Vec<u8>| block.len() + id.len() <= BLOCK;
        if !self.ids.last().is_some_and(fits) {
            self.ids.push(Vec::with_capacity(BLOCK.max(id.len())));
        }
        let at = self.ids.len() - 1;
        let block = &mut self.ids[at];
        // An empty id at the very end of a full block starts anywhere.
        let start = u16::try_from(block.len()).unwrap_or(0);
        block.extend_from_slice(id);
        self.id_bytes += id.len() as u64;
        (u32::try_from(at).expect("a scan holds far less than 2^32 records"), start)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The bytes of all remote ids.
    pub(super) fn id_bytes(&self) -> u64 {
        self.id_bytes
    }

    /// What is kept in memory, in bytes.
    pub(super) fn held(&self) -> u64 {
        let blocks: usize = self.ids.iter().map(Vec::capacity).sum();
        let entries = self.entries.len() * CHUNK * size_of::<Entry>();
        (blocks + entries + self.places.capacity() * size_of::<u32>() * 2) as u64
    }

    /// Each record's key and content.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RecordKey, Content)> {
        self.entries.iter().flatten().map(|entry| (entry.key, entry.content()))
    }

    /// The places of the records that are wanted, sorted by key.
    pub(super) fn sorted(&self, wanted: impl Fn(RecordKey) -> bool) -> Vec<u32> {
        let mut places: Vec<u32> =
            (0..self.len as u32).filter(|at| wanted(entry(&self.entries, *at).key)).collect();
        places.sort_unstable_by_key(|at| entry(&self.entries, *at).key);
        places
    }

    /// The key of the record at a place.
    pub(super) fn key(&self, at: u32) -> RecordKey {
        entry(&self.entries, at).key
    }

    /// The record at a place.
    pub(super) fn listed(&self, at: u32) -> Listed {
        let entry = entry(&self.entries, at);
        let start = usize::from(entry.start);
        let id = &self.ids[entry.block as usize][start..start + entry.len as usize];
        let id = str::from_utf8(id).expect("it was kept as text");
        Listed { remote_id: RemoteId::new(id), content: entry.content() }
    }
}

fn entry(entries: &[Vec<Entry>], at: u32) -> &Entry {
    &entries[at as usize / CHUNK][at as usize % CHUNK]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_is_kept_is_what_was_named_last(named in prop::collection::vec(
            (prop_oneof!["[a-e]{0,2}", "[0-9]{1,3}", "x{20000,40000}", "é{33000,34000}"], any::<Option<[u8; 16]>>()), 0..60,
        )) {
            let (mut records, mut model) = (Records::default(), BTreeMap::new());
            for (id, hash) in named {
                let content = hash.map_or(Content::Unread, |hash| Content::Hash(RecordHash(hash)));
                let remote_id = RemoteId::new(id);
                let fresh = records.add(&Listed { remote_id: remote_id.clone(), content });
                prop_assert_eq!(fresh, model.insert(remote_id.key(), Listed { remote_id, content }).is_none());
            }
            let found: Vec<Listed> = records.sorted(|_| true).into_iter().map(|at| records.listed(at)).collect();
            prop_assert_eq!(found, model.into_values().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_hundred_thousand_records_with_long_ids_stay_below_120_bytes_each() {
        let mut records = Records::default();
        for id in 0..100_000 {
            let remote_id = RemoteId::new(format!("{id:0>36}"));
            records.add(&Listed { remote_id, content: Content::Hash(RecordHash([1; 16])) });
        }
        assert!(records.held() <= 12_000_000, "{} bytes", records.held());
    }
}
