//! What control counts.

use metrics::{describe_counter, describe_histogram};

/// Requests, by `route`, `method` and `status`.
pub const REQUESTS: &str = "tributary_control_requests_total";
/// How long they took, by `route`.
pub const REQUEST_SECONDS: &str = "tributary_control_request_seconds";

/// Describes them to the exporter.
pub fn describe() {
    describe_counter!(REQUESTS, "Requests, by route, method and status");
    describe_histogram!(REQUEST_SECONDS, metrics::Unit::Seconds, "How long requests took");
}
