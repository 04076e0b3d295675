//! What is committed for the group `unify`, seen and, where a partition has halted, set by one who is no member of it.

use rdkafka::consumer::{BaseConsumer, Consumer};
use tributary_schemas::wal::Twin;

use super::{
    Cluster, NextOffset, TransactionError, Transactional,
    twins::{ANSWER_LIMIT, CommittedOffset, committed},
};

/// Looks at the group without joining it.
pub struct Outsider {
    consumer: BaseConsumer,
    native: String,
    snapshots: String,
}

impl Outsider {
    /// Makes the client.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn new(cluster: &Cluster) -> anyhow::Result<Self> {
        let (native, snapshots) = (cluster.topics().ingest_native(), cluster.topics().poll_snapshots());
        Ok(Self { consumer: cluster.consumer("unify", "unify").create()?, native, snapshots })
    }

    /// What was last committed for a twin's partition, once no transaction is open on it.
    ///
    /// # Errors
    /// When the broker does not say in time.
    pub fn committed(&self, twin: Twin, partition: i32) -> anyhow::Result<Option<CommittedOffset>> {
        committed(&self.consumer, self.topic(twin), partition)
    }

    /// Where a twin's partition begins, and where it ends.
    ///
    /// # Errors
    /// When the broker does not say in time.
    pub fn bounds(&self, twin: Twin, partition: i32) -> anyhow::Result<(i64, i64)> {
        Ok(self.consumer.fetch_watermarks(self.topic(twin), partition, ANSWER_LIMIT)?)
    }

    /// Commits where the twins of a partition are to be read on. Nobody is fenced by it: only where no member reads the
    /// partition, as it has halted.
    ///
    /// # Errors
    /// [`TransactionError`] says whether it was.
    pub fn commit(
        &self,
        producer: &Transactional,
        partition: i32,
        nexts: [(Twin, i64); 2],
        metadata: &str,
    ) -> Result<(), TransactionError> {
        let offset = |(twin, offset)| NextOffset {
            topic: self.topic(twin).to_owned(),
            partition,
            offset,
            metadata: metadata.to_owned(),
        };
        // A transaction of one who names no member is taken by a living group, too.
        let nobody = self.consumer.group_metadata().expect("a consumer with a group");
        producer.run(&[], &nexts.map(offset), &nobody).map(drop)
    }

    fn topic(&self, twin: Twin) -> &str {
        match twin {
            Twin::Native => &self.native,
            Twin::Snapshots => &self.snapshots,
        }
    }
}
