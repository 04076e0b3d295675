//! Decisions over histories of inputs.

mod limits;
mod model;
mod moves;
mod natives;
mod runs;
pub(crate) mod world;
