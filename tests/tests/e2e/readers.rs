//! Direct readers: every unified topic by three stocks of clients, a registry that is not ours, a table kept by Kafka Streams,
//! and the check that anyone can make.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use tributary_tests::{
    client::{Client, Reader},
    deployment::Deployment,
    tryton::Tryton,
};

const RESOURCES: [&str; 20] = [
    "account",
    "hris_employees",
    "hris_employments",
    "ats_assessments",
    "ats_candidates",
    "ats_applications",
    "ats_interviews",
    "ats_jobs",
    "ats_job_postings",
    "ats_lists",
    "ats_users",
    "crm_accounts",
    "crm_contacts",
    "lms_assignments",
    "lms_completions",
    "lms_content",
    "lms_courses",
    "lms_users",
    "documents_files",
    "documents_folders",
];

/// What every reader must have read of an event, whatever its language makes of moments.
fn essence(line: &Value) -> String {
    let event = &line["event"];
    let named =
        ["event_id", "event", "account_id", "record_id", "origin_owner_id", "sequence", "previous_sequence"];
    let fields: Vec<_> = named.iter().map(|name| event[*name].to_string()).collect();
    format!(
        "{} {} {} {} {}",
        line["topic"],
        line["partition"],
        line["offset"],
        line["headers"],
        fields.join(" ")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_readers_of_three_languages_read_the_same_by_a_registry_that_is_not_ours() {
    let fake = Client::registry().await.unwrap();
    let settings = match &fake {
        Some((_, url)) => format!("[registry]\nurl = \"{url}\""),
        None => {
            eprintln!("not run: no Go to build the registry with; control serves the schemas instead");
            String::new()
        }
    };
    let mut deployment = Deployment::prepare("readers", &settings).await.unwrap();
    if fake.is_some() {
        let absent = deployment.command(&["schemas", "check"]).await.unwrap_err().to_string();
        assert!(absent.contains("absent: run `tributary schemas apply`"), "{absent}");
        let early = deployment.command(&["run"]).await.unwrap_err().to_string();
        assert!(early.contains("run `tributary schemas apply`"), "{early}");
        deployment.command(&["schemas", "apply"]).await.unwrap();
        deployment.command(&["schemas", "apply"]).await.unwrap();
        deployment.command(&["schemas", "check"]).await.unwrap();
    }
    deployment.run().await.unwrap();
    let registry = fake.as_ref().map_or(deployment.control(), |(_, url)| url.as_str()).to_owned();

    let tryton = Tryton::of_its_own("readers").await.unwrap();
    let project = deployment.project("Acme").await.unwrap();
    let wishes = json!({"topics": [{"events": ["*"]}]});
    project.done(Method::PUT, "/topics", Some(wishes)).await.unwrap();
    let account = json!({"provider": "tryton", "origin_owner_id": "customer-7", "setup": tryton.setup()});
    let account = project.done(Method::POST, "/accounts", Some(account)).await.unwrap();
    let id = account["id"].as_str().unwrap().to_owned();
    project.scanned(&id, "hris_employees").await.unwrap();
    let employees = deployment.topic("unified.hris_employees");
    let mut table = Client::current_employees(&registry, &employees).unwrap();
    assert_eq!(table.line().await.unwrap(), "{}");

    let (ada, party) = tryton.hire("Ada King", "ada@acme.example").await.unwrap();
    let (grace, _) = tryton.hire("Grace Hopper", "grace@acme.example").await.unwrap();
    let (both, gone) = (BTreeSet::from([key(&id, ada), key(&id, grace)]), BTreeSet::from([key(&id, grace)]));
    until(&mut table, |now| keys(now) == both).await;
    tryton.rename(party, "Ada Lovelace").await.unwrap();
    until(&mut table, |now| now[key(&id, ada)] == "hris_employees.updated").await;
    tryton.delete(ada).await.unwrap();
    until(&mut table, |now| keys(now) == gone).await;

    // Everything has been told that will be, as nobody polls any more: the same topics to all three, all 20 of them.
    deployment.halt().await.unwrap();
    if fake.is_none() {
        deployment.start_stage("control").unwrap();
        deployment.answers().await.unwrap();
    }
    let verified = deployment.command(&["events", "verify"]).await.unwrap();
    let told: usize = events(&verified);
    assert!(told >= 5, "{verified}");
    let topics: Vec<_> = RESOURCES.map(|resource| deployment.topic(&format!("unified.{resource}"))).into();
    let mut read = Vec::new();
    for by in [Reader::Python, Reader::Node, Reader::Java] {
        let mut reader = Client::reader(by, &registry, &topics, told).unwrap();
        let mut seen = BTreeSet::new();
        for _ in 0..told {
            let line = reader.json().await.unwrap();
            assert_eq!(line["headers"]["origin_owner_id"], "customer-7", "{line}");
            assert_eq!(line["headers"]["event"], line["event"]["event"], "{line}");
            assert_eq!(line["key"], line["event"]["account_id"], "{line}");
            seen.insert(essence(&line));
        }
        assert_eq!(seen.len(), told, "{by:?}");
        read.push(seen);
    }
    assert_eq!(read[0], read[1], "Python and Node");
    assert_eq!(read[0], read[2], "Python and Java");
    deployment.stop().await.unwrap();
}

/// Waits until the table, as it is printed after each change, is so.
async fn until(table: &mut Client, so: impl Fn(&Value) -> bool) {
    while !so(&table.json().await.unwrap()) {}
}

fn key(account: &str, employee: u64) -> String {
    format!("{account} {employee}")
}

fn keys(table: &Value) -> BTreeSet<String> {
    table.as_object().unwrap().keys().cloned().collect()
}

/// The events that `events verify` has counted on all topics.
fn events(verified: &str) -> usize {
    let lines = verified.lines().skip(1).filter(|line| !line.starts_with(' '));
    lines.map(|line| line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()).sum()
}
