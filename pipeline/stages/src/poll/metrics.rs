//! What poll counts.

use crate::telemetry::declare;

declare! {
    /// Runs that ended, by kind (full, delta) and outcome (landed, or why not).
    counter RUNS = "tributary_poll_runs_total" [provider, kind, outcome];
    /// How long runs took.
    histogram RUN_SECONDS = "tributary_poll_run_seconds" [provider, kind];
    /// Requests to providers, by how they ended.
    counter REQUESTS = "tributary_poll_requests_total" [provider, outcome];
    /// Records listed.
    counter RECORDS = "tributary_poll_records_total" [provider, content];
    /// Ranges compared in full scans: `same`, `sent`.
    counter RANGES = "tributary_poll_ranges_total" [outcome];
    /// Full scans that left doubtful absences.
    counter DOUBTED = "tributary_poll_doubted_scans_total";
    /// Resources of accounts that this process schedules.
    gauge SLOTS = "tributary_poll_scheduled_resources";
    /// Runs under way.
    gauge RUNNING = "tributary_poll_in_flight_runs";
    /// Resources that are due, and wait for a worker.
    gauge DUE = "tributary_poll_due_resources";
    /// Runs that wait for a provider, without a worker.
    gauge WAITING = "tributary_poll_waiting_runs";
    /// What waiting runs hold in memory.
    gauge HELD_BYTES = "tributary_poll_held_bytes";
    /// Runs that were cancelled: their account was deleted, their partition moved while they waited, or their place was
    /// given up.
    counter CANCELLED = "tributary_poll_cancelled_runs_total";
    /// Looks that failed by a fault of ours, or of the store.
    counter OURS = "tributary_poll_failed_looks_total";
    /// Triggers: `noted`, `pending`, `too_soon`, or why one was set aside.
    counter TRIGGERS = "tributary_poll_triggers_total" [outcome];
    /// Records that a listing did not name: without an id, or behind a parent or a `where` that failed.
    counter NAMELESS = "tributary_poll_nameless_records_total" [provider];
}
