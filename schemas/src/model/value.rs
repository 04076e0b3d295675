//! Whether a value is of a field's kind.

use serde_json::Value;

use super::{Kind, UNMAPPED};
use crate::time::Timestamp;

/// A value that is not of its field's kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: expected {expected}, found {found}")]
pub struct Mismatch {
    /// The field, and where in it: `citizenships[1]`.
    pub place: String,
    /// What the kind asks for.
    pub expected: String,
    /// The value, as JSON.
    pub found: String,
}

impl Kind {
    /// Checks the value of the field `name`.
    ///
    /// # Errors
    /// The first part of it that is not of this kind.
    pub fn check(self, name: &str, value: &Value) -> Result<(), Mismatch> {
        if let (Kind::List(each), Value::Array(items)) = (self, value) {
            return items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| each.check(&format!("{name}[{index}]"), item));
        }
        if self.holds(value) {
            return Ok(());
        }
        Err(Mismatch { place: name.to_owned(), expected: self.expected(), found: value.to_string() })
    }

    fn holds(self, value: &Value) -> bool {
        match self {
            Kind::Text => value.is_string(),
            Kind::Number => value.is_number(),
            Kind::Boolean => value.is_boolean(),
            Kind::DateTime => value.as_str().is_some_and(is_date_time),
            Kind::Enum(values) => {
                enum_value(value).is_some_and(|value| value == UNMAPPED || values.contains(&value))
            }
            Kind::OpenEnum => enum_value(value).is_some(),
            Kind::Object => value.is_object(),
            Kind::List(_) => value.is_array(),
            Kind::Any => true,
        }
    }

    fn expected(self) -> String {
        match self {
            Kind::Text => "a text".into(),
            Kind::Number => "a number".into(),
            Kind::Boolean => "true or false".into(),
            Kind::DateTime => "a date-time such as 2026-11-01T15:09:22.961Z, or a date".into(),
            Kind::Enum(values) => format!(
                "{{\"value\", \"source_value\"}} with a value of {} or {}",
                values.join(", "),
                UNMAPPED
            ),
            Kind::OpenEnum => "{\"value\", \"source_value\"}".into(),
            Kind::Object => "an object".into(),
            Kind::List(_) => "a list".into(),
            Kind::Any => "anything".into(),
        }
    }
}

/// The value of `{"value", "source_value"}`, if it is one.
fn enum_value(value: &Value) -> Option<&str> {
    let fields = value.as_object()?;
    let whole = fields.len() == 2 && fields.contains_key("source_value");
    fields.get("value").and_then(Value::as_str).filter(|_| whole)
}

/// A date-time of RFC 3339, or its date alone.
fn is_date_time(text: &str) -> bool {
    match text.split_once('T') {
        // What reads a timestamp takes more than RFC 3339: shorter times, and a zone in brackets.
        Some((date, time)) => {
            is_date(date)
                && time.len() >= "15:09:22Z".len()
                && !time.contains('[')
                && text.parse::<Timestamp>().is_ok()
        }
        None => is_date(text),
    }
}

fn is_date(text: &str) -> bool {
    text.len() == "2026-11-01".len() && text.parse::<jiff::civil::Date>().is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_of_its_kind_or_told_what_was_expected() {
        const STATUS: Kind = Kind::Enum(&["active", "pending"]);
        let date_time = "f: expected a date-time such as 2026-11-01T15:09:22.961Z, or a date, found";
        let status = "f: expected {\"value\", \"source_value\"} with a value of active, pending or unmapped_value, found";
        let rows: [(Kind, Value, String); 25] = [
            (Kind::Text, json!("x"), "".into()),
            (Kind::Text, json!(1), "f: expected a text, found 1".into()),
            (Kind::Number, json!(1.5), "".into()),
            (Kind::Number, json!("1"), "f: expected a number, found \"1\"".into()),
            (Kind::Boolean, json!(false), "".into()),
            (Kind::Boolean, json!(0), "f: expected true or false, found 0".into()),
            (Kind::DateTime, json!("2026-11-01T15:09:22Z"), "".into()),
            (Kind::DateTime, json!("2026-11-01T15:09:22.961+01:00"), "".into()),
            (Kind::DateTime, json!("2026-11-01"), "".into()),
            (Kind::DateTime, json!("2026-13-01"), format!("{date_time} \"2026-13-01\"")),
            (Kind::DateTime, json!("2026-11-01T15:09:22"), format!("{date_time} \"2026-11-01T15:09:22\"")),
            (Kind::DateTime, json!("2026-11-01T15:09Z"), format!("{date_time} \"2026-11-01T15:09Z\"")),
            (Kind::DateTime, json!(1_793_545_762), format!("{date_time} 1793545762")),
            (STATUS, json!({"value": "active", "source_value": 1}), "".into()),
            (STATUS, json!({"value": "unmapped_value", "source_value": "x"}), "".into()),
            (STATUS, json!("active"), format!("{status} \"active\"")),
            (
                STATUS,
                json!({"value": "gone", "source_value": 1}),
                format!("{status} {{\"source_value\":1,\"value\":\"gone\"}}"),
            ),
            (Kind::OpenEnum, json!({"value": "any", "source_value": null}), "".into()),
            (
                Kind::OpenEnum,
                json!({"value": "any"}),
                "f: expected {\"value\", \"source_value\"}, found {\"value\":\"any\"}".into(),
            ),
            (Kind::Object, json!({}), "".into()),
            (Kind::Object, json!([]), "f: expected an object, found []".into()),
            (Kind::List(&Kind::Text), json!(["a"]), "".into()),
            (Kind::List(&Kind::Text), json!(["a", 2]), "f[1]: expected a text, found 2".into()),
            (Kind::List(&Kind::Text), json!("a"), "f: expected a list, found \"a\"".into()),
            (Kind::Any, json!(null), "".into()),
        ];
        for (kind, value, said) in rows {
            let found = kind.check("f", &value).map_or_else(|mismatch| mismatch.to_string(), |()| "".into());
            assert_eq!(found, said, "{kind:?}: {value}");
        }
    }
}
