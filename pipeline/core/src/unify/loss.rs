//! Why a partition can't go on by itself.

use tributary_schemas::wal::Twin;

/// Something of a partition is lost: it halts, alone, until a person has looked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("partition {partition}: {kind}. {}", self.advice())]
pub struct Loss {
    /// The partition.
    pub partition: i32,
    /// What is lost.
    pub kind: LossKind,
}

impl Loss {
    /// What to do next.
    pub fn advice(&self) -> String {
        match &self.kind {
            LossKind::Unapplied { .. }
            | LossKind::WalShorter { .. }
            | LossKind::NoOffsets { .. }
            | LossKind::Input { .. }
            | LossKind::Unreadable { .. } => format!(
                "Restore what was lost, or go on without it: `tributary unify accept-loss {}`",
                self.partition
            ),
            LossKind::Future { .. } => {
                "Set the clocks right; it goes on by itself a day before that time".to_owned()
            }
            LossKind::Newer { .. } => "Start the release that wrote it, or a later one".to_owned(),
        }
    }
}

/// What is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LossKind {
    /// Retention has passed what was not applied.
    #[error(
        "unify.wal begins at offset {begins}, but only what lies below {applied} has been applied: changes between are lost"
    )]
    Unapplied {
        /// Where the WAL begins.
        begins: i64,
        /// What has been applied.
        applied: i64,
    },
    /// The WAL was made anew, or its broker lost the end of it.
    #[error(
        "unify.wal ends at offset {end}, but what lies below {applied} has been applied: it is another log"
    )]
    WalShorter {
        /// Where it ends.
        end: i64,
        /// What has been applied.
        applied: i64,
    },
    /// The group's offsets are gone, and with them what has been applied.
    #[error(
        "nothing is committed for either twin, and unify.wal begins at offset {begins}: what was applied is not known"
    )]
    NoOffsets {
        /// Where the WAL begins.
        begins: i64,
    },
    /// Input was lost by retention, or its topic was made anew.
    #[error("{} is to be read on at offset {next}, and has {begins}..{end}", name(*.twin))]
    Input {
        /// Which input.
        twin: Twin,
        /// Where it is to be read on.
        next: i64,
        /// Where it begins.
        begins: i64,
        /// Where it ends.
        end: i64,
    },
    /// A clock was far ahead once: what follows the last timestamp would be out of the future, too.
    #[error(
        "the last timestamp given out is {last_ts} us after 1970, more than a day ahead of this process's clock"
    )]
    Future {
        /// Microseconds.
        last_ts: i64,
    },
    /// Nothing is lost, but this release can't go on: an input was written by a later one.
    #[error("the input at offset {offset} of {}: {detail}; nothing is lost", name(*.twin))]
    Newer {
        /// Which input.
        twin: Twin,
        /// Where it stands.
        offset: i64,
        /// What is wrong.
        detail: String,
    },
    /// A record of the WAL can't be decoded.
    #[error("the record at offset {offset} of unify.wal can't be read: {detail}")]
    Unreadable {
        /// Where it stands.
        offset: i64,
        /// What is wrong.
        detail: String,
    },
}

impl LossKind {
    /// The kind's name, as a metric label has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unapplied { .. } => "unapplied",
            Self::WalShorter { .. } => "wal_shorter",
            Self::NoOffsets { .. } => "no_offsets",
            Self::Input { .. } => "input",
            Self::Unreadable { .. } => "unreadable",
            Self::Newer { .. } => "newer",
            Self::Future { .. } => "future",
        }
    }
}

const fn name(twin: Twin) -> &'static str {
    match twin {
        Twin::Native => "ingest.native",
        Twin::Snapshots => "poll.snapshots",
    }
}
