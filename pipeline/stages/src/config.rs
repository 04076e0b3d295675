//! The whole configuration: each stage's own, composed.
