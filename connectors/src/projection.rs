//! The projection: the unified record without what changes by itself, in one canonical form, as a keyed digest
//! (design §4). Nothing else of a polled record leaves the process.

use hmac::{Hmac, Mac};
use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};
use tributary_schemas::id::{ProjectionDigest, ProjectionVersion, RecordHash};

/// Changes whenever the canonical form does.
const CANONICAL_FORM: u8 = 1;

/// Fields that change with the calendar or the moment, in every model (contract §6).
const ALWAYS_VOLATILE: [&str; 4] = ["tenure", "work_anniversary", "updated_at", "last_login_at"];

/// What is hashed of a resource's records.
#[derive(Debug, Clone)]
pub struct Projection {
    volatile: Vec<String>,
    sets: Vec<String>,
    version: ProjectionVersion,
}

impl Projection {
    /// `identity` is what names the records, `source` all that makes one: mapping, expressions, prelude.
    pub(crate) fn new(
        identity: &str,
        source: &str,
        volatile: &[String],
        sets: &[String],
        ignored: &[String],
    ) -> Self {
        let mut left_out: Vec<String> = ALWAYS_VOLATILE.map(str::to_owned).into();
        left_out.extend(volatile.iter().chain(ignored).cloned());
        left_out.sort();
        left_out.dedup();
        let mut digest = Sha256::new();
        digest.update([CANONICAL_FORM]);
        for part in [source, &left_out.join(","), &sets.join(",")] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let version = ProjectionVersion {
            identity: first_8(&Sha256::digest(identity)),
            content: first_8(&digest.finalize()),
        };
        Self { volatile: left_out, sets: sets.to_vec(), version }
    }

    /// The digests of what makes the projection.
    pub fn version(&self) -> ProjectionVersion {
        self.version
    }

    /// The record's digest under the account's key: HMAC-SHA256, the first 16 bytes.
    pub fn hash(&self, key: &[u8], record: &Map<String, Value>) -> RecordHash {
        let mut canonical = Vec::new();
        canonical.push(b'{');
        for (name, value) in record {
            if value.is_null() || self.volatile.contains(name) {
                continue;
            }
            write_text(name, &mut canonical);
            match value {
                Value::Array(items) if self.sets.contains(name) => write_set(items, &mut canonical),
                value => write(value, &mut canonical),
            }
        }
        canonical.push(b'}');
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(&canonical);
        let digest = mac.finalize().into_bytes();
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest[..16]);
        RecordHash(hash)
    }
}

fn first_8(digest: &[u8]) -> ProjectionDigest {
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    ProjectionDigest(first)
}

/// One spelling for each value: sorted keys, no nulls, instants in UTC, numbers as they count.
fn write(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::Null => to.push(b'n'),
        Value::Bool(true) => to.push(b't'),
        Value::Bool(false) => to.push(b'f'),
        Value::Number(number) => write_number(number, to),
        Value::String(text) => match instant(text) {
            Some(instant) => write_text(&instant, to),
            None => write_text(text, to),
        },
        Value::Array(items) => {
            to.push(b'[');
            items.iter().for_each(|item| write(item, to));
            to.push(b']');
        }
        Value::Object(fields) => {
            to.push(b'{');
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                write_text(name, to);
                write(value, to);
            }
            to.push(b'}');
        }
    }
}

fn write_set(items: &[Value], to: &mut Vec<u8>) {
    let mut written: Vec<Vec<u8>> = items
        .iter()
        .map(|item| {
            let mut bytes = Vec::new();
            write(item, &mut bytes);
            bytes
        })
        .collect();
    written.sort();
    written.dedup();
    to.push(b'(');
    written.into_iter().for_each(|item| to.extend(item));
    to.push(b')');
}

fn write_number(number: &Number, to: &mut Vec<u8>) {
    let whole = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e15);
    let text = match (number.as_i64(), whole) {
        (Some(integer), _) => integer.to_string(),
        (None, Some(float)) => (float as i64).to_string(),
        (None, None) => number.to_string(),
    };
    to.push(b'#');
    to.extend(text.as_bytes());
    to.push(b';');
}

/// Text with its length before it, so that no two run together.
fn write_text(text: &str, to: &mut Vec<u8>) {
    to.push(b'"');
    to.extend((text.len() as u64).to_be_bytes());
    to.extend(text.as_bytes());
}

/// An instant in UTC, for a text that is one; pure dates and times without an offset stay as they are.
fn instant(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let looks_like =
        bytes.len() >= 20 && bytes[4] == b'-' && bytes[7] == b'-' && matches!(bytes[10], b'T' | b't' | b' ');
    let instant: jiff::Timestamp = looks_like.then(|| text.parse().ok()).flatten()?;
    Some(instant.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn projection() -> Projection {
        Projection::new("id", "mapping", &["url".into()], &["tags".into()], &["noise".into()])
    }

    fn hash(record: Value) -> RecordHash {
        let Value::Object(record) = record else { panic!("a record is an object") };
        projection().hash(&[7; 32], &record)
    }

    #[test]
    fn spelling_does_not_count_and_content_does() {
        let base = json!({"name": "Ada", "fte": 1, "start": "2026-11-01T15:09:22Z", "tags": ["a", "b"], "deep": {"x": 1}});
        for (rule, other, same) in [
            (
                "a null is absent",
                json!({"name": "Ada", "fte": 1, "start": "2026-11-01T15:09:22Z", "tags": ["a", "b"], "deep": {"x": 1, "y": null}, "z": null}),
                true,
            ),
            (
                "1 is 1.0",
                json!({"name": "Ada", "fte": 1.0, "start": "2026-11-01T15:09:22Z", "tags": ["a", "b"], "deep": {"x": 1}}),
                true,
            ),
            (
                "an instant in another zone",
                json!({"name": "Ada", "fte": 1, "start": "2026-11-01T16:09:22.000+01:00", "tags": ["a", "b"], "deep": {"x": 1}}),
                true,
            ),
            (
                "a set in another order",
                json!({"name": "Ada", "fte": 1, "start": "2026-11-01T15:09:22Z", "tags": ["b", "a", "a"], "deep": {"x": 1}}),
                true,
            ),
            (
                "volatile and ignored fields",
                json!({"name": "Ada", "fte": 1, "start": "2026-11-01T15:09:22Z", "tags": ["a", "b"], "deep": {"x": 1}, "url": "u", "noise": 1, "tenure": 3, "updated_at": "x"}),
                true,
            ),
            (
                "another name",
                json!({"name": "Eva", "fte": 1, "start": "2026-11-01T15:09:22Z", "tags": ["a", "b"], "deep": {"x": 1}}),
                false,
            ),
            (
                "another depth",
                json!({"name": "Ada", "fte": 1, "start": "2026-11-01T15:09:22Z", "tags": ["a", "b"], "deep": {"x": 2}}),
                false,
            ),
        ] {
            assert_eq!(hash(base.clone()) == hash(other), same, "{rule}");
        }
    }

    #[test]
    fn the_key_and_the_version_count() {
        let record = Map::from_iter([("name".to_owned(), json!("Ada"))]);
        assert_ne!(projection().hash(&[1; 32], &record), projection().hash(&[2; 32], &record));
        let other = Projection::new("id", "mapping", &["url".into()], &["tags".into()], &[]);
        assert_ne!(projection().version(), other.version());
        assert_eq!(projection().version(), projection().version());
    }

    proptest! {
        #[test]
        fn any_other_text_is_another_hash(a in ".{0,20}", b in ".{0,20}") {
            prop_assume!(a != b);
            prop_assert_ne!(hash(json!({"x": a, "y": b})), hash(json!({"x": b, "y": a})));
        }
    }
}
