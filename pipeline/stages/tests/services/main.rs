//! Tests against real Apache Kafka and a real CQL database, at TRIBUTARY_TEST_KAFKA and TRIBUTARY_TEST_CQL.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../shared/store.rs"]
mod store;

use tributary_stages::store::{Config, Stores, cql};

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests by tests/run"))
}

/// A keyspace of this test's own, with the schema.
async fn keyspace(name: &str) -> cql::Config {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let config = cql::Config {
        hosts: vec![env("TRIBUTARY_TEST_CQL")],
        keyspace: format!("t_{name}_{now}"),
        replication: 1,
        ..Default::default()
    };
    cql::migrate::apply(&config).await.unwrap();
    config
}

#[tokio::test]
async fn the_cql_stores_keep_their_promises() {
    let config = keyspace("store").await;
    assert!(cql::migrate::apply(&config).await.unwrap().is_empty(), "applying again changes nothing");
    store::all(&Stores::open(&Config::Cql(config)).await.unwrap()).await;
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
