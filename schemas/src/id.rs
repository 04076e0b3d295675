//! Names of things. Every id that crosses a wire is a type of its own, so that one can't be passed for another.

use std::{fmt, marker::PhantomData, str::FromStr, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// An opaque text id of one kind: 1 to 64 characters of `A-Z a-z 0-9 _ -`. Cheap to clone.
pub struct Id<Kind> {
    text: Arc<str>,
    kind: PhantomData<fn() -> Kind>,
}

/// Marks the id of a project.
pub enum OfProject {}
/// Marks the id of an account.
pub enum OfAccount {}
/// Marks the id of a webhook.
pub enum OfWebhook {}
/// Marks the name of a connector, i.e. of a provider.
pub enum OfProvider {}

/// A tenant of the deployment.
pub type ProjectId = Id<OfProject>;
/// One end customer's linked connection to a provider.
pub type AccountId = Id<OfAccount>;
/// A subscriber's URL with the events it wants.
pub type WebhookId = Id<OfWebhook>;
/// The name of a provider, which is the name of its connector (`tryton`).
pub type ProviderId = Id<OfProvider>;

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id has 1 to 64 characters of A-Z, a-z, 0-9, `_` and `-`")]
pub struct InvalidId;

impl<Kind> Id<Kind> {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<Kind> FromStr for Id<Kind> {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(legal) {
            return Err(InvalidId);
        }
        Ok(Self { text: text.into(), kind: PhantomData })
    }
}

impl<Kind> Clone for Id<Kind> {
    fn clone(&self) -> Self {
        Self { text: self.text.clone(), kind: PhantomData }
    }
}
impl<Kind> PartialEq for Id<Kind> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
impl<Kind> Eq for Id<Kind> {}
impl<Kind> PartialOrd for Id<Kind> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<Kind> Ord for Id<Kind> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}
impl<Kind> std::hash::Hash for Id<Kind> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}
impl<Kind> fmt::Debug for Id<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl<Kind> fmt::Display for Id<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl<Kind> Serialize for Id<Kind> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}
impl<'de, Kind> Deserialize<'de> for Id<Kind> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The provider's opaque name for a record; never an e-mail or a person's name. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RemoteId(Arc<str>);

impl RemoteId {
    /// Takes the provider's name for a record as it is.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }
    /// The provider's name for the record.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The record's place in the key space: the first 16 bytes of SHA-256 of the remote id.
    pub fn key(&self) -> RecordKey {
        let digest = Sha256::digest(self.0.as_bytes());
        RecordKey(first_16(&digest))
    }
}

impl fmt::Display for RemoteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a record stands in the key space of its (account, resource), which is cut into `2^bits` equal ranges.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct RecordKey(pub [u8; 16]);

impl RecordKey {
    /// The range that holds this key when the space is cut into `2^bits` ranges.
    pub fn range(self, bits: Bits) -> u32 {
        let head = u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]);
        match bits.0 {
            0 => 0,
            bits => head >> (32 - u32::from(bits)),
        }
    }
}

/// How finely a record-key space is cut: into `2^bits` ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bits(u8);

impl Bits {
    /// What an (account, resource) starts with when only native events have been seen.
    pub const NATIVE: Bits = Bits(6);
    /// The finest cut.
    pub const MAX: Bits = Bits(24);
    /// A cut of `2^bits` ranges; at most 24 bits.
    pub const fn new(bits: u8) -> Option<Self> {
        if bits <= Self::MAX.0 { Some(Self(bits)) } else { None }
    }
    /// The number of bits.
    pub fn get(self) -> u8 {
        self.0
    }
    /// The number of ranges.
    pub fn ranges(self) -> u32 {
        1 << self.0
    }
}

/// The keyed digest of a record's projection: the first 16 bytes of HMAC-SHA256 under the account's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct RecordHash(pub [u8; 16]);

/// The digest of a part of a resource's definition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct ProjectionDigest(pub [u8; 8]);

/// What makes the hashes, as two digests (design §4): a change of one of them means another thing than of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct ProjectionVersion {
    /// Which records there are and what they are called: their ids, what selects them, where they are listed. Another one
    /// is a silent rebase.
    pub identity: ProjectionDigest,
    /// What is read of a record: mapping, conversions, ignored fields. Another one adopts hashes in silence, while created
    /// and deleted still speak.
    pub content: ProjectionDigest,
}

/// One execution of a scan or delta, numbered per (account, resource) from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct RunId(pub u64);

/// The position of an event among its record's events: it grows per record and survives deletes. Microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Sequence(pub i64);

/// The stable name of an event: a digest of what it is, so that a repeat has the same. Text: 22 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct EventId(pub [u8; 16]);

impl EventId {
    /// Digests the parts, each with its length before it, so that no two lists of parts run together.
    pub fn digest(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self(first_16(&hasher.finalize()))
    }
}

/// A text that is no event id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event id is 22 characters of base64url")]
pub struct InvalidEventId;

impl FromStr for EventId {
    type Err = InvalidEventId;
    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidEventId)?;
        Ok(Self(bytes.try_into().map_err(|_| InvalidEventId)?))
    }
}
impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}
impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}
impl fmt::Debug for RecordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}
impl fmt::Debug for ProjectionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn first_16(digest: &[u8]) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_takes_only_its_alphabet() {
        for (text, legal) in
            [("acme-27270", true), ("A_b-9", true), ("", false), ("a b", false), ("a/b", false)]
        {
            assert_eq!(text.parse::<AccountId>().is_ok(), legal, "{text}");
        }
        assert!("x".repeat(65).parse::<AccountId>().is_err());
    }

    #[test]
    fn a_finer_cut_splits_each_range_in_two() {
        let key = RemoteId::new("42").key();
        for bits in 0..Bits::MAX.get() {
            let (coarse, fine) = (Bits::new(bits).unwrap(), Bits::new(bits + 1).unwrap());
            assert!(key.range(coarse) < coarse.ranges());
            assert_eq!(key.range(fine) >> 1, key.range(coarse));
        }
    }

    #[test]
    fn an_event_id_reads_what_it_wrote() {
        let id = EventId::digest(&[b"a", b"bc"]);
        assert_ne!(id, EventId::digest(&[b"ab", b"c"]));
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
