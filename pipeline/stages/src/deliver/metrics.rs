//! What deliver counts.

use crate::telemetry::declare;

declare! {
    /// Attempts, by how they ended, and the class of the status (2xx, …, timeout, failed).
    counter ATTEMPTS = "tributary_deliver_attempts_total" [outcome, status];
    /// How long attempts took.
    histogram ATTEMPT_SECONDS = "tributary_deliver_attempt_seconds";
    /// From an event's decision to its delivery at the first attempt: what a webhook that is well waits for us. What comes
    /// only at a later attempt waited for its subscriber, and is not counted.
    histogram LATENCY_SECONDS = "tributary_deliver_latency_seconds" [mode];
    /// Deliveries put off without an attempt: `queue_full`, `breaker`, `held`.
    counter PARKED = "tributary_deliver_parked_total" [reason];
    /// Events that could not be read.
    counter REJECTIONS = "tributary_deliver_rejections_total";
    /// Events that no webhook wanted.
    counter UNWANTED = "tributary_deliver_unwanted_total";
    /// Attempts in flight.
    gauge IN_FLIGHT = "tributary_deliver_in_flight_attempts";
    /// Events that are not settled yet.
    gauge UNSETTLED = "tributary_deliver_unsettled_events";
    /// Webhooks that were disabled.
    counter DISABLED = "tributary_deliver_disabled_webhooks_total" [reason];
    /// Webhooks that could not be disabled yet: the store is away.
    counter DISABLE_FAILURES = "tributary_deliver_disable_failures_total";
    /// Breakers that opened: webhooks that keep failing.
    counter OPENED = "tributary_deliver_breakers_opened_total";
}
