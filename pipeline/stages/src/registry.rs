//! A Confluent-compatible schema registry: where the schemas of `unified.*` are registered for those who read the topics
//! directly (contract §4). Without one, control answers a registry's read calls itself.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, Method, StatusCode};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tributary_schemas::{
    framing::{self, SchemaIds},
    resource::Resource,
    topic::Topics,
};
use url::Url;

use crate::kafka::Setting;

/// How long a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// What the registry holds each subject to: every version is read by readers of every other.
const COMPATIBILITY: &str = "FULL_TRANSITIVE";

/// Where the registry is, if there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Its address; without one, control serves the schemas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// Its user, for Basic auth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Setting>,
}

/// A registry's client.
pub struct Registry {
    http: Client,
    base: Url,
    config: Config,
}

/// What is to be said of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has this release's schema, under this id.
    Current(u32),
    /// It does not exist, or lacks this release's schema, which it would take.
    Absent,
    /// It would not take this release's schema: old readers could not read what is written, or the other way round.
    Incompatible,
}

impl Registry {
    /// A client, where a registry is configured. Connects to nothing yet.
    ///
    /// # Errors
    /// When the address can't be one.
    pub fn new(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(base) = config.url.clone() else { return Ok(None) };
        if base.cannot_be_a_base() {
            bail!("registry.url: expected http:// or https://");
        }
        let http = Client::builder().timeout(CALL_LIMIT).build().context("the registry's HTTP client")?;
        Ok(Some(Self { http, base, config: config.clone() }))
    }

    /// The subject of a resource's topic.
    pub fn subject(topics: &Topics, resource: Resource) -> String {
        format!("{}-value", topics.unified_shared(resource))
    }

    /// How a subject stands to this release's schema. Changes nothing.
    ///
    /// # Errors
    /// When the registry does not answer as one.
    pub async fn standing(&self, subject: &str, schema: &str) -> anyhow::Result<Standing> {
        let body = json!({ "schema": schema });
        #[derive(Deserialize)]
        struct Registered {
            id: u32,
        }
        #[derive(Deserialize)]
        struct Verdict {
            is_compatible: bool,
        }
        let found: Option<Registered> = self.call(Method::POST, &["subjects", subject], Some(&body)).await?;
        if let Some(registered) = found {
            return Ok(Standing::Current(registered.id));
        }
        let path = ["compatibility", "subjects", subject, "versions"];
        let verdict: Option<Verdict> = self.call(Method::POST, &path, Some(&body)).await?;
        Ok(match verdict {
            Some(verdict) if !verdict.is_compatible => Standing::Incompatible,
            Some(_) | None => Standing::Absent,
        })
    }

    /// Registers a schema under a subject, and holds the subject to full compatibility. Repeatable; gives the schema's id.
    ///
    /// # Errors
    /// When the registry refuses it, or does not answer as one.
    pub async fn register(&self, subject: &str, schema: &str) -> anyhow::Result<u32> {
        #[derive(Deserialize)]
        struct Registered {
            id: u32,
        }
        let body = json!({ "schema": schema });
        let path = ["subjects", subject, "versions"];
        let made: Registered =
            self.call(Method::POST, &path, Some(&body)).await?.context("no such registry")?;
        let level = json!({ "compatibility": COMPATIBILITY });
        self.call::<Value>(Method::PUT, &["config", subject], Some(&level)).await?;
        Ok(made.id)
    }

    /// The ids that events are written with: every subject must have this release's schema.
    ///
    /// # Errors
    /// When one has not, and what to do.
    pub async fn ids(&self, topics: &Topics) -> anyhow::Result<SchemaIds> {
        let mut ids = SchemaIds { record: 0, account: 0 };
        for resource in Resource::ALL {
            let subject = Self::subject(topics, resource);
            let Standing::Current(id) = self.standing(&subject, framing::schema_text(resource)).await? else {
                bail!(
                    "the registry lacks this release's schema of `{subject}`: run `tributary schemas apply`"
                );
            };
            let known = if resource == Resource::Account { &mut ids.account } else { &mut ids.record };
            if *known != 0 && *known != id {
                bail!(
                    "`{subject}` has schema {id}, another topic of records has {known}: expected one id for all"
                );
            }
            *known = id;
        }
        Ok(ids)
    }

    /// One call; `None` where the registry knows no such subject or version.
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> anyhow::Result<Option<T>> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| anyhow::anyhow!("registry.url has no path"))?
            .pop_if_empty()
            .extend(path);
        let at = url.path().to_owned();
        let mut request =
            self.http.request(method, url).header("accept", "application/vnd.schemaregistry.v1+json");
        if let Some(user) = &self.config.username {
            request = request.basic_auth(user, self.config.password.as_ref().map(Setting::expose));
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/vnd.schemaregistry.v1+json")
                .body(body.to_string());
        }
        let answer = request.send().await.with_context(|| format!("asking the registry for {at}"))?;
        let status = answer.status();
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let text = answer.text().await.with_context(|| format!("reading the registry's answer for {at}"))?;
        if !status.is_success() {
            let said: String = text.chars().take(300).collect();
            bail!("the registry answered {status} for {at}: {said}");
        }
        serde_json::from_str(&text)
            .map(Some)
            .with_context(|| format!("the registry's answer for {at} is not one"))
    }
}

/// The ids that events are written with: the registry's, or, where none is configured, those that control serves.
///
/// # Errors
/// As [`Registry::ids`].
pub async fn schema_ids(config: &Config, topics: &Topics) -> anyhow::Result<SchemaIds> {
    match Registry::new(config)? {
        Some(registry) => registry.ids(topics).await,
        None => Ok(SchemaIds::default()),
    }
}
