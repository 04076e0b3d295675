//! Keyed digests: what is signed, with which key, and when.

use std::{borrow::Cow, time::Duration};

use base64::{
    Engine, alphabet,
    engine::{
        DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig,
        general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    },
};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use tributary_schemas::time::Timestamp;

use super::{Claim, Forged, is_one_of};
use crate::{
    definition::{
        Problem, text,
        verify::{Encoding, Hash, KeyForm, SignedAs, Verify},
    },
    engine::{
        expression::{Expression, Helpers},
        names::{Name, Names, Scope},
        template::{Place, Template},
        value::Value,
    },
};

/// Signatures that a request may bring: each is tried with each secret.
const CANDIDATES_MOST: usize = 16;

/// Keys are written with padding or without.
const KEYS: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A keyed digest, compiled.
#[derive(Debug)]
pub(super) struct Signed {
    hash: Hash,
    key: KeyForm,
    pairs: Option<Expression>,
    over: Vec<Part>,
    place: Expression,
    prefix: String,
    separator: Option<String>,
    encoding: Encoding,
    moment: Option<(Expression, SignedAs, Duration)>,
}

#[derive(Debug)]
enum Part {
    /// The raw body, byte for byte.
    Body,
    Text(Template),
}

impl Part {
    fn compile(written: &str, scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        match written.trim() {
            "$body" => Ok(Self::Body),
            // Between two parts it is a text, and no path to the whole body.
            "." => Template::holes(written, Place::Text, scope, helpers).map(Self::Text),
            _ => Template::compile(&text::Template::Text(written.into()), Place::Text, scope, helpers)
                .map(Self::Text),
        }
    }
}

impl Signed {
    pub(super) fn compile(written: &Verify, scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        let read = |one: &text::Expression, scope: &Scope, key: &str| {
            Expression::compile(one, scope, helpers).map_err(|problem| problem.at(key))
        };
        let pairs = written.pairs.as_ref().map(|pairs| read(pairs, scope, "pairs")).transpose()?;
        let scope = match &pairs {
            Some(_) => scope.clone().and(Name::Pairs),
            None => scope.clone(),
        };
        let part = |(index, part): (usize, &String)| {
            Part::compile(part, &scope, helpers).map_err(|problem| problem.at(index.to_string()).at("over"))
        };
        let over = written.over.iter().enumerate().map(part).collect::<Result<_, _>>()?;
        let place = written.place.as_ref();
        let place = place.ok_or_else(|| Problem::new("the key `in` is missing: where the signature is"))?;
        let moment = match (&written.at, written.tolerance) {
            (Some(at), Some(tolerance)) => Some((read(at, &scope, "at")?, written.at_as, tolerance)),
            (Some(_), None) | (None, _) => None,
        };
        Ok(Self {
            hash: written.hmac.ok_or_else(|| Problem::new("the key `hmac` is missing"))?,
            key: written.key,
            pairs,
            over,
            place: read(place, &scope, "in")?,
            prefix: written.prefix.clone().unwrap_or_default(),
            separator: written.separator.clone().filter(|separator| !separator.is_empty()),
            encoding: written.encoding,
            moment,
        })
    }

    pub(super) fn uses(&self, name: &Name) -> bool {
        let text = |part: &Part| match part {
            Part::Body => false,
            Part::Text(text) => text.uses(name),
        };
        self.over.iter().any(text)
            || self.place.uses(name)
            || self.pairs.as_ref().is_some_and(|pairs| pairs.uses(name))
            || self.moment.as_ref().is_some_and(|(at, ..)| at.uses(name))
    }

    pub(super) fn verify(&self, claim: &Claim<'_>, secrets: &[&[u8]]) -> Result<(), Forged> {
        let missing = |_| Forged::Missing;
        let names = match &self.pairs {
            Some(pairs) => {
                let header = pairs.one(claim.body, claim.names).map_err(missing)?;
                let header = header.as_text().ok_or(Forged::Missing)?;
                Cow::Owned(claim.names.clone().with(Name::Pairs, split(&header)))
            }
            None => Cow::Borrowed(claim.names),
        };
        let keys: Vec<_> = secrets.iter().filter_map(|secret| self.key(secret)).collect();
        if keys.is_empty() {
            return Err(Forged::NoSecret);
        }
        let given = self.place.each(claim.body, &names).map_err(missing)?;
        let given: Vec<_> = given.iter().filter_map(Value::as_text).collect();
        if given.is_empty() {
            return Err(Forged::Missing);
        }
        if let Some((at, spelling, tolerance)) = &self.moment {
            let at = at.one(claim.body, &names).map_err(|_| Forged::Stale)?;
            let at = at.as_text().and_then(|text| moment(&text, *spelling)).ok_or(Forged::Stale)?;
            if claim.now.since(at).max(at.since(claim.now)) > *tolerance {
                return Err(Forged::Stale);
            }
        }
        let message = self.message(claim, &names)?;
        let expected: Vec<String> = keys.iter().map(|key| self.sign(key, &message)).collect();
        let candidates = given.iter().flat_map(|given| match &self.separator {
            Some(separator) => given.split(separator.as_str()).collect::<Vec<_>>(),
            None => vec![&**given],
        });
        let ours = candidates.take(CANDIDATES_MOST).filter_map(|one| one.trim().strip_prefix(&*self.prefix));
        let mut outcome = Err(Forged::Mismatch);
        for candidate in ours {
            let one = is_one_of(expected.iter().map(String::as_bytes), candidate.as_bytes());
            outcome = outcome.or(one);
        }
        outcome
    }

    fn message(&self, claim: &Claim<'_>, names: &Names) -> Result<Vec<u8>, Forged> {
        let mut message = Vec::new();
        for part in &self.over {
            match part {
                Part::Body => message.extend(claim.request.body),
                Part::Text(text) => {
                    let text = text.text(claim.body, names).map_err(|_| Forged::Missing)?;
                    message.extend(text.ok_or(Forged::Missing)?.as_bytes());
                }
            }
        }
        Ok(message)
    }

    /// The key that a secret makes; none if it makes none.
    fn key(&self, secret: &[u8]) -> Option<Vec<u8>> {
        let text = || std::str::from_utf8(secret).ok().map(str::trim);
        let key = match self.key {
            KeyForm::Text => secret.to_vec(),
            KeyForm::Whsec => {
                let text = text()?;
                KEYS.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok()?
            }
            KeyForm::Hex => hex::decode(text()?).ok()?,
            KeyForm::Base64 => KEYS.decode(text()?).ok()?,
        };
        Some(key).filter(|key| !key.is_empty())
    }

    fn sign(&self, key: &[u8], message: &[u8]) -> String {
        let digest = match self.hash {
            Hash::Sha1 => digest::<Hmac<Sha1>>(key, message),
            Hash::Sha256 => digest::<Hmac<Sha256>>(key, message),
            Hash::Sha512 => digest::<Hmac<Sha512>>(key, message),
        };
        match self.encoding {
            Encoding::Hex => hex::encode(digest),
            Encoding::Base64 => STANDARD.encode(digest),
            Encoding::Base64Url => URL_SAFE_NO_PAD.encode(digest),
        }
    }
}

fn digest<M: Mac + hmac::digest::KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = <M as Mac>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// `t=1,v1=a,v1=b` as an object; a name that comes twice has the list of its values.
fn split(header: &str) -> Value {
    let mut pairs: Vec<(&str, Vec<Value>)> = Vec::new();
    for (name, value) in header.split(',').filter_map(|pair| pair.split_once('=')).take(2 * CANDIDATES_MOST) {
        let (name, value) = (name.trim(), Value::text(value.trim()));
        match pairs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => pairs.push((name, vec![value])),
        }
    }
    let value = |values: Vec<Value>| match <[Value; 1]>::try_from(values) {
        Ok([one]) => one,
        Err(several) => Value::list(several).unwrap_or(Value::null()),
    };
    Value::object(pairs.into_iter().map(|(name, values)| (name, value(values)))).unwrap_or(Value::null())
}

fn moment(text: &str, spelling: SignedAs) -> Option<Timestamp> {
    let micros = |scale: i64| text.parse::<i64>().ok().and_then(|number| number.checked_mul(scale));
    match spelling {
        SignedAs::EpochSeconds => micros(1_000_000).map(Timestamp::from_micros),
        SignedAs::EpochMillis => micros(1_000).map(Timestamp::from_micros),
        SignedAs::Rfc3339 => text.parse().ok(),
    }
}
