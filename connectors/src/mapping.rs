//! From a provider's record to the unified model: a field at a time.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tributary_schemas::model::UNMAPPED;

use crate::{
    expression::{Expression, Failed},
    legacy::FieldForm,
};

/// A compiled field map.
#[derive(Debug)]
pub(crate) struct Mapping(Vec<Field>);

#[derive(Debug)]
struct Field {
    name: String,
    from: Expression,
    values: Option<BTreeMap<String, String>>,
}

impl Mapping {
    pub(crate) fn compile(fields: &BTreeMap<String, FieldForm>, prelude: &str) -> Result<Self, String> {
        let compile = |(name, form): (&String, &FieldForm)| {
            let (from, values) = match form {
                FieldForm::Plain(from) => (from, None),
                FieldForm::Enum(form) => (&form.from, Some(form.values.clone())),
            };
            let from = Expression::compile(from, prelude).map_err(|why| format!("field `{name}`: {why}"))?;
            Ok(Field { name: name.clone(), from, values })
        };
        fields.iter().map(compile).collect::<Result<_, String>>().map(Self)
    }

    /// The unified record; what gives null is absent.
    pub(crate) fn map(&self, record: &Value) -> Result<Map<String, Value>, Failed> {
        let mut mapped = Map::new();
        for field in &self.0 {
            let value = field.from.first(record)?;
            let value = match (&field.values, value) {
                (_, Value::Null) => continue,
                (None, value) => value,
                (Some(values), source) => enumerated(values, source),
            };
            mapped.insert(field.name.clone(), value);
        }
        Ok(mapped)
    }
}

/// Contract §6: `{"value": …, "source_value": …}`.
fn enumerated(values: &BTreeMap<String, String>, source: Value) -> Value {
    let text = match &source {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    json!({ "value": values.get(&text).map_or(UNMAPPED, String::as_str), "source_value": source })
}
