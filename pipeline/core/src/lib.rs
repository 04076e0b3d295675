//! What to do about it: pure decisions. No I/O, no clock, no chance.
//!
//! Time comes in as a value, and so does everything else that a decision needs.

pub mod address;
pub mod cells;
pub mod chain;
pub mod control;
pub mod deliver;
pub mod guard;
pub mod poll;
pub mod range;
pub mod record;
pub mod retry_after;
pub mod unify;
