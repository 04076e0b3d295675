//! End to end: real Kafka, a real CQL database, a real provider, other people's receivers and readers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod deaths;
mod kills;
mod native;
mod polled;
mod tenancy;
