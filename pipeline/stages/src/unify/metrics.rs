//! What unify counts.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Messages decided, by `twin`.
pub const INPUTS: &str = "tributary_unify_inputs_total";
/// Events announced, by `event`.
pub const EVENTS: &str = "tributary_unify_events_total";
/// What was silent, by `note`.
pub const NOTES: &str = "tributary_unify_notes_total";
/// Messages set aside in `unify.dead`, by `reason`.
pub const REJECTIONS: &str = "tributary_unify_rejections_total";
/// Transactions, by `outcome` (committed, aborted, unknown).
pub const TRANSACTIONS: &str = "tributary_unify_transactions_total";
/// Messages in a batch.
pub const BATCH: &str = "tributary_unify_batch_messages";
/// How long the phases of a batch take, by `phase` (read, decide, commit, apply).
pub const PHASE_SECONDS: &str = "tributary_unify_phase_seconds";
/// Producers replaced because nobody could say what became of a transaction.
pub const PRODUCERS: &str = "tributary_unify_producers_replaced_total";
/// Times the store was asked again because it was away.
pub const STORE_RETRIES: &str = "tributary_unify_store_retries_total";
/// How long a partition's recovery takes.
pub const RECOVERY_SECONDS: &str = "tributary_unify_recovery_seconds";
/// WAL records that are committed but not applied.
pub const WAL_LAG: &str = "tributary_unify_wal_unapplied_records";
/// Bytes that are held: messages that wait, and WAL records that are not applied.
pub const MEMORY: &str = "tributary_unify_memory_bytes";
/// Times a partition was held back because memory was spent.
pub const HELD_BACK: &str = "tributary_unify_partitions_held_back_total";
/// Partitions that halted because something of them is lost, by `kind`.
pub const HALTED: &str = "tributary_unify_partitions_halted_total";
/// Times the store refused for good what it was asked: a schema, a permission.
pub const STORE_REFUSED: &str = "tributary_unify_store_refused_total";
/// Partitions that are read.
pub const PARTITIONS: &str = "tributary_unify_partitions";
/// From a native request's acknowledgement to the commit of its events.
pub const NATIVE_SECONDS: &str = "tributary_unify_native_latency_seconds";

/// Describes them to the exporter.
pub fn describe() {
    describe_counter!(INPUTS, "Messages decided, by twin");
    describe_counter!(EVENTS, "Events announced");
    describe_counter!(NOTES, "What was silent, and why");
    describe_counter!(REJECTIONS, "Messages set aside in unify.dead");
    describe_counter!(TRANSACTIONS, "Kafka transactions, by outcome");
    describe_histogram!(BATCH, metrics::Unit::Count, "Messages in a batch");
    describe_histogram!(PHASE_SECONDS, metrics::Unit::Seconds, "How long the phases of a batch take");
    describe_counter!(PRODUCERS, "Producers replaced after a transaction of unknown outcome");
    describe_counter!(STORE_RETRIES, "Times the store was asked again because it was away");
    describe_histogram!(RECOVERY_SECONDS, metrics::Unit::Seconds, "How long a partition's recovery takes");
    describe_gauge!(WAL_LAG, "WAL records that are committed but not applied");
    describe_gauge!(MEMORY, metrics::Unit::Bytes, "Messages that wait, and WAL records that are not applied");
    describe_counter!(HELD_BACK, "Times a partition was held back because memory was spent");
    describe_counter!(HALTED, "Partitions that halted because something of them is lost, by kind");
    describe_counter!(STORE_REFUSED, "Times the store refused for good what it was asked");
    describe_gauge!(PARTITIONS, "Partitions that are read");
    describe_histogram!(NATIVE_SECONDS, metrics::Unit::Seconds, "From acknowledgement to committed events");
}
