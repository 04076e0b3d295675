//! The simulator, and a definition turned towards it.

use std::{fs, path::Path, sync::LazyLock};

use anyhow::{Context, Result, bail};
use regex_lite::Regex;
use serde_json::{Value, json};

use crate::Row;

/// A simulator of a test's own.
#[derive(Debug, Clone)]
pub struct Sim {
    url: String,
    client: reqwest::Client,
}

/// A tenant of a provider at the simulator.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The provider.
    pub provider: String,
    /// The tenant's name.
    pub name: String,
    /// Where its provider answers.
    pub base: String,
    /// What its provider gave out: keys, secrets, a refresh token.
    pub credentials: Value,
    /// The integrator's registration.
    pub app: Value,
}

impl Sim {
    /// Starts one, which lives as long as the runtime.
    ///
    /// # Errors
    /// When no port is to be had.
    pub async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("binding")?;
        let url = format!("http://{}", listener.local_addr().context("reading the port")?);
        tokio::spawn(tributary_simulator::serve(listener));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(std::time::Duration::from_secs(20))
            .build()
            .context("making the client")?;
        Ok(Self { url, client })
    }

    /// The client that asks it.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// A control call.
    ///
    /// # Errors
    /// What the simulator says is wrong with it.
    pub async fn control(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let request = self.client.request(method.parse()?, format!("{}/_sim/{path}", self.url));
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
        let (status, text) = (answer.status(), answer.text().await?);
        if !status.is_success() {
            bail!("{method} {path}: {status} {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("{method} {path}"))
    }

    /// A tenant of a row, with pages of two where the provider chooses their size.
    ///
    /// # Errors
    /// As [`control`](Self::control).
    pub async fn tenant(&self, row: &Row, name: &str) -> Result<Tenant> {
        let mut settings: Value = serde_json::from_str(row.settings).context("a row's settings")?;
        settings["page"] = 2.into();
        settings["rate"] = 1_000_000.into();
        let path = format!("{}/{name}", row.provider);
        let made = self.control("PUT", &path, &json!({ "settings": settings })).await?;
        Ok(Tenant {
            provider: row.provider.into(),
            name: name.into(),
            base: made["base_url"].as_str().context("base_url")?.into(),
            credentials: made["credentials"].clone(),
            app: made["app"].clone(),
        })
    }

    /// Makes something go wrong.
    ///
    /// # Errors
    /// As [`control`](Self::control).
    pub async fn fault(&self, tenant: &Tenant, fault: &Value) -> Result<()> {
        let mut fault = fault.clone();
        fault["provider"] = tenant.provider.clone().into();
        fault["tenant"] = tenant.name.clone().into();
        self.control("POST", "fault", &fault).await.map(drop)
    }

    /// How often the tenant's faults have bitten; they are forgotten.
    ///
    /// # Errors
    /// As [`control`](Self::control).
    pub async fn heal(&self, tenant: &Tenant) -> Result<u64> {
        let path = format!("fault?provider={}&tenant={}", tenant.provider, tenant.name);
        let faults = self.control("GET", &path, &Value::Null).await?;
        self.control("DELETE", &path, &Value::Null).await?;
        Ok(faults.as_array().into_iter().flatten().filter_map(|fault| fault["bitten"].as_u64()).sum())
    }
}

impl Tenant {
    /// The path of its control calls.
    pub fn path(&self, rest: &str) -> String {
        format!("{}/{}/{rest}", self.provider, self.name)
    }
}

/// The definition of a provider, turned towards the simulator: all its hosts are one place there, and its pages are of two.
///
/// # Errors
/// When there is no such definition.
pub fn at_simulator(row: &Row, tenant: &Tenant) -> Result<String> {
    static HOSTS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"https://(\{[^}]*\}|[A-Za-z0-9_.-])+"#).expect("a pattern"));
    static NAMED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?m)^hosts: .*$").expect("a pattern"));
    static SIZES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\{ size: \d+").expect("a pattern"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../connectors/definitions")
        .join(row.provider)
        .join("connector.yaml");
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let text = HOSTS.replace_all(&text, tenant.base.as_str());
    let text = NAMED.replace_all(&text, "hosts: [127.0.0.1]");
    Ok(SIZES.replace_all(&text, "{ size: 2").into_owned())
}
