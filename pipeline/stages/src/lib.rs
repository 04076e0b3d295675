//! Doing it: the five stages, over Kafka, a CQL store and HTTP.

pub mod clock;
pub mod config;
pub mod control;
pub mod deliver;
pub mod dial;
pub mod entity;
pub mod http_error;
pub mod ingest;
pub mod kafka;
pub mod listen;
pub mod measures;
pub mod poll;
pub mod registry;
pub mod secret;
pub mod store;
pub mod telemetry;
pub mod unify;
