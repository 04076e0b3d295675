//! Decisions over histories of inputs.

mod interleavings;
mod limits;
mod model;
pub(crate) mod world;
