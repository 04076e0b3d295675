//! What crosses a wire: ids, the catalogue, the unified models, messages, topics, bodies, framing.
//!
//! This crate is pure: it reads no clock and no environment, and does no I/O.

#[cfg(test)]
mod arbitrary;
pub mod body;
pub mod codec;
pub mod dead;
pub mod delivery;
pub mod entity;
pub mod event;
pub mod framing;
#[cfg(test)]
mod golden;
pub mod id;
pub mod model;
pub mod observation;
pub mod record_id;
pub mod resource;
pub mod state;
pub mod time;
pub mod topic;
pub mod wal;
