//! The bodies as JSON Schema 2020-12: what a consumer generates types from and checks against. `/openapi.json` has it in its
//! `webhooks`.

use serde_json::{Map, Value, json};

use crate::{
    model::{self, Kind, Model, UNMAPPED},
    resource::{Action, EventName, Resource},
};

/// The schemas by name, whose references begin with `base`: of a resource's event (`HrisEmployeesEvent`) and of its record
/// (`HrisEmployees`), and `RawEvent`. Consumers take further keys: a release may add some.
pub fn schemas(base: &str) -> Map<String, Value> {
    let mut schemas = Map::new();
    for resource in Resource::ALL {
        if let Some(model) = model::of(resource) {
            schemas.insert(record_name(resource), record(model));
        }
        schemas.insert(event_name(resource), event(resource, base));
    }
    schemas.insert("RawEvent".into(), raw_event());
    schemas
}

/// The events of the catalogue, each with the name of its schema.
pub fn events() -> impl Iterator<Item = (EventName, String)> {
    Resource::ALL.into_iter().flat_map(|resource| {
        Action::ALL.into_iter().map(move |action| (EventName { resource, action }, event_name(resource)))
    })
}

fn record_name(resource: Resource) -> String {
    let words = resource.name().split('_');
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect()
}

fn event_name(resource: Resource) -> String {
    record_name(resource) + "Event"
}

fn event(resource: Resource, base: &str) -> Value {
    let moment = json!({ "type": "string", "format": "date-time" });
    let text = json!({ "type": "string" });
    let names: Vec<String> =
        Action::ALL.into_iter().map(|action| EventName { resource, action }.to_string()).collect();
    let mut record_types = vec![resource.name(), resource.legacy_name()];
    record_types.dedup();
    let mut properties = json!({
        "project_id": text,
        "account_id": text,
        "event": { "type": "string", "enum": names },
        "event_date": described(&moment, "When it happened by the provider's clock (native), or was detected (synthetic)."),
        "record_type": { "type": "string", "enum": record_types },
        "record_id": text,
        "sent_at": described(&moment, "When this attempt was made."),
    });
    let mut required =
        vec!["project_id", "account_id", "event", "event_date", "record_type", "record_id", "sent_at"];
    if model::of(resource).is_some() {
        properties["record_remote_id"] = described(&text, "The provider's own id.");
        properties["raw_event"] = json!({ "$ref": format!("{base}RawEvent") });
        properties["event_data"] = json!({ "$ref": format!("{base}{}", record_name(resource)) });
        required.push("record_remote_id");
    } else {
        properties["provider"] = text.clone();
        required.push("provider");
        for optional in ["origin_owner_id", "origin_owner_name", "origin_username"] {
            properties[optional] = text.clone();
        }
        properties["setup_information"] =
            json!({ "type": "object", "description": "The set-up fields that are no secrets." });
    }
    json!({ "type": "object", "required": required, "properties": properties })
}

fn raw_event() -> Value {
    json!({
        "type": "object",
        "description": "The provider's request, of native events only.",
        "required": ["headers"],
        "properties": {
            "headers": { "type": "object", "additionalProperties": { "type": "string" } },
            "body": { "description": "JSON as JSON, other text as a string, binary as base64, an empty body as null." },
            "body_encoding": { "type": "string", "const": "base64" },
            "body_omitted": { "type": "boolean", "const": true },
        },
    })
}

fn record(model: &Model) -> Value {
    let properties: Map<String, Value> =
        model.fields().iter().map(|field| (field.name.to_owned(), of_kind(field.kind))).collect();
    json!({
        "type": "object",
        "description": "As much of the provider's request as maps to the unified model. All fields are optional.",
        "properties": properties,
    })
}

fn of_kind(kind: Kind) -> Value {
    let in_enum = |value: Value| json!({ "type": "object", "required": ["value", "source_value"], "properties": { "value": value, "source_value": {} } });
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Number => json!({ "type": "number" }),
        Kind::Boolean => json!({ "type": "boolean" }),
        // A date alone where the provider has no time: no format says that.
        Kind::DateTime => json!({ "type": "string", "description": "A date-time, or a date." }),
        Kind::Enum(values) => {
            let values: Vec<&str> = values.iter().copied().chain([UNMAPPED]).collect();
            in_enum(json!({ "type": "string", "enum": values }))
        }
        Kind::OpenEnum => in_enum(json!({ "type": "string" })),
        Kind::Object => json!({ "type": "object" }),
        Kind::List(each) => json!({ "type": "array", "items": of_kind(*each) }),
        Kind::Any => json!({}),
    }
}

fn described(schema: &Value, description: &str) -> Value {
    let mut schema = schema.clone();
    schema["description"] = description.into();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{body, entity::RecordType, event::UnifiedEvent};
    use proptest::prelude::*;

    /// Says what of a value a schema of ours does not allow: required, kinds, enums, references. Keys that it does not
    /// name count too, so that nothing is written that is not told.
    fn check(value: &Value, schema: &Value, all: &Map<String, Value>, place: &str) -> Vec<String> {
        if let Some(reference) = schema["$ref"].as_str() {
            return check(value, &all[reference.trim_start_matches("#/")], all, place);
        }
        let mut wrong = Vec::new();
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if schema["type"].as_str().is_some_and(|wanted| wanted != found) {
            wrong.push(format!("{place}: {found}"));
        }
        if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
            wrong.push(format!("{place}: {value}"));
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(name).is_none() {
                wrong.push(format!("{place}.{name} is absent"));
            }
        }
        if let (Value::Object(fields), Some(properties)) = (value, schema["properties"].as_object()) {
            for (name, field) in fields {
                match properties.get(name) {
                    Some(schema) => wrong.extend(check(field, schema, all, &format!("{place}.{name}"))),
                    None => wrong.push(format!("{place}.{name} is not told")),
                }
            }
        }
        wrong
    }

    proptest! {
        #[test]
        fn every_body_is_what_its_schema_says(mut event: UnifiedEvent, legacy: bool, sent_at: crate::time::Timestamp) {
            // What is not ours to describe: the provider's request and what was mapped of it.
            match &mut event.subject {
                crate::event::Subject::Record { raw_event, event_data, .. } => {
                    *raw_event = raw_event.as_ref().map(|it| body::raw_event(&[], it.as_bytes()));
                    *event_data = event_data.as_ref().map(|_| r#"{"id":"x"}"#.to_owned());
                    if event.event.resource == Resource::Account {
                        event.event.resource = Resource::CrmContacts;
                    }
                }
                crate::event::Subject::Account(facts) => {
                    facts.setup_information = facts.setup_information.as_ref().map(|_| "{}".to_owned());
                    event.event.resource = Resource::Account;
                }
            }
            let form = if legacy { RecordType::Legacy } else { RecordType::Full };
            let written = body::body(&event, form, sent_at).unwrap();
            let all = schemas("#/");
            let schema = &all[&event_name(event.event.resource)];
            prop_assert_eq!(check(&serde_json::from_slice(&written).unwrap(), schema, &all, "body"), Vec::<String>::new());
        }
    }

    #[test]
    fn there_is_a_schema_for_each_of_the_sixty_events() {
        let all = schemas("#/");
        assert_eq!(events().count(), 60);
        assert!(events().all(|(_, schema)| all.contains_key(&schema)));
    }
}
