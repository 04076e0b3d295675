//! What ingest counts.

use metrics::{describe_counter, describe_histogram};

/// Requests, by `provider` and `outcome`.
pub const REQUESTS: &str = "tributary_ingest_requests_total";
/// From a request's arrival to its answer.
pub const REQUEST_SECONDS: &str = "tributary_ingest_request_seconds";
/// The bodies' sizes.
pub const BODY_BYTES: &str = "tributary_ingest_body_bytes";

/// Describes them to the exporter.
pub fn describe() {
    describe_counter!(REQUESTS, "Requests, by provider and outcome");
    describe_histogram!(REQUEST_SECONDS, metrics::Unit::Seconds, "From arrival to answer");
    describe_histogram!(BODY_BYTES, metrics::Unit::Bytes, "The bodies' sizes");
}
