//! control's entities in CQL: compare-and-set only on what has a version, plain writes only on what has none.

use anyhow::Context;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use scylla::{
    client::session::Session,
    response::query_result::QueryRowsResult,
    statement::prepared::PreparedStatement,
    value::{CqlValue, Row},
};
use tributary_schemas::{
    delivery::Line,
    entity::Version,
    id::{AccountId, ProjectId, Sequence, WebhookId},
    resource::Resource,
    time::Timestamp,
};

use super::{
    super::{
        ATTEMPTS_KEPT_DAYS, AttemptRow, Cas, ControlStore, EntityRef, Held, Kind, Lookup, StoreError, Stored,
        Unpublished,
    },
    CqlStore, prepare, retried,
};

/// Partitions of the register of unpublished changes.
const SHARDS: i32 = 16;

pub(super) struct Statements {
    get: PreparedStatement,
    list: PreparedStatement,
    create: PreparedStatement,
    update: PreparedStatement,
    delete: PreparedStatement,
    register: PreparedStatement,
    unregister: PreparedStatement,
    is_registered: PreparedStatement,
    registered: PreparedStatement,
    find: PreparedStatement,
    index: PreparedStatement,
    unindex: PreparedStatement,
    poll_state: PreparedStatement,
    create_poll_state: PreparedStatement,
    update_poll_state: PreparedStatement,
    poll_resources: PreparedStatement,
    delete_poll_state: PreparedStatement,
    add_attempt: PreparedStatement,
    add_attempt_of: PreparedStatement,
    attempts: PreparedStatement,
    attempts_of: PreparedStatement,
}

impl Statements {
    pub(super) async fn prepare(session: &Session) -> anyhow::Result<Self> {
        const ENTITY: &str = "kind = ? AND project = ? AND id = ?";
        const POLLED: &str = "account = ? AND resource = ?";
        let prepare = async |text: &str| prepare(session, text).await;
        Ok(Self {
            get: prepare(&format!("SELECT version, doc FROM entities WHERE {ENTITY}")).await?,
            list: prepare(
                "SELECT id, version, doc FROM entities WHERE kind = ? AND project = ? AND id > ? LIMIT ?",
            )
            .await?,
            create: prepare(
                "INSERT INTO entities (kind, project, id, version, doc) VALUES (?, ?, ?, ?, ?) IF NOT EXISTS",
            )
            .await?,
            update: prepare(&format!("UPDATE entities SET version = ?, doc = ? WHERE {ENTITY} IF version = ?")).await?,
            delete: prepare(&format!("DELETE FROM entities WHERE {ENTITY} IF version = ?")).await?,
            register: prepare(
                "INSERT INTO unpublished (shard, kind, project, id, version, registered_at) VALUES (?, ?, ?, ?, ?, ?)",
            )
            .await?,
            unregister: prepare(
                "DELETE FROM unpublished WHERE shard = ? AND kind = ? AND project = ? AND id = ? AND version = ?",
            )
            .await?,
            is_registered: prepare(
                "SELECT version FROM unpublished WHERE shard = ? AND kind = ? AND project = ? AND id = ? AND version = ?",
            )
            .await?,
            registered: prepare(
                "SELECT kind, project, id, version, registered_at FROM unpublished WHERE shard = ?",
            )
            .await?,
            find: prepare("SELECT project, id FROM lookups WHERE kind = ? AND hash = ?").await?,
            index: prepare("INSERT INTO lookups (kind, hash, project, id) VALUES (?, ?, ?, ?)").await?,
            unindex: prepare("DELETE FROM lookups WHERE kind = ? AND hash = ?").await?,
            poll_state: prepare(&format!("SELECT version, doc FROM poll_state WHERE {POLLED}")).await?,
            create_poll_state: prepare(
                "INSERT INTO poll_state (account, resource, version, doc) VALUES (?, ?, ?, ?) IF NOT EXISTS",
            )
            .await?,
            update_poll_state: prepare(&format!(
                "UPDATE poll_state SET version = ?, doc = ? WHERE {POLLED} IF version = ?"
            ))
            .await?,
            poll_resources: prepare("SELECT resource FROM poll_state WHERE account = ?").await?,
            delete_poll_state: prepare(&format!("DELETE FROM poll_state WHERE {POLLED} IF EXISTS")).await?,
            add_attempt: prepare("INSERT INTO attempts (webhook, day, at, delivery, doc) VALUES (?, ?, ?, ?, ?)")
                .await?,
            add_attempt_of: prepare(
                "INSERT INTO attempts_by_delivery (webhook, delivery, at, doc) VALUES (?, ?, ?, ?)",
            )
            .await?,
            attempts: prepare(
                "SELECT at, delivery, doc FROM attempts WHERE webhook = ? AND day = ? AND at < ? LIMIT ?",
            )
            .await?,
            attempts_of: prepare("SELECT at, doc FROM attempts_by_delivery WHERE webhook = ? AND delivery = ?")
                .await?,
        })
    }
}

#[async_trait]
impl ControlStore for CqlStore {
    async fn get(&self, entity: &EntityRef) -> Result<Option<Stored>, StoreError> {
        self.stored(&self.control.get, entity_values(entity)).await
    }

    async fn list(
        &self,
        kind: Kind,
        project: &ProjectId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Stored)>, StoreError> {
        let limit = CqlValue::Int(i32::try_from(limit).unwrap_or(i32::MAX));
        let values = vec![text(kind.name()), text(project), text(after.unwrap_or("")), limit];
        let rows = self.rows("listing entities", &self.control.list, values).await?;
        let listed = rows
            .rows::<(String, i64, Vec<u8>)>()
            .context("columns")
            .map_err(StoreError::broken("listing"))?;
        listed
            .map(|row| {
                let (id, version, doc) = row.context("a row").map_err(StoreError::broken("listing"))?;
                Ok((id, Stored { version: version as Version, doc }))
            })
            .collect()
    }

    async fn put(
        &self,
        entity: &EntityRef,
        expected: Option<Version>,
        stored: &Stored,
    ) -> Result<Cas, StoreError> {
        let [version, doc] = stored_values(stored);
        let [kind, project, id] = entity_values(entity);
        match expected {
            None => self.compare_and_set(&self.control.create, vec![kind, project, id, version, doc]).await,
            Some(expected) => {
                let values = vec![version, doc, kind, project, id, big(expected)];
                self.compare_and_set(&self.control.update, values).await
            }
        }
    }

    async fn delete(&self, entity: &EntityRef, expected: Version) -> Result<Cas, StoreError> {
        let [kind, project, id] = entity_values(entity);
        self.compare_and_set(&self.control.delete, vec![kind, project, id, big(expected)]).await
    }

    async fn register(&self, change: &Unpublished) -> Result<(), StoreError> {
        let mut values = change_values(&change.entity, change.version);
        values.push(CqlValue::BigInt(change.registered_at.as_micros()));
        self.run("registering a change", &self.control.register, values).await
    }

    async fn published(&self, change: &Unpublished) -> Result<(), StoreError> {
        self.run(
            "noting a published change",
            &self.control.unregister,
            change_values(&change.entity, change.version),
        )
        .await
    }

    async fn is_registered(&self, entity: &EntityRef, version: Version) -> Result<bool, StoreError> {
        let values = change_values(entity, version);
        let rows = self.rows("looking for a change", &self.control.is_registered, values).await?;
        Ok(rows.rows_num() > 0)
    }

    async fn unpublished(&self) -> Result<Vec<Unpublished>, StoreError> {
        let mut changes = Vec::new();
        for shard in 0..SHARDS {
            let rows =
                self.rows("listing changes", &self.control.registered, vec![CqlValue::Int(shard)]).await?;
            let typed = rows
                .rows::<(String, String, String, i64, Option<i64>)>()
                .context("columns")
                .map_err(StoreError::broken("listing changes"))?;
            for row in typed {
                let (kind, project, id, version, registered_at) =
                    row.context("a row").map_err(StoreError::broken("listing changes"))?;
                let kind = Kind::ALL.into_iter().find(|it| it.name() == kind);
                if let (Some(kind), Ok(project)) = (kind, project.parse()) {
                    changes.push(Unpublished {
                        entity: EntityRef { kind, project, id },
                        version: version as Version,
                        registered_at: Timestamp::from_micros(registered_at.unwrap_or_default()),
                    });
                }
            }
        }
        Ok(changes)
    }

    async fn find(&self, by: Lookup, hash: &str) -> Result<Option<(ProjectId, String)>, StoreError> {
        let rows = self.rows("looking up", &self.control.find, vec![text(by.name()), text(hash)]).await?;
        let row = rows
            .maybe_first_row::<(String, String)>()
            .context("a row")
            .map_err(StoreError::broken("looking up"))?;
        Ok(row.and_then(|(project, id)| Some((project.parse().ok()?, id))))
    }

    async fn index(&self, by: Lookup, hash: &str, project: &ProjectId, id: &str) -> Result<(), StoreError> {
        let values = vec![text(by.name()), text(hash), text(project), text(id)];
        self.run("indexing", &self.control.index, values).await
    }

    async fn unindex(&self, by: Lookup, hash: &str) -> Result<(), StoreError> {
        self.run("unindexing", &self.control.unindex, vec![text(by.name()), text(hash)]).await
    }

    async fn poll_state(
        &self,
        account: &AccountId,
        resource: Resource,
    ) -> Result<Option<Stored>, StoreError> {
        self.stored(&self.control.poll_state, [text(account), text(resource)]).await
    }

    async fn put_poll_state(
        &self,
        account: &AccountId,
        resource: Resource,
        expected: Option<Version>,
        stored: &Stored,
    ) -> Result<Cas, StoreError> {
        let [version, doc] = stored_values(stored);
        let (account, resource) = (text(account), text(resource));
        match expected {
            None => {
                let values = vec![account, resource, version, doc];
                self.compare_and_set(&self.control.create_poll_state, values).await
            }
            Some(expected) => {
                let values = vec![version, doc, account, resource, big(expected)];
                self.compare_and_set(&self.control.update_poll_state, values).await
            }
        }
    }

    async fn delete_poll_states(&self, account: &AccountId) -> Result<(), StoreError> {
        let rows =
            self.rows("listing poll states", &self.control.poll_resources, vec![text(account)]).await?;
        let resources: Vec<(String,)> = rows
            .rows::<(String,)>()
            .context("columns")
            .and_then(|rows| Ok(rows.collect::<Result<_, _>>()?))
            .map_err(StoreError::broken("listing poll states"))?;
        for (resource,) in resources {
            // Done or not there: both are what is wanted.
            let _ = self
                .compare_and_set(&self.control.delete_poll_state, vec![text(account), text(resource)])
                .await?;
        }
        Ok(())
    }

    async fn add_attempts(&self, attempts: &[AttemptRow]) -> Result<(), StoreError> {
        let writes: Vec<_> = attempts
            .iter()
            .flat_map(|attempt| {
                let at = CqlValue::BigInt(attempt.at.as_micros());
                let (webhook, delivery) = (text(&attempt.webhook), text(&attempt.delivery));
                let doc = CqlValue::Blob(attempt.doc.clone());
                let day = CqlValue::BigInt(day(attempt.at));
                [
                    (
                        &self.control.add_attempt,
                        vec![webhook.clone(), day, at.clone(), delivery.clone(), doc.clone()],
                    ),
                    (&self.control.add_attempt_of, vec![webhook, delivery, at, doc]),
                ]
            })
            .collect();
        let writes: Vec<_> = writes
            .into_iter()
            .map(|(statement, values)| self.run("adding attempts", statement, values))
            .collect();
        stream::iter(writes).buffer_unordered(16).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    async fn attempts(
        &self,
        webhook: &WebhookId,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let mut found: Vec<AttemptRow> = Vec::new();
        for day in (day(before) - ATTEMPTS_KEPT_DAYS..=day(before)).rev() {
            let left = CqlValue::Int(i32::try_from(limit - found.len()).unwrap_or(i32::MAX));
            let values =
                vec![text(webhook), CqlValue::BigInt(day), CqlValue::BigInt(before.as_micros()), left];
            let rows = self.rows("listing attempts", &self.control.attempts, values).await?;
            let typed = rows
                .rows::<(i64, String, Vec<u8>)>()
                .context("columns")
                .map_err(StoreError::broken("listing attempts"))?;
            for row in typed {
                let (at, delivery, doc) =
                    row.context("a row").map_err(StoreError::broken("listing attempts"))?;
                let at = Timestamp::from_micros(at);
                found.push(AttemptRow { webhook: webhook.clone(), delivery, at, doc });
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    async fn attempts_of(&self, webhook: &WebhookId, delivery: &str) -> Result<Vec<AttemptRow>, StoreError> {
        let values = vec![text(webhook), text(delivery)];
        let rows = self.rows("listing attempts", &self.control.attempts_of, values).await?;
        let typed = rows
            .rows::<(i64, Vec<u8>)>()
            .context("columns")
            .map_err(StoreError::broken("listing attempts"))?;
        typed
            .map(|row| {
                let (at, doc) = row.context("a row").map_err(StoreError::broken("listing attempts"))?;
                let at = Timestamp::from_micros(at);
                Ok(AttemptRow { webhook: webhook.clone(), delivery: delivery.to_owned(), at, doc })
            })
            .collect()
    }

    async fn hold(&self, line: &Line, held: Held, at: Timestamp) -> Result<(), StoreError> {
        self.hold_delivery(line, held, at).await
    }

    async fn let_go(&self, line: &Line, sequence: Sequence, at: Timestamp) -> Result<(), StoreError> {
        self.let_delivery_go(line, sequence, at).await
    }

    async fn held(&self, line: &Line, until: Sequence, limit: usize) -> Result<Vec<Held>, StoreError> {
        self.held_deliveries(line, until, limit).await
    }
}

impl CqlStore {
    pub(super) async fn run(
        &self,
        doing: &'static str,
        statement: &PreparedStatement,
        values: Vec<CqlValue>,
    ) -> Result<(), StoreError> {
        retried(doing, || self.session.execute_unpaged(statement, values.as_slice())).await.map(drop)
    }

    pub(super) async fn rows(
        &self,
        doing: &'static str,
        statement: &PreparedStatement,
        values: Vec<CqlValue>,
    ) -> Result<QueryRowsResult, StoreError> {
        let answer = retried(doing, || self.session.execute_unpaged(statement, values.as_slice())).await?;
        answer.into_rows_result().context("rows").map_err(StoreError::broken(doing))
    }

    async fn stored(
        &self,
        statement: &PreparedStatement,
        values: impl Into<Vec<CqlValue>>,
    ) -> Result<Option<Stored>, StoreError> {
        let rows = self.rows("reading a document", statement, values.into()).await?;
        let row = rows
            .maybe_first_row::<(Option<i64>, Option<Vec<u8>>)>()
            .context("a row")
            .map_err(StoreError::broken("reading a document"))?;
        Ok(row.and_then(|(version, doc)| Some(Stored { version: version? as Version, doc: doc? })))
    }

    /// One try only, after which the answer is known or the caller hears that it is not: a repeat could meet its own
    /// first try and call it a conflict.
    pub(super) async fn compare_and_set(
        &self,
        statement: &PreparedStatement,
        values: Vec<CqlValue>,
    ) -> Result<Cas, StoreError> {
        let answer = self
            .session
            .execute_unpaged(statement, values.as_slice())
            .await
            .context("compare-and-set")
            .map_err(StoreError::unavailable("writing a document"))?;
        let rows =
            answer.into_rows_result().context("rows").map_err(StoreError::broken("writing a document"))?;
        let row =
            rows.first_row::<Row>().context("a row").map_err(StoreError::broken("writing a document"))?;
        Ok(match row.columns.first() {
            Some(Some(CqlValue::Boolean(true))) => Cas::Done,
            Some(_) | None => Cas::Conflict,
        })
    }
}

fn entity_values(entity: &EntityRef) -> [CqlValue; 3] {
    [text(entity.kind.name()), text(&entity.project), text(&entity.id)]
}

fn stored_values(stored: &Stored) -> [CqlValue; 2] {
    [big(stored.version), CqlValue::Blob(stored.doc.clone())]
}

fn change_values(entity: &EntityRef, version: Version) -> Vec<CqlValue> {
    let [kind, project, id] = entity_values(entity);
    let shard = entity.id.bytes().fold(0, |sum, byte| (sum * 31 + i32::from(byte)) % SHARDS);
    vec![CqlValue::Int(shard), kind, project, id, big(version)]
}

fn big(version: Version) -> CqlValue {
    CqlValue::BigInt(version as i64)
}

pub(super) fn text(value: impl std::fmt::Display) -> CqlValue {
    CqlValue::Text(value.to_string())
}

/// The day of an instant, counted from 1970: the bucket of the attempts.
fn day(at: Timestamp) -> i64 {
    at.as_seconds().div_euclid(86_400)
}
