//! The entities of `control.accounts` and `control.webhooks`, as JSON. ScyllaDB is the truth; the topics carry versions
//! to the stages. Secrets are sealed wherever they are kept (design §8).

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    id::{AccountId, ProjectId, ProviderId, WebhookId},
    observation::{NativePayload, Source},
    resource::{EventPattern, Mode, Resource},
    time::Timestamp,
};

/// Grows by one with each change of an entity; the first is 1.
pub type Version = u64;

/// A secret, encrypted: `v1.<key id>.<base64url of nonce and ciphertext>`. Only the key ring in `stages` opens it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(pub String);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What `control.webhooks` carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Wanted {
    /// A project with its settings and topic wishes.
    Project(Project),
    /// A webhook.
    Webhook(Webhook),
}

/// A tenant of the deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Grows with each change.
    pub version: Version,
    /// What people call it.
    pub name: String,
    /// What of native requests may leave in events.
    #[serde(default)]
    pub native_payload: NativePayload,
    /// What `record_id`s begin with, before encoding (contract §2).
    #[serde(default = "default_id_prefix")]
    pub id_prefix: String,
    /// Events that the project wants on its topics without any webhook.
    #[serde(default)]
    pub topics: Vec<TopicWish>,
    /// Defaults per provider and resource.
    #[serde(default)]
    pub schedules: Vec<ScheduleDefault>,
    /// Since when the operator has suspended it: nothing is polled, delivered or taken in.
    #[serde(default)]
    pub suspended_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

fn default_id_prefix() -> String {
    "tr1!".into()
}

/// Events wanted on the topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicWish {
    /// Which events.
    pub events: Vec<EventPattern>,
    /// Of which providers; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<Vec<ProviderId>>,
}

/// A project's default for the accounts of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleDefault {
    /// The provider.
    pub provider: ProviderId,
    /// The resource.
    pub resource: Resource,
    /// How often.
    #[serde(flatten)]
    pub schedule: Schedule,
    /// Fields whose change is noise.
    #[serde(default)]
    pub ignored_fields: Vec<String>,
}

/// How often a resource is polled; an absent value means the next wider default (account, project, connector, deployment).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Between two runs.
    #[serde(default, with = "seconds", skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Between two full scans.
    #[serde(default, with = "seconds", skip_serializing_if = "Option::is_none")]
    pub full_interval: Option<Duration>,
}

/// Durations as whole seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => to.serialize_some(&span.as_secs()),
            None => to.serialize_none(),
        }
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(from)?.map(Duration::from_secs))
    }
}

/// One end customer's linked connection to a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id; never used again.
    pub id: AccountId,
    /// Its tenant.
    pub project: ProjectId,
    /// Grows with each change.
    pub version: Version,
    /// The provider it links to.
    pub provider: ProviderId,
    /// Whether it can be used.
    pub status: AccountStatus,
    /// Why it can't.
    #[serde(default)]
    pub status_reasons: Vec<String>,
    /// What people call it.
    #[serde(default)]
    pub label: Option<String>,
    /// The end customer's id in the project's own system.
    #[serde(default)]
    pub origin_owner_id: Option<String>,
    /// The end customer's name.
    #[serde(default)]
    pub origin_owner_name: Option<String>,
    /// Who linked the account.
    #[serde(default)]
    pub origin_username: Option<String>,
    /// The non-secret set-up fields.
    #[serde(default)]
    pub setup: BTreeMap<String, String>,
    /// The secret set-up fields, a JSON object of texts, sealed.
    pub credentials: Sealed,
    /// 32 random bytes that key its hashes (design §4), sealed.
    pub hash_key: Sealed,
    /// Where its provider's webhooks come in.
    pub native: NativeWebhook,
    /// How often each resource is polled, where it differs from the defaults.
    #[serde(default)]
    pub schedules: BTreeMap<Resource, Schedule>,
    /// Which of its versions are events.
    #[serde(default)]
    pub told: Told,
    /// When it was linked.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Which versions of an account are events: how it is polled, and by what its webhooks are verified, is none of its facts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The last version that is an event; 0: each is.
    pub version: Version,
    /// The one that was an event before it; 0: none.
    pub before: Version,
}

impl Account {
    /// Notes whether this version is an event: it is where a fact differs from the version before, and at both ends.
    pub fn tell(&mut self, before: Option<&Self>) {
        let facts = |it: &Self| {
            let origin =
                (it.origin_owner_id.clone(), it.origin_owner_name.clone(), it.origin_username.clone());
            let status = (it.status, it.status_reasons.clone());
            (status, it.label.clone(), origin, it.setup.clone(), it.credentials.clone())
        };
        if before.is_none_or(|before| facts(before) != facts(self)) {
            let last =
                if self.told.version == 0 { self.version.saturating_sub(1) } else { self.told.version };
            self.told = Told { version: self.version, before: last };
        }
    }

    /// Whether this version is an event.
    pub fn is_told(&self) -> bool {
        self.told.version == 0 || self.told.version == self.version
    }

    /// What messages and events of its records say of it.
    pub fn source(&self) -> Source {
        Source {
            project: self.project.clone(),
            account: self.id.clone(),
            provider: self.provider.clone(),
            origin_owner_id: self.origin_owner_id.as_deref().map(Into::into),
        }
    }
}

/// Whether an account can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the contract's (§5)")]
pub enum AccountStatus {
    Active,
    Inactive,
    Suspended,
    Archived,
    Expired,
    Error,
}

/// An account's URL for its provider's webhooks, and the secrets that verify them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NativeWebhook {
    /// SHA-256 of the URL's token, in hex: what ingest looks up.
    pub token_hash: String,
    /// The token, sealed, to show the URL again.
    pub token: Sealed,
    /// The secrets that verify; during rotation more than one.
    #[serde(default)]
    pub secrets: Vec<Sealed>,
}

/// A subscriber's URL with the events it wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Its tenant.
    pub project: ProjectId,
    /// Grows with each change.
    pub version: Version,
    /// Where deliveries go.
    pub url: String,
    /// What people call it.
    #[serde(default)]
    pub name: Option<String>,
    /// Which events.
    pub events: Vec<EventPattern>,
    /// Of which providers; absent means all.
    #[serde(default)]
    pub providers: Option<Vec<ProviderId>>,
    /// Of which accounts; absent means all.
    #[serde(default)]
    pub accounts: Option<Vec<AccountId>>,
    /// Of which end customer, by its id in the project's own system; absent means all.
    #[serde(default)]
    pub origin_owner_id: Option<String>,
    /// Of which modes; absent means all.
    #[serde(default)]
    pub modes: Option<Vec<Mode>>,
    /// The form of `record_type` in bodies.
    #[serde(default)]
    pub record_type: RecordType,
    /// Whether a record's events wait for each other.
    #[serde(default)]
    pub ordering: Ordering,
    /// At most so many requests a second, from each deliver process.
    #[serde(default)]
    pub rate: Option<u32>,
    /// Further headers of each delivery: names in lower case, values sealed.
    #[serde(default)]
    pub headers: BTreeMap<String, Sealed>,
    /// Whether it is delivered to.
    pub status: WebhookStatus,
    /// What deliveries are signed with.
    pub secrets: Vec<WebhookSecret>,
    /// Events detected from then on are delivered.
    pub enabled_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The form of `record_type` in bodies (contract §2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordType {
    /// `hris_employees`, always.
    #[default]
    Full,
    /// `employees` in synthetic events.
    Legacy,
}

/// Whether a record's events wait for each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// They don't; `sequence` tells their order.
    #[default]
    Unordered,
    /// At most one in flight per record, in the order of `sequence`: one that failed holds back its own record's alone.
    Record,
}

/// Whether a webhook is delivered to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WebhookStatus {
    /// It is.
    Enabled,
    /// It is not.
    Disabled {
        /// Why: `by request`, `gone (410)`, `failing for 5 days`.
        reason: String,
    },
}

/// One of a webhook's secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSecret {
    /// Its id.
    pub id: String,
    /// The secret as text (`whsec_…`, or what the caller brought), sealed.
    pub secret: Sealed,
    /// Whether the compat header carries its signature.
    pub role: SecretRole,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which header a secret signs (contract §3, rotation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretRole {
    /// Signs the compat header, and `webhook-signature`. Exactly one secret is active.
    Active,
    /// Signs `webhook-signature` only.
    Inactive,
}
