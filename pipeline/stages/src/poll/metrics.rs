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
/// How late runs began after they were due.
pub const LATE_SECONDS: &str = "tributary_poll_start_delay_seconds";

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
    describe_histogram!(LATE_SECONDS, metrics::Unit::Seconds, "How late runs began after they were due");
}
