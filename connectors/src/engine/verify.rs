//! Whether a webhook is the provider's own (language §2, `verify`).
//!
//! What is compared with a secret, or with what is made of one, is compared in constant time, and with every live secret.
//! A secret that is empty, or that is no key as the definition says, verifies nothing. What is signed has to be there: an
//! absent header or field is a refusal, never an empty text.

mod hmac;
#[cfg(test)]
mod tests;

use base64::{Engine, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;
use tributary_schemas::time::Timestamp;

use self::hmac::Signed;
use super::{
    expression::{Expression, Helpers},
    inbound::Inbound,
    names::{Name, Names, Scope},
    value::Value,
};
use crate::definition::{Problem, verify};

/// How a provider's webhooks are verified.
#[derive(Debug)]
pub(super) struct Verify {
    /// Where the secret is not the account's.
    secret: Option<Expression>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Signed(Box<Signed>),
    Token { at: Expression, prefix: Option<String> },
    Basic,
    Any(Vec<Verify>),
    SecretUrl,
}

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Forged {
    /// We have no secret to verify with, or none that is a key.
    #[error("no secret is set for this account that requests can be verified with")]
    NoSecret,
    /// The signature is not there, or a part of what it is over.
    #[error("the signature, or a part of what is signed, is missing")]
    Missing,
    /// It was signed too long ago, or in the future, or says not when.
    #[error("the timestamp is missing or too far off")]
    Stale,
    /// It is not of any of our secrets.
    #[error("the signature does not match")]
    Mismatch,
}

impl Forged {
    /// The reason's name, as metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSecret => "no_secret",
            Self::Missing => "unsigned",
            Self::Stale => "stale",
            Self::Mismatch => "forged",
        }
    }
}

/// A request that is to be verified, and with what.
#[derive(Clone, Copy)]
pub(super) struct Claim<'a> {
    /// As it came.
    pub(super) request: &'a Inbound<'a>,
    /// Its body; nothing where it is no JSON.
    pub(super) body: &'a Value,
    /// The items of a batch; of one, the body.
    pub(super) items: &'a [Value],
    /// What expressions may name.
    pub(super) names: &'a Names,
    /// The live secrets.
    pub(super) secrets: &'a [&'a [u8]],
    /// Now.
    pub(super) now: Timestamp,
}

impl Verify {
    /// Compiles it. `scope` holds what expressions over a webhook may name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn compile(
        written: &verify::Verify,
        scope: &Scope,
        helpers: &Helpers,
    ) -> Result<Self, Problem> {
        let read = |one: &Option<_>, key: &str| {
            let compiled = one.as_ref().map(|one| Expression::compile(one, scope, helpers)).transpose();
            compiled.map_err(|problem: Problem| problem.at(key))
        };
        let secret = read(&written.secret, "secret")?;
        let way = if written.hmac.is_some() {
            Way::Signed(Box::new(Signed::compile(written, scope, helpers)?))
        } else if let Some(at) = read(&written.token, "token")? {
            Way::Token { at, prefix: written.prefix.clone() }
        } else if written.basic {
            Way::Basic
        } else if written.none.is_some() {
            Way::SecretUrl
        } else if !written.any.is_empty() {
            let one = |(index, one): (usize, &verify::Verify)| {
                Self::compile(one, scope, helpers).map_err(|problem| problem.at(index.to_string()).at("any"))
            };
            Way::Any(written.any.iter().enumerate().map(one).collect::<Result<_, _>>()?)
        } else {
            // Its keys are behind a URL, and nothing here asks for one.
            return Err(Problem::new("signed tokens of webhooks can't be verified by this release").at("jwt"));
        };
        Ok(Self { secret, way })
    }

    /// Whether an expression asks for a name.
    pub(super) fn uses(&self, name: &Name) -> bool {
        self.secret.as_ref().is_some_and(|secret| secret.uses(name))
            || match &self.way {
                Way::Signed(signed) => signed.uses(name),
                Way::Token { at, .. } => at.uses(name),
                Way::Any(ways) => ways.iter().any(|way| way.uses(name)),
                Way::Basic | Way::SecretUrl => false,
            }
    }

    /// Verifies a request.
    ///
    /// # Errors
    /// Why it is not believed.
    pub(super) fn verify(&self, claim: &Claim<'_>) -> Result<(), Forged> {
        let own = match &self.secret {
            Some(secret) => Some(secret.each(claim.body, claim.names).map_err(|_| Forged::NoSecret)?),
            None => None,
        };
        let own: Option<Vec<_>> =
            own.as_ref().map(|all| all.iter().filter_map(|one| one.as_text()).collect());
        let secrets: Vec<&[u8]> = match &own {
            Some(own) => own.iter().map(|one| one.as_bytes()).filter(|one| !one.is_empty()).collect(),
            None => claim.secrets.iter().copied().filter(|one| !one.is_empty()).collect(),
        };
        match &self.way {
            Way::SecretUrl => Ok(()),
            Way::Any(ways) => {
                let mut best = Err(Forged::NoSecret);
                for way in ways {
                    // The one that came furthest says why.
                    best = match (best, way.verify(claim)) {
                        (Ok(()), _) | (_, Ok(())) => Ok(()),
                        (Err(one), Err(other)) => Err(one.max(other)),
                    };
                }
                best
            }
            Way::Signed(_) | Way::Token { .. } | Way::Basic if secrets.is_empty() => Err(Forged::NoSecret),
            Way::Signed(signed) => signed.verify(claim, &secrets),
            Way::Token { at, prefix } => {
                let items =
                    if claim.items.is_empty() { std::slice::from_ref(claim.body) } else { claim.items };
                items.iter().try_for_each(|item| {
                    let value = at.one(item, claim.names).map_err(|_| Forged::Missing)?;
                    let value = value.as_text().filter(|text| !text.is_empty()).ok_or(Forged::Missing)?;
                    let prefix = prefix.as_deref().unwrap_or_default();
                    let given = value.strip_prefix(prefix).ok_or(Forged::Mismatch)?;
                    is_one_of(secrets.iter().copied(), given.as_bytes())
                })
            }
            Way::Basic => {
                let given = claim.names.get(&Name::Headers).get("authorization");
                let given = given.as_text().ok_or(Forged::Missing)?;
                let (scheme, given) = given.split_once(' ').ok_or(Forged::Mismatch)?;
                if !scheme.eq_ignore_ascii_case("basic") {
                    return Err(Forged::Mismatch);
                }
                let expected: Vec<String> = secrets.iter().map(|secret| STANDARD.encode(secret)).collect();
                is_one_of(expected.iter().map(String::as_bytes), given.trim_start().as_bytes())
            }
        }
    }
}

/// Looks at every expected value, so that the time tells nothing of which was near.
fn is_one_of<'e>(expected: impl Iterator<Item = &'e [u8]>, given: &[u8]) -> Result<(), Forged> {
    let equal = expected.fold(subtle::Choice::from(0), |equal, expected| equal | expected.ct_eq(given));
    if equal.into() { Ok(()) } else { Err(Forged::Mismatch) }
}
