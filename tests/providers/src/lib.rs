//! The provider suite's rows, and the simulator that they are driven against.
//!
//! A provider is a row ([`ROWS`]), never a file. The rows know nothing of the engine: the same ones are driven through
//! the engine alone (this crate's tests) and end to end.

mod rows;
mod sim;

pub use rows::{ROWS, Row, row};
pub use sim::{Sim, Tenant, at_simulator};
