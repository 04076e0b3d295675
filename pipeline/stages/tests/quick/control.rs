//! control's API over a broker in the process.

use std::{future::Future, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tributary_connectors::Catalog;
use tributary_stages::control::{Config, Control, create_project};

use crate::world::World;

/// Who asks: a project's key, at an API.
struct Client {
    http: reqwest::Client,
    url: String,
    key: String,
}

impl Client {
    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        let answer = request.basic_auth(&self.key, Some("")).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

/// Control, and a client of it once it listens.
async fn control(world: &World) -> (impl Future + use<>, Client) {
    // A port that was free a moment ago.
    let listen: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = Config { listen, ..Config::default() };
    config.dial.allow = vec!["127.0.0.0/8".parse().unwrap()];
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
                refused["message"].as_str().unwrap().starts_with("rate: expected 1 to 10000"),
                "{refused}"
            );
        }
    }
    let (status, refused) = client.call("PATCH", &path, json!({ "ordering": "account" })).await;
    assert_eq!(status, 422, "{refused}");
    world.stop.cancel();
    stage.await;
}

/// An account at Tryton, and the path of its schedule.
async fn scheduled(client: &Client) -> String {
    let setup = json!({ "base_url": "http://127.0.0.1:9", "database": "d", "login": "l", "password": "p" });
    let (status, made) =
        client.call("POST", "/accounts", json!({ "provider": "tryton", "setup": setup })).await;
    assert_eq!(status, 201, "{made}");
    format!("/accounts/{}/schedules/hris_employees", made["id"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interval_of_ten_years_is_refused_and_a_wrong_method_is_told_in_json() {
    let world = World::new().await;
    let (stage, client) = control(&world).await;
    let path = scheduled(&client).await;
    for (body, field) in [
        (json!({ "interval": 315_360_000, "full_interval": 315_360_000 }), "interval"),
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
