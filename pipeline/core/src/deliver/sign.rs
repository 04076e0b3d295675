//! Signing deliveries, both schemes on every request (contract §3).

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tributary_schemas::{
    id::{EventId, WebhookId},
    time::Timestamp,
};

/// What Standard Webhooks' secrets begin with.
const PREFIX: &str = "whsec_";

/// The delivery's id: stable over retries and over a crash.
pub fn webhook_id(event: EventId, webhook: &WebhookId) -> String {
    format!("msg_{}", EventId::digest(&[&event.0, webhook.as_str().as_bytes()]))
}

/// A secret of our own making, from 32 random bytes.
pub fn secret_of(random: [u8; 32]) -> String {
    format!("{PREFIX}{}", STANDARD.encode(random))
}

/// Whether a secret signs in every scheme that it claims: `whsec_` is followed by the base64 of 24 to 64 bytes.
pub fn signs_something(secret: &str) -> bool {
    match secret.strip_prefix(PREFIX) {
        Some(text) => STANDARD.decode(text).is_ok_and(|key| (24..=64).contains(&key.len())),
        None => true,
    }
}

/// The compat header: base64url without padding of HMAC-SHA256(secret as text, raw body).
pub fn compat(secret: &str, body: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(secret.as_bytes(), &[body]))
}

/// `webhook-signature` (Standard Webhooks 1.0): one `v1,…` for each live secret, separated by spaces. A brought secret that
/// is not `whsec_…` signs the compat header only; `None` if all are such.
pub fn standard<'a>(
    secrets: impl IntoIterator<Item = &'a str>,
    id: &str,
    at: Timestamp,
    body: &[u8],
) -> Option<String> {
    let signatures: Vec<String> =
        secrets.into_iter().filter_map(|secret| one(secret, id, at.as_seconds(), body)).collect();
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

fn one(secret: &str, id: &str, seconds: i64, body: &[u8]) -> Option<String> {
    let key = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    let head = format!("{id}.{seconds}.");
    Some(format!("v1,{}", STANDARD.encode(digest(&key, &[head.as_bytes(), body]))))
}

fn digest(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// Why a delivery does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The header does not hold this secret's signature of this body.
    #[error("the signature does not match: is it the right secret, and the raw body byte for byte?")]
    Mismatch,
    /// The secret can't sign in this scheme.
    #[error("the secret is not `whsec_` and base64: it signs the compat header only")]
    NotWhsec,
    /// The timestamp is no number of seconds.
    #[error("webhook-timestamp: expected unix seconds")]
    Timestamp,
}

/// Verifies the compat header, in constant time.
///
/// # Errors
/// [`Unverified::Mismatch`].
pub fn verify_compat(secret: &str, body: &[u8], header: &str) -> Result<(), Unverified> {
    let equal: bool = compat(secret, body).as_bytes().ct_eq(header.trim().as_bytes()).into();
    if equal { Ok(()) } else { Err(Unverified::Mismatch) }
}

/// Verifies `webhook-signature` against one secret, in constant time.
///
/// # Errors
/// [`Unverified`] says why not.
pub fn verify_standard(
    secret: &str,
    id: &str,
    timestamp: &str,
    body: &[u8],
    header: &str,
) -> Result<(), Unverified> {
    let seconds = timestamp.trim().parse().map_err(|_| Unverified::Timestamp)?;
    let expected = one(secret, id, seconds, body).ok_or(Unverified::NotWhsec)?;
    let equal = header
        .split_ascii_whitespace()
        .fold(subtle::Choice::from(0), |equal, given| equal | expected.as_bytes().ct_eq(given.as_bytes()));
    if equal.into() { Ok(()) } else { Err(Unverified::Mismatch) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    #[test]
    fn the_standard_s_own_vector_is_signed_and_verified() {
        let at = Timestamp::from_micros(1_614_265_330_000_000);
        let signature = standard([SECRET], ID, at, BODY).unwrap();
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(verify_standard(SECRET, ID, "1614265330", BODY, &format!("v1,AAAA {signature}")), Ok(()));
        for (id, timestamp, body, expected) in [
            ("msg_other", "1614265330", BODY, Unverified::Mismatch),
            (ID, "1614265331", BODY, Unverified::Mismatch),
            (ID, "1614265330", b"{}".as_slice(), Unverified::Mismatch),
            (ID, "now", BODY, Unverified::Timestamp),
        ] {
            assert_eq!(verify_standard(SECRET, id, timestamp, body, &signature), Err(expected));
        }
    }

    #[test]
    fn every_live_secret_signs_and_a_foreign_one_the_compat_header_only() {
        let at = Timestamp::from_micros(0);
        let own = secret_of([7; 32]);
        let both = standard([SECRET, "legacy", &own], ID, at, BODY).unwrap();
        assert_eq!(both.split(' ').count(), 2);
        assert_eq!(standard(["legacy"], ID, at, BODY), None);
        let header = compat("legacy", BODY);
        assert!(!header.contains(['=', '+', '/']));
        assert_eq!(verify_compat("legacy", BODY, &header), Ok(()));
        assert_eq!(verify_compat("legacx", BODY, &header), Err(Unverified::Mismatch));
    }

    #[test]
    fn a_delivery_s_id_is_of_the_event_and_the_webhook() {
        let (a, b): (WebhookId, WebhookId) = ("w1".parse().unwrap(), "w2".parse().unwrap());
        let event = EventId([1; 16]);
        assert_eq!(webhook_id(event, &a), webhook_id(event, &a));
        assert_ne!(webhook_id(event, &a), webhook_id(event, &b));
        assert_ne!(webhook_id(event, &a), webhook_id(EventId([2; 16]), &a));
    }
}
