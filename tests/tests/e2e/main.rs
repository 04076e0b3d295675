//! End to end: real Kafka, a real CQL database, a real provider, other people's receivers and readers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(target_os = "linux")]
mod clocks;
mod deaths;
mod doctor;
mod kills;
#[cfg(target_os = "linux")]
mod manifests;
mod native;
mod openapi;
mod polled;
mod readers;
mod readme;
mod tenancy;
mod types;
