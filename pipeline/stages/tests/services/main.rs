//! Tests against real Apache Kafka and a real CQL database, at TRIBUTARY_TEST_KAFKA and TRIBUTARY_TEST_CQL.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../shared/store.rs"]
mod store;

mod control;
mod deployment;
mod poll;
mod unify;

use deployment::{env, keyspace};
use scylla::client::session_builder::SessionBuilder;
use tributary_stages::store::{Config, Stores, cql};

#[tokio::test]
async fn the_cql_stores_keep_their_promises() {
    let config = keyspace("store").await;
    assert!(cql::migrate::apply(&config).await.unwrap().is_empty(), "applying again changes nothing");
    store::all(&Stores::open(&Config::Cql(config)).await.unwrap()).await;
}

#[tokio::test]
async fn a_migration_that_was_made_and_not_noted_is_no_obstacle() {
    let config = keyspace("unnoted").await;
    let session = SessionBuilder::new().known_nodes(&config.hosts).build().await.unwrap();
    session.query_unpaged(format!("TRUNCATE {}.migrations", config.keyspace), ()).await.unwrap();
    let applied = cql::migrate::apply(&config).await.unwrap();
    assert_eq!(applied.first(), Some(&"001_state"));
    assert!(cql::migrate::apply(&config).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_keyspace_without_the_schema_says_what_to_run() {
    let config = cql::Config {
        hosts: vec![env("TRIBUTARY_TEST_CQL")],
        keyspace: "nobody".into(),
        ..Default::default()
    };
    let error = Stores::open(&Config::Cql(config)).await.err().unwrap();
    assert!(format!("{error:#}").contains("tributary schema apply"), "{error:#}");
}
