//! What the API keeps beside the entities, in CQL. Answers are written by compare-and-set only: who begins one is one.

use anyhow::Context;
use async_trait::async_trait;
use scylla::{client::session::Session, statement::prepared::PreparedStatement, value::CqlValue};
use tributary_schemas::{
    id::{ProjectId, WebhookId},
    time::Timestamp,
};

use super::{
    super::{Cas, Kind, StoreError, api::ApiStore},
    CqlStore,
    control::text,
    prepare,
};
use crate::clock::now;

pub(super) struct Statements {
    begin_answer: PreparedStatement,
    answer: PreparedStatement,
    keep_answer: PreparedStatement,
    drop_answer: PreparedStatement,
    note_key_use: PreparedStatement,
    key_uses: PreparedStatement,
    count: PreparedStatement,
    note_delivery: PreparedStatement,
    webhook_of: PreparedStatement,
}

impl Statements {
    pub(super) async fn prepare(session: &Session) -> anyhow::Result<Self> {
        const ANSWER: &str = "project = ? AND name = ?";
        let prepare = async |text: &str| prepare(session, text).await;
        Ok(Self {
            begin_answer: prepare(
                "INSERT INTO answers (project, name, doc) VALUES (?, ?, ?) IF NOT EXISTS USING TTL ?",
            )
            .await?,
            answer: prepare(&format!("SELECT doc FROM answers WHERE {ANSWER}")).await?,
            keep_answer: prepare(&format!("UPDATE answers USING TTL ? SET doc = ? WHERE {ANSWER} IF EXISTS"))
                .await?,
            drop_answer: prepare(&format!("DELETE FROM answers WHERE {ANSWER} IF EXISTS")).await?,
            note_key_use: prepare("INSERT INTO key_uses (project, id, used_at) VALUES (?, ?, ?)").await?,
            key_uses: prepare("SELECT id, used_at FROM key_uses WHERE project = ?").await?,
            count: prepare("SELECT count(*) FROM entities WHERE kind = ? AND project = ?").await?,
            note_delivery: prepare(
                "INSERT INTO deliveries_by_id (project, delivery, webhook) VALUES (?, ?, ?)",
            )
            .await?,
            webhook_of: prepare("SELECT webhook FROM deliveries_by_id WHERE project = ? AND delivery = ?")
                .await?,
        })
    }
}

/// How often an answer that has just gone is begun again.
const TRIES: usize = 3;

fn seconds(until: Timestamp) -> CqlValue {
    CqlValue::Int(i32::try_from(until.since(now()).as_secs().max(1)).unwrap_or(i32::MAX))
}

#[async_trait]
impl ApiStore for CqlStore {
    async fn begin_answer(
        &self,
        project: &ProjectId,
        name: &str,
        doc: &[u8],
        until: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        const DOING: &str = "reading an answer";
        for _ in 0..TRIES {
            let values = vec![text(project), text(name), CqlValue::Blob(doc.to_vec()), seconds(until)];
            if self.compare_and_set(&self.api.begin_answer, values).await? == Cas::Done {
                return Ok(None);
            }
            let rows = self.rows(DOING, &self.api.answer, vec![text(project), text(name)]).await?;
            let row = rows
                .maybe_first_row::<(Option<Vec<u8>>,)>()
                .context("a row")
                .map_err(StoreError::broken(DOING))?;
            // One that has gone between the two is free now.
            if let Some((Some(kept),)) = row {
                return Ok(Some(kept));
            }
        }
        Err(StoreError::unavailable(DOING)(anyhow::anyhow!("answers that come and go")))
    }

    async fn keep_answer(
        &self,
        project: &ProjectId,
        name: &str,
        doc: &[u8],
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let values = vec![seconds(until), CqlValue::Blob(doc.to_vec()), text(project), text(name)];
        self.compare_and_set(&self.api.keep_answer, values).await.map(drop)
    }

    async fn drop_answer(&self, project: &ProjectId, name: &str) -> Result<(), StoreError> {
        self.compare_and_set(&self.api.drop_answer, vec![text(project), text(name)]).await.map(drop)
    }

    async fn note_key_use(&self, project: &ProjectId, id: &str, at: Timestamp) -> Result<(), StoreError> {
        let values = vec![text(project), text(id), CqlValue::BigInt(at.as_micros())];
        self.run("noting a key's use", &self.api.note_key_use, values).await
    }

    async fn key_uses(&self, project: &ProjectId) -> Result<Vec<(String, Timestamp)>, StoreError> {
        const DOING: &str = "reading uses of keys";
        let rows = self.rows(DOING, &self.api.key_uses, vec![text(project)]).await?;
        let typed = rows.rows::<(String, i64)>().context("columns").map_err(StoreError::broken(DOING))?;
        typed
            .map(|row| {
                let (id, at) = row.context("a row").map_err(StoreError::broken(DOING))?;
                Ok((id, Timestamp::from_micros(at)))
            })
            .collect()
    }

    async fn count(&self, kind: Kind, project: &ProjectId) -> Result<usize, StoreError> {
        const DOING: &str = "counting entities";
        let rows = self.rows(DOING, &self.api.count, vec![text(kind.name()), text(project)]).await?;
        let row = rows.first_row::<(i64,)>().context("a row").map_err(StoreError::broken(DOING))?;
        Ok(usize::try_from(row.0).unwrap_or(usize::MAX))
    }

    async fn note_delivery(
        &self,
        project: &ProjectId,
        delivery: &str,
        webhook: &WebhookId,
    ) -> Result<(), StoreError> {
        let values = vec![text(project), text(delivery), text(webhook)];
        self.run("noting a delivery", &self.api.note_delivery, values).await
    }

    async fn webhook_of(&self, project: &ProjectId, delivery: &str) -> Result<Option<WebhookId>, StoreError> {
        const DOING: &str = "looking a delivery up";
        let rows = self.rows(DOING, &self.api.webhook_of, vec![text(project), text(delivery)]).await?;
        let row = rows.maybe_first_row::<(String,)>().context("a row").map_err(StoreError::broken(DOING))?;
        Ok(row.and_then(|(webhook,)| webhook.parse().ok()))
    }
}
