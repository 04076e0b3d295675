//! Metrics, health and logs, in every role.
