//! What ingest counts.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Requests, by `provider` and `outcome`.
pub const REQUESTS: &str = "tributary_ingest_requests_total";
/// From a request's arrival to its answer.
pub const REQUEST_SECONDS: &str = "tributary_ingest_request_seconds";
/// The bodies' sizes.
pub const BODY_BYTES: &str = "tributary_ingest_body_bytes";
/// Bytes of bodies that are held now.
pub const HELD_BYTES: &str = "tributary_ingest_held_bytes";

/// Describes them to the exporter.
pub fn describe() {
    describe_counter!(REQUESTS, "Requests, by provider and outcome");
    describe_histogram!(REQUEST_SECONDS, metrics::Unit::Seconds, "From arrival to answer");
    describe_gauge!(HELD_BYTES, metrics::Unit::Bytes, "Bytes of bodies that are held now");
    describe_histogram!(BODY_BYTES, metrics::Unit::Bytes, "The bodies' sizes");
}
