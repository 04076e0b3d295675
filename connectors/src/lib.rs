//! What a provider says: definitions, and the engine that reads them. No I/O, no clock, no chance.
//!
//! A [`Connector`] is made from `definitions/<provider>/connector.yaml`. It describes the provider, builds the requests
//! of a listing and reads the answers ([`polling`]), hashes what was read ([`projection`]), verifies what comes in
//! ([`signature`]) and maps it ([`native`]). The examples beside each definition are its tests ([`example`]).
//! What it maps is held to the unified models when it is read, not when it runs.

pub mod catalog;
mod conformance;
pub mod connector;
pub mod definition;
pub mod engine;
pub mod example;
mod expression;
pub mod legacy;
mod legacy_catalog;
mod mapping;
pub mod native;
pub mod polling;
pub mod projection;
pub mod signature;
mod template;

pub use catalog::Catalog;
pub use connector::Connector;
pub use legacy::DefinitionError;
