//! The unified `record_id` (contract §2): stateless and reversible, base64url without padding of
//! `<prefix><key>:<remote id>`. No table maps it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::id::RemoteId;

/// Joins the parts of a composite key or id.
const SEPARATOR: char = '|';
/// Stands before a [`SEPARATOR`] or an escape that is part of a part.
const ESCAPE: char = '\\';

/// What a `record_id` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The project's prefix: `tr1!`.
    pub prefix: String,
    /// The name of the provider's key field: `id`.
    pub key: String,
    /// The provider's name for the record.
    pub remote: RemoteId,
}

/// A text that is no record id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record id is base64url, without padding, of <prefix><key>:<remote id>")]
pub struct InvalidRecordId;

/// The record id of a record. `prefix` ends in `!` (or is empty) and has no `:`; `key_name` has neither.
pub fn encode(prefix: &str, key_name: &str, remote: &RemoteId) -> String {
    URL_SAFE_NO_PAD.encode(format!("{prefix}{key_name}:{remote}"))
}

/// Reads what [`encode`] wrote: the prefix is what stands up to the last `!` before the first `:`.
///
/// # Errors
/// [`InvalidRecordId`] if the text is not one.
pub fn decode(text: &str) -> Result<Parts, InvalidRecordId> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidRecordId)?;
    let plain = String::from_utf8(bytes).map_err(|_| InvalidRecordId)?;
    let (head, remote) = plain.split_once(':').ok_or(InvalidRecordId)?;
    let (prefix, key) = head.split_at(head.rfind('!').map_or(0, |at| at + 1));
    Ok(Parts { prefix: prefix.into(), key: key.into(), remote: RemoteId::new(remote) })
}

/// One text for the parts of a composite key or id; a separator inside a part is escaped.
pub fn join<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        if index > 0 {
            joined.push(SEPARATOR);
        }
        for letter in part.chars() {
            if letter == SEPARATOR || letter == ESCAPE {
                joined.push(ESCAPE);
            }
            joined.push(letter);
        }
    }
    joined
}

/// The parts that [`join`] joined; at least one.
pub fn split(joined: &str) -> Vec<String> {
    let (mut parts, mut part, mut letters) = (Vec::new(), String::new(), joined.chars());
    while let Some(letter) = letters.next() {
        match letter {
            SEPARATOR => parts.push(std::mem::take(&mut part)),
            ESCAPE => part.extend(letters.next()),
            letter => part.push(letter),
        }
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_id_is_the_contract_s() {
        assert_eq!(encode("tr1!", "id", &RemoteId::new("42")), "dHIxIWlkOjQy");
        for wrong in ["", "dHIxIWlkOjQy=", "tr1!id:42", "dHIx"] {
            assert_eq!(decode(wrong), Err(InvalidRecordId), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_record_id_reads_back(prefix in "([a-z0-9]{0,4}!)?", key in "[a-z_|.]{0,8}", remote in ".{0,20}") {
            let parts = Parts { prefix, key, remote: RemoteId::new(remote) };
            prop_assert_eq!(decode(&encode(&parts.prefix, &parts.key, &parts.remote)), Ok(parts));
        }

        #[test]
        fn composite_parts_come_apart(parts in prop::collection::vec("[a|\\\\é]{0,5}", 1..5)) {
            prop_assert_eq!(split(&join(parts.iter().map(String::as_str))), parts);
        }
    }
}
