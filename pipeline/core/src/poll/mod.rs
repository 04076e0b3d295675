//! poll's decisions (design §5): when a resource of an account is run and how, whose turn it is, and what a scan's records
//! amount to.
//!
//! No clock, no chance, no connector, no store: what a page said comes in as values.

pub mod asks;
pub mod cadence;
pub mod churn;
pub mod delta;
pub mod listing;
pub mod outcome;
pub mod quota;
mod records;
pub mod scan;
pub mod scheduler;
pub mod turns;
