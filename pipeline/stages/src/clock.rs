//! The one place where the wall clock is read.

use std::time::{SystemTime, UNIX_EPOCH};

use tributary_schemas::time::Timestamp;

/// Now, in microseconds since 1970.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
