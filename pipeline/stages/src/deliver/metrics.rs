//! What deliver counts.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Attempts, by `outcome` and `status` (its class: 2xx, …, timeout, failed).
pub const ATTEMPTS: &str = "tributary_deliver_attempts_total";
/// How long attempts took.
pub const ATTEMPT_SECONDS: &str = "tributary_deliver_attempt_seconds";
/// From an event's detection to its first successful attempt.
pub const LATENCY_SECONDS: &str = "tributary_deliver_latency_seconds";
/// Deliveries put off without an attempt, by `reason` (queue_full, breaker, held).
pub const PARKED: &str = "tributary_deliver_parked_total";
/// Events that could not be read.
pub const REJECTIONS: &str = "tributary_deliver_rejections_total";
/// Events that no webhook wanted.
pub const UNWANTED: &str = "tributary_deliver_unwanted_total";
/// Attempts in flight.
pub const IN_FLIGHT: &str = "tributary_deliver_attempts_in_flight";
/// Events that are not settled yet, by `group`.
pub const UNSETTLED: &str = "tributary_deliver_unsettled_events";
/// Webhooks that were disabled, by `reason`.
pub const DISABLED: &str = "tributary_deliver_disabled_webhooks_total";

/// Webhooks that could not be disabled yet: the store is away.
pub const DISABLE_FAILURES: &str = "tributary_deliver_disable_failures_total";
/// Breakers that opened: webhooks that keep failing.
pub const OPENED: &str = "tributary_deliver_breakers_opened_total";

/// Describes them to the exporter.
pub fn describe() {
    describe_counter!(ATTEMPTS, "Attempts, by outcome and status class");
    describe_histogram!(ATTEMPT_SECONDS, metrics::Unit::Seconds, "How long attempts took");
    describe_histogram!(LATENCY_SECONDS, metrics::Unit::Seconds, "From detection to delivery");
    describe_counter!(PARKED, "Deliveries put off without an attempt");
    describe_counter!(REJECTIONS, "Events that could not be read");
    describe_counter!(UNWANTED, "Events that no webhook wanted");
    describe_gauge!(IN_FLIGHT, "Attempts in flight");
    describe_gauge!(UNSETTLED, "Events that are not settled yet");
    describe_counter!(DISABLED, "Webhooks that were disabled");
    describe_counter!(DISABLE_FAILURES, "Webhooks that could not be disabled yet");
    describe_counter!(OPENED, "Breakers that opened");
}
