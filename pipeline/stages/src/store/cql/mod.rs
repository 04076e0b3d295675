//! Both stores in ScyllaDB or Cassandra, which speak the same CQL: the only user of the driver.

mod api;
mod backlog;
mod control;
mod held;
pub mod migrate;
mod state;

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use rand::Rng;
use scylla::{
    client::{execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder},
    policies::retry::FallthroughRetryPolicy,
    statement::{Consistency, SerialConsistency, prepared::PreparedStatement},
};
use serde::{Deserialize, Serialize};

use super::StoreError;

/// How to reach the database.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `host:port` of one or more nodes.
    pub hosts: Vec<String>,
    /// The keyspace; `tributary schema apply` makes it.
    pub keyspace: String,
    /// Replicas in each data centre, when the keyspace is made.
    pub replication: u32,
    /// The user, where the database wants one.
    pub username: Option<String>,
    /// Its password; better from the environment than from the file.
    pub password: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hosts: vec!["127.0.0.1:9042".into()],
            keyspace: "tributary".into(),
            replication: 3,
            username: None,
            password: None,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { hosts, keyspace, replication, username, password } = self;
        f.debug_struct("Config")
            .field("hosts", hosts)
            .field("keyspace", keyspace)
            .field("replication", replication)
            .field("username", username)
            .field("password", &password.as_ref().map(|_| "***"))
            .finish()
    }
}

/// How long one request may take before it is tried again.
const REQUEST_LIMIT: Duration = Duration::from_secs(4);
/// How long a request is tried again before its caller hears of it.
const RETRY_LIMIT: Duration = Duration::from_secs(30);

/// Both stores over one session.
pub struct CqlStore {
    session: Arc<Session>,
    state: state::Statements,
    control: control::Statements,
    api: api::Statements,
    held: held::Statements,
    backlog: backlog::Statements,
}

impl CqlStore {
    /// Connects, and prepares every statement.
    ///
    /// # Errors
    /// When no host answers, or the schema is not there; the message says what to do.
    pub async fn connect(config: &Config) -> anyhow::Result<Self> {
        let session = connect(config).await?;
        migrate::ensure_current(&session, &config.keyspace).await?;
        session.use_keyspace(&config.keyspace, true).await.context("choosing the keyspace")?;
        let state = state::Statements::prepare(&session).await?;
        let control = control::Statements::prepare(&session).await?;
        let api = api::Statements::prepare(&session).await?;
        let held = held::Statements::prepare(&session).await?;
        let backlog = backlog::Statements::prepare(&session).await?;
        Ok(Self { session: Arc::new(session), state, control, api, held, backlog })
    }
}

async fn connect(config: &Config) -> anyhow::Result<Session> {
    if config.hosts.is_empty() {
        bail!("store.cql.hosts is empty: name at least one `host:port`");
    }
    if !config.keyspace.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        bail!("store.cql.keyspace `{}`: expected letters, digits and `_`", config.keyspace);
    }
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(Some(SerialConsistency::LocalSerial))
        .request_timeout(Some(REQUEST_LIMIT))
        // Retrying is ours: the driver's policy gives up on most write timeouts.
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.hosts)
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(Duration::from_secs(5));
    if let (Some(username), Some(password)) = (&config.username, &config.password) {
        builder = builder.user(username, password);
    }
    builder.build().await.with_context(|| {
        format!(
            "no CQL database answers at {}: check store.cql.hosts and that it is up",
            config.hosts.join(", ")
        )
    })
}

async fn prepare(session: &Session, text: &str) -> anyhow::Result<PreparedStatement> {
    let text = &qualified(session.get_keyspace().as_deref().map_or("", String::as_str), text);
    let mut statement =
        session.prepare(text.as_str()).await.with_context(|| format!("preparing `{text}`"))?;
    // Ours are: timestamps are given, compare-and-sets are read again after a doubt.
    statement.set_is_idempotent(true);
    Ok(statement)
}

/// A statement with its table's keyspace: prepared under `USE` alone, the database warns of each.
fn qualified(keyspace: &str, text: &str) -> String {
    let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let table = words.iter().position(|word| matches!(word.as_str(), "FROM" | "INTO" | "UPDATE"));
    if let Some(table) = table.and_then(|before| words.get_mut(before + 1))
        && !keyspace.is_empty()
        && !table.contains('.')
    {
        *table = format!("{keyspace}.{table}");
    }
    words.join(" ")
}

/// Tries again with growing, jittered waits until it is done or the limit is over.
async fn retried<T, E, F>(doing: &'static str, mut attempt: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    let started = tokio::time::Instant::now();
    let mut wait = Duration::from_millis(20);
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if started.elapsed() + wait > RETRY_LIMIT => {
                metrics::counter!(crate::store::metrics::UNAVAILABLE).increment(1);
                return Err(StoreError::Unavailable { doing, source: error.into() });
            }
            Err(error) => {
                tracing::debug!(doing, %error, "trying the store again");
                metrics::counter!(crate::store::metrics::RETRIES).increment(1);
                let jitter = rand::rng().random_range(0.5..1.5);
                tokio::time::sleep(wait.mul_f64(jitter)).await;
                wait = (wait * 2).min(Duration::from_secs(2));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::qualified;

    #[test]
    fn a_statement_names_its_table_s_keyspace_once() {
        for (text, expected) in [
            ("SELECT a FROM t WHERE b = ?", "SELECT a FROM k.t WHERE b = ?"),
            ("INSERT INTO t (a) VALUES (?)", "INSERT INTO k.t (a) VALUES (?)"),
            ("UPDATE t USING TTL ? SET a = ?", "UPDATE k.t USING TTL ? SET a = ?"),
            ("DELETE FROM t USING TIMESTAMP ? WHERE a = ?", "DELETE FROM k.t USING TIMESTAMP ? WHERE a = ?"),
            ("DELETE a FROM o.t WHERE b = ?", "DELETE a FROM o.t WHERE b = ?"),
        ] {
            assert_eq!(qualified("k", text), expected);
        }
    }
}
