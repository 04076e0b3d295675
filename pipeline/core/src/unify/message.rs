//! A message of either twin, as it is given to be decided.

use bytes::Bytes;

use super::decide::Input;

/// A message as it is given to be decided.
#[derive(Debug, Clone)]
pub struct Message {
    /// The account, as the topic's key.
    pub key: Vec<u8>,
    /// The message as it came: what is set aside is set aside whole.
    pub payload: Bytes,
    /// What it says, or why it can't be read.
    pub input: Result<Input, Dead>,
}

/// Why a message goes to `unify.dead`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// From a fixed set, for metrics: `undecodable`, `unmappable`, `too_large`, or a rejection's name.
    pub reason: &'static str,
    /// What is wrong, for people.
    pub detail: String,
}
