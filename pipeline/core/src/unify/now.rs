//! A process's two clocks, as a value.

use std::time::Duration;

use tributary_schemas::time::Timestamp;

/// When something happens, by both clocks of a process. They are told apart by their types: a wait that was measured by
/// the wall clock would last an hour longer when the clock is set back by an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock, which may jump: for what is announced and written.
    pub wall: Timestamp,
    /// Since the process began, which never goes back: for all that is waited for.
    pub uptime: Duration,
}
