//! The peer that `tests/bench` measures the guarantee against: the same writes without transactions. Records are written
//! by an idempotent producer, then the offsets are committed; what dies between is told twice. Never in a release.

use rdkafka::{
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata},
    error::KafkaError,
};

use super::{
    Cluster, NextOffset, Outgoing, TransactionError,
    transaction::{Writer, list},
};

/// Stands in for [`Transactional`](super::transaction::Transactional).
pub struct Plain {
    writer: Writer,
    /// Of a group of its own: only the group's members may commit for it.
    offsets: BaseConsumer,
}

impl Plain {
    /// Makes the producer.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn new(cluster: &Cluster, name: &str) -> Result<Self, TransactionError> {
        let made = || -> Result<Self, KafkaError> {
            let offsets = cluster.consumer("unify", &format!("plain-{name}")).create()?;
            Ok(Self { writer: Writer::new(cluster.producer("unify"), cluster)?, offsets })
        };
        made().map_err(TransactionError::Unknown)
    }

    /// Writes records and commits offsets; gives the offset of each record.
    ///
    /// # Errors
    /// When it is not known what was written.
    pub fn run(
        &self,
        records: &[Outgoing],
        offsets: &[NextOffset],
        _: &ConsumerGroupMetadata,
    ) -> Result<Vec<i64>, TransactionError> {
        let written = self.writer.write(records).map_err(|(_, error)| TransactionError::Unknown(error))?;
        let commit = list(offsets).and_then(|offsets| self.offsets.commit(&offsets, CommitMode::Sync));
        commit.map_err(TransactionError::Unknown)?;
        Ok(written)
    }
}
