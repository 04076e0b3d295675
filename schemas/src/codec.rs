//! The internal formats: one format byte, then postcard. Readers know a format and the one before it (design §3).
//!
//! Format 2 is the first of this reckoning: 1 was written by builds that nobody ran, and is refused. Each format has a
//! file in `schemas/golden`, which the tests read for as long as `read` does.

use serde::{Serialize, de::DeserializeOwned};

/// A value with an internal wire format.
pub trait Format: Serialize + DeserializeOwned {
    /// The format written today. A change that old readers can't read takes the next number, and `read` learns both.
    const FORMAT: u8;
    /// What the value is called in errors: `WAL record`.
    const NAME: &'static str;

    /// Reads the body that follows the format byte. Override it to read the format before this one too.
    fn read(format: u8, body: &[u8]) -> Result<Self, Undecodable> {
        if format != Self::FORMAT {
            return Err(refused::<Self>(format));
        }
        postcard::from_bytes(body).map_err(|source| Undecodable::Body { name: Self::NAME, source })
    }
}

/// Why a format that is not read is refused.
pub(crate) fn refused<T: Format>(format: u8) -> Undecodable {
    let (name, expected) = (T::NAME, T::FORMAT);
    match format.checked_sub(expected) {
        None => Undecodable::Older { name, format, expected },
        // The release after this one writes it. What is further ahead nobody wrote.
        Some(1) => Undecodable::Newer { name, format, expected },
        Some(_) => Undecodable::Unknown { name, format, expected },
    }
}

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// No bytes at all.
    #[error("an empty {name}: expected a format byte")]
    Empty {
        /// What was to be read.
        name: &'static str,
    },
    /// Written by a release that is too old for this one.
    #[error(
        "a {name} of format {format}, and this release reads format {expected}: it was written before the first release \
         that is kept, so begin with new topics and a new keyspace"
    )]
    Older {
        /// What was to be read.
        name: &'static str,
        /// What the bytes say.
        format: u8,
        /// What this release writes.
        expected: u8,
    },
    /// Written by nobody that we know of.
    #[error("a {name} of format {format}, and this release reads format {expected}: no release writes it")]
    Unknown {
        /// What was to be read.
        name: &'static str,
        /// What the bytes say.
        format: u8,
        /// What this release writes.
        expected: u8,
    },
    /// Written by the release after this one.
    #[error(
        "a {name} of format {format}, and this release reads format {expected}: a later release must read it"
    )]
    Newer {
        /// What was to be read.
        name: &'static str,
        /// What the bytes say.
        format: u8,
        /// What this release writes.
        expected: u8,
    },
    /// Not the value's encoding.
    #[error("a {name} that can't be decoded")]
    Body {
        /// What was to be read.
        name: &'static str,
        /// What postcard said.
        source: postcard::Error,
    },
}

/// The format byte and the value.
pub fn encode<T: Format>(value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![T::FORMAT]).expect("our own types have no unsized or failing parts")
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`Undecodable`] says which value was expected and what was found.
pub fn decode<T: Format>(bytes: &[u8]) -> Result<T, Undecodable> {
    let (format, body) = bytes.split_first().ok_or(Undecodable::Empty { name: T::NAME })?;
    T::read(*format, body)
}
