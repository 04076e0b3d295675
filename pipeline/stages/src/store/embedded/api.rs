//! What the API keeps beside the entities, in the embedded store.

use async_trait::async_trait;
use tributary_schemas::{
    id::{ProjectId, WebhookId},
    time::Timestamp,
};

use super::{
    super::{Kind, StoreError, api::ApiStore},
    EmbeddedStore, away, key,
};
use crate::clock::now;

#[async_trait]
impl ApiStore for EmbeddedStore {
    async fn begin_answer(
        &self,
        project: &ProjectId,
        name: &str,
        doc: &[u8],
        until: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let _writing = self.writing();
        let place = answer_place(project, name);
        let kept = self.kept(&place)?;
        if kept.is_none() {
            self.control.insert(place, dated(until, doc)).map_err(away)?;
        }
        Ok(kept)
    }

    async fn keep_answer(
        &self,
        project: &ProjectId,
        name: &str,
        doc: &[u8],
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let _writing = self.writing();
        let place = answer_place(project, name);
        match self.kept(&place)? {
            Some(_) => self.control.insert(place, dated(until, doc)).map_err(away),
            None => Ok(()),
        }
    }

    async fn drop_answer(&self, project: &ProjectId, name: &str) -> Result<(), StoreError> {
        let _writing = self.writing();
        self.control.remove(answer_place(project, name)).map_err(away)
    }

    async fn note_key_use(&self, project: &ProjectId, id: &str, at: Timestamp) -> Result<(), StoreError> {
        let place = key(&[b"key_use", project.as_str().as_bytes(), id.as_bytes()]);
        self.control.insert(place, at.as_micros().to_be_bytes()).map_err(away)
    }

    async fn key_uses(&self, project: &ProjectId) -> Result<Vec<(String, Timestamp)>, StoreError> {
        let prefix = key(&[b"key_use", project.as_str().as_bytes(), b""]);
        let mut uses = Vec::new();
        for entry in self.control.prefix(&prefix) {
            let (place, at) = entry.into_inner().map_err(away)?;
            let at = at.as_ref().try_into().map_or(0, i64::from_be_bytes);
            let id = String::from_utf8_lossy(&place[prefix.len()..]).into_owned();
            uses.push((id, Timestamp::from_micros(at)));
        }
        Ok(uses)
    }

    async fn count(&self, kind: Kind, project: &ProjectId) -> Result<usize, StoreError> {
        let prefix = key(&[b"entity", kind.name().as_bytes(), project.as_str().as_bytes(), b""]);
        Ok(self.control.prefix(&prefix).count())
    }

    async fn note_delivery(
        &self,
        project: &ProjectId,
        delivery: &str,
        webhook: &WebhookId,
    ) -> Result<(), StoreError> {
        self.control.insert(delivery_place(project, delivery), webhook.as_str()).map_err(away)
    }

    async fn webhook_of(&self, project: &ProjectId, delivery: &str) -> Result<Option<WebhookId>, StoreError> {
        let held = self.control.get(delivery_place(project, delivery)).map_err(away)?;
        Ok(held.and_then(|held| String::from_utf8_lossy(&held).parse().ok()))
    }
}

impl EmbeddedStore {
    /// The answer at a place, while its time lasts.
    fn kept(&self, place: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let held = self.control.get(place).map_err(away)?;
        let Some((until, doc)) = held.as_deref().and_then(|held| held.split_first_chunk::<8>()) else {
            return Ok(None);
        };
        let lasts = Timestamp::from_micros(i64::from_be_bytes(*until)) > now();
        Ok(lasts.then(|| doc.to_vec()))
    }
}

fn dated(until: Timestamp, doc: &[u8]) -> Vec<u8> {
    [&until.as_micros().to_be_bytes()[..], doc].concat()
}

fn answer_place(project: &ProjectId, name: &str) -> Vec<u8> {
    key(&[b"answer", project.as_str().as_bytes(), name.as_bytes()])
}

fn delivery_place(project: &ProjectId, delivery: &str) -> Vec<u8> {
    key(&[b"delivery", project.as_str().as_bytes(), delivery.as_bytes()])
}
