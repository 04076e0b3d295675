//! The provider suite, between the engine and the simulator: what is listed is the truth, what changes is told once, and
//! no fault of a provider's makes a deletion that was none.
#![expect(clippy::unwrap_used, reason = "a test")]

mod account;
mod book;
mod faults;
mod life;
