//! The internal formats: one format byte, then postcard. Readers know a format and the one before it (design §3).

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
            return Err(Undecodable::Format { name: Self::NAME, format, expected: Self::FORMAT });
        }
        postcard::from_bytes(body).map_err(|source| Undecodable::Body { name: Self::NAME, source })
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
    /// Written by a release that this one can't read.
    #[error("a {name} of format {format}: this release reads format {expected}")]
    Format {
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
