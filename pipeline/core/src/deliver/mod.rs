//! deliver's decisions (design §7): which webhooks want an event, where each stands in each log, what follows an attempt,
//! whether a webhook is asked at all, and how what is sent is signed.
//!
//! [`process::Process`] is all webhooks and partitions of a process as one state machine: [`webhook`] is what one webhook may
//! be asked, [`position`] where it stands in a partition. No socket, no store, no Kafka, no clock, no chance: a shell does
//! what it says, and so does the simulation.

pub mod blocks;
pub mod guard;
pub mod health;
pub mod interest;
pub mod partition;
pub mod position;
pub mod process;
pub mod queue;
pub mod rate;
pub mod record;
pub mod retry;
pub mod sign;
pub mod slots;
pub mod webhook;
pub mod window;
