//! What an input message comes to.

use tributary_schemas::{event::UnifiedEvent, wal::Mutation};

use crate::record::Note;

/// What an input message changes and announces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// What changes; mutation *i* is written at `ts + i`.
    pub mutations: Vec<Mutation>,
    /// What is announced, in this order. An event's sequence is its record's mutation's timestamp.
    pub events: Vec<UnifiedEvent>,
    /// What was silent, for the metrics.
    pub notes: Vec<Note>,
}
