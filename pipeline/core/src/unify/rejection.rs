//! Input that is turned away: it goes to `unify.dead` with its reason, and the partition goes on.

/// Why a message can't be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Rejection {
    /// The listing's range is not one of its cut.
    #[error("the range is not below 2^bits")]
    NoSuchRange,
    /// A cut that is finer than [`FINEST`](crate::range::FINEST).
    #[error("the record-key space is cut too finely: expected at most 14 bits")]
    CutTooFine,
    /// A cut that is too much coarser than the one before.
    #[error("the record-key space is cut too coarsely: expected at most 6 bits less than before")]
    CutTooCoarse,
    /// Records out of order, or one twice.
    #[error("the records are not sorted by record key, each once")]
    Unsorted,
    /// A record of another range.
    #[error("a record does not belong to the listing's range")]
    Misplaced,
    /// More records than one message may hold.
    #[error("too many records in one message: expected at most 16384")]
    TooManyRecords,
    /// More events, or more state, than go into one transaction.
    #[error("the message changes more than fits into one transaction")]
    TooManyChanges,
    /// A record's name that is longer than [`MAX_REMOTE_ID`](super::decide::MAX_REMOTE_ID).
    #[error("a remote id is too long: expected at most 8192 bytes")]
    RemoteIdTooLong,
    /// What is known of the account can't be decoded.
    #[error(
        "what is known of the account can't be read: `tributary unify repair` makes it anew, then send this again"
    )]
    UnreadableState,
    /// The resource `account` has no records.
    #[error("`account` is no resource with records")]
    NotARecord,
}

impl Rejection {
    /// The reason's name, as a metric label and the dead letter have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSuchRange => "no_such_range",
            Self::CutTooFine => "cut_too_fine",
            Self::CutTooCoarse => "cut_too_coarse",
            Self::Unsorted => "unsorted",
            Self::Misplaced => "misplaced",
            Self::TooManyRecords => "too_many_records",
            Self::TooManyChanges => "too_many_changes",
            Self::RemoteIdTooLong => "remote_id_too_long",
            Self::UnreadableState => "unreadable_state",
            Self::NotARecord => "not_a_record",
        }
    }
}
