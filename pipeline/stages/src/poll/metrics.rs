//! What poll counts.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// Runs that ended, by `provider`, `kind` (full, delta) and `outcome` (landed, or why not).
pub const RUNS: &str = "tributary_poll_runs_total";
/// How long runs took, by `provider` and `kind`.
pub const RUN_SECONDS: &str = "tributary_poll_run_seconds";
/// Requests to providers, by `provider` and `outcome`.
pub const REQUESTS: &str = "tributary_poll_requests_total";
/// Records listed, by `provider` and `content` (hash, unread).
pub const RECORDS: &str = "tributary_poll_records_total";
/// Ranges compared in full scans, by `outcome` (same, sent).
pub const RANGES: &str = "tributary_poll_ranges_total";
/// Full scans that left doubtful absences.
pub const DOUBTED: &str = "tributary_poll_doubted_scans_total";
/// Resources of accounts that this process schedules.
pub const SLOTS: &str = "tributary_poll_scheduled_resources";
/// Runs under way.
pub const RUNNING: &str = "tributary_poll_runs_in_flight";
/// Resources that are due, and wait for a worker.
pub const DUE: &str = "tributary_poll_due_resources";
/// Runs that wait for a provider, without a worker.
pub const WAITING: &str = "tributary_poll_waiting_runs";
/// What they hold in memory.
pub const HELD_BYTES: &str = "tributary_poll_held_bytes";
/// Runs that were cancelled: their account was deleted, their partition moved while they waited, or their place was given up.
pub const CANCELLED: &str = "tributary_poll_cancelled_runs_total";
/// Looks that failed by a fault of ours, or of the store.
pub const OURS: &str = "tributary_poll_failed_looks_total";
/// Triggers, by `outcome`: `noted`, `pending`, `too_soon`, or why one was set aside.
pub const TRIGGERS: &str = "tributary_poll_triggers_total";
/// Records that a listing did not name: without an id, or behind a parent or a `where` that failed.
pub const NAMELESS: &str = "tributary_poll_nameless_records_total";

/// Describes them to the exporter.
pub fn describe() {
    describe_counter!(RUNS, "Runs that ended, by provider, kind and outcome");
    describe_histogram!(RUN_SECONDS, metrics::Unit::Seconds, "How long runs took");
    describe_counter!(REQUESTS, "Requests to providers, by outcome");
    describe_counter!(RECORDS, "Records listed");
    describe_counter!(RANGES, "Ranges compared in full scans");
    describe_counter!(DOUBTED, "Full scans that left doubtful absences");
    describe_gauge!(SLOTS, "Resources of accounts that this process schedules");
    describe_gauge!(RUNNING, "Runs under way");
    describe_gauge!(DUE, "Resources that are due, and wait for a worker");
    describe_gauge!(WAITING, "Runs that wait for a provider, without a worker");
    describe_gauge!(HELD_BYTES, metrics::Unit::Bytes, "What waiting runs hold in memory");
    describe_counter!(CANCELLED, "Runs that were cancelled");
    describe_counter!(OURS, "Looks that failed by a fault of ours, or of the store");
    describe_counter!(TRIGGERS, "Triggers, by what became of them");
    describe_counter!(NAMELESS, "Records that a listing did not name");
}
