//! Secrets, and the key ring that seals them: encrypted wherever they are kept, never in logs, errors or `Debug`.

use std::fmt;

use anyhow::{Context, bail};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use rand::RngCore;
use tributary_schemas::entity::Sealed;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret in memory. It does not show itself, and it is wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes bytes as a secret.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }
    /// Fresh random bytes.
    pub fn random(length: usize) -> Self {
        let mut bytes = vec![0; length];
        rand::rng().fill_bytes(&mut bytes);
        Self(bytes)
    }
    /// The secret itself.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
    /// The secret itself, as text.
    ///
    /// # Errors
    /// When it is no text.
    pub fn expose_text(&self) -> anyhow::Result<&str> {
        std::str::from_utf8(&self.0).map_err(|_| anyhow::anyhow!("a secret that should be text is not"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What is sealed of an entity; with the entity's id it is the seal's context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// An account's secret set-up fields.
    Credentials,
    /// What keys an account's hashes.
    HashKey,
    /// The token in an account's native URL.
    NativeToken,
    /// A secret that verifies an account's native webhooks.
    NativeSecret,
    /// A webhook's signing secret.
    WebhookSecret,
    /// A header of a webhook's deliveries.
    WebhookHeader,
    /// Where deltas of an account's resource go on.
    Position,
}

impl Field {
    /// The seal's context for an entity.
    pub fn of(self, entity: impl fmt::Display) -> String {
        let field = match self {
            Self::Credentials => "credentials",
            Self::HashKey => "hash_key",
            Self::NativeToken => "native_token",
            Self::NativeSecret => "native_secret",
            Self::WebhookSecret => "secret",
            Self::WebhookHeader => "header",
            Self::Position => "position",
        };
        format!("{entity}/{field}")
    }
}

/// The environment variable that holds the key ring.
pub const KEYS: &str = "TRIBUTARY_KEYS";

/// The deployment's keys: the first seals, all open. Rotation puts a new key first and keeps the old one behind it.
pub struct KeyRing {
    keys: Vec<(String, XChaCha20Poly1305)>,
}

impl KeyRing {
    /// Reads `id:base64 of 32 bytes`, comma-separated.
    ///
    /// # Errors
    /// What is wrong with the text, never the text.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut keys: Vec<(String, XChaCha20Poly1305)> = Vec::new();
        for (index, entry) in text.split(',').map(str::trim).enumerate() {
            let expected = || format!("{KEYS}: key {}: expected `<id>:<base64 of 32 bytes>`", index + 1);
            let (id, key) = entry.split_once(':').with_context(expected)?;
            let key = STANDARD.decode(key).ok().with_context(expected)?;
            if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) || key.len() != 32 {
                bail!(expected());
            }
            keys.push((id.to_owned(), XChaCha20Poly1305::new_from_slice(&key).ok().with_context(expected)?));
        }
        Ok(Self { keys })
    }

    /// Reads the ring from the environment.
    ///
    /// # Errors
    /// When it is not there, with what to do; or when it can't be read.
    pub fn from_env() -> anyhow::Result<Self> {
        match std::env::var(KEYS) {
            Ok(text) => Self::parse(&text),
            Err(_) => bail!(
                "{KEYS} is not set: it holds the keys that encrypt secrets at rest. Make one with \
                 `tributary keys generate`, keep it where you keep secrets, and set it for every stage"
            ),
        }
    }

    /// A new ring of one key, as text for [`KEYS`].
    pub fn generate() -> String {
        format!("k1:{}", STANDARD.encode(Secret::random(32).expose()))
    }

    /// Seals a secret. `context` says whose it is (`<entity id>/<field>`): sealed for one, it does not open for another.
    ///
    /// # Errors
    /// Only when it is too large to seal.
    pub fn seal(&self, context: &str, secret: &Secret) -> anyhow::Result<Sealed> {
        let (id, key) = self.keys.first().context("an empty key ring")?;
        let mut nonce = XNonce::default();
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload { msg: secret.expose(), aad: context.as_bytes() };
        let sealed = key.encrypt(&nonce, payload).map_err(|_| anyhow::anyhow!("sealing {context}"))?;
        let bytes = [nonce.as_slice(), &sealed].concat();
        Ok(Sealed(format!("v1.{id}.{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// Opens a sealed secret.
    ///
    /// # Errors
    /// When its key is not in the ring, or it was not sealed for `context`.
    pub fn open(&self, context: &str, sealed: &Sealed) -> anyhow::Result<Secret> {
        let mut parts = sealed.0.split('.');
        let (Some("v1"), Some(id), Some(text), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            bail!("opening {context}: not a sealed secret");
        };
        let (_, key) = self
            .keys
            .iter()
            .find(|(held, _)| held == id)
            .with_context(|| format!("opening {context}: the key `{id}` is not in {KEYS}"))?;
        let bytes =
            URL_SAFE_NO_PAD.decode(text).with_context(|| format!("opening {context}: not base64url"))?;
        let (nonce, sealed) =
            bytes.split_at_checked(24).with_context(|| format!("opening {context}: too short"))?;
        let payload = Payload { msg: sealed, aad: context.as_bytes() };
        match key.decrypt(XNonce::from_slice(nonce), payload) {
            Ok(secret) => Ok(Secret(secret)),
            Err(_) => bail!("opening {context}: sealed with another key or for something else"),
        }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_for_whom_it_was_sealed_and_after_rotation() {
        let (old, new) = (KeyRing::generate(), KeyRing::generate().replace("k1:", "k2:"));
        let ring = KeyRing::parse(&old).unwrap();
        let sealed = ring.seal("a1/credentials", &Secret::new("hunter2")).unwrap();
        assert!(!sealed.0.contains("hunter2"));
        assert_eq!(ring.open("a1/credentials", &sealed).unwrap().expose(), b"hunter2");
        assert!(ring.open("a2/credentials", &sealed).is_err(), "it does not open for another");
        let rotated = KeyRing::parse(&format!("{new},{old}")).unwrap();
        assert_eq!(rotated.open("a1/credentials", &sealed).unwrap().expose(), b"hunter2");
        assert!(rotated.seal("x", &Secret::new("y")).unwrap().0.starts_with("v1.k2."));
        let error = KeyRing::parse(&new).unwrap().open("a1/credentials", &sealed).unwrap_err();
        assert!(error.to_string().contains("`k1`"), "{error}");
    }

    #[test]
    fn a_bad_ring_says_what_was_expected_and_shows_no_key() {
        for text in ["", "k1", "k1:c2hvcnQ=", "k 1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] {
            let error = KeyRing::parse(text).unwrap_err().to_string();
            assert!(
                error.contains("expected `<id>:<base64 of 32 bytes>`") && !error.contains("c2hvcnQ"),
                "{error}"
            );
        }
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    }
}
