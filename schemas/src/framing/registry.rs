//! A registry's read calls, for a deployment that has none (contract §4).

use serde_json::json;

use super::{SchemaIds, schema_text};
use crate::resource::Resource;

/// What a registry answers, for who has none: the read calls of contract §4, by path.
///
/// `None`: no such path, a 404. Subjects are `<topic>-value`.
pub fn registry_answer(path: &str, topic_of: impl Fn(Resource) -> String) -> Option<serde_json::Value> {
    let ids = SchemaIds::default();
    let subject = |resource| format!("{}-value", topic_of(resource));
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let find = |name: &str| Resource::ALL.into_iter().find(|resource| subject(*resource) == name);
    let version = |resource| {
        let (subject, id, schema) = (subject(resource), ids.of(resource), schema_text(resource));
        json!({ "subject": subject, "version": 1, "id": id, "schema": schema })
    };
    match segments.as_slice() {
        ["schemas", "ids", id] => {
            let by_id = |resource: &Resource| ids.of(*resource).to_string() == *id;
            let resource = Resource::ALL.into_iter().find(by_id)?;
            Some(json!({ "schema": schema_text(resource) }))
        }
        ["subjects"] => Some(json!(Resource::ALL.map(subject))),
        ["subjects", name, "versions"] => find(name).map(|_| json!([1])),
        ["subjects", name, "versions", "1" | "latest"] => find(name).map(version),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::RECORD_SCHEMA;

    #[test]
    fn the_registry_s_read_calls_are_answered() {
        let topic = |resource: Resource| format!("unified.{resource}");
        let answer = |path| registry_answer(path, topic);
        assert_eq!(answer("/schemas/ids/1").unwrap()["schema"], RECORD_SCHEMA);
        assert_eq!(answer("/subjects").unwrap().as_array().unwrap().len(), 20);
        assert_eq!(answer("/subjects/unified.account-value/versions/latest").unwrap()["id"], 2);
        for nothing in
            ["/schemas/ids/3", "/subjects/x-value/versions", "/subjects/unified.account-value/versions/2"]
        {
            assert_eq!(answer(nothing), None, "{nothing}");
        }
    }
}
