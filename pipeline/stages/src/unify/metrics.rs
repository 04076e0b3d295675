//! What unify counts.

use crate::telemetry::declare;

declare! {
    /// Messages decided.
    counter INPUTS = "tributary_unify_inputs_total" [twin];
    /// Events announced.
    counter EVENTS = "tributary_unify_events_total" [event];
    /// What was silent, and why.
    counter NOTES = "tributary_unify_notes_total" [note];
    /// Messages set aside in `unify.dead`.
    counter REJECTIONS = "tributary_unify_rejections_total" [reason];
    /// Transactions: `committed`, `aborted`, `unknown`.
    counter TRANSACTIONS = "tributary_unify_transactions_total" [outcome];
    /// Messages in a batch.
    histogram BATCH = "tributary_unify_batch_messages";
    /// How long the phases of a batch take.
    histogram PHASE_SECONDS = "tributary_unify_phase_seconds" [phase];
    /// Producers replaced because nobody could say what became of a transaction.
    counter PRODUCERS = "tributary_unify_producers_replaced_total";
    /// Times the store was asked again because it was away.
    counter STORE_RETRIES = "tributary_unify_store_retries_total";
    /// How long a partition's recovery takes.
    histogram RECOVERY_SECONDS = "tributary_unify_recovery_seconds";
    /// WAL records that are committed but not applied.
    gauge WAL_LAG = "tributary_unify_wal_unapplied_records" [lane];
    /// Bytes that are held: messages that wait, and WAL records that are not applied.
    gauge MEMORY = "tributary_unify_memory_bytes";
    /// Times a partition was held back because memory was spent.
    counter HELD_BACK = "tributary_unify_partitions_held_back_total";
    /// Partitions that halted because something of them is lost.
    counter HALTED = "tributary_unify_partitions_halted_total" [kind];
    /// Times the store refused for good what it was asked: a schema, a permission.
    counter STORE_REFUSED = "tributary_unify_store_refused_total";
    /// Partitions that are read.
    gauge PARTITIONS = "tributary_unify_partitions" [lane];
    /// From a native request's acknowledgement to the commit of its events.
    histogram NATIVE_SECONDS = "tributary_unify_native_latency_seconds";
}
