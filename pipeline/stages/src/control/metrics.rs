//! What control counts.

use crate::telemetry::declare;

declare! {
    /// Requests to the API.
    counter REQUESTS = "tributary_control_requests_total" [route, method, status];
    /// How long requests to the API took.
    histogram REQUEST_SECONDS = "tributary_control_request_seconds" [route];
}
