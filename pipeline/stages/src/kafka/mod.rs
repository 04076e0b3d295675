//! Kafka: the only user of rdkafka.
//!
//! [`Cluster`] knows where the brokers are and what topics are called; [`Publisher`] writes and waits for the
//! acknowledgement; [`View`] holds a compacted topic in memory; [`Group`] is a member of a consumer group.

pub mod broker;
mod cluster;
mod group;
mod log;
mod member;
pub mod metrics;
mod mock;
mod outsider;
#[cfg(feature = "without-transactions")]
mod plain;
mod publisher;
pub mod skew;
mod statistics;
mod sweeper;
pub mod topics;
mod transaction;
mod twins;
mod view;

pub use cluster::{Cluster, Config, Setting};
pub use group::{Assignment, From, Group, GroupConfig, GroupEvent, Incoming, Revocation};
pub use log::LogReader;
pub use member::{Committed, Member, MemberEvent, Weighed};
pub use mock::Mock;
pub use outsider::Outsider;
#[cfg(feature = "without-transactions")]
pub use plain::Plain;
pub use publisher::{Outgoing, Position, PublishError, Publisher, Receipt};
pub use skew::Skew;
pub use sweeper::{Sweeper, Sweeping, Swept};
pub use transaction::{NextOffset, TransactionError, Transactional};
pub use twins::{CommittedOffset, Listener, TwinMessage, Twins};
pub use view::{Table, View};
