//! WAL records, as they are applied and as they weigh.

use tributary_schemas::wal::{Mutation, WalRecord};

use crate::guard::{Guard, holds};

/// A record's mutations, each with the timestamp that it is written with.
pub fn timed(record: &WalRecord) -> impl Iterator<Item = (i64, &Mutation)> {
    record
        .timed()
        .map(|(ts, mutation)| (if holds(Guard::TimestampPerMutation) { ts } else { record.ts }, mutation))
}

/// At most how many bytes a mutation takes in the WAL record.
pub(super) fn mutation_weight(mutation: &Mutation) -> usize {
    /// All of it but the names.
    const FIXED: usize = 96;
    FIXED
        + match mutation {
            Mutation::Record { bucket, known, .. } => {
                let named = known.as_ref().map_or(0, |known| known.remote_id.as_str().len());
                bucket.account.as_str().len() + named
            }
            Mutation::Range { bucket, .. } => bucket.account.as_str().len(),
            Mutation::Head { account, .. } => account.as_str().len(),
            Mutation::Forget { account, cuts } => account.as_str().len() + 64 * cuts.len(),
            Mutation::Delivery { account, delivery } => account.as_str().len() + delivery.as_str().len(),
        }
}

/// How many bytes a record takes in memory, about.
pub fn weight(record: &WalRecord) -> usize {
    64 + record.mutations.iter().map(|mutation| 128 + mutation_weight(mutation)).sum::<usize>()
}
