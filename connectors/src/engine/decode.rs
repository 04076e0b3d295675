//! Texts within a record that are read: JSON, CSV, XML, and the content lines of vCard and iCalendar (RFC 6350 §3.2,
//! RFC 5545 §3.1).

use super::{
    expression::{Expression, text_of},
    names::Names,
    read,
    trouble::{Trouble, TroubleKind},
    value::Value,
    xml,
};
use crate::definition::resource::DecodeAs;

/// Puts what the texts say into the record, each under its key; an absent text puts nothing.
///
/// # Errors
/// Where a text is not what it should be.
pub fn decoded(
    record: &Value,
    texts: &[(String, Expression, DecodeAs)],
    names: &Names,
) -> Result<Value, Trouble> {
    let mut decoded = record.clone();
    for (key, at, format) in texts {
        let text = at.one(record, names).map_err(|trouble| trouble.of(key))?;
        if text.is_null() {
            continue;
        }
        let text = match text.get("#text") {
            inner if inner.is_null() => text,
            inner => inner,
        };
        let read =
            text_of(text.json()).and_then(|text| one(*format, &text)).map_err(|trouble| trouble.of(key))?;
        decoded = decoded.with(key, &read)?;
    }
    Ok(decoded)
}

fn one(format: DecodeAs, text: &str) -> Result<Value, Trouble> {
    match format {
        DecodeAs::Json => Value::parse(text),
        DecodeAs::Csv => read::csv(text),
        DecodeAs::Xml => xml::read(text),
        DecodeAs::ContentLines => lines(text),
    }
}

/// A list of `{name, value, text, group, params}`: `value` as it stands, `text` without its escapes.
fn lines(text: &str) -> Result<Value, Trouble> {
    let unfolded = text.replace("\r\n", "\n").replace("\n ", "").replace("\n\t", "");
    let lines = unfolded.lines().filter(|line| !line.trim().is_empty()).map(line);
    Value::list(lines.collect::<Result<Vec<_>, _>>()?)
}

fn line(line: &str) -> Result<Value, Trouble> {
    let malformed = || Trouble::from(TroubleKind::Unlike("content lines (`NAME;PARAMETER=x:value`)"));
    let colon = outside(line, ':').ok_or_else(malformed)?;
    let (head, value) = (&line[..colon], &line[colon + 1..]);
    let mut parts = split(head, ';').into_iter();
    let name = parts.next().filter(|name| !name.is_empty()).ok_or_else(malformed)?;
    let (group, name) = name.split_once('.').map_or((None, name), |(group, name)| (Some(group), name));
    let mut params: Vec<(String, Vec<Value>)> = Vec::new();
    for part in parts {
        let (key, values) = part.split_once('=').unwrap_or(("TYPE", part));
        let values = split(values, ',').into_iter().map(|value| Value::text(value.trim_matches('"')));
        let key = key.to_ascii_uppercase();
        match params.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => known.extend(values),
            None => params.push((key, values.collect())),
        }
    }
    let params: Vec<(String, Value)> = params
        .into_iter()
        .map(|(key, values)| Ok((key, Value::list(values)?)))
        .collect::<Result<_, Trouble>>()?;
    let params = Value::object(params.iter().map(|(key, values)| (key.as_str(), values.clone())))?;
    let group = group.map_or(Value::null(), Value::text);
    let name = Value::text(&name.to_ascii_uppercase());
    let text = Value::text(&unescaped(value));
    Value::object([
        ("name", name),
        ("value", Value::text(value)),
        ("text", text),
        ("group", group),
        ("params", params),
    ])
}

/// The first of a character that stands in no quotes.
fn outside(text: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    text.char_indices()
        .find(|(_, it)| {
            quoted ^= *it == '"';
            !quoted && *it == wanted
        })
        .map(|(at, _)| at)
}

fn split(text: &str, at: char) -> Vec<&str> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some(end) = outside(rest, at) {
        parts.push(&rest[..end]);
        rest = &rest[end + at.len_utf8()..];
    }
    parts.push(rest);
    parts
}

fn unescaped(value: &str) -> String {
    let (mut said, mut letters) = (String::with_capacity(value.len()), value.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n' | 'N') => said.push('\n'),
                Some(other) => said.push(other),
                None => said.push('\\'),
            },
            letter => said.push(letter),
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::engine::{expression::Helpers, names::Scope};

    fn decode(format: DecodeAs, record: &serde_json::Value) -> Result<serde_json::Value, String> {
        let at = Expression::read(".t", &Scope::default(), &Helpers::default()).unwrap();
        let decoded = decoded(&Value::from_json(record), &[("d".into(), at, format)], &Names::new());
        decoded.map(|record| record.get("d").to_json()).map_err(|trouble| trouble.to_string())
    }

    #[test]
    fn a_text_is_read_as_what_it_is() {
        for (format, text, expected) in [
            (DecodeAs::Json, "{\"a\":[1]}", json!({"a": [1]})),
            (DecodeAs::Csv, "a,b\n1,2", json!([{"a": "1", "b": "2"}])),
            (DecodeAs::Xml, "<a><b>1</b></a>", json!({"a": {"b": "1"}})),
            (
                DecodeAs::ContentLines,
                "BEGIN:VCARD\r\nN:Lov\r\n elace;Ada\r\nitem1.tel;type=home,\"a:b\";TYPE=x:+1\\, 2\\n\r\n",
                json!([
                    {"name": "BEGIN", "value": "VCARD", "text": "VCARD", "group": null, "params": {}},
                    {"name": "N", "value": "Lovelace;Ada", "text": "Lovelace;Ada", "group": null, "params": {}},
                    {"name": "TEL", "value": "+1\\, 2\\n", "text": "+1, 2\n", "group": "item1", "params": {"TYPE": ["home", "a:b", "x"]}},
                ]),
            ),
        ] {
            assert_eq!(decode(format, &json!({"t": text})), Ok(expected.clone()), "{text}");
            assert_eq!(decode(format, &json!({"t": {"@type": "x", "#text": text}})), Ok(expected), "{text}");
            assert_eq!(decode(format, &json!({"t": null})), Ok(json!(null)));
        }
        assert_eq!(decode(DecodeAs::Json, &json!({"t": "canary"})), Err("d: not JSON".into()));
        assert!(
            decode(DecodeAs::ContentLines, &json!({"t": "canary"}))
                .unwrap_err()
                .starts_with("d: expected content lines")
        );
        assert_eq!(
            decode(DecodeAs::Json, &json!({"t": [1]})),
            Err("d: expected a text, found a list".into())
        );
    }

    proptest! {
        #[test]
        fn any_text_ends(text in ".{0,40}") {
            for format in [DecodeAs::Json, DecodeAs::Csv, DecodeAs::Xml, DecodeAs::ContentLines] {
                let _ = decode(format, &json!({"t": text}));
            }
        }
    }
}
