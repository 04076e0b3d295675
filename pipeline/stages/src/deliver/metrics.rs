//! What deliver counts.

use crate::telemetry::declare;

declare! {
    /// Attempts, by how they ended, and the class of the status (2xx, …, none).
    counter ATTEMPTS = "tributary_deliver_attempts_total" [outcome, status];
    /// How long attempts took.
    histogram ATTEMPT_SECONDS = "tributary_deliver_attempt_seconds";
    /// From an event's decision to its delivery at the first attempt: what a webhook that is well waits for us. What comes
    /// only at a later attempt, or from a backlog, waited for its subscriber, and is not counted.
    histogram LATENCY_SECONDS = "tributary_deliver_latency_seconds" [mode];
    /// Deliveries parked behind one of their record's, which is no attempt.
    counter HELD = "tributary_deliver_held_total";
    /// Records that could not be read, or that our own code failed over: they are on `deliver.dead`.
    counter SET_ASIDE = "tributary_deliver_set_aside_total";
    /// Attempts in flight.
    gauge IN_FLIGHT = "tributary_deliver_in_flight_attempts";
    /// Deliveries that wait in memory or are under way.
    gauge OPEN = "tributary_deliver_open_deliveries";
    /// What waits in memory.
    gauge MEMORY = "tributary_deliver_memory_bytes";
    /// Partitions that webhooks are behind in, summed over webhooks.
    gauge BEHIND = "tributary_deliver_behind_partitions";
    /// How long the one that is behind longest has been.
    gauge OLDEST_BEHIND = "tributary_deliver_oldest_behind_seconds";
    /// Webhooks that fell behind where they were not, and why.
    counter FELL_BEHIND = "tributary_deliver_fell_behind_total" [reason];
    /// Webhooks that fail: only probes are made.
    gauge FAILING = "tributary_deliver_failing_webhooks";
    /// Breakers that opened: webhooks that began to fail.
    counter OPENED = "tributary_deliver_breakers_opened_total";
    /// Records that were gone from the log before they were read, by `head` or for one `webhook`.
    counter EXPIRED = "tributary_deliver_expired_total" [kind];
    /// Records that were read for those behind: `wanted` or `foreign`.
    counter SWEPT = "tributary_deliver_swept_total" [kind];
    /// Partitions whose rows another process claimed while this one had them.
    counter FENCED = "tributary_deliver_fenced_total";
    /// Webhooks that were disabled.
    counter DISABLED = "tributary_deliver_disabled_webhooks_total" [reason];
    /// Webhooks that could not be disabled yet: the store is away.
    counter DISABLE_FAILURES = "tributary_deliver_disable_failures_total";
    /// Calls to the store or the broker that failed and are made again.
    counter RETRIED = "tributary_deliver_retried_total" [reason];
    /// Attempts that the API's table lacks yet.
    gauge TABLE_LAG = "tributary_deliver_untabled_attempts";
    /// Attempts that the API's table will never have: the store was away for too long. The topic has them.
    counter TABLE_LOST = "tributary_deliver_lost_table_attempts_total";
    /// Webhooks whose secrets can't be opened.
    gauge SEALED = "tributary_deliver_sealed_webhooks";
}
