//! Delivers events to webhooks, signed: at least once, with a stable id (design §7).
//!
//! Kafka's offsets are decoupled from HTTP: an event is *settled* for a webhook when it was delivered, refused for good,
//! or parked in a retry topic, and a partition's offset advances over the settled prefix ([`settled`]). So a slow
//! subscriber never holds up anyone else.
//!
//! With a webhook's `ordering: record`, a record's events come in the order of their `sequence`, one at a time ([`order`]).
//! A webhook's `rate` limits what this process asks of it ([`bulkhead`]): several processes may ask several times as often.

mod attempt;
mod bulkhead;
mod dispatch;
mod lineup;
mod log;
pub mod metrics;
mod order;
mod parking;
mod post;
mod read;
mod settled;
mod subscribers;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tributary_schemas::{resource::Resource, topic::RETRY_DELAYS};

use self::{
    attempt::Attempter, bulkhead::Bulkheads, dispatch::Dispatcher, log::Log, order::Orders, parking::Parking,
    post::Post, read::Reader, subscribers::Subscribers,
};
use crate::{
    dial::{self, Dialer},
    entity::Writer,
    kafka::{Cluster, From, Group, GroupConfig, Publisher, View},
    secret::KeyRing,
    store::Stores,
};

/// Settings of deliver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// One deadline over DNS, connect, TLS, headers and body of an attempt, in seconds.
    pub deadline_seconds: u64,
    /// Requests in flight for one webhook.
    pub per_webhook: usize,
    /// Deliveries that may wait for one webhook; more are parked in the shortest retry topic, which is no attempt.
    pub queue: usize,
    /// Events that may be unsettled before reading pauses.
    pub unsettled: usize,
    /// First attempts in flight in this process.
    pub first_attempts: usize,
    /// Retries in flight in this process: slots of their own, so that retries never starve first attempts.
    pub retries: usize,
    /// The compat signature's header.
    pub signature_header: String,
    /// Which addresses may be dialled beside global ones.
    pub dial: dial::Config,
    /// For tests only: retry waits are multiplied by this.
    pub test_retry_scale: Option<f64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            deadline_seconds: 15,
            per_webhook: 16,
            queue: 256,
            unsettled: 10_000,
            first_attempts: 512,
            retries: 128,
            signature_header: "x-stackone-signature".into(),
            dial: dial::Config::default(),
            test_retry_scale: None,
        }
    }
}

/// The stage.
pub struct Deliver {
    cluster: Cluster,
    config: Config,
    publisher: Publisher,
    subscribers: View<Subscribers>,
    attempter: Arc<Attempter>,
}

impl Deliver {
    /// Puts the stage together.
    ///
    /// # Errors
    /// When a client can't be made.
    pub fn build(
        config: Config,
        cluster: Cluster,
        stores: Stores,
        keys: Arc<KeyRing>,
    ) -> anyhow::Result<Self> {
        let publisher = Publisher::new(&cluster, "deliver")?;
        let topics = cluster.topics().clone();
        let subscribers =
            View::follow(&cluster, "deliver", topics.control_webhooks(), Subscribers::new(keys))?;
        let deadline = Duration::from_secs(config.deadline_seconds);
        let dialer = Dialer::new(&config.dial, deadline)?;
        let store = stores.control.clone();
        let attempter = Attempter {
            deadline,
            per_webhook: config.per_webhook,
            subscribers: subscribers.clone(),
            bulkheads: Bulkheads::new(&config),
            orders: Orders::new(store.clone()),
            parking: Parking::new(topics.clone(), publisher.clone(), config.test_retry_scale),
            post: Post::new(dialer, config.signature_header.clone()),
            log: Log::new(topics.clone(), publisher.clone(), &stores),
            writer: Writer::new(store, publisher.clone(), topics),
        };
        Ok(Self { cluster, config, publisher, subscribers, attempter: Arc::new(attempter) })
    }

    /// Runs until told to stop; attempts in flight are given their deadline.
    ///
    /// # Errors
    /// When the process should be restarted from what was settled.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        self.subscribers.ready().await;
        let topics = self.cluster.topics();
        let mut first = Resource::ALL.map(|resource| topics.unified_shared(resource)).to_vec();
        first.push(topics.deliver_requests());
        let retries = RETRY_DELAYS.map(|delay| topics.deliver_retry(delay)).to_vec();
        let join = |group: &str, topics: Vec<String>| {
            let config = GroupConfig {
                role: "deliver".into(),
                group: group.into(),
                instance: None,
                topics,
                twin: None,
                from: From::Committed,
                queue: 500,
            };
            Group::join(&self.cluster, config)
        };
        let (first_group, first_events) = join("deliver", first)?;
        let (retry_group, retry_events) = join("deliver-retry", retries)?;
        tracing::info!("deliver runs");
        let dispatch = |group, slots| {
            let reader = Reader::new(topics.clone(), self.publisher.clone(), self.attempter.clone());
            Dispatcher::new(group, reader, self.attempter.clone(), slots, self.config.unsettled)
        };
        let first = dispatch(first_group, self.config.first_attempts).run(first_events, shutdown.clone());
        let retry = dispatch(retry_group, self.config.retries).run(retry_events, shutdown);
        tokio::try_join!(first, retry)?;
        self.publisher.flush(Duration::from_secs(5))
    }
}
