//! unify on a broker that misbehaves.

use std::time::Duration;

use rdkafka::{
    mocking::MockCluster,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use tokio_util::sync::CancellationToken;
use tributary_connectors::Catalog;
use tributary_schemas::topic::Topics;
use tributary_stages::{
    kafka::{Cluster, Config as KafkaConfig, Outgoing, Publisher},
    store::{Config, Stores},
    unify::{self, Unify},
};

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_does_not_end_ends_the_process() {
    let mock = MockCluster::new(1).unwrap();
    let topics = Topics::default();
    for topic in [topics.ingest_native(), topics.poll_snapshots(), topics.unify_wal(), topics.unify_dead()] {
        mock.create_topic(&topic, 1, 1).unwrap();
    }
    // Each answer has librdkafka ask again, until the call's own limit.
    let loading = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 10_000];
    mock.request_errors(RDKafkaApiKey::EndTxn, &loading);
    let cluster = Cluster::new(KafkaConfig { brokers: mock.bootstrap_servers(), ..KafkaConfig::default() });
    let folder = tempfile::tempdir().unwrap();
    let stores = Stores::open(&Config::Embedded { path: folder.path().into() }).await.unwrap();
    let config = unify::Config { watchdog_seconds: 1, ..unify::Config::default() };
    let runtime = tokio::runtime::Handle::current();
    let unify = Unify::build(config, cluster.clone(), stores.state, Catalog::built_in().unwrap(), runtime);
    let stop = CancellationToken::new();
    let running = tokio::spawn(unify.run(stop.clone()));
    let _stopped_if_it_does_not = stop.drop_guard();
    let undecodable = Outgoing {
        topic: cluster.topics().ingest_native(),
        key: b"account".to_vec().into(),
        payload: Some(b"?".to_vec().into()),
        ..Outgoing::default()
    };
    Publisher::new(&cluster, "test").unwrap().send(undecodable).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, running).await.expect("it ends").unwrap();
    let error = ended.unwrap_err().to_string();
    assert_eq!(error, "lane 0 has been in one transaction for more than 1s: restart the process");
}
