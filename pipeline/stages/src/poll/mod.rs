//! Runs scans and deltas: what lands is complete, and holds no polled field.
