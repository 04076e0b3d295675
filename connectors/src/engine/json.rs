//! JSON text, scanned in place: where a value ends, what it holds, what a text says.
//!
//! [`value`] checks the whole grammar without recursion and to a depth; everything else reads text that it has passed.
//! Texts may hold lone surrogates (a cut emoji), which are read as U+FFFD. A key that stands twice counts where it
//! stands last, as with any other reader.

use std::borrow::Cow;

use super::trouble::Kind;

/// Values in each other at the most: as many as serde_json takes.
pub const DEPTH_MOST: usize = 128;

/// Why a text is no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It is something else.
    Malformed,
    /// It breaks off: more of it may mend it.
    Truncated,
    /// More values in each other than [`DEPTH_MOST`].
    TooDeep,
}

/// Where the value that begins at `at` (behind spaces) ends.
///
/// # Errors
/// Where it is no JSON.
pub fn value(text: &[u8], at: usize) -> Result<usize, Flaw> {
    let (mut at, mut depth, mut objects) = (at, 0_usize, 0_u128);
    loop {
        at = spaces(text, at);
        let opened = match text.get(at) {
            None => return Err(Flaw::Truncated),
            Some(b'"') => {
                at = string(text, at)?;
                false
            }
            Some(b'{' | b'[') if depth == DEPTH_MOST => return Err(Flaw::TooDeep),
            Some(b'{') => {
                objects = (objects << 1) | 1;
                depth += 1;
                at = spaces(text, at + 1);
                if text.get(at) != Some(&b'}') {
                    at = key(text, at)?;
                    continue;
                }
                true
            }
            Some(b'[') => {
                objects <<= 1;
                depth += 1;
                at = spaces(text, at + 1);
                if text.get(at) != Some(&b']') {
                    continue;
                }
                true
            }
            Some(b'-' | b'0'..=b'9') => {
                at = number(text, at)?;
                false
            }
            Some(b't') => {
                at = word(text, at, b"true")?;
                false
            }
            Some(b'f') => {
                at = word(text, at, b"false")?;
                false
            }
            Some(b'n') => {
                at = word(text, at, b"null")?;
                false
            }
            Some(_) => return Err(Flaw::Malformed),
        };
        let mut first = opened;
        loop {
            if depth == 0 {
                return Ok(at);
            }
            at = spaces(text, at);
            match (text.get(at), objects & 1 == 1) {
                (Some(b'}'), true) | (Some(b']'), false) => {
                    at += 1;
                    depth -= 1;
                    objects >>= 1;
                    first = false;
                }
                (Some(b','), object) if !first => {
                    at += 1;
                    if object {
                        at = key(text, spaces(text, at))?;
                    }
                    break;
                }
                (None, _) => return Err(Flaw::Truncated),
                (Some(_), _) => return Err(Flaw::Malformed),
            }
        }
    }
}

/// Behind the colon of the key that begins at `at`.
fn key(text: &[u8], at: usize) -> Result<usize, Flaw> {
    match text.get(at) {
        None => return Err(Flaw::Truncated),
        Some(b'"') => {}
        Some(_) => return Err(Flaw::Malformed),
    }
    let at = spaces(text, string(text, at)?);
    match text.get(at) {
        None => Err(Flaw::Truncated),
        Some(b':') => Ok(at + 1),
        Some(_) => Err(Flaw::Malformed),
    }
}

#[inline]
pub(crate) fn spaces(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}

fn word(text: &[u8], at: usize, word: &[u8]) -> Result<usize, Flaw> {
    let rest = &text[at..];
    match rest.starts_with(word) {
        true => Ok(at + word.len()),
        false if word.starts_with(rest) => Err(Flaw::Truncated),
        false => Err(Flaw::Malformed),
    }
}

fn number(text: &[u8], mut at: usize) -> Result<usize, Flaw> {
    fn digits(text: &[u8], mut at: usize) -> Result<usize, Flaw> {
        match text.get(at) {
            None => return Err(Flaw::Truncated),
            Some(b'0'..=b'9') => {}
            Some(_) => return Err(Flaw::Malformed),
        }
        while let Some(b'0'..=b'9') = text.get(at) {
            at += 1;
        }
        Ok(at)
    }
    if text[at] == b'-' {
        at += 1;
    }
    at = match text.get(at) {
        Some(b'0') => match text.get(at + 1) {
            Some(b'0'..=b'9') => return Err(Flaw::Malformed),
            _ => at + 1,
        },
        _ => digits(text, at)?,
    };
    if text.get(at) == Some(&b'.') {
        at = digits(text, at + 1)?;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = text.get(at) {
            at += 1;
        }
        at = digits(text, at)?;
    }
    Ok(at)
}

/// Behind the closing quote of the text that begins at `at`.
fn string(text: &[u8], at: usize) -> Result<usize, Flaw> {
    let mut at = at + 1;
    loop {
        at = plain(text, at);
        match text.get(at) {
            None => return Err(Flaw::Truncated),
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => match text.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                Some(b'u') => {
                    let digits = &text[at + 2..text.len().min(at + 6)];
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return Err(Flaw::Malformed);
                    }
                    if digits.len() < 4 {
                        return Err(Flaw::Truncated);
                    }
                    at += 6;
                }
                None => return Err(Flaw::Truncated),
                Some(_) => return Err(Flaw::Malformed),
            },
            Some(_) => return Err(Flaw::Malformed),
        }
    }
}

/// The next quote, backslash or control character: eight bytes a step.
#[inline]
fn plain(text: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let has = |byte: u8| {
            let other = word ^ (ONES * u64::from(byte));
            other.wrapping_sub(ONES) & !other & HIGHS
        };
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = has(b'"') | has(b'\\') | control;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(byte) = text.get(at) {
        if matches!(byte, b'"' | b'\\' | 0..0x20) {
            break;
        }
        at += 1;
    }
    at
}

/// What the value is that the text holds.
pub fn kind(text: &str) -> Kind {
    match text.as_bytes().first() {
        None | Some(b'n') => Kind::Null,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'"') => Kind::Text,
        Some(b'[') => Kind::List,
        Some(b'{') => Kind::Object,
        Some(_) => Kind::Number,
    }
}

/// What a text says, between its quotes.
pub fn unescape(text: &str) -> Cow<'_, str> {
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    if !inner.as_bytes().contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut said = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((before, after)) = rest.split_once('\\') {
        said.push_str(before);
        let mut length = 1;
        match after.as_bytes().first() {
            Some(b'b') => said.push('\u{8}'),
            Some(b'f') => said.push('\u{c}'),
            Some(b'n') => said.push('\n'),
            Some(b'r') => said.push('\r'),
            Some(b't') => said.push('\t'),
            Some(b'u') => {
                let (character, escaped) = unicode(after);
                said.push(character);
                length = escaped;
            }
            Some(byte) => said.push(char::from(*byte)),
            None => {}
        }
        rest = after.get(length..).unwrap_or_default();
    }
    said.push_str(rest);
    Cow::Owned(said)
}

/// The character of `uD83D\uDE00…`, and how much of it was read.
fn unicode(text: &str) -> (char, usize) {
    let unit = |text: &str| u32::from_str_radix(text.get(1..5)?, 16).ok();
    let Some(first) = unit(text) else { return (char::REPLACEMENT_CHARACTER, 1) };
    let second = match first {
        0xD800..0xDC00 => {
            text.get(5..).and_then(|rest| rest.strip_prefix('\\')).filter(|rest| rest.starts_with('u'))
        }
        _ => None,
    };
    if let Some(low @ 0xDC00..0xE000) = second.and_then(unit) {
        let both = 0x10000 + ((first - 0xD800) << 10) + (low - 0xDC00);
        return (char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER), 11);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 5)
}

/// Writes a text as JSON.
pub fn escape(said: &str, to: &mut String) {
    to.push('"');
    let mut rest = said;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        to.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => to.push_str("\\\""),
            b'\\' => to.push_str("\\\\"),
            b'\n' => to.push_str("\\n"),
            b'\r' => to.push_str("\\r"),
            b'\t' => to.push_str("\\t"),
            byte => to.push_str(&format!("\\u{byte:04x}")),
        }
        rest = &rest[at + 1..];
    }
    to.push_str(rest);
    to.push('"');
}

/// The members of an object: key with its quotes, and value.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    text: &'a str,
    at: usize,
}

/// The members of an object in their order; none of anything else.
pub fn members(text: &str) -> Members<'_> {
    Members { text, at: if text.starts_with('{') { 1 } else { text.len() } }
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        let mut at = spaces(bytes, self.at);
        if bytes.get(at) == Some(&b',') {
            at = spaces(bytes, at + 1);
        }
        if bytes.get(at) != Some(&b'"') {
            return None;
        }
        let end = string(bytes, at).ok()?;
        let key = &self.text[at..end];
        let begin = spaces(bytes, spaces(bytes, end) + 1);
        self.at = skip(bytes, begin);
        Some((key, &self.text[begin..self.at]))
    }
}

/// The elements of a list.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    text: &'a str,
    at: usize,
}

/// The elements of a list in their order; none of anything else.
pub fn elements(text: &str) -> Elements<'_> {
    Elements { text, at: if text.starts_with('[') { 1 } else { text.len() } }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let mut at = spaces(bytes, self.at);
        if bytes.get(at) == Some(&b',') {
            at = spaces(bytes, at + 1);
        }
        if matches!(bytes.get(at), None | Some(b']')) {
            return None;
        }
        self.at = skip(bytes, at);
        Some(&self.text[at..self.at])
    }
}

/// The end of a value that is known to be well-formed.
#[inline]
fn skip(text: &[u8], at: usize) -> usize {
    match text.get(at) {
        Some(b'"') => string(text, at).unwrap_or(text.len()),
        Some(b'{' | b'[') => {
            let (mut at, mut depth) = (at, 0_usize);
            while let Some(byte) = text.get(at) {
                match byte {
                    b'"' => {
                        at = string(text, at).unwrap_or(text.len());
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return at + 1;
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
            text.len()
        }
        Some(_) => {
            let mut at = at;
            while let Some(byte) = text.get(at) {
                if matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\t' | b'\r') {
                    break;
                }
                at += 1;
            }
            at
        }
        None => text.len(),
    }
}

/// Whether a key, with its quotes, is this name.
#[inline]
pub fn is_key(key: &str, name: &str) -> bool {
    let inner = &key[1..key.len() - 1];
    match inner.len() == name.len() {
        true => inner == name,
        false => inner.len() > name.len() && inner.as_bytes().contains(&b'\\') && unescape(key) == name,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn whole(text: &str) -> Result<(), Flaw> {
        let end = value(text.as_bytes(), 0)?;
        match spaces(text.as_bytes(), end) == text.len() {
            true => Ok(()),
            false => Err(Flaw::Malformed),
        }
    }

    fn tree(text: &str) -> Value {
        match kind(text) {
            Kind::Null => Value::Null,
            Kind::Boolean => Value::Bool(text == "true"),
            Kind::Number => serde_json::from_str(text).unwrap(),
            Kind::Text => Value::String(unescape(text).into_owned()),
            Kind::List => elements(text).map(tree).collect(),
            Kind::Object => {
                members(text).map(|(key, value)| (unescape(key).into_owned(), tree(value))).collect()
            }
        }
    }

    #[test]
    fn a_text_is_json_or_says_whether_more_would_mend_it() {
        for (text, expected) in [
            ("{}", Ok(())),
            (" [ ] ", Ok(())),
            (r#"{"a":[1,{"b":null}],"c":"\u00e9\ud83d"}"#, Ok(())),
            ("", Err(Flaw::Truncated)),
            ("[1,", Err(Flaw::Truncated)),
            ("[1,]", Err(Flaw::Malformed)),
            ("[,1]", Err(Flaw::Malformed)),
            ("{,}", Err(Flaw::Malformed)),
            (r#"{"a""#, Err(Flaw::Truncated)),
            (r#"{"a":1,}"#, Err(Flaw::Malformed)),
            (r#"{a:1}"#, Err(Flaw::Malformed)),
            (r#"{"a":1]"#, Err(Flaw::Malformed)),
            (r#"["\u12"#, Err(Flaw::Truncated)),
            (r#"["\u12x4"]"#, Err(Flaw::Malformed)),
            (r#"["\x"]"#, Err(Flaw::Malformed)),
            ("tru", Err(Flaw::Truncated)),
            ("tree", Err(Flaw::Malformed)),
            ("01", Err(Flaw::Malformed)),
            ("1.", Err(Flaw::Truncated)),
            ("NaN", Err(Flaw::Malformed)),
            ("\"a\nb\"", Err(Flaw::Malformed)),
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(whole(&deep(DEPTH_MOST)), Ok(()));
        assert_eq!(whole(&deep(DEPTH_MOST + 1)), Err(Flaw::TooDeep));
        assert_eq!(whole(&"[{\"a\":".repeat(1_000_000)), Err(Flaw::TooDeep));
    }

    #[test]
    fn a_cut_emoji_is_the_replacement_character_and_a_whole_one_is_itself() {
        assert_eq!(unescape(r#""a\ud83db""#), "a\u{fffd}b");
        assert_eq!(unescape(r#""\ude00""#), "\u{fffd}");
        assert_eq!(unescape(r#""\ud83d\ud83d\ude00""#), "\u{fffd}😀");
        assert_eq!(unescape(r#""\ud83d\u0041""#), "\u{fffd}A");
        assert_eq!(unescape(r#""\"\\\/\b\f\n\r\té""#), "\"\\/\u{8}\u{c}\n\r\té");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..6).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_reads_as_the_same(json in any_json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) }.unwrap();
            prop_assert_eq!(whole(&text), Ok(()));
            prop_assert_eq!(tree(&text), serde_json::from_str::<Value>(&text).unwrap());
        }

        /// Texts near JSON: what serde_json takes we take, and what we take beyond it are lone surrogates, digits
        /// that no number holds, and one more level.
        #[test]
        fn a_text_is_taken_as_serde_json_takes_it(text in r#"[ \[\]{}",:\\ntrue0-9.eE+u-]{0,12}"#) {
            let theirs = serde_json::from_str::<Box<serde_json::value::RawValue>>(&text).is_ok();
            prop_assert_eq!(whole(&text).is_ok(), theirs, "{}", text);
        }

        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = value(&bytes, 0);
        }

        #[test]
        fn a_text_is_escaped_and_read_back(said in ".*") {
            let mut text = String::new();
            escape(&said, &mut text);
            prop_assert_eq!(whole(&text), Ok(()));
            prop_assert_eq!(unescape(&text), said);
        }

        #[test]
        fn a_text_cut_short_is_never_called_whole(json in any_json(), cut in any::<prop::sample::Index>()) {
            let text = serde_json::to_string(&Value::from(vec![json])).unwrap();
            let bytes = &text.as_bytes()[..cut.index(text.len())];
            prop_assert_eq!(value(bytes, 0), Err(Flaw::Truncated));
        }
    }
}
