//! deliver's decisions (design §7): which webhooks want an event, what follows an attempt, whether a webhook is asked at
//! all, and how what is sent is signed.
//!
//! No socket, no store, no Kafka: what a stage does with these is in `stages/deliver`.

pub mod breaker;
pub mod interest;
pub mod retry;
pub mod sign;
