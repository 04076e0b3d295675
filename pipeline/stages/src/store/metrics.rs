//! What the store counts.

use crate::telemetry::declare;

declare! {
    /// Times the database was asked again because it did not answer, or not in time.
    counter RETRIES = "tributary_store_retries_total";
    /// What was asked of the database in vain, for as long as it is asked again.
    counter UNAVAILABLE = "tributary_store_unavailable_total";
}
