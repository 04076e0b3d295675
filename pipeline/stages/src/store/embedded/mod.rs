//! Both stores in a folder of this machine, for the sandbox and quick tests. One process only; writes are durable when
//! the process ends well.

mod api;
mod backlog;
mod control;
mod held;
mod state;

use std::{path::Path, sync::Mutex};

use anyhow::Context;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use super::StoreError;

/// An embedded key-value store.
pub struct EmbeddedStore {
    /// unify's cells: timestamp, and the value unless it was removed.
    cells: Keyspace,
    /// Everything of control.
    control: Keyspace,
    /// Comparing and writing is one step.
    writing: Mutex<()>,
    _database: Database,
}

impl EmbeddedStore {
    /// Opens the store in `folder`, or makes it.
    ///
    /// # Errors
    /// When the folder can't be written, or another process has it open.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let database = Database::builder(folder)
            .open()
            .with_context(|| format!("opening the embedded store in {}", folder.display()))?;
        Ok(Self {
            cells: database.keyspace("cells", KeyspaceCreateOptions::default)?,
            control: database.keyspace("control", KeyspaceCreateOptions::default)?,
            writing: Mutex::new(()),
            _database: database,
        })
    }

    fn writing(&self) -> std::sync::MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn away(error: fjall::Error) -> StoreError {
    StoreError::Unavailable { doing: "using the embedded store", source: error.into() }
}

/// A key of parts; the parts hold no zero byte but the last, which may.
fn key(parts: &[&[u8]]) -> Vec<u8> {
    parts.join(&0)
}
