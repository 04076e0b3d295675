//! control's entities in the embedded store.

use async_trait::async_trait;
use tributary_schemas::{
    delivery::Line,
    entity::Version,
    id::{AccountId, ProjectId, Sequence, WebhookId},
    resource::Resource,
    time::Timestamp,
};

use super::{
    super::{AttemptRow, Cas, ControlStore, EntityRef, Held, Kind, Lookup, StoreError, Stored, Unpublished},
    EmbeddedStore, away,
    held::Note,
    key,
};

#[async_trait]
impl ControlStore for EmbeddedStore {
    async fn get(&self, entity: &EntityRef) -> Result<Option<Stored>, StoreError> {
        self.stored(&entity_place(entity))
    }

    async fn list(
        &self,
        kind: Kind,
        project: &ProjectId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Stored)>, StoreError> {
        let prefix = key(&[b"entity", kind.name().as_bytes(), project.as_str().as_bytes(), b""]);
        let mut found = Vec::new();
        for entry in self.control.prefix(&prefix) {
            let (at, value) = entry.into_inner().map_err(away)?;
            let id = String::from_utf8_lossy(&at[prefix.len()..]).into_owned();
            if after.is_some_and(|after| id.as_str() <= after) {
                continue;
            }
            if found.len() == limit {
                break;
            }
            found.push((id, read(&value)?));
        }
        Ok(found)
    }

    async fn put(
        &self,
        entity: &EntityRef,
        expected: Option<Version>,
        stored: &Stored,
    ) -> Result<Cas, StoreError> {
        self.compare_and_set(&entity_place(entity), expected, Some(stored))
    }

    async fn delete(&self, entity: &EntityRef, expected: Version) -> Result<Cas, StoreError> {
        self.compare_and_set(&entity_place(entity), Some(expected), None)
    }

    async fn register(&self, change: &Unpublished) -> Result<(), StoreError> {
        let at = change.registered_at.as_micros().to_be_bytes();
        self.control.insert(unpublished_place(&change.entity, change.version), at).map_err(away)
    }

    async fn published(&self, change: &Unpublished) -> Result<(), StoreError> {
        self.control.remove(unpublished_place(&change.entity, change.version)).map_err(away)
    }

    async fn is_registered(&self, entity: &EntityRef, version: Version) -> Result<bool, StoreError> {
        self.control.contains_key(unpublished_place(entity, version)).map_err(away)
    }

    async fn unpublished(&self) -> Result<Vec<Unpublished>, StoreError> {
        let prefix = key(&[b"unpublished", b""]);
        let mut changes = Vec::new();
        for entry in self.control.prefix(&prefix) {
            let (place, at) = entry.into_inner().map_err(away)?;
            let at = at.as_ref().try_into().map_or(0, i64::from_be_bytes);
            let text = String::from_utf8_lossy(&place[prefix.len()..]).into_owned();
            changes.extend(unpublished_at(&text, Timestamp::from_micros(at)));
        }
        Ok(changes)
    }

    async fn find(&self, by: Lookup, hash: &str) -> Result<Option<(ProjectId, String)>, StoreError> {
        let Some(value) = self.control.get(lookup_place(by, hash)).map_err(away)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&value).into_owned();
        Ok(text.split_once('\0').and_then(|(project, id)| Some((project.parse().ok()?, id.to_owned()))))
    }

    async fn index(&self, by: Lookup, hash: &str, project: &ProjectId, id: &str) -> Result<(), StoreError> {
        let value = key(&[project.as_str().as_bytes(), id.as_bytes()]);
        self.control.insert(lookup_place(by, hash), value).map_err(away)
    }

    async fn unindex(&self, by: Lookup, hash: &str) -> Result<(), StoreError> {
        self.control.remove(lookup_place(by, hash)).map_err(away)
    }

    async fn poll_state(
        &self,
        account: &AccountId,
        resource: Resource,
    ) -> Result<Option<Stored>, StoreError> {
        self.stored(&poll_place(account, resource.name()))
    }

    async fn put_poll_state(
        &self,
        account: &AccountId,
        resource: Resource,
        expected: Option<Version>,
        stored: &Stored,
    ) -> Result<Cas, StoreError> {
        self.compare_and_set(&poll_place(account, resource.name()), expected, Some(stored))
    }

    async fn delete_poll_states(&self, account: &AccountId) -> Result<(), StoreError> {
        for entry in self.control.prefix(poll_place(account, "")) {
            self.control.remove(entry.key().map_err(away)?).map_err(away)?;
        }
        Ok(())
    }

    async fn add_attempts(&self, attempts: &[AttemptRow]) -> Result<(), StoreError> {
        for attempt in attempts {
            let (webhook, at) = (attempt.webhook.as_str().as_bytes(), attempt.at.as_micros().to_be_bytes());
            let place = key(&[b"attempt", webhook, &[&at[..], attempt.delivery.as_bytes()].concat()]);
            self.control.insert(place, attempt.doc.as_slice()).map_err(away)?;
        }
        Ok(())
    }

    async fn attempts(
        &self,
        webhook: &WebhookId,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let all = self.all_attempts(webhook)?;
        Ok(all.into_iter().rev().filter(|attempt| attempt.at < before).take(limit).collect())
    }

    async fn attempts_of(&self, webhook: &WebhookId, delivery: &str) -> Result<Vec<AttemptRow>, StoreError> {
        let all = self.all_attempts(webhook)?;
        Ok(all.into_iter().filter(|attempt| attempt.delivery == delivery).collect())
    }

    async fn hold(&self, line: &Line, held: Held, at: Timestamp) -> Result<(), StoreError> {
        self.note(line, held.sequence, Note { at, due: Some(held.due) })
    }

    async fn let_go(&self, line: &Line, sequence: Sequence, at: Timestamp) -> Result<(), StoreError> {
        self.note(line, sequence, Note { at, due: None })
    }

    async fn held(&self, line: &Line, until: Sequence, limit: usize) -> Result<Vec<Held>, StoreError> {
        self.held_until(line, until, limit)
    }
}

impl EmbeddedStore {
    fn stored(&self, place: &[u8]) -> Result<Option<Stored>, StoreError> {
        self.control.get(place).map_err(away)?.map(|value| read(&value)).transpose()
    }

    fn compare_and_set(
        &self,
        place: &[u8],
        expected: Option<Version>,
        to: Option<&Stored>,
    ) -> Result<Cas, StoreError> {
        let _writing = self.writing();
        if self.stored(place)?.map(|held| held.version) != expected {
            return Ok(Cas::Conflict);
        }
        match to {
            Some(stored) => {
                let value = [&stored.version.to_be_bytes()[..], &stored.doc].concat();
                self.control.insert(place, value).map_err(away)?;
            }
            None => self.control.remove(place).map_err(away)?,
        }
        Ok(Cas::Done)
    }

    fn all_attempts(&self, webhook: &WebhookId) -> Result<Vec<AttemptRow>, StoreError> {
        let prefix = key(&[b"attempt", webhook.as_str().as_bytes(), b""]);
        let mut attempts = Vec::new();
        for entry in self.control.prefix(&prefix) {
            let (at, doc) = entry.into_inner().map_err(away)?;
            let Some((micros, delivery)) = at[prefix.len()..].split_first_chunk::<8>() else { continue };
            attempts.push(AttemptRow {
                webhook: webhook.clone(),
                delivery: String::from_utf8_lossy(delivery).into_owned(),
                at: Timestamp::from_micros(i64::from_be_bytes(*micros)),
                doc: doc.to_vec(),
            });
        }
        Ok(attempts)
    }
}

fn read(value: &[u8]) -> Result<Stored, StoreError> {
    let (version, doc) = value
        .split_first_chunk::<8>()
        .ok_or_else(|| anyhow::anyhow!("a document without a version"))
        .map_err(StoreError::broken("reading a document"))?;
    Ok(Stored { version: Version::from_be_bytes(*version), doc: doc.to_vec() })
}

fn entity_place(entity: &EntityRef) -> Vec<u8> {
    key(&[b"entity", entity.kind.name().as_bytes(), entity.project.as_str().as_bytes(), entity.id.as_bytes()])
}

fn lookup_place(by: Lookup, hash: &str) -> Vec<u8> {
    key(&[b"lookup", by.name().as_bytes(), hash.as_bytes()])
}

fn poll_place(account: &AccountId, resource: &str) -> Vec<u8> {
    key(&[b"poll", account.as_str().as_bytes(), resource.as_bytes()])
}

fn unpublished_place(entity: &EntityRef, version: Version) -> Vec<u8> {
    let EntityRef { kind, project, id } = entity;
    let version = version.to_string();
    let parts = [kind.name().as_bytes(), project.as_str().as_bytes(), id.as_bytes(), version.as_bytes()];
    key(&[b"unpublished", &key(&parts)])
}

fn unpublished_at(text: &str, registered_at: Timestamp) -> Option<Unpublished> {
    let mut parts = text.split('\0');
    let kind = parts.next()?;
    let kind = Kind::ALL.into_iter().find(|it| it.name() == kind)?;
    let entity = EntityRef { kind, project: parts.next()?.parse().ok()?, id: parts.next()?.to_owned() };
    Some(Unpublished { entity, version: parts.next()?.parse().ok()?, registered_at })
}
