//! unify's protocol and decisions (design §6), without doing them: what a message changes and announces, in which
//! transaction, and what may be done after it. Nothing here does I/O or reads a clock: time comes in as a value.
//!
//! A [`Partition`](partition::Partition) owns its recovery, then its ledger, inbox and overlay: dropping it is the
//! revocation. A [`Lane`] picks partitions that have work, in turn, and wraps their batches in one transaction.

pub mod decide;
pub mod rejection;

mod batch;
mod clock;
mod exchange;
mod inbox;
mod lane;
mod ledger;
mod loss;
mod memory;
mod message;
mod now;
mod overlay;
mod partition;
mod plan;
mod recovery;
mod roster;
#[cfg(test)]
mod tests;
mod timer;
mod wal;

pub use self::{
    batch::Limits,
    exchange::{Abort, Action, Event, Outcome},
    inbox::Received,
    lane::Lane,
    ledger::{Adds, Committed, Ledger},
    loss::{Loss, LossKind},
    memory::{Flow, Gates, Memory, Permit},
    message::{Dead, Message},
    now::Now,
    plan::{Part, Plan, Step, Transaction, plan},
    recovery::{Accepted, Found, Recovered, accept, applied_of, lost_of},
    roster::Roster,
    wal::{timed, weight},
};
