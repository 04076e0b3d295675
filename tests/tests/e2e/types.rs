//! What a consumer builds on: types of `/openapi.json` compile under a consumer of theirs, and what is really delivered is
//! what the document says. Other people's tools judge both.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tributary_tests::{
    PATIENCE,
    client::{Client, Types},
    deployment::Deployment,
    tryton::Tryton,
};

use crate::native::{SECRET, application, signed};

#[tokio::test(flavor = "multi_thread")]
async fn types_made_of_the_document_compile_and_what_is_delivered_is_what_it_says() {
    let deployment = Deployment::start("types").await.unwrap();
    let project = deployment.project("Acme").await.unwrap();
    let mut types = Types::start(deployment.control()).await.unwrap();
    let (mut receiver, port) = Client::receiver("standardwebhooks_receiver.mjs", SECRET).await.unwrap();
    let url = format!("http://127.0.0.1:{port}/");
    for (record_type, events) in [("full", json!(["account.*", "ats_*"])), ("legacy", json!(["hris_*"]))] {
        let webhook = json!({"url": url, "events": events, "secret": SECRET, "record_type": record_type});
        project.done(Method::POST, "/webhooks", Some(webhook)).await.unwrap();
    }
    let account = json!({"provider": "greenhouse", "origin_owner_id": "customer-7"});
    let account = project.done(Method::POST, "/accounts", Some(account)).await.unwrap();
    let path = format!("/accounts/{}/native-webhook", account["id"].as_str().unwrap());
    let native = project.done(Method::GET, &path, None).await.unwrap();
    let body = application(265_277, 0);
    let signature = signed(native["secret"].as_str().unwrap(), &body);
    let headers = [("signature", signature.as_str()), ("greenhouse-event-id", "1")];
    assert_eq!(
        deployment.post(native["url"].as_str().unwrap(), &headers, body).await.unwrap(),
        StatusCode::OK
    );

    let tryton = Tryton::of_its_own("types").await.unwrap();
    project.employees_of(&tryton).await.unwrap();
    tryton.hire("Ada Lovelace", "ada@acme.example").await.unwrap();

    // An account's, a native one, a polled one.
    let mut wanted = vec!["account.", "ats_applications.", "hris_employees."];
    let checked = async {
        while !wanted.is_empty() {
            let body = receiver.verified().await.unwrap();
            types.check(&body).await.unwrap();
            wanted.retain(|begin| !body["event"].as_str().unwrap().starts_with(begin));
        }
    };
    tokio::time::timeout(PATIENCE, checked).await.expect("an event of each kind");

    // The judge can say no.
    let polled = json!({"event": "hris_employees.created", "record_type": "hris_employees"});
    assert!(types.check(&polled).await.unwrap_err().to_string().contains("record_remote_id"));
    deployment.stop().await.unwrap();
}
