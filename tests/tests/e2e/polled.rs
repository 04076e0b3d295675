//! Tryton, polled, to receivers that nobody here wrote.

use reqwest::Method;
use serde_json::{Value, json};
use tributary_tests::{client::Client, deployment::Deployment, tryton::Tryton};

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn of(body: &Value, event: &str, employee: u64) {
    assert_eq!(
        (body["event"].as_str(), body["record_remote_id"].as_str()),
        (Some(event), Some(employee.to_string().as_str())),
        "{body}"
    );
    assert!(
        body.get("raw_event").is_none() && body.get("event_data").is_none(),
        "a polled event holds no data: {body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn people_change_in_tryton_and_signed_webhooks_arrive() {
    let tryton = Tryton::of_its_own("polled").await.unwrap();
    let before = tryton.hire("Grace Hopper", "grace@acme.example").await.unwrap();
    let deployment = Deployment::start("tryton").await.unwrap();
    let project = deployment.project("Acme").await.unwrap();
    let mut receivers = Vec::new();
    for file in
        ["standardwebhooks_receiver.py", "standardwebhooks_receiver.mjs", "subscriber.mjs", "subscriber.py"]
    {
        let (client, port) = Client::receiver(file, SECRET).await.unwrap();
        let url = format!("http://127.0.0.1:{port}/");
        let webhook = json!({"url": url, "events": ["hris_employees.*"], "secret": SECRET});
        project.done(Method::POST, "/webhooks", Some(webhook)).await.unwrap();
        receivers.push(client);
    }
    let account = json!({"provider": "tryton", "setup": tryton.setup()});
    let account = project.done(Method::POST, "/accounts", Some(account)).await.unwrap();
    let schedule = format!("/accounts/{}/schedules/hris_employees", account["id"].as_str().unwrap());
    // Who is there already is taken over in silence; what comes after the first full scan is told.
    while project.done(Method::GET, &schedule, None).await.unwrap()["last_full_scan_at"].is_null() {
        assert!(!deployment.logged().contains("panicked"), "{}", deployment.logged());
    }

    let (ada, party) = tryton.hire("Ada King", "ada@acme.example").await.unwrap();
    for receiver in &mut receivers {
        of(&receiver.verified().await.unwrap(), "hris_employees.created", ada);
    }
    tryton.rename(party, "Ada Lovelace").await.unwrap();
    for receiver in &mut receivers {
        of(&receiver.verified().await.unwrap(), "hris_employees.updated", ada);
    }
    tryton.let_end_date_pass(before.0).await.unwrap();
    for receiver in &mut receivers {
        of(&receiver.verified().await.unwrap(), "hris_employees.updated", before.0);
    }
    tryton.delete(ada).await.unwrap();
    for receiver in &mut receivers {
        of(&receiver.verified().await.unwrap(), "hris_employees.deleted", ada);
    }

    // A direct reader with a stock deserialiser, and the registry's calls of control.
    let topic = deployment.topic("unified.hris_employees");
    let mut reader = Client::avro_reader(deployment.control(), &topic, 4).unwrap();
    let mut chain = None;
    for event in ["created", "updated", "updated", "deleted"] {
        let read = reader.json().await.unwrap();
        let value = &read["event"];
        assert_eq!(value["event"], format!("hris_employees.{event}"), "{read}");
        if value["record_remote_id"].as_str() == Some(ada.to_string().as_str()) {
            assert_eq!(value["previous_sequence"].as_i64(), chain, "{read}");
            chain = value["sequence"].as_i64();
        }
    }

    // Attempts are in the log, and nothing but these four was told.
    let webhooks = project.done(Method::GET, "/webhooks", None).await.unwrap();
    for webhook in webhooks["data"].as_array().unwrap() {
        let path = format!("/webhooks/{}/attempts", webhook["id"].as_str().unwrap());
        let attempts = loop {
            let found =
                project.done(Method::GET, &path, None).await.unwrap()["data"].as_array().unwrap().clone();
            if found.len() >= 4 {
                break found;
            }
        };
        assert_eq!(attempts.len(), 4, "{attempts:?}");
        assert!(attempts.iter().all(|it| it["outcome"] == "delivered"), "{attempts:?}");
    }
    deployment.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_resource_of_tryton_is_scanned_and_its_deltas_too() {
    let tryton = Tryton::of_its_own("resources").await.unwrap();
    let (_, party) = tryton.hire("Grace Hopper", "grace@acme.example").await.unwrap();
    tryton.attach(party, "contract.txt").await.unwrap();
    let deployment = Deployment::start("resources").await.unwrap();
    let project = deployment.project("Acme").await.unwrap();
    let wishes = json!({"topics": [{"events": ["*"]}]});
    project.done(Method::PUT, "/topics", Some(wishes)).await.unwrap();
    let account = json!({"provider": "tryton", "setup": tryton.setup()});
    let account = project.done(Method::POST, "/accounts", Some(account)).await.unwrap();
    let path = format!("/accounts/{}/schedules", account["id"].as_str().unwrap());
    // A delta has run when the last run is not the last full scan.
    let ran = |it: &Value| !it["last_full_scan_at"].is_null() && it["last_run_at"] != it["last_full_scan_at"];
    let schedules = loop {
        let found = project.done(Method::GET, &path, None).await.unwrap()["data"].as_array().unwrap().clone();
        assert!(
            found.iter().all(|it| it["outcome"].is_null() || it["outcome"]["name"] == "landed"),
            "{found:?}"
        );
        if found.iter().all(ran) {
            break found;
        }
    };
    let known: Vec<_> =
        schedules.iter().map(|it| (it["resource"].as_str().unwrap(), it["records_known"].as_u64())).collect();
    let expected = [
        ("hris_employees", Some(1)),
        ("hris_employments", Some(1)),
        ("crm_accounts", Some(2)),
        ("crm_contacts", Some(1)),
        ("documents_files", Some(1)),
    ];
    assert_eq!(known, expected);
    deployment.stop().await.unwrap();
}
