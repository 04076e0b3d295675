//! The messages of `ingest.native`.

use std::{fmt, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::Source;
use crate::{
    codec::Format,
    id::RemoteId,
    resource::{Mode, Resource},
    time::Timestamp,
};

/// A message of `ingest.native`: a verified provider request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct NativeRequest {
    /// Whose it is.
    pub source: Source,
    /// When we acknowledged it.
    pub received_at: Timestamp,
    /// How its events count: manual or automatic.
    pub mode: Mode,
    /// The chosen headers, names in lower case; never credentials or signatures.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    #[cfg_attr(test, proptest(strategy = "crate::arbitrary::bytes()"))]
    pub body: Bytes,
    /// The provider's own id of this delivery, where its definition finds one (design §6).
    pub delivery: DeliveryId,
    /// What of it may go on (a project's setting).
    pub payload: NativePayload,
    /// The project's prefix of `record_id`.
    pub id_prefix: String,
    /// How long after a native event a run is not to be trusted about its record.
    pub settle: Duration,
    /// Records that the request names and that poll has fetched since (a rule's `fetch`, design §5): their `event_data`.
    pub fetched: Vec<FetchedRecord>,
}

impl Format for NativeRequest {
    const FORMAT: u8 = 2;
    const NAME: &'static str = "native request";
}

/// A record of an account, by the provider's name for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct RecordName {
    /// What kind of record.
    pub resource: Resource,
    /// The provider's name for it.
    pub remote_id: RemoteId,
}

/// A record that a request named, as the provider gave it when asked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct FetchedRecord {
    /// Which record.
    pub record: RecordName,
    /// The unified record as JSON text.
    pub event_data: String,
}

impl fmt::Debug for FetchedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchedRecord").field("record", &self.record).finish_non_exhaustive()
    }
}

/// A provider's request that names no record: the change feed was read because of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub struct Notification {
    /// When we acknowledged it.
    pub received_at: Timestamp,
    /// How its events count: manual or automatic.
    pub mode: Mode,
    /// The request as `raw_event`, JSON text; `None` where the project lets none go on.
    pub raw_event: Option<String>,
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received_at, mode, .. } = self;
        f.debug_struct("Notification")
            .field("received_at", received_at)
            .field("mode", mode)
            .finish_non_exhaustive()
    }
}

/// Makes the same provider delivery silent the second time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
pub enum DeliveryId {
    /// The provider names its deliveries.
    Declared(String),
    /// The body's digest: it holds its own time, so no two are alike.
    Digest([u8; 16]),
    /// Nothing tells two deliveries apart: each speaks.
    None,
}

impl DeliveryId {
    /// What is kept of it; `None` if deliveries can't be told apart.
    pub fn key(&self) -> Option<DeliveryKey> {
        let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Some(DeliveryKey(match self {
            Self::Declared(id) if id.len() <= DeliveryKey::DECLARED_MOST => format!("i{id}"),
            Self::Declared(id) => format!("h{}", hex(&Sha256::digest(id.as_bytes()))),
            Self::Digest(digest) => format!("d{}", hex(digest)),
            Self::None => return None,
        }))
    }
}

/// A delivery's id as it is kept: an id that is longer than 128 bytes as its digest, so that no provider can make a key
/// that a store refuses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct DeliveryKey(String);

/// A text that is longer than any delivery's key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a delivery's key has at most 129 bytes")]
pub struct DeliveryKeyTooLong;

impl DeliveryKey {
    /// The longest id that is kept as it is, in bytes.
    const DECLARED_MOST: usize = 128;

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for DeliveryKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.len() > 1 + Self::DECLARED_MOST {
            return Err(serde::de::Error::custom(DeliveryKeyTooLong));
        }
        Ok(Self(text))
    }
}

/// What of a provider's request leaves in events (design §4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(proptest_derive::Arbitrary))]
#[serde(rename_all = "snake_case")]
pub enum NativePayload {
    /// `raw_event` and `event_data`.
    #[default]
    Full,
    /// `event_data` only.
    EventData,
    /// Neither.
    None,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_deliveries_have_two_keys_and_none_is_long() {
        let long = |last: &str| DeliveryId::Declared("x".repeat(70_000) + last);
        let keys = [
            DeliveryId::Declared("a".into()),
            DeliveryId::Declared("x".repeat(128)),
            DeliveryId::Declared("x".repeat(129)),
            long("1"),
            long("2"),
            DeliveryId::Digest([0xab; 16]),
        ]
        .map(|id| id.key().unwrap());
        for (place, key) in keys.iter().enumerate() {
            assert!(key.as_str().len() <= 129, "{}", key.as_str().len());
            assert!(!keys[..place].contains(key), "{place}");
        }
        assert_eq!(DeliveryId::None.key(), None);
    }

    proptest! {
        #[test]
        fn a_key_reads_back(id: DeliveryId) {
            if let Some(key) = id.key() {
                let bytes = postcard::to_allocvec(&key).unwrap();
                prop_assert_eq!(postcard::from_bytes::<DeliveryKey>(&bytes).unwrap(), key);
            }
        }
    }
}
