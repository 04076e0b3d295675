//! poll's decisions (design §5): when a resource of an account is run and how, and what a scan's records amount to.
//!
//! No clock, no chance, no connector, no store: what a page said comes in as values.

pub mod cadence;
pub mod scan;
