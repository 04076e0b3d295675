//! Ranges against what is known.
