//! How much one input may hold, and what it makes.

/// How many records one message may hold.
pub(crate) const MAX_RECORDS: usize = 16_384;
/// The longest name of a record, in bytes: more is no name, and no store is asked to keep it.
pub const MAX_REMOTE_ID: usize = 8_192;
/// How many events one input message may make.
pub const MAX_EVENTS: usize = 20_000;
/// How large one input message's WAL record may be: less than the 8 MiB of a message (design §3).
pub const MAX_WAL_BYTES: usize = 7 << 20;
/// How much of the provider's request one input message's events may hold together: each holds its own part of at most
/// 1 MiB, but in the provider's wrapping, which is repeated.
pub const MAX_EVENT_BYTES: usize = 32 << 20;
