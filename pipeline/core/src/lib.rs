//! What to do about it: pure decisions. No I/O, no clock, no chance.
//!
//! Time comes in as a value, and so does everything else that a decision needs.

pub mod address;
pub mod cells;
pub mod decide;
pub mod deliver;
pub mod guard;
pub mod lane;
mod merge;
pub mod note;
pub mod observe;
pub mod ranges;
pub mod rejection;
pub mod scan;
pub mod schedule;
