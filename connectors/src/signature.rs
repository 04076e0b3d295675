//! How providers sign: declared in parts, verified in constant time over the raw bytes (providers.md §0.2 of the
//! project's notes lists the schemes; the tests have their vectors).

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use tributary_schemas::time::Timestamp;

use crate::native::Inbound;

/// A signature scheme, as a definition has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SignatureForm {
    /// A keyed digest.
    Hmac(HmacForm),
    /// A shared value that is sent along.
    Token(Place),
    /// HTTP Basic with the secret as `user:password`.
    Basic,
}

/// A keyed digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HmacForm {
    /// Where the signature is.
    pub at: Place,
    /// What stands before it.
    #[serde(default)]
    pub prefix: String,
    /// What separates several signatures, any of which will do.
    #[serde(default)]
    pub separator: Option<String>,
    /// The hash.
    #[serde(default)]
    pub hash: Hash,
    /// The spelling.
    #[serde(default)]
    pub encoding: Encoding,
    /// How the key is made of the secret.
    #[serde(default)]
    pub key: Key,
    /// What is signed, one after the other.
    pub parts: Vec<Part>,
    /// When it was signed, and how long it holds.
    pub timestamp: Option<TimestampForm>,
}

/// Where a value is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Place {
    /// In a header.
    Header(String),
    /// In the JSON body, by the names that lead to it: `data.token`.
    Json(String),
}

/// A part of what is signed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Part {
    /// The raw body.
    Body,
    /// The method.
    Method,
    /// The URL as the provider called it.
    Url,
    /// A header's value; a missing one is empty.
    Header(String),
    /// A value of the JSON body.
    Json(String),
    /// A text.
    Literal(String),
}

/// A hash function.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "named after what they are")]
pub enum Hash {
    Sha1,
    #[default]
    Sha256,
    Sha512,
}

/// A spelling of bytes.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "named after what they are")]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
}

/// How the key is made of the secret.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// The secret's text.
    #[default]
    Text,
    /// Standard Webhooks: the decoded bytes after `whsec_`.
    Whsec,
}

/// When a request was signed, and how long that holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimestampForm {
    /// Where it is.
    pub at: Place,
    /// What it counts.
    pub unit: Unit,
    /// How far it may be off, in seconds.
    pub tolerance: u64,
}

/// What a timestamp counts.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// RFC 3339 text.
    Text,
}

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// The signature is not there.
    #[error("the signature is missing")]
    Missing,
    /// It is not of any of our secrets.
    #[error("the signature does not match")]
    Mismatch,
    /// It was signed too long ago, or in the future, or says not when.
    #[error("the timestamp is missing or too far off")]
    Stale,
    /// We have no secret to verify with.
    #[error("no secret is set for this account")]
    NoSecret,
}

impl SignatureForm {
    /// Verifies a request against any of the secrets. Compares in constant time.
    ///
    /// # Errors
    /// [`Forged`] says why it is not believed.
    pub fn verify(&self, request: &Inbound<'_>, secrets: &[&[u8]], now: Timestamp) -> Result<(), Forged> {
        if secrets.is_empty() {
            return Err(Forged::NoSecret);
        }
        let body = || serde_json::from_slice(request.body).unwrap_or(Value::Null);
        match self {
            Self::Hmac(form) => form.verify(request, &body(), secrets, now),
            Self::Token(place) => {
                let given = place.find(request, &body()).ok_or(Forged::Missing)?;
                any_equal(secrets.iter().map(|secret| secret.to_vec()), given.as_bytes())
            }
            Self::Basic => {
                let given = request.header("authorization").ok_or(Forged::Missing)?;
                let expected =
                    secrets.iter().map(|secret| format!("Basic {}", STANDARD.encode(secret)).into_bytes());
                any_equal(expected, given.as_bytes())
            }
        }
    }
}

impl HmacForm {
    fn verify(
        &self,
        request: &Inbound<'_>,
        body: &Value,
        secrets: &[&[u8]],
        now: Timestamp,
    ) -> Result<(), Forged> {
        let given = self.at.find(request, body).ok_or(Forged::Missing)?;
        if let Some(timestamp) = &self.timestamp {
            timestamp.check(request, body, now)?;
        }
        let message = self.message(request, body);
        let candidates: Vec<&str> = match &self.separator {
            Some(separator) => given.split(separator.as_str()).collect(),
            None => vec![given.as_str()],
        };
        let given = candidates
            .into_iter()
            .filter_map(|candidate| candidate.trim().strip_prefix(self.prefix.as_str()));
        let expected: Vec<Vec<u8>> =
            secrets.iter().filter_map(|secret| self.sign(secret, &message)).collect();
        let mut last = Err(Forged::Mismatch);
        for candidate in given {
            let outcome = any_equal(expected.iter().cloned(), candidate.as_bytes());
            last = last.or(outcome);
        }
        last
    }

    fn message(&self, request: &Inbound<'_>, body: &Value) -> Vec<u8> {
        let mut message = Vec::new();
        for part in &self.parts {
            match part {
                Part::Body => message.extend(request.body),
                Part::Method => message.extend(request.method.as_bytes()),
                Part::Url => message.extend(request.url.as_bytes()),
                Part::Header(name) => message.extend(request.header(name).unwrap_or_default().as_bytes()),
                Part::Json(path) => message.extend(json(body, path).unwrap_or_default().as_bytes()),
                Part::Literal(text) => message.extend(text.as_bytes()),
            }
        }
        message
    }

    fn sign(&self, secret: &[u8], message: &[u8]) -> Option<Vec<u8>> {
        let key = match self.key {
            Key::Text => secret.to_vec(),
            Key::Whsec => {
                let text = std::str::from_utf8(secret).ok()?;
                STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok()?
            }
        };
        let digest = match self.hash {
            Hash::Sha1 => digest::<Hmac<Sha1>>(&key, message),
            Hash::Sha256 => digest::<Hmac<Sha256>>(&key, message),
            Hash::Sha512 => digest::<Hmac<Sha512>>(&key, message),
        };
        let text = match self.encoding {
            Encoding::Hex => hex::encode(digest),
            Encoding::Base64 => STANDARD.encode(digest),
        };
        Some(text.into_bytes())
    }
}

fn digest<M: Mac + hmac::digest::KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = <M as Mac>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// Looks at every expected value, so that the time tells nothing of which was near.
fn any_equal(expected: impl Iterator<Item = Vec<u8>>, given: &[u8]) -> Result<(), Forged> {
    let equal = expected.fold(subtle::Choice::from(0), |equal, expected| equal | expected.ct_eq(given));
    if equal.into() { Ok(()) } else { Err(Forged::Mismatch) }
}

impl TimestampForm {
    fn check(&self, request: &Inbound<'_>, body: &Value, now: Timestamp) -> Result<(), Forged> {
        let text = self.at.find(request, body).ok_or(Forged::Stale)?;
        let micros = |scale: i64| text.parse::<i64>().ok().and_then(|number| number.checked_mul(scale));
        let at = match self.unit {
            Unit::Seconds => micros(1_000_000).map(Timestamp::from_micros),
            Unit::Milliseconds => micros(1_000).map(Timestamp::from_micros),
            Unit::Text => text.parse().ok(),
        };
        let at = at.ok_or(Forged::Stale)?;
        let off = now.since(at).max(at.since(now));
        if off.as_secs() > self.tolerance { Err(Forged::Stale) } else { Ok(()) }
    }
}

impl Place {
    fn find(&self, request: &Inbound<'_>, body: &Value) -> Option<String> {
        match self {
            Self::Header(name) => request.header(name).map(str::to_owned),
            Self::Json(path) => json(body, path),
        }
    }
}

fn json(body: &Value, path: &str) -> Option<String> {
    match path.split('.').fold(body, |value, step| &value[step]) {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Provider, scheme, secret, URL, headers, body, and the second at which it is verified.
    type Vector = (
        &'static str,
        &'static str,
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static str,
        i64,
    );

    /// The schemes of nine providers, with vectors computed by another implementation.
    const VECTORS: &[Vector] = &[
        (
            "Greenhouse",
            "hmac: {at: {header: signature}, prefix: 'sha256 ', parts: [body]}",
            "gh-secret",
            "",
            &[("signature", "sha256 92c750dd64673d8054b8a6f609b7ff2828d74d0fb1327e84cc32677a1dfad8d8")],
            r#"{"action":"job_deleted","payload":{"job":{"id":209256,"name":"Project Manager"}}}"#,
            0,
        ),
        (
            "Lever",
            "hmac: {at: {json: signature}, parts: [{json: token}, {json: triggeredAt}]}",
            "81358960e95ed76bf1def200692c2f956818caf168682e26",
            "",
            &[],
            r#"{"triggeredAt":1782974002353,"token":"c0ffee00aa11","signature":"51e703c1a9a353ed713519ccce3a61fc226c455e0af2d192da0b7f23ee2fef63"}"#,
            0,
        ),
        (
            "Ashby",
            "hmac: {at: {header: ashby-signature}, prefix: 'sha256=', parts: [body]}",
            "ashby-secret",
            "",
            &[("ashby-signature", "sha256=69c5dcc863afac0a4b77394769c2fde793737d2cd8f0f2f8d3eb54cbad9ffcb5")],
            r#"{"action":"candidateDelete","data":{"candidate":{"id":"3b1c2f4e-8a77-4a0b-9d53-0d2b6a1f7c11"}}}"#,
            0,
        ),
        (
            "Workable",
            "hmac: {at: {header: x-workable-signature}, parts: [body]}",
            "workable-token",
            "",
            &[("x-workable-signature", "42cd433cc2617ac06795c4ab54387a0dbddaa50f8ddd00af4bfd44e15040e85d")],
            r#"{"id":"evt-1","event_type":"candidate_deleted","data":{"id":"27270275"}}"#,
            0,
        ),
        (
            "BambooHR",
            "hmac: {at: {header: x-bamboohr-signature}, parts: [body, {header: x-bamboohr-timestamp}], timestamp: {at: {header: x-bamboohr-timestamp}, unit: seconds, tolerance: 300}}",
            "37387786e9cb3827cccabcaf8baca227",
            "",
            &[
                ("x-bamboohr-signature", "aaf6927924f7e26496525a7a15d0ba5cfc302f76577af6666a62b81f30629814"),
                ("x-bamboohr-timestamp", "1769884920"),
            ],
            r#"{"type":"employee.deleted","timestamp":"2026-01-31T18:42:00+0000","data":{"companyId":"12345","employeeId":"67890"}}"#,
            1_769_884_920,
        ),
        (
            "HiBob",
            "hmac: {at: {header: bob-signature}, hash: sha512, encoding: base64, parts: [body]}",
            "bob-secret",
            "",
            &[(
                "bob-signature",
                "ZccydSAMB6aRD7kYTXiSxQG/EEogoKIZBkzjdFnRlH+T6iDaVSb+H36Tz3cCeAKtsJNgS/l67qKAVqfoZz1HhQ==",
            )],
            r#"{"companyId":636192,"type":"employee.deleted","triggeredBy":"system","triggeredAt":"2026-01-08T13:06:26.915906","version":"v2","data":{"employeeId":"3332883854254932743"}}"#,
            0,
        ),
        (
            "HubSpot",
            "hmac: {at: {header: x-hubspot-signature-v3}, encoding: base64, parts: [method, url, body, {header: x-hubspot-request-timestamp}], timestamp: {at: {header: x-hubspot-request-timestamp}, unit: milliseconds, tolerance: 300}}",
            "hs-client-secret",
            "https://hooks.example.com/h/acc1",
            &[
                ("x-hubspot-signature-v3", "G2hCRYl+Urj2KhObpqe5fvIWes1a9iEGsRsp2ke/A+Y="),
                ("x-hubspot-request-timestamp", "1767261600500"),
            ],
            r#"[{"eventId":100,"subscriptionId":1234,"portalId":62515,"appId":98765,"occurredAt":1767261600000,"subscriptionType":"contact.deletion","attemptNumber":0,"objectId":123,"changeFlag":"DELETED","changeSource":"CRM_UI"}]"#,
            1_767_261_600,
        ),
        (
            "Dropbox",
            "hmac: {at: {header: x-dropbox-signature}, parts: [body]}",
            "dbx-app-secret",
            "",
            &[("x-dropbox-signature", "22e4c6dda99a4aa09351b4eaea3c72c5efb0093148dde36218116d3d8a2a7549")],
            r#"{"list_folder":{"accounts":["dbid:AAH4f99T0taONIb-OurWxbNQ6ywGRopQngc"]},"delta":{"users":[12345678]}}"#,
            0,
        ),
        (
            "360Learning (Standard Webhooks)",
            "hmac: {at: {header: webhook-signature}, prefix: 'v1,', separator: ' ', encoding: base64, key: whsec, parts: [{header: webhook-id}, {literal: .}, {header: webhook-timestamp}, {literal: .}, body], timestamp: {at: {header: webhook-timestamp}, unit: seconds, tolerance: 300}}",
            "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            "",
            &[
                ("webhook-id", "msg_35bE2UOtsaBIqUl7VW4mLuR9q2B"),
                ("webhook-timestamp", "1763370163"),
                ("webhook-signature", "v1,AAAA v1,eMMkjm1dev0W3TlKdIrC61jpECu4WuWChiYbo2psu8Y="),
            ],
            r#"{"type":"user.deleted","timestamp":1763370163,"data":{"userId":"507f1f77bcf86cd799439011"}}"#,
            1_763_370_163,
        ),
    ];

    fn headers(given: &[(&str, &str)]) -> Vec<(String, String)> {
        given.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn nine_providers_schemes_verify_and_a_changed_byte_does_not() {
        for (provider, form, secret, url, given, body, now) in VECTORS {
            let form: SignatureForm = serde_saphyr::from_str(form).unwrap();
            let headers = headers(given);
            let now = Timestamp::from_micros(now * 1_000_000);
            let request = Inbound { method: "POST", url, headers: &headers, body: body.as_bytes() };
            let wrong: &[u8] = b"whsec_d3Jvbmc=";
            assert_eq!(form.verify(&request, &[secret.as_bytes()], now), Ok(()), "{provider}");
            assert_eq!(
                form.verify(&request, &[wrong, secret.as_bytes()], now),
                Ok(()),
                "{provider}: the second key"
            );
            assert_eq!(
                form.verify(&request, &[wrong], now),
                Err(Forged::Mismatch),
                "{provider}: another key"
            );
            assert_eq!(form.verify(&request, &[], now), Err(Forged::NoSecret), "{provider}: no key");
            let forged =
                body.replacen("11", "12", 1).replacen("2092", "2093", 1).replacen("12345", "12346", 1);
            let forged = forged
                .replacen("27270275", "27270276", 1)
                .replacen("6361", "6362", 1)
                .replacen("6251", "6252", 1);
            let request = Inbound { body: forged.as_bytes(), ..request };
            assert_eq!(
                form.verify(&request, &[secret.as_bytes()], now),
                Err(Forged::Mismatch),
                "{provider}: forged"
            );
        }
    }

    #[test]
    fn an_old_signature_is_stale_and_a_missing_one_is_missing() {
        let (_, form, secret, url, given, body, now) = VECTORS[4];
        let form: SignatureForm = serde_saphyr::from_str(form).unwrap();
        let headers = headers(given);
        let request = Inbound { method: "POST", url, headers: &headers, body: body.as_bytes() };
        for (off, expected) in [(300, Ok(())), (301, Err(Forged::Stale)), (-301, Err(Forged::Stale))] {
            let now = Timestamp::from_micros((now + off) * 1_000_000);
            assert_eq!(form.verify(&request, &[secret.as_bytes()], now), expected, "{off} s");
        }
        let request = Inbound { headers: &[], ..request };
        assert_eq!(
            form.verify(&request, &[secret.as_bytes()], Timestamp::from_micros(0)),
            Err(Forged::Missing)
        );
    }

    #[test]
    fn shared_values_are_compared_whole() {
        let token: SignatureForm = serde_saphyr::from_str("token: {header: authorization}").unwrap();
        let basic: SignatureForm = serde_saphyr::from_str("basic").unwrap();
        let now = Timestamp::from_micros(0);
        for (form, value, expected) in [
            (&token, "s3cr3t", Ok(())),
            (&token, "s3cr3", Err(Forged::Mismatch)),
            (&basic, "Basic czNjcjN0", Ok(())),
            (&basic, "Basic x", Err(Forged::Mismatch)),
        ] {
            let headers = headers(&[("authorization", value)]);
            let request = Inbound { method: "POST", url: "", headers: &headers, body: b"" };
            assert_eq!(form.verify(&request, &[b"s3cr3t"], now), expected, "{value}");
        }
    }
}
