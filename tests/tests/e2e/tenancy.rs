//! Two projects: neither sees anything of the other's, by API, event or delivery.

use reqwest::{Method, StatusCode};
use serde_json::json;
use tributary_tests::{client::Client, deployment::Deployment};

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

#[tokio::test(flavor = "multi_thread")]
async fn a_project_sees_its_own_only() {
    let deployment = Deployment::start("tenancy").await.unwrap();
    let (ours, theirs) =
        (deployment.project("Ours").await.unwrap(), deployment.project("Theirs").await.unwrap());
    let (mut our_receiver, our_port) = Client::receiver("subscriber.py", SECRET).await.unwrap();
    let (mut their_receiver, their_port) = Client::receiver("subscriber.py", SECRET).await.unwrap();
    for (project, port) in [(&ours, our_port), (&theirs, their_port)] {
        let url = format!("http://127.0.0.1:{port}/");
        let webhook = json!({"url": url, "events": ["*"], "secret": SECRET});
        project.done(Method::POST, "/webhooks", Some(webhook)).await.unwrap();
    }
    let link = |label: &str| json!({"provider": "greenhouse", "label": label, "origin_owner_id": label});
    let account = ours.done(Method::POST, "/accounts", Some(link("ours"))).await.unwrap();
    let id = account["id"].as_str().unwrap();
    let webhook = ours.done(Method::GET, "/webhooks", None).await.unwrap()["data"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for (method, path) in [
        (Method::GET, format!("/accounts/{id}")),
        (Method::PATCH, format!("/accounts/{id}")),
        (Method::DELETE, format!("/accounts/{id}")),
        (Method::GET, format!("/accounts/{id}/native-webhook")),
        (Method::GET, format!("/accounts/{id}/schedules")),
        (Method::GET, format!("/webhooks/{webhook}")),
        (Method::GET, format!("/webhooks/{webhook}/secrets")),
        (Method::GET, format!("/webhooks/{webhook}/attempts")),
        (Method::POST, format!("/webhooks/{webhook}/disable")),
        (Method::DELETE, format!("/webhooks/{webhook}")),
    ] {
        let body = (method == Method::PATCH).then(|| json!({}));
        let (status, answer) = theirs.call(method, &path, body).await.unwrap();
        assert_eq!(
            (status, &answer["errorCode"]),
            (StatusCode::NOT_FOUND, &json!("not_found")),
            "{path}: {answer}"
        );
    }
    let listed = theirs.done(Method::GET, "/accounts", None).await.unwrap();
    assert_eq!(listed["data"], json!([]));
    let (status, _) = tributary_tests::deployment::Project::clone(&theirs)
        .call(Method::GET, "/nowhere", None)
        .await
        .unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);

    // Their own account's event comes to them, and ours came to us: nothing else did.
    theirs.done(Method::POST, "/accounts", Some(link("theirs"))).await.unwrap();
    ours.done(Method::PATCH, &format!("/accounts/{id}"), Some(json!({"label": "renamed"}))).await.unwrap();
    ours.done(Method::PATCH, &format!("/accounts/{id}"), Some(json!({"label": "renamed"}))).await.unwrap();
    ours.done(Method::DELETE, &format!("/accounts/{id}"), None).await.unwrap();
    let told = their_receiver.verified().await.unwrap();
    assert_eq!((&told["event"], &told["origin_owner_id"]), (&json!("account.created"), &json!("theirs")));
    for event in ["account.created", "account.updated", "account.deleted"] {
        let told = our_receiver.verified().await.unwrap();
        assert_eq!(
            (&told["event"], &told["origin_owner_id"]),
            (&json!(event), &json!("ours")),
            "a PATCH that changes nothing is silent"
        );
    }
    let (status, answer) = ours.call(Method::GET, &format!("/accounts/{id}"), None).await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    deployment.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_name_the_field() {
    let deployment = Deployment::start("bad").await.unwrap();
    let project = deployment.project("Acme").await.unwrap();
    let webhook = |url: &str, events: &[&str]| json!({"url": url, "events": events});
    for (method, path, body, status, said) in [
        (Method::POST, "/accounts", json!({"provider": "nobody"}), 422, "provider"),
        (Method::POST, "/accounts", json!({"provider": "tryton"}), 422, "setup.base_url"),
        (Method::POST, "/accounts", json!({"provider": "tryton", "setup": {"x": "y"}}), 422, "setup.x"),
        (Method::POST, "/accounts", json!({"provider": "greenhouse", "nonsense": 1}), 422, "nonsense"),
        (Method::POST, "/webhooks", webhook("http://example.com/", &["*"]), 422, "https"),
        (Method::POST, "/webhooks", webhook("https://10.0.0.1/", &["*"]), 422, "10.0.0.1"),
        (Method::POST, "/webhooks", webhook("https://example.com/", &["payroll_*"]), 422, "events[0]"),
        (Method::POST, "/webhooks", webhook("https://example.com/", &[]), 422, "events"),
        (Method::GET, "/webhooks?page_size=1000", json!(null), 422, "page_size"),
        (Method::GET, "/ids/nonsense!", json!(null), 422, "record_id"),
    ] {
        let body = (!body.is_null()).then_some(body);
        let (found, answer) = project.call(method, path, body).await.unwrap();
        assert_eq!((found.as_u16(), &answer["statusCode"]), (status, &json!(status)), "{path}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(said), "{path}: {answer}");
    }
    let mut stranger = project.clone();
    stranger.api_key = "tr_live_nobody".into();
    assert_eq!(stranger.call(Method::GET, "/accounts", None).await.unwrap().0, StatusCode::UNAUTHORIZED);
    deployment.stop().await.unwrap();
}
