//! How a provider's requests are known to be its own.

use std::time::Duration;

use super::{
    keys::{Named, exactly_one, keys, words},
    problem::Problem,
    text::{Expression, Template},
};

keys! {
    /// How a request is verified.
    pub struct Verify {
        /// A keyed digest.
        hmac: Option<Hash>,
        /// The secret; the account's or the subscription's live ones unless said.
        secret: Option<Expression>,
        /// How the key is made of the secret.
        key: KeyForm = KeyForm::Text,
        /// A header that is split: `t=…,v1=…` into `$pairs`.
        pairs: Option<Expression>,
        /// What is signed, one after the other.
        over: Vec<String>,
        /// Where the signature is.
        place as "in": Option<Expression>,
        /// What stands before it.
        prefix: Option<String>,
        /// What separates several, any of which will do.
        separator: Option<String>,
        /// How it is written.
        encoding: Encoding = Encoding::Hex,
        /// When it was signed.
        at: Option<Expression>,
        /// How that is written.
        at_as as "as": SignedAs = SignedAs::EpochSeconds,
        /// How far it may be off.
        tolerance: Option<Duration>,
        /// A shared value that is sent along; a path from `.` is looked at in every item.
        token: Option<Expression>,
        /// HTTP Basic with the secret as `user:password`.
        basic: bool = false,
        /// A signed token.
        jwt: Option<VerifyJwt>,
        /// Any of these.
        any: Vec<Verify>,
        /// Nothing but the URL is secret.
        none: Option<Unsigned>,
    }
    /// A signed token that comes with a request.
    pub struct VerifyJwt {
        /// Where the provider publishes its keys.
        keys: Template,
        /// Where the token is.
        place as "in": Expression,
        /// What it has to claim.
        claims: Named<Template>,
    }
}

words! {
    /// A hash function.
    pub enum Hash {
        /// SHA-1.
        Sha1 = "sha1",
        /// SHA-256.
        Sha256 = "sha256",
        /// SHA-512.
        Sha512 = "sha512",
    }
    /// How a key is made of a secret.
    pub enum KeyForm {
        /// The secret's text.
        Text = "text",
        /// Standard Webhooks: the decoded bytes after `whsec_`.
        Whsec = "whsec",
        /// Hexadecimal.
        Hex = "hex",
        /// Base64.
        Base64 = "base64",
    }
    /// How bytes are written.
    pub enum Encoding {
        /// Hexadecimal.
        Hex = "hex",
        /// Base64.
        Base64 = "base64",
        /// Base64 for URLs, without padding.
        Base64Url = "base64url",
    }
    /// How the moment of signing is written.
    pub enum SignedAs {
        /// Seconds since 1970.
        EpochSeconds = "epoch_s",
        /// Milliseconds since 1970.
        EpochMillis = "epoch_ms",
        /// RFC 3339.
        Rfc3339 = "rfc3339",
    }
    /// That nothing is signed.
    pub enum Unsigned {
        /// Nothing but the URL is secret.
        SecretUrl = "secret_url",
    }
}

impl Verify {
    /// That it is one way, and has what it needs.
    ///
    /// # Errors
    /// What is missing or too much.
    pub fn check(&self) -> Result<(), Problem> {
        exactly_one(&[
            ("hmac", self.hmac.is_some()),
            ("token", self.token.is_some()),
            ("basic", self.basic),
            ("jwt", self.jwt.is_some()),
            ("any", !self.any.is_empty()),
            ("none", self.none.is_some()),
        ])?;
        if self.hmac.is_some() {
            if self.place.is_none() {
                return Err(Problem::new("the key `in` is missing: where the signature is"));
            }
            if self.over.is_empty() {
                return Err(Problem::new("the key `over` is missing: what is signed"));
            }
        }
        match (&self.at, self.tolerance) {
            (Some(_), None) => Err(Problem::new("the key `tolerance` is missing: how far `at` may be off")),
            (None, Some(_)) => Err(Problem::new("the key `at` is missing: when it was signed")),
            (Some(_), Some(_)) | (None, None) => {
                let inner = self.any.iter().enumerate();
                inner.into_iter().try_for_each(|(index, verify)| {
                    verify.check().map_err(|problem| problem.at(usize::to_string(&index)).at("any"))
                })
            }
        }
    }
}
