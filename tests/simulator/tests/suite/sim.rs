//! A simulator of a test's own, and who asks it.

use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(crate) struct Sim {
    pub(crate) url: String,
    pub(crate) client: reqwest::Client,
}

/// A tenant and what it takes to call its provider.
pub(crate) struct Tenant {
    pub(crate) provider: String,
    pub(crate) base: String,
    pub(crate) credentials: Value,
    pub(crate) app: Value,
    /// An access token, where the provider gives them.
    pub(crate) token: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
}

impl Sim {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(tributary_simulator::serve(listener));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { url, client }
    }

    pub(crate) async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let request = self.client.request(method.parse().unwrap(), format!("{}/_sim/{path}", self.url));
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// A tenant with pages of two where the provider may choose, and a token.
    pub(crate) async fn tenant(&self, provider: &str, name: &str) -> Tenant {
        let made = self
            .control(
                "PUT",
                &format!("{provider}/{name}"),
                json!({"settings": {"page": 2, "rate": 100_000, "company_webhooks": true}}),
            )
            .await;
        let mut tenant = Tenant {
            provider: provider.into(),
            base: made["base_url"].as_str().unwrap().into(),
            credentials: made["credentials"].clone(),
            app: made["app"].clone(),
            token: String::new(),
        };
        tenant.token = crate::tokens::first(self, &tenant).await;
        tenant
    }

    pub(crate) async fn create(&self, tenant: &Tenant, resource: &str, count: usize) {
        self.control(
            "POST",
            &format!("{}/acme/records/{resource}?count={count}", tenant.provider),
            Value::Null,
        )
        .await;
    }

    /// The ids that are there.
    pub(crate) async fn truth(&self, tenant: &Tenant, resource: &str) -> Vec<String> {
        let all =
            self.control("GET", &format!("{}/acme/records/{resource}", tenant.provider), Value::Null).await;
        let mut ids: Vec<String> =
            all.as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }

    pub(crate) async fn fault(&self, tenant: &Tenant, fault: Value) {
        let mut body = fault;
        body["provider"] = tenant.provider.clone().into();
        body["tenant"] = "acme".into();
        self.control("POST", "fault", body).await;
    }

    pub(crate) async fn ask(&self, tenant: &Tenant, method: &str, path: &str, body: &Value) -> Answer {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", tenant.base) };
        let mut request = self.client.request(method.parse().unwrap(), url);
        for (name, value) in crate::tokens::headers(tenant) {
            request = request.header(name, value);
        }
        if !body.is_null() || (method == "POST" && tenant.provider == "dropbox") {
            request = request.json(body);
        }
        self.answer(request).await
    }

    pub(crate) async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let headers =
            response.headers().iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
        Answer { status, headers, text: response.text().await.unwrap_or_else(|_| "cut".into()) }
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
