//! kill -9 at any moment: afterwards every change is on the unified topic exactly once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;
use tributary_tests::{client::Client, deployment::Deployment, tryton::Tryton};

/// Somebody is hired before each kill, and somebody hired earlier is deleted.
const KILLS: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn ten_kills_in_mid_scan_lose_nothing_and_tell_nothing_twice() {
    let tryton = Tryton::of_its_own("kills").await.unwrap();
    for number in 0..30 {
        tryton.hire(&format!("Already there {number}"), "there@acme.example").await.unwrap();
    }
    let mut deployment = Deployment::start("kills").await.unwrap();
    let project = deployment.project("Acme").await.unwrap();
    project.employees_of(&tryton).await.unwrap();

    let mut expected: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut hired = Vec::new();
    for kill in 0..KILLS {
        for number in 0..3 {
            let (employee, _) =
                tryton.hire(&format!("New {kill} {number}"), "new@acme.example").await.unwrap();
            expected.insert(employee.to_string(), vec!["created"]);
            hired.push(employee);
        }
        if kill >= 2 {
            // One whose `created` every reader has had two lives' time to see: deleted before that, it may never be told.
            let leaver = hired.remove(0);
            if seen(&deployment, &leaver.to_string(), "created").await {
                tryton.delete(leaver).await.unwrap();
                expected.get_mut(&leaver.to_string()).unwrap().push("deleted");
            }
        }
        // Not to wait for a state: to be somewhere else in a scan, a delta or a transaction each time.
        tokio::time::sleep(Duration::from_millis(350 * (kill % 5) + 90 * kill)).await;
        deployment.kill().await.unwrap();
        deployment.run().await.unwrap();
    }
    let events: usize = expected.values().map(Vec::len).sum();
    let topic = deployment.topic("unified.hris_employees");
    let mut reader = Client::avro_reader(deployment.control(), &topic, events + 1).unwrap();
    let mut told: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for _ in 0..events {
        let event = reader.json().await.unwrap()["event"].clone();
        assert!(ids.insert(event["event_id"].to_string()), "told twice: {event}");
        told.entry(event["record_remote_id"].as_str().unwrap().to_owned()).or_default().push(event);
    }
    // Had anything been told twice or too much, it would come before this.
    let (last, _) = tryton.hire("The last", "last@acme.example").await.unwrap();
    assert_eq!(reader.json().await.unwrap()["event"]["record_remote_id"], last.to_string());

    for (employee, events) in &expected {
        let of = told.get(employee).map(Vec::as_slice).unwrap_or_default();
        let actions: Vec<_> =
            of.iter().map(|event| event["event"].as_str().unwrap().rsplit_once('.').unwrap().1).collect();
        assert_eq!(&actions, events, "employee {employee}");
        let mut before = Value::Null;
        for event in of {
            assert_eq!(event["previous_sequence"], before, "the chain of {employee} is whole");
            before = event["sequence"].clone();
        }
    }
    assert_eq!(told.len(), expected.len(), "nobody who was there before was told of");
    deployment.stop().await.unwrap();
}

/// Whether the topic holds this event by now.
async fn seen(deployment: &Deployment, employee: &str, action: &str) -> bool {
    let topic = deployment.topic("unified.hris_employees");
    let mut reader = Client::avro_reader(deployment.control(), &topic, 1_000).unwrap();
    for _ in 0..1_000 {
        let event = reader.json().await.unwrap()["event"].clone();
        if event["record_remote_id"] == employee && event["event"] == format!("hris_employees.{action}") {
            return true;
        }
    }
    false
}
