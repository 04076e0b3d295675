//! What deliver keeps, in CQL: a partition's owner is a static column, and its rows are written in conditional batches.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use scylla::{
    client::session::Session,
    statement::{
        Consistency,
        batch::{Batch, BatchType},
        prepared::PreparedStatement,
    },
    value::{CqlValue, Row as CqlRow},
};
use tributary_core::deliver::record::Reader;
use tributary_schemas::{codec, id::WebhookId, time::Timestamp};

use super::{
    super::{
        Cas, StoreError,
        backlog::{Backlog, BacklogChange, BacklogStore, Kept, LogPartition},
    },
    CqlStore,
    control::text,
    prepare, retried,
};

const READING: &str = "reading backlogs";
const WRITING: &str = "writing backlogs";

pub(super) struct Statements {
    owner: PreparedStatement,
    claim: PreparedStatement,
    claim_first: PreparedStatement,
    put: PreparedStatement,
    remove: PreparedStatement,
    rows: PreparedStatement,
    row: PreparedStatement,
    point: PreparedStatement,
    pointed: PreparedStatement,
    unpoint: PreparedStatement,
    begin_failing: PreparedStatement,
    failing: PreparedStatement,
    end_failing: PreparedStatement,
}

impl Statements {
    pub(super) async fn prepare(session: &Session) -> anyhow::Result<Self> {
        const OF: &str = "topic = ? AND partition = ?";
        const ROW: &str = "topic = ? AND partition = ? AND webhook = ? AND replay = ?";
        let prepare = async |text: &str| prepare(session, text).await;
        // A row is read as the last batch left it, whoever decides it.
        let serial = async |text: &str| {
            let mut statement = prepare(text).await?;
            statement.set_consistency(Consistency::LocalSerial);
            anyhow::Ok(statement)
        };
        Ok(Self {
            owner: serial(&format!("SELECT owner FROM backlogs WHERE {OF} LIMIT 1")).await?,
            claim: prepare(&format!("UPDATE backlogs SET owner = ? WHERE {OF} IF owner = ?")).await?,
            claim_first: prepare(&format!("UPDATE backlogs SET owner = ? WHERE {OF} IF owner = null")).await?,
            put: prepare(&format!("UPDATE backlogs SET row = ? WHERE {ROW}")).await?,
            remove: prepare(&format!("DELETE FROM backlogs WHERE {ROW}")).await?,
            rows: serial(&format!("SELECT webhook, replay, row FROM backlogs WHERE {OF}")).await?,
            row: prepare(&format!("SELECT row FROM backlogs WHERE {ROW}")).await?,
            point: prepare(
                "INSERT INTO backlogs_by_webhook (webhook, topic, partition, replay) VALUES (?, ?, ?, ?)",
            )
            .await?,
            pointed: prepare("SELECT topic, partition, replay FROM backlogs_by_webhook WHERE webhook = ?")
                .await?,
            unpoint: prepare(
                "DELETE FROM backlogs_by_webhook WHERE webhook = ? AND topic = ? AND partition = ? AND replay = ?",
            )
            .await?,
            begin_failing: prepare("INSERT INTO failing (webhook, since) VALUES (?, ?) IF NOT EXISTS").await?,
            failing: serial("SELECT since FROM failing WHERE webhook = ?").await?,
            end_failing: prepare("DELETE FROM failing WHERE webhook = ? IF EXISTS").await?,
        })
    }
}

#[async_trait]
impl BacklogStore for CqlStore {
    async fn claim(&self, at: &LogPartition, owner: &str) -> Result<(), StoreError> {
        loop {
            let rows = self.rows("claiming a partition", &self.backlog.owner, of(at)).await?;
            let before = rows.maybe_first_row::<(Option<String>,)>().context("an owner");
            let before = before.map_err(StoreError::broken(READING))?.and_then(|(owner,)| owner);
            let mut values = vec![text(owner)];
            values.extend(of(at));
            let claimed = match before {
                // An answer that was lost had been a yes.
                Some(before) if before == owner => return Ok(()),
                Some(before) => {
                    values.push(text(before));
                    self.compare_and_set(&self.backlog.claim, values).await
                }
                None => self.compare_and_set(&self.backlog.claim_first, values).await,
            };
            if claimed? == Cas::Done {
                return Ok(());
            }
        }
    }

    async fn backlogs(&self, at: &LogPartition) -> Result<Vec<Backlog>, StoreError> {
        let rows = self.rows(READING, &self.backlog.rows, of(at)).await?;
        let typed = rows
            .rows::<(Option<String>, Option<String>, Option<Vec<u8>>)>()
            .context("columns")
            .map_err(StoreError::broken(READING))?;
        let mut all = Vec::new();
        for row in typed {
            // An owner without rows is a row of nothing.
            if let (Some(webhook), Some(replay), Some(row)) =
                row.context("a row").map_err(StoreError::broken(READING))?
            {
                all.push(read(&reader(&webhook, &replay)?, &row)?);
            }
        }
        Ok(all)
    }

    async fn write_backlogs(
        &self,
        at: &LogPartition,
        owner: &str,
        changes: &[BacklogChange],
    ) -> Result<bool, StoreError> {
        // First where it will be found, so that no row is ever without.
        let mut places = Vec::new();
        for change in changes {
            if let BacklogChange::Put(backlog) = change {
                places.push(place(at, &backlog.reader));
            }
        }
        let points = places.into_iter().map(|place| self.run(WRITING, &self.backlog.point, place));
        stream::iter(points.collect::<Vec<_>>()).buffer_unordered(16).try_collect::<Vec<()>>().await?;
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_is_idempotent(true);
        batch.append_statement(self.backlog.claim.clone());
        let mut values = vec![[vec![text(owner)], of(at), vec![text(owner)]].concat()];
        for change in changes {
            match change {
                BacklogChange::Put(backlog) => {
                    batch.append_statement(self.backlog.put.clone());
                    let row = CqlValue::Blob(codec::encode(&Kept::of(backlog)));
                    values.push([vec![row], key(at, &backlog.reader)].concat());
                }
                BacklogChange::Remove(reader) => {
                    batch.append_statement(self.backlog.remove.clone());
                    values.push(key(at, reader));
                }
            }
        }
        let answer = retried(WRITING, || self.session.batch(&batch, &values)).await?;
        let rows = answer.into_rows_result().context("rows").map_err(StoreError::broken(WRITING))?;
        let row = rows.first_row::<CqlRow>().context("a row").map_err(StoreError::broken(WRITING))?;
        let ours = matches!(row.columns.first(), Some(Some(CqlValue::Boolean(true))));
        if ours {
            for change in changes {
                if let BacklogChange::Remove(reader) = change {
                    self.run(WRITING, &self.backlog.unpoint, place(at, reader)).await?;
                }
            }
        }
        Ok(ours)
    }

    async fn backlogs_of(&self, webhook: &WebhookId) -> Result<Vec<(LogPartition, Backlog)>, StoreError> {
        let rows = self.rows(READING, &self.backlog.pointed, vec![text(webhook)]).await?;
        let pointed: Vec<(String, i32, String)> = rows
            .rows()
            .context("columns")
            .and_then(|it| it.collect::<Result<_, _>>().context("a row"))
            .map_err(StoreError::broken(READING))?;
        let found = stream::iter(pointed).map(|(topic, partition, replay)| async move {
            let (at, reader) =
                (LogPartition { topic: topic.into(), partition }, reader(webhook.as_str(), &replay)?);
            let rows = self.rows(READING, &self.backlog.row, key(&at, &reader)).await?;
            let row = rows.maybe_first_row::<(Option<Vec<u8>>,)>().context("a row");
            let row = row.map_err(StoreError::broken(READING))?.and_then(|(row,)| row);
            Ok(row.map(|row| read(&reader, &row)).transpose()?.map(|backlog| (at, backlog)))
        });
        Ok(found.buffered(32).try_collect::<Vec<_>>().await?.into_iter().flatten().collect())
    }

    async fn begin_failing(
        &self,
        webhook: &WebhookId,
        at: Timestamp,
    ) -> Result<(Timestamp, bool), StoreError> {
        let values = vec![text(webhook), CqlValue::BigInt(at.as_micros())];
        if self.compare_and_set(&self.backlog.begin_failing, values).await? == Cas::Done {
            return Ok((at, true));
        }
        Ok((self.failing_since(webhook).await?.unwrap_or(at), false))
    }

    async fn end_failing(&self, webhook: &WebhookId) -> Result<Option<Timestamp>, StoreError> {
        let since = self.failing_since(webhook).await?;
        if since.is_none() {
            return Ok(None);
        }
        let ended = self.compare_and_set(&self.backlog.end_failing, vec![text(webhook)]).await?;
        Ok(since.filter(|_| ended == Cas::Done))
    }
}

impl CqlStore {
    async fn failing_since(&self, webhook: &WebhookId) -> Result<Option<Timestamp>, StoreError> {
        let rows = self.rows(READING, &self.backlog.failing, vec![text(webhook)]).await?;
        let row = rows.maybe_first_row::<(i64,)>().context("a row").map_err(StoreError::broken(READING))?;
        Ok(row.map(|(since,)| Timestamp::from_micros(since)))
    }
}

fn of(at: &LogPartition) -> Vec<CqlValue> {
    vec![text(&at.topic), CqlValue::Int(at.partition)]
}

fn key(at: &LogPartition, reader: &Reader) -> Vec<CqlValue> {
    let replay = reader.replay.as_deref().unwrap_or_default();
    [of(at), vec![text(&reader.webhook), text(replay)]].concat()
}

/// In the table by webhook.
fn place(at: &LogPartition, reader: &Reader) -> Vec<CqlValue> {
    let replay = reader.replay.as_deref().unwrap_or_default();
    [vec![text(&reader.webhook)], of(at), vec![text(replay)]].concat()
}

fn reader(webhook: &str, replay: &str) -> Result<Reader, StoreError> {
    let webhook = webhook.parse().context("a webhook").map_err(StoreError::broken(READING))?;
    Ok(Reader { webhook, replay: (!replay.is_empty()).then(|| Arc::from(replay)) })
}

fn read(reader: &Reader, row: &[u8]) -> Result<Backlog, StoreError> {
    let kept: Kept = codec::decode(row).context("a row").map_err(StoreError::broken(READING))?;
    Ok(kept.backlog(reader.clone()))
}
