//! What stands in for the world: a demo provider, an inbox, and a fixed port for the broker. (The broker in the process is
//! `tributary_stages::kafka::Mock`, because only that room speaks rdkafka.)

pub mod inbox;
pub mod provider;
pub mod relay;

/// What the sandbox says at its start.
pub const CANNOT_PROMISE: &str = "\
This is the real pipeline on a stand-in broker and an embedded store, all in this process. What it cannot promise:
  - nothing survives the process, and the broker keeps 5 MB a partition
  - aborted transactions are visible to readers, so exactly-once holds on real Kafka only
  - loopback addresses and plain http are allowed here, and everything is polled every second";
