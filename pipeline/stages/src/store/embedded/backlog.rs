//! What deliver keeps, in the embedded store.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use tributary_core::deliver::record::Reader;
use tributary_schemas::{codec, id::WebhookId, time::Timestamp};

use super::{
    super::{
        StoreError,
        backlog::{Backlog, BacklogChange, BacklogStore, Kept, LogPartition},
    },
    EmbeddedStore, away, key,
};

const READING: &str = "reading backlogs";

#[async_trait]
impl BacklogStore for EmbeddedStore {
    async fn claim(&self, at: &LogPartition, owner: &str) -> Result<(), StoreError> {
        let _writing = self.writing();
        self.control.insert(owner_place(at), owner).map_err(away)
    }

    async fn backlogs(&self, at: &LogPartition) -> Result<Vec<Backlog>, StoreError> {
        let mut rows = Vec::new();
        for entry in self.control.prefix(place(at, b"")) {
            let (place, value) = entry.into_inner().map_err(away)?;
            rows.push(read(&place, &value)?.1);
        }
        Ok(rows)
    }

    async fn write_backlogs(
        &self,
        at: &LogPartition,
        owner: &str,
        changes: &[BacklogChange],
    ) -> Result<bool, StoreError> {
        let _writing = self.writing();
        if self.control.get(owner_place(at)).map_err(away)?.as_deref() != Some(owner.as_bytes()) {
            return Ok(false);
        }
        for change in changes {
            match change {
                BacklogChange::Put(backlog) => {
                    let place = place(at, &named(&backlog.reader));
                    self.control.insert(place, codec::encode(&Kept::of(backlog))).map_err(away)?;
                }
                BacklogChange::Remove(reader) => {
                    self.control.remove(place(at, &named(reader))).map_err(away)?;
                }
            }
        }
        Ok(true)
    }

    async fn backlogs_of(&self, webhook: &WebhookId) -> Result<Vec<(LogPartition, Backlog)>, StoreError> {
        let mut rows = Vec::new();
        for entry in self.control.prefix(key(&[b"backlog", b""])) {
            let (place, value) = entry.into_inner().map_err(away)?;
            rows.push(read(&place, &value)?);
        }
        rows.retain(|(_, backlog)| backlog.reader.webhook == *webhook);
        Ok(rows)
    }

    async fn begin_failing(
        &self,
        webhook: &WebhookId,
        at: Timestamp,
    ) -> Result<(Timestamp, bool), StoreError> {
        let _writing = self.writing();
        let place = failing_place(webhook);
        if let Some(since) = self.control.get(&place).map_err(away)? {
            return Ok((instant(&since)?, false));
        }
        self.control.insert(place, at.as_micros().to_be_bytes()).map_err(away)?;
        Ok((at, true))
    }

    async fn end_failing(&self, webhook: &WebhookId) -> Result<Option<Timestamp>, StoreError> {
        let _writing = self.writing();
        let place = failing_place(webhook);
        let since = self.control.get(&place).map_err(away)?.map(|it| instant(&it)).transpose()?;
        self.control.remove(place).map_err(away)?;
        Ok(since)
    }
}

fn instant(bytes: &[u8]) -> Result<Timestamp, StoreError> {
    let micros = bytes.try_into().context("an instant").map_err(StoreError::broken(READING))?;
    Ok(Timestamp::from_micros(i64::from_be_bytes(micros)))
}

fn failing_place(webhook: &WebhookId) -> Vec<u8> {
    key(&[b"failing", webhook.as_str().as_bytes()])
}

fn owner_place(at: &LogPartition) -> Vec<u8> {
    key(&[b"backlog_owner", at.topic.as_bytes(), at.partition.to_string().as_bytes()])
}

fn place(at: &LogPartition, reader: &[u8]) -> Vec<u8> {
    key(&[b"backlog", at.topic.as_bytes(), at.partition.to_string().as_bytes(), reader])
}

/// A reader's name: the last part of a key may hold zero bytes.
fn named(reader: &Reader) -> Vec<u8> {
    key(&[reader.webhook.as_str().as_bytes(), reader.replay.as_deref().unwrap_or_default().as_bytes()])
}

fn read(place: &[u8], value: &[u8]) -> Result<(LogPartition, Backlog), StoreError> {
    let text = |part: Option<&[u8]>| part.and_then(|it| std::str::from_utf8(it).ok()).map(str::to_owned);
    let mut parts = place.split(|byte| *byte == 0).skip(1);
    let names = (text(parts.next()), text(parts.next()), text(parts.next()), text(parts.next()));
    let (Some(topic), Some(partition), Some(webhook), Some(replay)) = names else {
        return Err(StoreError::broken(READING)(anyhow::anyhow!("a key without its parts")));
    };
    let partition = partition.parse().context("a partition").map_err(StoreError::broken(READING))?;
    let webhook = webhook.parse().context("a webhook").map_err(StoreError::broken(READING))?;
    let reader = Reader { webhook, replay: (!replay.is_empty()).then(|| Arc::from(replay)) };
    let kept: Kept = codec::decode(value).context("a row").map_err(StoreError::broken(READING))?;
    Ok((LogPartition { topic: topic.into(), partition }, kept.backlog(reader)))
}
