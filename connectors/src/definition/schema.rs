//! The language as a JSON Schema, for editors: made from the same text as the reader.

use serde_json::{Map, Value, json};

use super::{Definition, keys::Read};

/// The schema of `connector.yaml`.
pub fn of_definitions() -> Value {
    let mut defs = Map::new();
    let root = Definition::schema(&mut defs);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "connector.yaml",
        "$ref": root["$ref"],
        "$defs": defs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_describes_every_key() {
        let schema = of_definitions();
        let defs = schema["$defs"].as_object().unwrap();
        assert!(defs.len() > 30);
        for (name, def) in defs {
            assert!(def.is_object(), "{name}");
            for (key, property) in def["properties"].as_object().into_iter().flatten() {
                assert!(!property["description"].as_str().unwrap().is_empty(), "{name}.{key}");
            }
        }
        assert_eq!(defs["Definition"]["required"], json!(["language", "name", "title", "category"]));
    }
}
