//! What control counts.

use crate::telemetry::declare;

declare! {
    /// Requests to the API.
    counter REQUESTS = "tributary_control_requests_total" [route, method, status];
    /// How long requests to the API took.
    histogram REQUEST_SECONDS = "tributary_control_request_seconds" [route];
    /// Requests that were refused because their caller asks, or has, too much.
    counter REFUSALS = "tributary_control_refusals_total" [limit];
    /// Requests with an API key that is not known, by where that was found: `cache` or `store`.
    counter UNKNOWN_KEYS = "tributary_control_unknown_keys_total" [kind];
    /// Requests that the store failed: it is `unavailable`, or holds what is `broken`.
    counter STORE_FAILURES = "tributary_control_store_failures_total" [kind];
}

/// Counts a refusal.
pub(super) fn refused(limit: &'static str) {
    ::metrics::counter!(REFUSALS, "limit" => limit).increment(1);
}
