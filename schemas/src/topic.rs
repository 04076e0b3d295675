//! Every topic name, made here only. A deployment may put a prefix before all of them.

use std::{fmt, time::Duration};

use crate::{id::ProjectId, resource::Resource};

/// Makes topic names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
}

/// The delays of the retry topics, shortest first (design §7).
pub const RETRY_DELAYS: [RetryDelay; 9] = [
    RetryDelay { name: "5s", delay: Duration::from_secs(5) },
    RetryDelay { name: "5m", delay: Duration::from_secs(5 * 60) },
    RetryDelay { name: "30m", delay: Duration::from_secs(30 * 60) },
    RetryDelay { name: "2h", delay: Duration::from_secs(2 * 3600) },
    RetryDelay { name: "5h", delay: Duration::from_secs(5 * 3600) },
    RetryDelay { name: "10h", delay: Duration::from_secs(10 * 3600) },
    RetryDelay { name: "14h", delay: Duration::from_secs(14 * 3600) },
    RetryDelay { name: "20h", delay: Duration::from_secs(20 * 3600) },
    RetryDelay { name: "24h", delay: Duration::from_secs(24 * 3600) },
];

/// One retry topic's delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryDelay {
    /// As in the topic's name.
    pub name: &'static str,
    /// How long a delivery waits there.
    pub delay: Duration,
}

impl Topics {
    /// Names with `prefix` before each; the empty prefix is the usual one.
    pub fn with_prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }
    /// A name as `ops/topics.yaml` has it, in this deployment.
    pub fn named(&self, name: impl fmt::Display) -> String {
        format!("{}{name}", self.prefix)
    }
    /// Verified provider requests.
    pub fn ingest_native(&self) -> String {
        self.named("ingest.native")
    }
    /// What runs found.
    pub fn poll_snapshots(&self) -> String {
        self.named("poll.snapshots")
    }
    /// Change feeds to run now.
    pub fn poll_triggers(&self) -> String {
        self.named("poll.triggers")
    }
    /// unify's write-ahead log.
    pub fn unify_wal(&self) -> String {
        self.named("unify.wal")
    }
    /// Input that unify could not decode, map or produce.
    pub fn unify_dead(&self) -> String {
        self.named("unify.dead")
    }
    /// The unified events of a resource. The project is an argument so that per-project topics change this function alone.
    pub fn unified(&self, resource: Resource, _project: &ProjectId) -> String {
        self.unified_shared(resource)
    }
    /// The unified topic that all projects share, for who creates or reads it.
    pub fn unified_shared(&self, resource: Resource) -> String {
        self.named(format_args!("unified.{resource}"))
    }
    /// Accounts, compacted.
    pub fn control_accounts(&self) -> String {
        self.named("control.accounts")
    }
    /// Webhooks and projects, compacted.
    pub fn control_webhooks(&self) -> String {
        self.named("control.webhooks")
    }
    /// Deliveries that people asked for.
    pub fn deliver_requests(&self) -> String {
        self.named("deliver.requests")
    }
    /// Deliveries that wait for `delay`.
    pub fn deliver_retry(&self, delay: RetryDelay) -> String {
        self.named(format_args!("deliver.retry.{}", delay.name))
    }
    /// Every attempt and its outcome.
    pub fn deliver_attempts(&self) -> String {
        self.named("deliver.attempts")
    }
    /// What deliver could not process.
    pub fn deliver_dead(&self) -> String {
        self.named("deliver.dead")
    }
    /// All topics of a deployment.
    pub fn all(&self) -> Vec<String> {
        let mut all = vec![
            self.ingest_native(),
            self.poll_snapshots(),
            self.poll_triggers(),
            self.unify_wal(),
            self.unify_dead(),
            self.control_accounts(),
            self.control_webhooks(),
            self.deliver_requests(),
            self.deliver_attempts(),
            self.deliver_dead(),
        ];
        all.extend(Resource::ALL.map(|resource| self.unified_shared(resource)));
        all.extend(RETRY_DELAYS.map(|delay| self.deliver_retry(delay)));
        all
    }
}
