//! Each stage in a process of its own, and one of them killed: what the stage promises by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use reqwest::{Method, StatusCode};
use serde_json::json;
use tributary_tests::{client::Client, deployment::Deployment, tryton::Tryton};

use crate::native::{SECRET, application, signed};

/// ingest is killed right after each second acknowledgement, deliver after each other one.
const REQUESTS: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn what_ingest_acknowledged_is_told_once_and_delivered_under_one_id_whenever_ingest_and_deliver_die() {
    let mut deployment = Deployment::start("deaths").await.unwrap();
    let project = deployment.project("Acme").await.unwrap();
    let (mut receiver, port) = Client::receiver("standardwebhooks_receiver.mjs", SECRET).await.unwrap();
    let url = format!("http://127.0.0.1:{port}/");
    let webhook = json!({"url": url, "events": ["ats_*"], "secret": SECRET});
    project.done(Method::POST, "/webhooks", Some(webhook)).await.unwrap();
    let account = Some(json!({"provider": "greenhouse"}));
    let account = project.done(Method::POST, "/accounts", account).await.unwrap();
    let path = format!("/accounts/{}/native-webhook", account["id"].as_str().unwrap());
    let native = project.done(Method::GET, &path, None).await.unwrap();
    let (url, secret) = (native["url"].as_str().unwrap(), native["secret"].as_str().unwrap());
    deployment.part().await.unwrap();

    for number in 1..=REQUESTS {
        let body = application(number, 0);
        let (delivery, signature) = (number.to_string(), signed(secret, &body));
        let headers = [("signature", signature.as_str()), ("greenhouse-event-id", delivery.as_str())];
        // As a provider does it: again, until it is acknowledged.
        while deployment.post(url, &headers, body.clone()).await.ok() != Some(StatusCode::OK) {
            tokio::task::yield_now().await;
        }
        let stage = if number % 2 == 0 { "ingest" } else { "deliver" };
        deployment.kill_stage(stage).await.unwrap();
        deployment.start_stage(stage).unwrap();
    }

    // Each acknowledged request has become one event …
    let topic = deployment.topic("unified.ats_applications");
    let mut reader = Client::avro_reader(deployment.control(), &topic, REQUESTS as usize).unwrap();
    let mut told = BTreeSet::new();
    for _ in 0..REQUESTS {
        let event = reader.json().await.unwrap()["event"].clone();
        let record: u64 = event["record_remote_id"].as_str().unwrap().parse().unwrap();
        assert!(told.insert(record), "told twice: {event}");
    }
    assert_eq!(told, (1..=REQUESTS).collect());
    // … and each event a delivery; one that comes again has the same id.
    let mut delivered: BTreeMap<String, String> = BTreeMap::new();
    while delivered.len() < REQUESTS as usize {
        let line = receiver.json().await.unwrap();
        assert_eq!(line["verified"], true, "{line}");
        let id = line["id"].as_str().unwrap().to_owned();
        let record = line["body"]["record_remote_id"].as_str().unwrap().to_owned();
        let before = delivered.entry(record).or_insert_with(|| id.clone());
        assert_eq!(*before, id, "another id for the same event: {line}");
    }
    let ids: BTreeSet<&String> = delivered.values().collect();
    assert_eq!(ids.len(), delivered.len(), "each event has an id of its own");
    deployment.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_dies_with_poll_lands_nothing() {
    let tryton = Tryton::of_its_own("deaths").await.unwrap();
    for number in 0..30 {
        tryton.hire(&format!("Already there {number}"), "there@acme.example").await.unwrap();
    }
    let mut deployment = Deployment::start("scans").await.unwrap();
    let project = deployment.project("Acme").await.unwrap();
    project.employees_of(&tryton).await.unwrap();
    deployment.part().await.unwrap();
    for kill in 0..6 {
        // Not to wait for a state: to be somewhere else in a scan each time.
        tokio::time::sleep(Duration::from_millis(1_000 + 130 * kill)).await;
        deployment.kill_stage("poll").await.unwrap();
        deployment.start_stage("poll").unwrap();
    }
    // Whatever a scan had seen of the thirty, nobody has come, changed or gone: the first that is told of is new.
    let (last, _) = tryton.hire("The last", "last@acme.example").await.unwrap();
    let topic = deployment.topic("unified.hris_employees");
    let mut reader = Client::avro_reader(deployment.control(), &topic, 1).unwrap();
    let told = reader.json().await.unwrap()["event"].clone();
    assert_eq!(
        (&told["event"], &told["record_remote_id"]),
        (&json!("hris_employees.created"), &json!(last.to_string()))
    );
    deployment.stop().await.unwrap();
}
