//! Callbacks: registered as the provider wants it, signed as it signs (checked by a script in another language), repeated,
//! doubled, turned round, in batches over accounts, refused and given up.

use crate::sim::{Sim, Tenant, text};
use axum::{body::Body, extract::Request, http::Response};
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};
use tokio::sync::mpsc;

/// A subscriber that keeps what it hears, and answers handshakes.
struct Receiver {
    url: String,
    heard: mpsc::UnboundedReceiver<Value>,
    /// The statuses of the next answers; then 200.
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (told, heard) = mpsc::unbounded_channel();
        let answers = Arc::new(Mutex::new(Vec::<u16>::new()));
        let (given, base) = (answers.clone(), url.clone());
        let app = axum::Router::new().fallback(move |request: Request| {
            let (told, given, base) = (told.clone(), given.clone(), base.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                let headers: serde_json::Map<String, Value> =
                    parts.headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().into())).collect();
                let query: serde_json::Map<String, Value> = url::form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes())
                    .map(|(n, v)| (n.into_owned(), v.into_owned().into()))
                    .collect();
                let status = { let mut all = given.lock().unwrap(); if all.is_empty() { 200 } else { all.remove(0) } };
                let mut answer = Response::builder().status(status);
                let mut echo = Body::empty();
                if let Some(hook) = parts.headers.get("x-hook-secret") {
                    answer = answer.header("x-hook-secret", hook);
                } else if let Some(token) = query.get("validationToken").or_else(|| query.get("challenge")) {
                    answer = answer.header("content-type", "text/plain").header("x-content-type-options", "nosniff");
                    echo = Body::from(text(token));
                } else {
                    let body = String::from_utf8(body.to_vec()).unwrap();
                    told.send(json!({"method": parts.method.as_str(), "url": base, "headers": headers, "body": body})).unwrap();
                }
                answer.body(echo).unwrap()
            }
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, heard, answers }
    }

    async fn next(&mut self) -> Value {
        tokio::time::timeout(std::time::Duration::from_secs(10), self.heard.recv())
            .await
            .expect("a callback")
            .unwrap()
    }

    fn quiet(&mut self) -> bool {
        self.heard.try_recv().is_err()
    }
}

/// Registers for changes of a resource; the secret that callbacks are signed with.
async fn register(sim: &Sim, tenant: &Tenant, url: &str) -> Value {
    let call = |method, path: String, body: Value| async move {
        let answer = sim.ask(tenant, method, &path, &body).await;
        assert!(
            (200..300).contains(&answer.status),
            "{}: {path}: {} {}",
            tenant.provider,
            answer.status,
            answer.text
        );
        answer.json()
    };
    match tenant.provider.as_str() {
        "bamboohr" => {
            let body = json!({"name": "Test", "url": url, "format": "json", "monitorFields": ["jobTitle"],
                "events": ["employee.created", "employee.updated", "employee.deleted"]});
            call("POST", "/api/v1/webhooks".into(), body).await["privateKey"].clone()
        }
        "hubspot" => {
            let key = text(&tenant.app["developer_key"]);
            call("PUT", format!("/webhooks/v3/98765/settings?hapikey={key}"), json!({"targetUrl": url}))
                .await;
            for event in ["contact.creation", "contact.deletion"] {
                call(
                    "POST",
                    format!("/webhooks/v3/98765/subscriptions?hapikey={key}"),
                    json!({"eventType": event, "active": true}),
                )
                .await;
            }
            tenant.app["client_secret"].clone()
        }
        "ashby" => {
            let body =
                json!({"webhookType": "candidateDelete", "requestUrl": url, "secretToken": "ashby-secret"});
            call("POST", "/webhook.create".into(), body).await["results"]["secretToken"].clone()
        }
        "greenhouse" => {
            hand(sim, tenant, json!({"url": url, "events": ["delete_candidate"], "secret": "gh-secret"}))
                .await
        }
        "google_drive" => {
            let body = json!({"id": "channel-1", "type": "web_hook", "address": url, "token": "acme.s3cr3t"});
            call("POST", "/drive/v3/changes/watch?pageToken=2323".into(), body).await;
            json!("acme.s3cr3t")
        }
        "microsoft_graph" => {
            let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
            let body = json!({"changeType": "updated", "notificationUrl": url, "resource": "/me/drive/root",
                "expirationDateTime": until.to_string(), "clientState": "acme.s3cr3t"});
            call("POST", "/v1.0/subscriptions".into(), body).await["clientState"].clone()
        }
        "hibob" => {
            hand(sim, tenant, json!({"url": url, "events": ["employee.deleted"], "secret": "bob-secret"}))
                .await
        }
        "recruitee" => {
            hand(sim, tenant, json!({"url": url, "events": ["candidate_deleted"], "secret": "rec-secret"}))
                .await
        }
        "teamtailor" => {
            hand(sim, tenant, json!({"url": url, "events": ["candidate.destroy"], "secret": "tt-secret"}))
                .await
        }
        "docebo" => {
            hand(sim, tenant, json!({"url": url, "events": ["user.deleted"], "secret": "user:password"}))
                .await
        }
        "dropbox" => hand(sim, tenant, json!({"url": url})).await,
        "personio" => {
            let body = json!({"url": url, "description": "Test", "enabled_events": ["person.deleted"], "status": "ENABLED", "token": "Bearer t0k3n"});
            call("POST", "/v2/webhooks".into(), body).await;
            json!("Bearer t0k3n")
        }
        "lever" => {
            let made =
                call("POST", "/v1/webhooks".into(), json!({"url": url, "event": "candidateDeleted"})).await;
            made["data"]["configuration"]["signatureToken"].clone()
        }
        "workable" => {
            let args = json!({"account_id": "acme", "job_shortcode": "", "stage_slug": ""});
            call(
                "POST",
                "/spi/v3/subscriptions".into(),
                json!({"target": url, "event": "candidate_deleted", "args": args}),
            )
            .await;
            tenant.credentials["account_token"].clone()
        }
        "smartrecruiters" => {
            let root = "/webhooks-api/v201907/subscriptions";
            let body = json!({"callbackUrl": url, "events": ["candidate.deleted"], "alertingEmailAddress": "ops@example.com"});
            let made = call("POST", root.into(), body).await;
            let one = format!("{root}/{}", text(&made["id"]));
            let secret = call("POST", format!("{one}/secret-key"), Value::Null).await["secretKey"].clone();
            call("PUT", format!("{one}/activation"), Value::Null).await;
            secret
        }
        "pipedrive" => {
            let body = json!({"subscription_url": url, "event_action": "*", "event_object": "person", "name": "sync", "version": "2.0",
                "http_auth_user": "u", "http_auth_password": "p"});
            call("POST", "/v1/webhooks".into(), body).await;
            json!("u:p")
        }
        "zoho_crm" => {
            let body = json!({"watch": [{"channel_id": "1000000068001", "events": ["Contacts.all"], "token": "acme.s3cr3t", "notify_url": url}]});
            call("POST", "/crm/v8/actions/watch".into(), body).await;
            json!("acme.s3cr3t")
        }
        "360learning" => {
            let body = json!({"eventType": "user.deleted", "name": "Test", "url": url});
            let made = call("POST", "/api/v2/webhooks/subscriptions".into(), body).await;
            call("GET", format!("/api/v2/webhooks/subscriptions/{}/secrets", text(&made["_id"])), Value::Null)
                .await["secret"]
                .clone()
        }
        "thinkific" => {
            call(
                "POST",
                "/api/v2/webhooks".into(),
                json!({"topic": "enrollment.progress", "target_url": url}),
            )
            .await;
            tenant.credentials["api_key"].clone()
        }
        "box" => {
            let folder = sim.control("POST", "box/acme/records/documents_folders", Value::Null).await;
            let body = json!({"target": {"id": folder["changes"][0]["id"], "type": "folder"}, "address": url, "triggers": ["FILE.TRASHED"]});
            call("POST", "/2.0/webhooks".into(), body).await;
            tenant.app["client_secret"].clone()
        }
        other => panic!("how is {other} registered?"),
    }
}

/// Registers as a person does.
async fn hand(sim: &Sim, tenant: &Tenant, body: Value) -> Value {
    sim.control("POST", &format!("{}/acme/subscriptions", tenant.provider), body).await["secret"].clone()
}

/// Asks the script whether each request is signed as the provider does.
fn verify(requests: &[Value]) -> Vec<bool> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/verify.py");
    let mut python =
        Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines: String = requests.iter().map(|r| format!("{r}\n")).collect();
    python.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line == "true").collect()
}

#[tokio::test]
async fn each_callback_is_signed_as_the_provider_does() {
    let sim = Sim::start().await;
    let (mut requests, mut forged) = (Vec::new(), Vec::new());
    for (provider, resource) in [
        ("bamboohr", "hris_employees"),
        ("hubspot", "crm_contacts"),
        ("ashby", "ats_candidates"),
        ("greenhouse", "ats_candidates"),
        ("google_drive", "documents_files"),
        ("microsoft_graph", "documents_files"),
        ("hibob", "hris_employees"),
        ("personio", "hris_employees"),
        ("lever", "ats_candidates"),
        ("workable", "ats_candidates"),
        ("smartrecruiters", "ats_candidates"),
        ("teamtailor", "ats_candidates"),
        ("recruitee", "ats_candidates"),
        ("pipedrive", "crm_contacts"),
        ("zoho_crm", "crm_contacts"),
        ("docebo", "lms_users"),
        ("360learning", "lms_users"),
        ("thinkific", "lms_assignments"),
        ("dropbox", "documents_files"),
        ("box", "documents_files"),
    ] {
        let mut receiver = Receiver::start().await;
        let tenant = sim.tenant(provider, "acme").await;
        sim.create(&tenant, resource, 1).await;
        let secret = register(&sim, &tenant, &receiver.url).await;
        if matches!(provider, "google_drive" | "greenhouse" | "hibob" | "recruitee") {
            // A channel begins with a message that is no change; a hook made by hand with a ping.
            let first = receiver.next().await;
            let body = text(&first["body"]);
            let sync = first["headers"]["x-goog-resource-state"] == "sync";
            assert!(sync || ["ping", "Ping", "test"].iter().any(|word| body.contains(word)), "{first}");
        }
        let id = sim.truth(&tenant, resource).await.remove(0);
        // Nobody is told of an enrolment that goes.
        let (method, word) =
            if provider == "thinkific" { ("PATCH", "updated") } else { ("DELETE", "deleted") };
        *receiver.answers.lock().unwrap() = vec![202];
        let changed =
            sim.control(method, &format!("{provider}/acme/records/{resource}/{id}"), Value::Null).await;
        assert_eq!(changed["changes"][0]["hear"]["event"], format!("{resource}.{word}"));
        assert_eq!(changed["changes"][0]["native"].as_array().unwrap().len(), 1, "{provider}: {changed}");
        let mut request = receiver.next().await;
        request["provider"] = provider.into();
        request["secret"] = secret;
        let mut other = request.clone();
        other["secret"] = json!("whsec_YW5vdGhlcg==");
        requests.push(request);
        forged.push(other);
        assert!(receiver.quiet(), "{provider} told it once");
    }
    assert_eq!(verify(&requests), vec![true; requests.len()], "{requests:#?}");
    assert_eq!(verify(&forged), vec![false; forged.len()]);
}

#[tokio::test]
async fn what_is_not_taken_comes_again_and_then_no_more() {
    let sim = Sim::start().await;
    let mut receiver = Receiver::start().await;
    let tenant = sim.tenant("bamboohr", "acme").await;
    register(&sim, &tenant, &receiver.url).await;
    *receiver.answers.lock().unwrap() = vec![500; 6];
    sim.create(&tenant, "hris_employees", 1).await;
    // A creation is told as a creation and as an update.
    let (first, second) = (receiver.next().await, receiver.next().await);
    assert_ne!(first["body"], second["body"]);
    for wait in [300, 600] {
        sim.control("POST", "bamboohr/acme/advance", json!({"seconds": wait})).await;
        let mut again = vec![text(&receiver.next().await["body"]), text(&receiver.next().await["body"])];
        again.sort();
        let mut before = vec![text(&first["body"]), text(&second["body"])];
        before.sort();
        assert_eq!(again, before);
    }
    // Six were refused; the next is taken, and there is nothing more.
    sim.control("POST", "bamboohr/acme/advance", json!({"seconds": 1200})).await;
    receiver.next().await;
    receiver.next().await;
    sim.control("POST", "bamboohr/acme/advance", json!({"seconds": 90_000})).await;
    assert_eq!(sim.control("GET", "bamboohr/acme/outbox", Value::Null).await, json!([]));
}

#[tokio::test]
async fn an_app_is_told_of_its_portals_in_one_body() {
    let sim = Sim::start().await;
    let mut receiver = Receiver::start().await;
    let (one, two) = (sim.tenant("hubspot", "acme").await, sim.tenant("hubspot", "globex").await);
    register(&sim, &one, &receiver.url).await;
    for tenant in ["acme", "globex"] {
        sim.control("POST", &format!("hubspot/{tenant}/webhooks"), json!({"hold": true})).await;
        sim.control("POST", &format!("hubspot/{tenant}/records/crm_contacts?count=2"), Value::Null).await;
    }
    assert!(receiver.quiet());
    // Both at once, or the first would go alone.
    sim.control("POST", "hubspot/globex/webhooks", json!({"hold": false, "double": true})).await;
    let alone: Value = serde_json::from_str(&text(&receiver.next().await["body"])).unwrap();
    assert_eq!(alone.as_array().unwrap().len(), 2, "the other still waits");
    sim.control("POST", "hubspot/globex/webhooks", json!({"hold": true, "double": true})).await;
    sim.control("POST", "hubspot/globex/records/crm_contacts", Value::Null).await;
    sim.control("PATCH", "hubspot/globex", Value::Null).await;
    sim.control("POST", "hubspot/acme/webhooks", json!({})).await;
    let first: Value = serde_json::from_str(&text(&receiver.next().await["body"])).unwrap();
    assert_eq!(first.as_array().unwrap().len(), 2);
    sim.control("POST", "hubspot/globex/webhooks", json!({})).await;
    let doubled: Value = serde_json::from_str(&text(&receiver.next().await["body"])).unwrap();
    assert_eq!(doubled[0]["eventId"], doubled[1]["eventId"], "one event, twice");
    let portals: Vec<&Value> = [&alone, &first].iter().map(|body| &body[0]["portalId"]).collect();
    assert_ne!(portals[0], portals[1]);
    drop((one, two));
}

#[tokio::test]
async fn a_deletion_in_mid_scan_is_heard() {
    let sim = Sim::start().await;
    let mut receiver = Receiver::start().await;
    let tenant = sim.tenant("ashby", "acme").await;
    sim.create(&tenant, "ats_candidates", 2).await;
    register(&sim, &tenant, &receiver.url).await;
    sim.fault(&tenant, json!({"fault": "skip_while_deleting"})).await;
    sim.ask(&tenant, "POST", "/candidate.list", &json!({"limit": 1})).await;
    assert!(text(&receiver.next().await["body"]).contains("candidateDelete"));
    assert_eq!(sim.truth(&tenant, "ats_candidates").await.len(), 1);
}

#[tokio::test]
async fn a_subscription_is_refused_without_its_handshake_and_ends_with_its_time() {
    let sim = Sim::start().await;
    let mut receiver = Receiver::start().await;
    let tenant = sim.tenant("microsoft_graph", "acme").await;
    *receiver.answers.lock().unwrap() = vec![404];
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let body = json!({"changeType": "updated", "notificationUrl": receiver.url, "resource": "/me/drive/root",
        "expirationDateTime": until.to_string(), "clientState": "s"});
    assert_eq!(sim.ask(&tenant, "POST", "/v1.0/subscriptions", &body).await.status, 400);
    assert_eq!(sim.ask(&tenant, "POST", "/v1.0/subscriptions", &body).await.status, 201);
    let far = json!({"changeType": "updated", "notificationUrl": receiver.url, "resource": "/me/drive/root",
        "expirationDateTime": "2099-01-01T00:00:00Z", "clientState": "s"});
    assert_eq!(
        sim.ask(&tenant, "POST", "/v1.0/subscriptions", &far).await.status,
        400,
        "longer than it may be"
    );
    let made = sim.control("POST", "microsoft_graph/acme/records/documents_files", Value::Null).await;
    assert_eq!(made["changes"][0]["native"].as_array().unwrap().len(), 1);
    receiver.next().await;
    sim.control("POST", "microsoft_graph/acme/advance", json!({"seconds": 86_401})).await;
    let made = sim.control("POST", "microsoft_graph/acme/records/documents_files", Value::Null).await;
    assert_eq!(made["changes"][0]["native"], json!([]), "it has ended");
}
