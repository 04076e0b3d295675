//! The transaction protocol of unify (design §6), without doing it.
//!
//! A lane owns a few partitions. For each it keeps a [`Ledger`]: where the twins are read, what has been announced but
//! not applied, and the timestamps given out. A [`Gathering`] decides what goes into the next batch; [`plan`] decides
//! the batch; the shell commits it in one Kafka transaction and hands the plan back as [`Committed`], which is the only
//! way to state that may be applied. Nothing here does I/O, and time comes in as a value.

mod gathering;
mod ledger;
mod plan;

pub use gathering::{Gathering, Limits, Received, Waiting};
pub use ledger::{Ledger, Loss, Recovered};
pub use plan::{Committed, Dead, Given, Plan, Step, plan};
