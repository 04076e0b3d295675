//! Decisions over histories of inputs.
