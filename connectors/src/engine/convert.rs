//! A provider's value as the unified model's kind has it (language §1.1), written as canonical JSON: sorted keys, no
//! nulls, one spelling of each text, number and date. What is hashed and what is told are the same text, but for what is
//! volatile and for the order of sets.

use tributary_schemas::model::{Kind as Model, UNMAPPED};

use super::{
    date::Dates,
    json,
    marks::Marks,
    path::Path,
    trouble::{Kind, Trouble, TroubleKind},
};

/// The number of these rules: a part of every projection. It goes up when one of them says something else.
pub const CONVERSIONS: u32 = 1;

/// Why a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be hashed: without what is volatile, sets sorted.
    Hash,
    /// To be told.
    Tell,
}

/// What conversions need to know.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub dates: Dates,
    /// What an object says where text is wanted.
    pub label: Vec<Path>,
}

impl Rules {
    /// Writes a value as this kind; false where it is absent, and then nothing is written.
    pub(super) fn write(
        &self,
        kind: Model,
        dates: &Dates,
        value: &str,
        marks: Option<&Marks>,
        purpose: Purpose,
        to: &mut String,
    ) -> Result<bool, Trouble> {
        let found = json::kind(value);
        if found == Kind::Null {
            return Ok(false);
        }
        match kind {
            Model::Text => self.text(value, to),
            Model::Number => number_of(value, to),
            Model::Boolean => boolean(value, to),
            Model::DateTime => dates.write(value, to),
            Model::Enum(known) => self.value(value, Some(known), to),
            Model::OpenEnum => self.value(value, None, to),
            Model::Object => match found {
                Kind::Object => {
                    any(value, marks, purpose, to);
                    Ok(true)
                }
                // PHP's empty object.
                Kind::List if json::elements(value).next().is_none() => Ok(false),
                Kind::Text if value == "\"\"" => Ok(false),
                found => Err(Trouble::expected("an object", found)),
            },
            Model::List(each) => {
                let begun = to.len();
                to.push('[');
                let inner = marks.and_then(Marks::of_each);
                let one = |value: &str, to: &mut String| -> Result<(), Trouble> {
                    let before = to.len();
                    if before > begun + 1 {
                        to.push(',');
                    }
                    match self.write(*each, dates, value, inner, purpose, to)? {
                        true => Ok(()),
                        false => {
                            to.truncate(before);
                            Ok(())
                        }
                    }
                };
                match found {
                    Kind::List => json::elements(value).try_for_each(|value| one(value, to))?,
                    _ => one(value, to)?,
                }
                let empty = to.len() == begun + 1;
                match empty {
                    true => to.truncate(begun),
                    false => to.push(']'),
                }
                Ok(!empty)
            }
            Model::Any => {
                any(value, marks, purpose, to);
                Ok(true)
            }
        }
    }

    /// Texts as they are, digits as they came, an object's label; an empty one is absent.
    pub(super) fn text(&self, value: &str, to: &mut String) -> Result<bool, Trouble> {
        match json::kind(value) {
            Kind::Null => Ok(false),
            Kind::Text if value == "\"\"" => Ok(false),
            Kind::Text => {
                text(value, to);
                Ok(true)
            }
            Kind::Number | Kind::Boolean => {
                to.push('"');
                to.push_str(value);
                to.push('"');
                Ok(true)
            }
            Kind::Object => {
                if let Some(inner) = super::value::member(value, "#text") {
                    return self.text(inner, to);
                }
                for label in &self.label {
                    if let Some(said) = label.walk(value)? {
                        return match json::kind(said) {
                            Kind::Object | Kind::List => Err(Trouble::expected("a text", json::kind(said))),
                            Kind::Null | Kind::Boolean | Kind::Number | Kind::Text => self.text(said, to),
                        };
                    }
                }
                match json::members(value).next() {
                    None => Ok(false),
                    Some(_) => {
                        Err(Trouble::expected("a text (or `label`, what an object says)", Kind::Object))
                    }
                }
            }
            Kind::List if json::elements(value).next().is_none() => Ok(false),
            Kind::List => Err(Trouble::expected("a text", Kind::List)),
        }
    }

    /// `{"source_value", "value"}` of a value that is its own name.
    fn value(&self, value: &str, known: Option<&[&str]>, to: &mut String) -> Result<bool, Trouble> {
        let mut said = String::new();
        if !self.text(value, &mut said)? {
            return Ok(false);
        }
        let name = json::unescape(&said);
        let unified = match known {
            Some(known) => known.iter().find(|known| **known == name).copied().unwrap_or(UNMAPPED),
            None => &name,
        };
        enumerated(value, unified, to);
        Ok(true)
    }
}

/// Contract §6: `{"source_value": …, "value": …}`.
pub(super) fn enumerated(source: &str, value: &str, to: &mut String) {
    to.push_str("{\"source_value\":");
    any(source, None, Purpose::Tell, to);
    to.push_str(",\"value\":");
    json::escape(value, to);
    to.push('}');
}

fn text(value: &str, to: &mut String) {
    match value.as_bytes().contains(&b'\\') {
        false => to.push_str(value),
        true => json::escape(&json::unescape(value), to),
    }
}

fn number_of(value: &str, to: &mut String) -> Result<bool, Trouble> {
    match json::kind(value) {
        Kind::Number => {
            number(value, to);
            Ok(true)
        }
        Kind::Text => {
            let said = json::unescape(value);
            let said = said.trim();
            if said.is_empty() {
                return Ok(false);
            }
            let is_number = matches!(said.as_bytes().first(), Some(b'-' | b'0'..=b'9'))
                && json::value(said.as_bytes(), 0) == Ok(said.len());
            match is_number {
                true => {
                    number(said, to);
                    Ok(true)
                }
                false => Err(TroubleKind::Unlike("a number").into()),
            }
        }
        found => Err(Trouble::expected("a number", found)),
    }
}

fn boolean(value: &str, to: &mut String) -> Result<bool, Trouble> {
    let truth = match json::kind(value) {
        Kind::Boolean => value == "true",
        Kind::Number => match value {
            "0" => false,
            "1" => true,
            _ => return Err(Trouble::expected("true or false", Kind::Number)),
        },
        Kind::Text => match json::unescape(value).trim().to_ascii_lowercase().as_str() {
            "" => return Ok(false),
            "true" | "1" | "yes" | "y" | "t" => true,
            "false" | "0" | "no" | "n" | "f" => false,
            _ => return Err(TroubleKind::Unlike("true or false").into()),
        },
        found => return Err(Trouble::expected("true or false", found)),
    };
    to.push_str(if truth { "true" } else { "false" });
    Ok(true)
}

/// Digits of a number at the most that are written without an exponent.
const PLAIN_MOST: usize = 40;

/// One spelling of a number, whatever its own: `1`, `1.0`, `10e-1` are one.
pub(super) fn number(value: &str, to: &mut String) {
    if value.len() <= 18 && !value.starts_with('-') && value.bytes().all(|byte| byte.is_ascii_digit()) {
        to.push_str(value);
        return;
    }
    let (negative, rest) = value.strip_prefix('-').map_or((false, value), |rest| (true, rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let leading = digits.len() - digits.trim_start_matches('0').len();
    let digits = digits.trim_start_matches('0');
    let trimmed = digits.trim_end_matches('0');
    if trimmed.is_empty() {
        to.push('0');
        return;
    }
    let Ok(exponent) = exponent.trim_start_matches('+').parse::<i64>() else {
        // An exponent that no number has: as it came.
        to.push_str(value);
        return;
    };
    // The value is 0.<trimmed> × 10^point.
    let point = (whole.len() as i64).saturating_sub(leading as i64).saturating_add(exponent);
    if negative {
        to.push('-');
    }
    let count = trimmed.len() as i64;
    if point > 0 && point <= PLAIN_MOST as i64 {
        match point >= count {
            true => {
                to.push_str(trimmed);
                (count..point).for_each(|_| to.push('0'));
            }
            false => {
                to.push_str(&trimmed[..point as usize]);
                to.push('.');
                to.push_str(&trimmed[point as usize..]);
            }
        }
    } else if point <= 0 && point > -(PLAIN_MOST as i64) {
        to.push_str("0.");
        (point..0).for_each(|_| to.push('0'));
        to.push_str(trimmed);
    } else {
        to.push_str(&trimmed[..1]);
        if count > 1 {
            to.push('.');
            to.push_str(&trimmed[1..]);
        }
        to.push('e');
        to.push_str(&point.saturating_sub(1).to_string());
    }
}

/// Any value, canonical: its depth is bounded, as it was read.
pub(super) fn any(value: &str, marks: Option<&Marks>, purpose: Purpose, to: &mut String) {
    match json::kind(value) {
        Kind::Null => to.push_str("null"),
        Kind::Boolean => to.push_str(value),
        Kind::Number => number(value, to),
        Kind::Text => text(value, to),
        Kind::List => {
            let begun = to.len();
            let inner = marks.and_then(Marks::of_each);
            to.push('[');
            for (index, element) in json::elements(value).enumerate() {
                if index > 0 {
                    to.push(',');
                }
                any(element, inner, purpose, to);
            }
            to.push(']');
            if purpose == Purpose::Hash && marks.is_some_and(|marks| marks.set) {
                sort(begun, to);
            }
        }
        Kind::Object => {
            let mut members: Vec<_> =
                json::members(value).map(|(key, value)| (json::unescape(key), value)).collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            to.push('{');
            let begun = to.len();
            for (index, (key, value)) in members.iter().enumerate() {
                // Of a key that stands twice, the last counts.
                let again = members.get(index + 1).is_some_and(|(next, _)| next == key);
                let inner = marks.and_then(|marks| marks.of(key));
                let left_out = purpose == Purpose::Hash && inner.is_some_and(|marks| marks.volatile);
                if again || left_out || *value == "null" {
                    continue;
                }
                if to.len() > begun {
                    to.push(',');
                }
                json::escape(key, to);
                to.push(':');
                by_name(key, value, inner, purpose, to);
            }
            to.push('}');
        }
    }
}

/// A member of an object that nobody mapped: the contract's rules of names, where they fit.
fn by_name(key: &str, value: &str, marks: Option<&Marks>, purpose: Purpose, to: &mut String) {
    let before = to.len();
    let fits = match (kind_of(key), json::kind(value)) {
        (Model::DateTime, Kind::Text) => Dates::default().write(value, to).unwrap_or(false),
        (Model::Text, Kind::Number) if key == "id" || key.ends_with("_id") => {
            to.push('"');
            to.push_str(value);
            to.push('"');
            true
        }
        _ => false,
    };
    if !fits {
        to.truncate(before);
        any(value, marks, purpose, to);
    }
}

/// The kind of a field within a field (contract §6): by its name.
pub(super) fn kind_of(name: &str) -> Model {
    const TEXTS: [&str; 16] = [
        "id",
        "name",
        "first_name",
        "last_name",
        "title",
        "description",
        "email",
        "phone",
        "url",
        "label",
        "street_1",
        "street_2",
        "city",
        "state",
        "zip_code",
        "country_code",
    ];
    match name {
        _ if name.ends_with("_at") || name.ends_with("_date") => Model::DateTime,
        _ if name.ends_with("_ids") => Model::List(&Model::Text),
        _ if name.ends_with("_id") || TEXTS.contains(&name) => Model::Text,
        _ => Model::Any,
    }
}

/// Sorts the list that was written from there on; what stands twice stands once.
pub(super) fn sort(begun: usize, to: &mut String) {
    let list = to.split_off(begun);
    let mut elements: Vec<&str> = json::elements(&list).collect();
    elements.sort_unstable();
    elements.dedup();
    to.push('[');
    to.push_str(&elements.join(","));
    to.push(']');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(kind: Model, value: &str) -> Result<String, String> {
        let rules = Rules {
            label: vec![Path::parse(".name").unwrap(), Path::parse(".Descriptor").unwrap()],
            ..Rules::default()
        };
        let mut to = String::new();
        match rules.write(kind, &rules.dates, value, None, Purpose::Hash, &mut to) {
            Ok(true) => Ok(to),
            Ok(false) => Ok("absent".into()),
            Err(trouble) => Err(trouble.to_string()),
        }
    }

    #[test]
    fn a_value_becomes_what_the_model_has() {
        const STATUS: Model = Model::Enum(&["active", "left"]);
        for (kind, value, expected) in [
            (Model::Text, "\"x\"", Ok("\"x\"")),
            (Model::Text, r#""\u00e9\n\/""#, Ok("\"é\\n/\"")),
            (Model::Text, "\"\"", Ok("absent")),
            (Model::Text, "12345678901234567890123", Ok("\"12345678901234567890123\"")),
            (Model::Text, "1.50", Ok("\"1.50\"")),
            (Model::Text, "true", Ok("\"true\"")),
            (Model::Text, r#"{"id":1,"Descriptor":"D"}"#, Ok("\"D\"")),
            (Model::Text, r##"{"@t":"x","#text":"y"}"##, Ok("\"y\"")),
            (
                Model::Text,
                r#"{"id":1}"#,
                Err("expected a text (or `label`, what an object says), found an object"),
            ),
            (Model::Text, "[]", Ok("absent")),
            (Model::Text, "[1]", Err("expected a text, found a list")),
            (Model::Number, "1.50", Ok("1.5")),
            (Model::Number, "\" 7 \"", Ok("7")),
            (Model::Number, "\"\"", Ok("absent")),
            (Model::Number, "\"canary\"", Err("expected a number, found another text")),
            (Model::Number, "true", Err("expected a number, found true or false")),
            (Model::Boolean, "1", Ok("true")),
            (Model::Boolean, "\"No\"", Ok("false")),
            (Model::Boolean, "2", Err("expected true or false, found a number")),
            (Model::DateTime, "\"2026-11-01 15:09:22\"", Ok("\"2026-11-01T15:09:22Z\"")),
            (STATUS, "\"active\"", Ok(r#"{"source_value":"active","value":"active"}"#)),
            (STATUS, "7", Ok(r#"{"source_value":7,"value":"unmapped_value"}"#)),
            (Model::OpenEnum, "\"f\"", Ok(r#"{"source_value":"f","value":"f"}"#)),
            (Model::List(&Model::Text), "[1,null,\"\",\"a\"]", Ok(r#"["1","a"]"#)),
            (Model::List(&Model::Text), "\"a\"", Ok(r#"["a"]"#)),
            (Model::List(&Model::Text), "[null]", Ok("absent")),
            (Model::List(&Model::Object), "{\"b\":1,\"a\":null}", Ok(r#"[{"b":1}]"#)),
            (Model::Object, "[]", Ok("absent")),
            (Model::Object, "\"x\"", Err("expected an object, found a text")),
            (
                Model::Object,
                r#"{"z":{"b":[1.0,"x"],"a":2},"id":5,"due_at":"2026-11-01 00:00:00","odd_at":"soon","z2":null,"z":{"a":3}}"#,
                Ok(r#"{"due_at":"2026-11-01T00:00:00Z","id":"5","odd_at":"soon","z":{"a":3}}"#),
            ),
            (Model::Any, "[1e0,null]", Ok("[1,null]")),
            (Model::Any, "null", Ok("absent")),
        ] {
            assert_eq!(
                write(kind, value),
                expected.map(str::to_owned).map_err(str::to_owned),
                "{kind:?} {value}"
            );
        }
    }

    #[test]
    fn a_number_has_one_spelling() {
        for (spellings, expected) in [
            (&["0", "-0", "0.0", "0e9", "-0.00E-7"][..], "0"),
            (&["1", "1.0", "10e-1", "0.1e1", "1E+0", "1.000"], "1"),
            (&["-12.5", "-1.25e1", "-125e-1"], "-12.5"),
            (&["0.001", "1e-3", "0.0010"], "0.001"),
            (
                &["123456789012345678901234567890", "1.2345678901234567890123456789e29"],
                "123456789012345678901234567890",
            ),
            (&["1e100", "10e99", "0.1e101"], "1e100"),
            (&["1.5e-100", "15e-101"], "1.5e-100"),
        ] {
            for spelling in spellings {
                let mut to = String::new();
                number(spelling, &mut to);
                assert_eq!(to, expected, "{spelling}");
                assert_eq!(json::value(to.as_bytes(), 0), Ok(to.len()));
            }
        }
    }

    proptest! {
        #[test]
        fn numbers_that_are_one_are_written_as_one(whole in 0..10_000_000_u64, fraction in 0..1000_u32, shift in -30..30_i32, negative in prop::bool::ANY) {
            let sign = if negative { "-" } else { "" };
            let spell = |text: String| {
                let mut to = String::new();
                number(&text, &mut to);
                to
            };
            let plain = spell(format!("{sign}{whole}.{fraction:03}e{shift}"));
            let shifted = spell(format!("{sign}{whole}{fraction:03}E{}", shift - 3));
            prop_assert_eq!(&plain, &shifted);
            prop_assert_eq!(json::value(plain.as_bytes(), 0), Ok(plain.len()));
            let (a, b): (f64, f64) = (plain.parse().unwrap(), format!("{sign}{whole}.{fraction:03}e{shift}").parse().unwrap());
            prop_assert!(a == b);
            prop_assert_eq!(spell(plain.clone()), plain);
        }
    }
}
