//! The retry topics: what is not tried now waits there until it is due.

use std::time::Duration;

use anyhow::Context;
use tributary_core::deliver::retry::behind;
use tributary_schemas::{
    codec,
    delivery::Delivery,
    time::Timestamp,
    topic::{RETRY_DELAYS, RetryDelay, Topics},
};

use super::{metrics, order::Order};
use crate::{
    clock::now,
    kafka::{Outgoing, Publisher},
};

/// How much later than the one before it a held delivery is due, so that they come in their order.
const BEHIND: Duration = Duration::from_millis(10);

/// Parks deliveries.
pub(super) struct Parking {
    topics: Topics,
    publisher: Publisher,
    /// Waits are multiplied by this: 1, but in tests.
    scale: f64,
}

impl Parking {
    pub(super) fn new(topics: Topics, publisher: Publisher, scale: Option<f64>) -> Self {
        Self { topics, publisher, scale: scale.unwrap_or(1.0) }
    }

    /// Parks a delivery until it is due; when it is on the broker, it is settled here. Its row comes first, so that nothing
    /// comes past it.
    pub(super) async fn park(
        &self,
        mut delivery: Delivery,
        order: &Order,
        topic: RetryDelay,
        wait: Duration,
    ) -> anyhow::Result<Timestamp> {
        delivery.due = now().plus(wait.mul_f64(self.scale));
        let due = delivery.due;
        order.hold(due).await?;
        let record = Outgoing {
            topic: self.topics.deliver_retry(topic),
            key: delivery.webhook.as_str().as_bytes().to_vec().into(),
            payload: Some(codec::encode(&delivery).into()),
            headers: order.headers(),
            ..Outgoing::default()
        };
        self.publisher.send(record).await.context("parking a delivery")?;
        Ok(due)
    }

    /// Parks a delivery that was not tried, in the shortest retry topic: that is no attempt.
    pub(super) async fn put_off(
        &self,
        delivery: Delivery,
        order: &Order,
        reason: &'static str,
    ) -> anyhow::Result<()> {
        ::metrics::counter!(metrics::PARKED, "reason" => reason).increment(1);
        let [shortest, ..] = RETRY_DELAYS;
        self.park(delivery, order, shortest, shortest.delay).await.map(drop)
    }

    /// Parks a delivery behind one of its record's that is due then: that is no attempt either.
    pub(super) async fn put_behind(
        &self,
        delivery: Delivery,
        order: &Order,
        ahead: Timestamp,
    ) -> anyhow::Result<()> {
        ::metrics::counter!(metrics::PARKED, "reason" => "held").increment(1);
        let (topic, wait) = behind((ahead.since(now()) + BEHIND).div_f64(self.scale));
        self.park(delivery, order, topic, wait).await.map(drop)
    }
}
