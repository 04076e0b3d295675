//! What a run was told of changes, buffered as (remote id, hash) until the listing has ended: of the same id the later
//! counts, across pages and within one, whether it says that the record is there or that it is gone.

use std::collections::HashMap;

use tributary_schemas::{
    id::RecordKey,
    observation::{DeltaPage, Listed, Notification, Run, Tombstone},
};

/// Records of one message.
const PAGE: usize = 2_000;

/// Changes that were told so far.
#[derive(Debug, Default)]
pub struct Delta {
    told: HashMap<RecordKey, Told>,
    id_bytes: u64,
}

#[derive(Debug)]
enum Told {
    Listed(Listed),
    Gone(Tombstone),
}

impl Delta {
    /// A record that is there.
    pub fn add(&mut self, listed: Listed) {
        self.id_bytes += listed.remote_id.as_str().len() as u64;
        self.told.insert(listed.remote_id.key(), Told::Listed(listed));
    }

    /// A record that is gone.
    pub fn gone(&mut self, tombstone: Tombstone) {
        self.id_bytes += tombstone.remote_id.as_str().len() as u64;
        self.told.insert(tombstone.remote_id.key(), Told::Gone(tombstone));
    }

    /// Forgets what was told of a record.
    pub fn forget(&mut self, record: RecordKey) {
        self.told.remove(&record);
    }

    /// How many records were told of.
    pub fn len(&self) -> usize {
        self.told.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// What it keeps in memory, in bytes.
    pub fn held(&self) -> u64 {
        self.told.capacity() as u64 * size_of::<(RecordKey, Told)>() as u64 + self.id_bytes
    }

    /// Only those records that are in one of these places.
    pub fn retain(&mut self, keeps: impl Fn(RecordKey) -> bool) {
        self.told.retain(|key, _| keeps(*key));
    }

    /// The messages, in the order of record keys, each made when it is asked for.
    pub fn pages(self, run: Run, notification: Option<Notification>) -> impl Iterator<Item = DeltaPage> {
        let mut told: Vec<(RecordKey, Told)> = self.told.into_iter().collect();
        told.sort_unstable_by_key(|(key, _)| *key);
        let mut told = told.into_iter().map(|(_, told)| told).peekable();
        std::iter::from_fn(move || {
            told.peek()?;
            let (run, notification) = (run.clone(), notification.clone());
            let mut page = DeltaPage { run, changed: Vec::new(), deleted: Vec::new(), notification };
            for told in told.by_ref().take(PAGE) {
                match told {
                    Told::Listed(listed) => page.changed.push(listed),
                    Told::Gone(tombstone) => page.deleted.push(tombstone),
                }
            }
            Some(page)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use proptest::prelude::*;
    use tributary_schemas::{
        id::{Bits, ProjectionDigest, ProjectionVersion, RecordHash, RemoteId, RunId},
        observation::{Announce, Baseline, Content, Source},
        resource::Resource,
        time::Timestamp,
    };

    use super::*;

    fn run() -> Run {
        Run {
            source: Source {
                project: "p".parse().unwrap(),
                account: "a".parse().unwrap(),
                provider: "demo".parse().unwrap(),
                origin_owner_id: None,
            },
            resource: Resource::HrisEmployees,
            run: RunId(7),
            begun_at: Timestamp::from_micros(0),
            lasted: Duration::ZERO,
            projection: ProjectionVersion {
                identity: ProjectionDigest([1; 8]),
                content: ProjectionDigest([1; 8]),
            },
            baseline: Baseline { from: RunId(1), announce: Announce::Nothing },
            settle: Duration::ZERO,
            bits: Bits::NATIVE,
            id_prefix: "tr1!".into(),
            key_name: "id".into(),
        }
    }

    proptest! {
        #[test]
        fn of_the_same_id_the_later_counts(
            told in prop::collection::vec((0..5_000_u32, any::<Option<u8>>()), 0..6_000),
        ) {
            let mut delta = Delta::default();
            let mut last = BTreeMap::new();
            for (id, content) in &told {
                let remote_id = RemoteId::new(id.to_string());
                last.insert(id.to_string(), *content);
                match content {
                    Some(hash) => {
                        delta.add(Listed { remote_id, content: Content::Hash(RecordHash([*hash; 16])) });
                    }
                    None => delta.gone(Tombstone { remote_id, deleted_at: None }),
                }
            }
            prop_assert_eq!(delta.len(), last.len());
            let mut sent = BTreeMap::new();
            for page in delta.pages(run(), None) {
                let records = page.changed.len() + page.deleted.len();
                prop_assert!(records > 0 && records <= PAGE);
                for listed in page.changed {
                    let Content::Hash(hash) = listed.content else { panic!() };
                    prop_assert!(sent.insert(listed.remote_id.as_str().to_owned(), Some(hash.0[0])).is_none());
                }
                for gone in page.deleted {
                    prop_assert!(sent.insert(gone.remote_id.as_str().to_owned(), None).is_none());
                }
            }
            prop_assert_eq!(sent, last);
        }
    }
}
