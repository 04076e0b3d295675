//! The projection: the canonical form under the account's key, and the two digests that say which projection it is
//! (design §4, language §4). Nothing else of a polled record leaves the process.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use tributary_schemas::id::{ProjectionDigest, ProjectionVersion, RecordHash};

use super::convert::CONVERSIONS;

/// An account's key, ready to be used: made once a run, copied for each record.
#[derive(Clone)]
pub struct Keyed(Hmac<Sha256>);

impl Keyed {
    /// Of the account's 32 random bytes.
    pub fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).expect("HMAC takes a key of any length"))
    }

    /// HMAC-SHA256, the first 16 bytes.
    pub fn hash(&self, canonical: &[u8]) -> RecordHash {
        let mut mac = self.0.clone();
        mac.update(canonical);
        let digest = mac.finalize().into_bytes();
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest[..16]);
        RecordHash(hash)
    }
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyed(***)")
    }
}

/// The digests of what makes a projection, each part by its key: `id`, `where`, `over`, `gone`, the selection of records
/// make the identity; what is mapped, what requests ask to be shown, and our conversions the content. The order of the
/// parts does not count.
pub fn version(identity: &[(&str, &[u8])], content: &[(&str, &[u8])]) -> ProjectionVersion {
    ProjectionVersion {
        identity: digest(b"identity", identity),
        content: digest(format!("content {CONVERSIONS}").as_bytes(), content),
    }
}

fn digest(of: &[u8], parts: &[(&str, &[u8])]) -> ProjectionDigest {
    let mut sorted = parts.to_vec();
    sorted.sort_unstable();
    let mut digest = Sha256::new();
    let mut part = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    part(of);
    for (key, bytes) in sorted {
        part(key.as_bytes());
        part(bytes);
    }
    let mut short = [0; 8];
    short.copy_from_slice(&digest.finalize()[..8]);
    ProjectionDigest(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_counts_and_is_not_shown() {
        let hash = |key: u8, text: &str| Keyed::new(&[key; 32]).hash(text.as_bytes());
        assert_eq!(hash(1, "x"), hash(1, "x"));
        assert_ne!(hash(1, "x"), hash(2, "x"));
        assert_ne!(hash(1, "x"), hash(1, "y"));
        assert_eq!(format!("{:?}", Keyed::new(&[1])), "Keyed(***)");
        // RFC 4231, test case 2.
        let known = Keyed::new(b"Jefe").hash(b"what do ya want for nothing?");
        assert_eq!(hex::encode(known.0), "5bdcc146bf60754e6a042426089575c7");
    }

    #[test]
    fn identity_and_content_change_apart_and_order_does_not_count() {
        let base = version(&[("id", b".id"), ("where", b"")], &[("map", b"a"), ("dates", b"b")]);
        assert_eq!(base, version(&[("where", b""), ("id", b".id")], &[("dates", b"b"), ("map", b"a")]));
        let id = version(&[("id", b".uid"), ("where", b"")], &[("map", b"a"), ("dates", b"b")]);
        assert!(id.identity != base.identity && id.content == base.content);
        let map = version(&[("id", b".id"), ("where", b"")], &[("map", b"c"), ("dates", b"b")]);
        assert!(map.identity == base.identity && map.content != base.content);
        assert_ne!(version(&[("a", b"bc")], &[]).identity, version(&[("ab", b"c")], &[]).identity);
    }
}
