//! Greenhouse's webhooks, signed as it documents, to a subscriber.

use reqwest::{Method, StatusCode};
use serde_json::json;
pub(crate) use tributary_tests::greenhouse::{SECRET, application, signed};
use tributary_tests::{client::Client, deployment::Deployment};

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_arrives_once_a_forged_one_nowhere_and_a_large_one_whole() {
    let deployment = Deployment::start("greenhouse").await.unwrap();
    let project = deployment.project("Acme").await.unwrap();
    let (mut receiver, port) = Client::receiver("standardwebhooks_receiver.py", SECRET).await.unwrap();
    let url = format!("http://127.0.0.1:{port}/");
    let webhook = json!({"url": url, "events": ["ats_*"], "secret": SECRET});
    project.done(Method::POST, "/webhooks", Some(webhook)).await.unwrap();
    let account =
        project.done(Method::POST, "/accounts", Some(json!({"provider": "greenhouse"}))).await.unwrap();
    let path = format!("/accounts/{}/native-webhook", account["id"].as_str().unwrap());
    let native = project.done(Method::GET, &path, None).await.unwrap();
    let (url, secret) = (native["url"].as_str().unwrap(), native["secret"].as_str().unwrap());
    assert!(
        url.starts_with(deployment.ingest()) && !native["instructions"].as_array().unwrap().is_empty(),
        "{native}"
    );

    let post = async |url: &str, delivery: &str, signature: &str, body: Vec<u8>| {
        deployment
            .post(url, &[("signature", signature), ("greenhouse-event-id", delivery)], body)
            .await
            .unwrap()
    };
    let ping = br#"{"action":"ping","payload":{}}"#.to_vec();
    assert_eq!(post(url, "0", &signed(secret, &ping), ping.clone()).await, StatusCode::OK);
    let first = application(265_277, 0);
    assert_eq!(post(url, "1", &signed("wrong", &first), first.clone()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        post(&format!("{url}x"), "1", &signed(secret, &first), first.clone()).await,
        StatusCode::NOT_FOUND
    );
    let nonsense = b"{".to_vec();
    assert_eq!(post(url, "1", &signed(secret, &nonsense), nonsense.clone()).await, StatusCode::BAD_REQUEST);
    for _ in 0..2 {
        assert_eq!(post(url, "1", &signed(secret, &first), first.clone()).await, StatusCode::OK);
    }
    let overhead = application(2, 0).len();
    let large = application(2, (1 << 20) - overhead);
    assert_eq!(large.len(), 1 << 20);
    assert_eq!(post(url, "2", &signed(secret, &large), large.clone()).await, StatusCode::OK);
    let larger = application(3, (1 << 20) - overhead + 1);
    assert_eq!(post(url, "3", &signed(secret, &larger), larger.clone()).await, StatusCode::PAYLOAD_TOO_LARGE);

    let told = receiver.verified().await.unwrap();
    assert_eq!(
        (&told["event"], &told["record_remote_id"]),
        (&json!("ats_applications.updated"), &json!("265277"))
    );
    assert_eq!(told["event_date"], "2026-04-09T16:38:36.000Z");
    assert_eq!(told["raw_event"]["body"], serde_json::from_slice::<serde_json::Value>(&first).unwrap());
    assert_eq!(told["raw_event"]["headers"]["greenhouse-event-id"], "1");
    assert!(told["raw_event"]["headers"].get("signature").is_none(), "{told}");
    assert_eq!(told["event_data"]["remote_candidate_id"], "7");
    let told = receiver.verified().await.unwrap();
    assert_eq!(told["record_remote_id"], "2", "the same delivery again was silent");
    assert_eq!(
        told["raw_event"]["body"]["payload"]["application"]["notes"].as_str().unwrap().len(),
        (1 << 20) - overhead
    );
    deployment.stop().await.unwrap();
}
