//! Why a decision was silent, or what it did in silence: a fixed set, for metrics.

/// One thing that was not announced, or not only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Note {
    /// The account was deleted: whatever comes later is dropped.
    Forgotten,
    /// A later full run's summary has been seen: the message is dropped.
    StaleRun,
    /// A later run has changed this record.
    StaleRecord,
    /// A native event told of this record after the run began, or too shortly before.
    Unsettled,
    /// A range without its run's summary: dropped.
    NoSummary,
    /// A range of another cut than its summary's: dropped.
    OtherCut,
    /// A run wants another cut while ranges are still being moved to the last one: dropped.
    MoveUnfinished,
    /// A delta's record in a range that has had no baseline: dropped.
    NoBaseline,
    /// A delta's record of another projection than its range's: dropped.
    OtherProjection,
    /// A record was taken over with a baseline.
    TakenOver,
    /// A hash of another projection was adopted.
    Reprojected,
    /// The content of a record that a native event had told of was adopted.
    Adopted,
    /// A record exists, but could not be read.
    Unread,
    /// A record is missing, but doubtfully: it was marked.
    Marked,
    /// A missing record is there again.
    Unmarked,
    /// A provider's delivery that has been decided already.
    Redelivered,
    /// A native `created` of a record whose existence is known to readers.
    AlreadyCreated,
    /// A native `deleted` of a record that is gone.
    AlreadyDeleted,
    /// A native event that its record's deletion has overtaken.
    Late,
    /// A tombstone that is older than what is known of its record.
    OldTombstone,
    /// A range was moved to another cut.
    Moved,
    /// A record that has long been gone was removed.
    Purged,
    /// A range's row did not count what is in the range: it was mended.
    Miscounted,
}

impl Note {
    /// The note's name, as a metric label has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forgotten => "forgotten",
            Self::StaleRun => "stale_run",
            Self::StaleRecord => "stale_record",
            Self::Unsettled => "unsettled",
            Self::NoSummary => "no_summary",
            Self::OtherCut => "other_cut",
            Self::MoveUnfinished => "move_unfinished",
            Self::NoBaseline => "no_baseline",
            Self::OtherProjection => "other_projection",
            Self::TakenOver => "taken_over",
            Self::Reprojected => "reprojected",
            Self::Adopted => "adopted",
            Self::Unread => "unread",
            Self::Marked => "marked",
            Self::Unmarked => "unmarked",
            Self::Redelivered => "redelivered",
            Self::AlreadyCreated => "already_created",
            Self::AlreadyDeleted => "already_deleted",
            Self::Late => "late",
            Self::OldTombstone => "old_tombstone",
            Self::Moved => "moved",
            Self::Purged => "purged",
            Self::Miscounted => "miscounted",
        }
    }
}
