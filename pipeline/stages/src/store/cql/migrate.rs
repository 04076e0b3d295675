//! The schema: the files of `ops/cql`, applied in order, each once.

use std::time::Duration;

use anyhow::{Context, bail};
use scylla::{client::session::Session, statement::unprepared::Statement};

use super::{Config, connect};

/// The migrations: number, name, statements.
const MIGRATIONS: &[(i32, &str, &str)] = &[
    (1, "001_state", include_str!("../../../../../ops/cql/001_state.cql")),
    (2, "002_control", include_str!("../../../../../ops/cql/002_control.cql")),
    (3, "003_registered", include_str!("../../../../../ops/cql/003_registered.cql")),
    (4, "004_held", include_str!("../../../../../ops/cql/004_held.cql")),
    (5, "005_unify", include_str!("../../../../../ops/cql/005_unify.cql")),
    (7, "007_control", include_str!("../../../../../ops/cql/007_control.cql")),
    (8, "008_deliver", include_str!("../../../../../ops/cql/008_deliver.cql")),
];

/// How long a change of the schema may take: every node takes part in it.
const CHANGE_LIMIT: Duration = Duration::from_secs(60);

/// Makes the keyspace and brings it to this release's schema. Repeatable; gives the names of what was applied.
///
/// # Errors
/// When no host answers or a statement fails.
pub async fn apply(config: &Config) -> anyhow::Result<Vec<&'static str>> {
    let session = connect(config).await?;
    let keyspace = &config.keyspace;
    run(
        &session,
        &format!(
            "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = \
             {{'class': 'NetworkTopologyStrategy', 'replication_factor': {}}}",
            config.replication
        ),
    )
    .await?;
    session.use_keyspace(keyspace, true).await.context("choosing the keyspace")?;
    run(&session, "CREATE TABLE IF NOT EXISTS migrations (number int PRIMARY KEY, name text)").await?;
    let done = applied(&session, keyspace).await?;
    let mut applied = Vec::new();
    for &(number, name, text) in MIGRATIONS {
        if done.contains(&number) {
            continue;
        }
        for statement in statements(text) {
            run(&session, &statement).await.with_context(|| format!("ops/cql/{name}.cql"))?;
        }
        session
            .query_unpaged("INSERT INTO migrations (number, name) VALUES (?, ?)", (number, name))
            .await
            .context("noting a migration")?;
        applied.push(name);
    }
    Ok(applied)
}

/// Fails unless every migration of this release has been applied.
pub(super) async fn ensure_current(session: &Session, keyspace: &str) -> anyhow::Result<()> {
    let advice = "run `tributary schema apply`";
    let done = applied(session, keyspace)
        .await
        .with_context(|| format!("the keyspace `{keyspace}` has no Tributary schema: {advice}"))?;
    match MIGRATIONS.iter().find(|(number, ..)| !done.contains(number)) {
        Some((_, name, _)) => bail!("the keyspace `{keyspace}` lacks the migration {name}: {advice}"),
        None => Ok(()),
    }
}

async fn applied(session: &Session, keyspace: &str) -> anyhow::Result<Vec<i32>> {
    let rows = session.query_unpaged(format!("SELECT number FROM {keyspace}.migrations"), ()).await?;
    let rows = rows.into_rows_result()?;
    let numbers = rows.rows::<(i32,)>()?.map(|row| row.map(|(number,)| number));
    Ok(numbers.collect::<Result<_, _>>()?)
}

async fn run(session: &Session, text: &str) -> anyhow::Result<()> {
    let mut statement = Statement::new(text);
    statement.set_request_timeout(Some(CHANGE_LIMIT));
    match session.query_unpaged(statement, ()).await {
        // An earlier run got this far, and did not come to note it.
        Err(error) if text.starts_with("ALTER TABLE") && is_there(&error.to_string()) => {}
        done => drop(done?),
    }
    session.await_schema_agreement().await?;
    Ok(())
}

/// Whether an error says that a column that was to be added is there, as Cassandra or as ScyllaDB puts it.
fn is_there(error: &str) -> bool {
    error.contains("already exists") || error.contains("existing column")
}

/// The statements of a file: comment lines left out, cut at semicolons.
fn statements(text: &str) -> Vec<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join("\n");
    code.split(';').map(str::trim).filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_into_its_statements() {
        assert_eq!(statements("-- why; so\nCREATE A;\n\nCREATE B\n  C;\n"), ["CREATE A", "CREATE B\n  C"]);
        assert!(MIGRATIONS.iter().all(|(_, _, text)| !statements(text).is_empty()));
    }
}
