//! unify's protocol and decisions (design §6), without doing them: what a message changes and announces, in which
//! transaction, and what may be done after it. Nothing here does I/O or reads a clock: time comes in as a value.

pub mod decide;
pub mod rejection;

mod exchange;
mod gathering;
mod lane;
mod ledger;
mod now;
mod plan;
mod recovery;

pub use self::{
    exchange::{Action, Event, Found, Outcome, Part, Transaction},
    gathering::{Gathering, Limits, Received, Waiting},
    lane::Lane,
    ledger::Ledger,
    now::Now,
    plan::{Committed, Dead, Message, Plan, Step, plan, timed},
    recovery::Loss,
};
