//! control's API over a broker in the process.

use std::{future::Future, net::SocketAddr, time::Duration};

use http::HeaderMap;
use serde_json::{Value, json};
use tributary_connectors::Catalog;
use tributary_stages::{
    clock::now,
    control::{Config, Control, create_project},
    store::{AttemptRow, Cas, EntityRef, Kind, Stored, Unpublished},
};

use crate::world::World;

/// Who asks: a project's key, at an API.
struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Client {
    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (status, _, body) = self.call_with(method, path, body, &[]).await;
        (status, body)
    }

    async fn call_with(
        &self,
        method: &str,
        path: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> (u16, HeaderMap, Value) {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        let mut request = request.basic_auth(&self.key, Some("")).json(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect(&text) };
        (status, headers, body)
    }
}

/// Control, and a client of it once it listens.
async fn control(world: &World) -> (impl Future + use<>, Client) {
    control_with(world, |_| {}).await
}

/// The same, set so.
async fn control_with(world: &World, set: fn(&mut Config)) -> (impl Future + use<>, Client) {
    // A port that was free a moment ago.
    let listen: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = Config { listen, ..Config::default() };
    config.dial.allow = vec!["127.0.0.0/8".parse().unwrap()];
    set(&mut config);
    let (stores, keys) = (world.stores.clone(), world.keys.clone());
    let catalog = Catalog::built_in().unwrap();
    let control = Control::build(config, &world.cluster, stores, catalog, keys).unwrap();
    let stage = tokio::spawn(control.run(world.stop.clone()));
    let key = create_project(&world.writer, &*world.stores.control, "Acme").await.unwrap().api_key;
    let client = Client { http: reqwest::Client::new(), url: format!("http://{listen}"), key };
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while client.http.get(&client.url).send().await.is_err() {
        assert!(!stage.is_finished(), "control has ended");
        tick.tick().await;
    }
    (stage, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_s_order_and_rate_are_taken_changed_and_refused_by_name() {
    let world = World::new().await;
    let (stage, client) = control(&world).await;
    let new = |rate: Value| json!({ "url": "http://127.0.0.1:9/", "events": ["*"], "ordering": "record", "rate": rate });
    let (status, made) = client.call("POST", "/webhooks", new(json!(5))).await;
    assert_eq!((status, &made["ordering"], &made["rate"]), (201, &json!("record"), &json!(5)), "{made}");
    let path = format!("/webhooks/{}", made["id"].as_str().unwrap());

    for (change, ordering, rate) in [
        (json!({ "name": "n" }), "record", json!(5)),
        (json!({ "rate": 10_000 }), "record", json!(10_000)),
        (json!({ "ordering": "unordered" }), "unordered", json!(10_000)),
        (json!({ "rate": null }), "unordered", json!(null)),
    ] {
        let (status, shown) = client.call("PATCH", &path, change.clone()).await;
        assert_eq!((status, &shown["ordering"], &shown["rate"]), (200, &json!(ordering), &rate), "{change}");
    }
    for rate in [json!(0), json!(10_001)] {
        for (method, path, body) in
            [("POST", "/webhooks", new(rate.clone())), ("PATCH", &path, json!({ "rate": rate }))]
        {
            let (status, refused) = client.call(method, path, body).await;
            assert_eq!(status, 422, "{refused}");
            assert!(
                refused["message"]
                    .as_str()
                    .unwrap()
                    .starts_with("rate: expected a whole number from 1 to 10000"),
                "{refused}"
            );
        }
    }
    let (status, refused) = client.call("PATCH", &path, json!({ "ordering": "account" })).await;
    assert_eq!(status, 422, "{refused}");
    world.stop.cancel();
    stage.await;
}

/// A new account at Tryton.
async fn linked(client: &Client) -> Value {
    let setup = json!({ "base_url": "http://127.0.0.1:9", "database": "d", "login": "l", "password": "p" });
    let (status, made) =
        client.call("POST", "/accounts", json!({ "provider": "tryton", "setup": setup })).await;
    assert_eq!(status, 201, "{made}");
    made
}

/// The path of what was made.
fn path_of(family: &str, made: &Value) -> String {
    format!("/{family}/{}", made["id"].as_str().unwrap())
}

/// An account at Tryton, and the path of its schedule.
async fn scheduled(client: &Client) -> String {
    format!("{}/schedules/hris_employees", path_of("accounts", &linked(client).await))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_of_ten_years_is_refused_and_a_wrong_method_is_told_in_json() {
    let world = World::new().await;
    let (stage, client) = control(&world).await;
    let path = scheduled(&client).await;
    for (body, field) in [
        (json!({ "interval": 315_360_000, "full_interval": 315_360_000 }), "full_interval"),
        (json!({ "interval": 315_360_000 }), "interval"),
        (json!({ "full_interval": 2_592_001 }), "full_interval"),
        (json!({ "interval": 299 }), "interval"),
    ] {
        let (status, refused) = client.call("PUT", &path, body).await;
        assert_eq!(status, 422, "{refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("{field}: expected ")) && message.contains("2592000"),
            "{message}"
        );
    }
    let (status, _) = client.call("PUT", &path, json!({ "interval": 300, "full_interval": 2_592_000 })).await;
    assert_eq!(status, 200);
    let (status, refused) = client.call("PATCH", &path, json!({})).await;
    assert_eq!((status, &refused["statusCode"]), (405, &json!(405)), "{refused}");
    world.stop.cancel();
    stage.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_named_and_said_in_json() {
    let world = World::new().await;
    let (stage, client) = control(&world).await;
    let account = path_of("accounts", &linked(&client).await);
    let webhook = json!({ "url": "http://127.0.0.1:9/", "events": ["*"] });
    let (_, made) = client.call("POST", "/webhooks", webhook.clone()).await;
    let hook = path_of("webhooks", &made);
    let with = |name: &str, value: Value| {
        let mut body = webhook.clone();
        body[name] = value;
        body
    };
    let linking = |setup: Value| json!({ "provider": "tryton", "setup": setup });
    for (method, path, body, status, begins) in [
        ("GET", "/nowhere", json!(null), 404, "no such path"),
        ("GET", "/accounts/%ff", json!(null), 404, ""),
        ("DELETE", "/accounts", json!(null), 405, ""),
        (
            "GET",
            "/accounts?page_size=0",
            json!(null),
            422,
            "page_size: expected a whole number from 1 to 100",
        ),
        (
            "GET",
            "/accounts?statu=active",
            json!(null),
            422,
            "statu: unknown parameter: did you mean `status`?",
        ),
        ("GET", "/accounts?status=actve", json!(null), 422, "status: unknown name: did you mean `active`?"),
        ("GET", "/accounts/x?y=1", json!(null), 422, "y: unknown parameter"),
        ("GET", "/webhooks/nope", json!(null), 404, "not found"),
        ("PATCH", &account, json!({ "lable": "x" }), 422, "lable: unknown field: did you mean `label`?"),
        ("PATCH", &account, json!({ "status": null }), 422, "status: expected a value"),
        (
            "PATCH",
            &account,
            json!({ "setup": { "database": null } }),
            422,
            "setup.database: Database is required",
        ),
        (
            "PATCH",
            &account,
            json!({ "setup": { "base_url": "https://mine" } }),
            422,
            "setup.password: expected with",
        ),
        ("POST", "/accounts", linking(json!({})), 422, "setup.base_url: URL is required"),
        (
            "POST",
            "/accounts",
            json!({ "provider": "trytn" }),
            422,
            "provider: no such connector: did you mean `tryton`?",
        ),
        ("POST", "/webhooks", with("events", json!([])), 422, "events: expected 1 to 100 elements"),
        (
            "POST",
            "/webhooks",
            with("events", json!(["hris_employes.created"])),
            422,
            "events[0]: unknown name: did you mean `hris_employees.created`?",
        ),
        ("POST", "/webhooks", with("modes", json!(["polled"])), 422, "modes[0]: unknown name"),
        (
            "POST",
            "/webhooks",
            with("headers", json!({ "X-StackOne-Signature": "x" })),
            422,
            "headers.x-stackone-signature: this header can't be set",
        ),
        (
            "POST",
            "/webhooks",
            with("headers", json!({ "Webhook-Id": "x" })),
            422,
            "headers.webhook-id: this header can't be set",
        ),
        (
            "POST",
            "/webhooks",
            with("headers", json!({ "A": "1", "a": "2" })),
            422,
            "headers.a: expected once",
        ),
        ("POST", "/webhooks", with("secret", json!("whsec_short")), 422, "secret: expected"),
        (
            "POST",
            "/webhooks",
            with("secret", json!("whsec_%%%%%%%%%%%%%%%%%%")),
            422,
            "secret: expected `whsec_`",
        ),
        ("POST", "/webhooks", with("url", json!("http://127.0.0.1:8080/native/x/y")), 422, "url: "),
        (
            "PATCH",
            &hook,
            json!({ "events": null }),
            422,
            "events: expected a value: this field can't be cleared",
        ),
        ("POST", "/keys", json!({}), 422, "name: required"),
        ("POST", "/keys", json!({ "name": "a\nb" }), 422, "name: expected a text without control characters"),
    ] {
        let (got, headers, refused) = client.call_with(method, path, body.clone(), &[]).await;
        assert_eq!(got, status, "{method} {path} {body}: {refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(message.starts_with(begins), "{method} {path} {body}: {message}");
        assert_eq!(refused["statusCode"], json!(status));
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers.contains_key("allow"), status == 405, "{method} {path}");
    }
    let text = client.http.post(format!("{}/webhooks", client.url)).basic_auth(&client.key, Some(""));
    let answer = text.header("content-type", "text/plain").body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 422);
    assert!(answer.text().await.unwrap().contains("content-type: expected application/json"));
    world.stop.cancel();
    stage.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn null_clears_and_a_version_is_asked_for() {
    let world = World::new().await;
    let (stage, client) = control(&world).await;
    let path = path_of("accounts", &linked(&client).await);
    let (_, headers, shown) =
        client.call_with("PATCH", &path, json!({ "label": "A", "origin_owner_id": "o" }), &[]).await;
    assert_eq!(
        (&shown["label"], &shown["version"], &headers["etag"]),
        (&json!("A"), &json!(2), &"\"2\"".parse().unwrap())
    );
    let (status, _, refused) =
        client.call_with("PATCH", &path, json!({ "label": "B" }), &[("if-match", "\"1\"")]).await;
    assert_eq!(status, 412, "{refused}");
    let (status, _, shown) =
        client.call_with("PATCH", &path, json!({ "label": null }), &[("if-match", "\"2\"")]).await;
    assert_eq!(
        (status, &shown["label"], &shown["origin_owner_id"]),
        (200, &json!(null), &json!("o")),
        "{shown}"
    );
    let (status, _, _) = client.call_with("DELETE", &path, json!(null), &[("if-match", "2")]).await;
    assert_eq!(status, 412);
    let (status, _, _) = client.call_with("DELETE", &path, json!(null), &[("if-match", "*")]).await;
    assert_eq!(status, 204);
    world.stop.cancel();
    stage.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_under_a_key_is_answered_once_more_and_done_once() {
    let world = World::new().await;
    let (stage, client) = control(&world).await;
    let body = json!({ "url": "http://127.0.0.1:9/", "events": ["*"] });
    let key = [("idempotency-key", "k1")];
    let (status, _, first) = client.call_with("POST", "/webhooks", body.clone(), &key).await;
    assert_eq!(status, 201, "{first}");
    let (status, headers, again) = client.call_with("POST", "/webhooks", body.clone(), &key).await;
    assert_eq!((status, &again), (201, &first), "the secret that is shown once, too");
    assert_eq!(headers["idempotency-replayed"], "true");
    let (_, list) = client.call("GET", "/webhooks", json!(null)).await;
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    // Another body is refused; another route, and another project, have keys of their own.
    let other = json!({ "url": "http://127.0.0.1:9/", "events": ["hris_*"] });
    let (status, _, refused) = client.call_with("POST", "/webhooks", other, &key).await;
    assert_eq!(status, 422, "{refused}");
    let (status, _, _) = client.call_with("POST", "/keys", json!({ "name": "x" }), &key).await;
    assert_eq!(status, 201);
    let theirs = create_project(&world.writer, &*world.stores.control, "Theirs").await.unwrap().api_key;
    let they = Client { http: client.http.clone(), url: client.url.clone(), key: theirs };
    let (status, headers, made) = they.call_with("POST", "/webhooks", body.clone(), &key).await;
    assert_eq!((status, headers.contains_key("idempotency-replayed")), (201, false));
    assert_ne!(made["id"], first["id"]);
    // What failed may be done again under its key; two at a time are one.
    let refused = json!({ "url": "nonsense", "events": ["*"] });
    for _ in 0..2 {
        let (status, _, _) =
            client.call_with("POST", "/webhooks", refused.clone(), &[("idempotency-key", "k2")]).await;
        assert_eq!(status, 422);
    }
    let racing =
        (0..8).map(|_| client.call_with("POST", "/webhooks", body.clone(), &[("idempotency-key", "k3")]));
    let answers = futures::future::join_all(racing).await;
    assert!(answers.iter().all(|(status, ..)| [201, 409].contains(status)));
    let (_, list) = client.call("GET", "/webhooks", json!(null)).await;
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    world.stop.cancel();
    stage.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_several_and_revoked_at_once() {
    let world = World::new().await;
    let (stage, client) = control(&world).await;
    let (status, made) = client.call("POST", "/keys", json!({ "name": "deployer" })).await;
    assert_eq!(status, 201);
    let second = Client {
        http: client.http.clone(),
        url: client.url.clone(),
        key: made["key"].as_str().unwrap().to_owned(),
    };
    assert_eq!(second.call("GET", "/project", json!(null)).await.0, 200);
    // Its use is written down in the background.
    let end = tokio::time::Instant::now() + Duration::from_secs(10);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        let (_, list) = client.call("GET", "/keys", json!(null)).await;
        let keys = list["data"].as_array().unwrap();
        assert!(keys.len() == 2 && keys.iter().all(|key| key.get("key").is_none()), "{list}");
        if keys.iter().all(|key| key["last_used_at"].is_string()) {
            break;
        }
        assert!(tokio::time::Instant::now() < end, "{list}");
    }
    assert_eq!(client.call("DELETE", &path_of("keys", &made), json!(null)).await.0, 204);
    assert_eq!(second.call("GET", "/project", json!(null)).await.0, 401);
    let (_, list) = client.call("GET", "/keys", json!(null)).await;
    let last = path_of("keys", &list["data"][0]);
    assert_eq!(client.call("DELETE", &last, json!(null)).await.0, 409, "nobody is locked out");
    world.stop.cancel();
    stage.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_past_what_was_deleted_and_what_can_t_be_read() {
    let world = World::new().await;
    let (stage, client) = control(&world).await;
    let mut ids = Vec::new();
    for _ in 0..7 {
        let (_, made) =
            client.call("POST", "/webhooks", json!({ "url": "http://127.0.0.1:9/", "events": ["*"] })).await;
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    ids.sort();
    let project =
        client.call("GET", "/project", json!(null)).await.1["id"].as_str().unwrap().parse().unwrap();
    // Deleted, and not swept yet; and written by another release.
    let entity =
        |id: &str| EntityRef { kind: Kind::Webhook, project: Clone::clone(&project), id: id.to_owned() };
    for (id, change) in [(&ids[1], json!({ "deleted": true })), (&ids[3], json!({ "events": 5 }))] {
        let stored = world.stores.control.get(&entity(id)).await.unwrap().unwrap();
        let mut doc: Value = serde_json::from_slice(&stored.doc).unwrap();
        doc.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let changed = Stored { version: 2, doc: serde_json::to_vec(&doc).unwrap() };
        assert_eq!(world.stores.control.put(&entity(id), Some(1), &changed).await.unwrap(), Cas::Done);
    }
    let (mut path, mut found) = ("/webhooks?page_size=2".to_owned(), Vec::new());
    loop {
        let (status, page) = client.call("GET", &path, json!(null)).await;
        assert_eq!(status, 200, "{page}");
        found.extend(page["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()));
        let Some(next) = page.get("next") else { break };
        path = format!("/webhooks?page_size=2&next={}", next.as_str().unwrap());
    }
    ids.remove(3);
    ids.remove(1);
    assert_eq!(found, ids);
    world.stop.cancel();
    stage.await;
}

/// Made from the document, which is made from the router: a new route is asked for, or this test fails.
#[tokio::test(flavor = "multi_thread")]
async fn no_route_answers_for_another_project_s_entity() {
    let world = World::new().await;
    let (stage, client) = control(&world).await;
    let account = linked(&client).await;
    let (_, webhook) =
        client.call("POST", "/webhooks", json!({ "url": "http://127.0.0.1:9/", "events": ["*"] })).await;
    let (_, key) = client.call("POST", "/keys", json!({ "name": "x" })).await;
    let id = |made: &Value| made["id"].as_str().unwrap().to_owned();
    let project = webhook["project_id"].as_str().unwrap().parse().unwrap();
    let hook = id(&webhook).parse().unwrap();
    world.stores.api.note_delivery(&project, "msg_1", &hook).await.unwrap();
    let row = AttemptRow { webhook: hook, delivery: "msg_1".into(), at: now(), doc: b"{}".to_vec() };
    world.stores.control.add_attempts(&[row]).await.unwrap();
    let secret = webhook["secrets"][0]["id"].as_str().unwrap().to_owned();
    let theirs = create_project(&world.writer, &*world.stores.control, "Theirs").await.unwrap().api_key;
    let they = Client { http: client.http.clone(), url: client.url.clone(), key: theirs };
    let (_, document) = client.call("GET", "/openapi.json", json!(null)).await;
    let mut asked = 0;
    for (template, operations) in document["paths"].as_object().unwrap() {
        let mut segments: Vec<String> = template.split('/').map(str::to_owned).collect();
        let family = segments[1].clone();
        if !template.contains('{')
            || ["connectors", "ids", "subjects", "schemas", "projects"].contains(&family.as_str())
        {
            continue;
        }
        for segment in &mut segments {
            let value = match (family.as_str(), segment.as_str()) {
                ("accounts", "{id}") => id(&account),
                ("accounts", "{resource}") => "hris_employees".into(),
                ("webhooks", "{id}") => id(&webhook),
                ("webhooks", "{sid}") => secret.clone(),
                ("webhooks", "{delivery}") | ("deliveries", "{id}") => "msg_1".into(),
                ("keys", "{id}") => id(&key),
                (_, placeholder) if placeholder.starts_with('{') => {
                    panic!("{template}: say whose {placeholder} is")
                }
                _ => continue,
            };
            *segment = value;
        }
        let path = segments.join("/");
        for (method, operation) in operations.as_object().unwrap() {
            let example = operation.pointer("/requestBody/content/application~1json/example");
            let body = example.cloned().unwrap_or(Value::Null);
            let (status, refused) = they.call(&method.to_uppercase(), &path, body).await;
            assert_eq!(status, 404, "{method} {path}: {refused}");
            asked += 1;
        }
        if let Some(_get) = operations.get("get") {
            let (status, shown) = client.call("GET", &path, json!(null)).await;
            // Whose it is may be told that there is none, but then in words of its own.
            assert!(status == 200 || shown["message"] != "not found", "{path}: {shown}");
        }
    }
    assert!(asked >= 24, "{asked}");
    world.stop.cancel();
    stage.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_s_quotas_are_its_own_and_nobody_is_the_operator_without_a_key() {
    let world = World::new().await;
    let (stage, client) = control_with(&world, |config| config.webhooks = 3).await;
    let webhook = json!({ "url": "http://127.0.0.1:9/", "events": ["*"] });
    let mut last = Value::Null;
    for _ in 0..3 {
        let (status, made) = client.call("POST", "/webhooks", webhook.clone()).await;
        assert_eq!(status, 201, "{made}");
        last = made;
    }
    let (status, headers, refused) = client.call_with("POST", "/webhooks", webhook.clone(), &[]).await;
    assert_eq!((status, headers.contains_key("retry-after")), (429, true), "{refused}");
    assert_eq!(client.call("DELETE", &path_of("webhooks", &last), json!(null)).await.0, 204);
    let (status, made) = client.call("POST", "/webhooks", webhook.clone()).await;
    assert_eq!(status, 201, "{made}");
    let theirs = create_project(&world.writer, &*world.stores.control, "Theirs").await.unwrap().api_key;
    let they = Client { http: client.http.clone(), url: client.url.clone(), key: theirs };
    assert_eq!(they.call("POST", "/webhooks", webhook).await.0, 201);
    // A project's key is not the operator's.
    let project = made["project_id"].as_str().unwrap();
    for (method, path) in [
        ("POST", "/projects".to_owned()),
        ("GET", format!("/projects/{project}")),
        ("POST", format!("/projects/{project}/suspend")),
        ("POST", format!("/projects/{project}/resume")),
    ] {
        let (status, refused) = client.call(method, &path, json!({ "name": "x" })).await;
        assert_eq!(status, 401, "{method} {path}: {refused}");
    }
    world.stop.cancel();
    stage.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_change_that_can_t_be_published_stops_no_other() {
    let world = World::new().await;
    let long_ago = now().minus(Duration::from_secs(60));
    // The first in order can't be read; the second is an honest change that its maker left.
    for id in ["a-broken", "b-whole"] {
        world.webhook(id, "http://127.0.0.1:9/".into()).await;
    }
    for id in ["a-broken", "b-whole"] {
        let entity = EntityRef { kind: Kind::Webhook, project: crate::world::project(), id: id.into() };
        let stored = world.stores.control.get(&entity).await.unwrap().unwrap();
        let mut doc: Value = serde_json::from_slice(&stored.doc).unwrap();
        doc["version"] = json!(2);
        if id == "a-broken" {
            doc["events"] = json!(5);
        }
        let change = Unpublished { entity: entity.clone(), version: 2, registered_at: long_ago };
        world.stores.control.register(&change).await.unwrap();
        let changed = Stored { version: 2, doc: serde_json::to_vec(&doc).unwrap() };
        assert_eq!(world.stores.control.put(&entity, Some(1), &changed).await.unwrap(), Cas::Done);
    }
    assert_eq!(world.writer.sweep().await.unwrap(), 1);
    let left = world.stores.control.unpublished().await.unwrap();
    assert_eq!(left.iter().map(|change| &*change.entity.id).collect::<Vec<_>>(), ["a-broken"]);
}
