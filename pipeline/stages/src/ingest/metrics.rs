//! What ingest counts.

use crate::telemetry::declare;

declare! {
    /// Requests of providers: `accepted`, `ping`, or why one was not taken.
    counter REQUESTS = "tributary_ingest_requests_total" [provider, outcome];
    /// From a request's arrival to its answer.
    histogram REQUEST_SECONDS = "tributary_ingest_request_seconds";
    /// The bodies' sizes.
    histogram BODY_BYTES = "tributary_ingest_body_bytes";
    /// Bytes of bodies that are held now.
    gauge HELD_BYTES = "tributary_ingest_held_bytes";
}
