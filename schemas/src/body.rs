//! The webhook's JSON body, byte for byte (contract §2), and the provider's request inside it.

pub mod schema;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    entity::RecordType,
    event::{Subject, UnifiedEvent},
    resource::Mode,
    time::Timestamp,
};

/// Key order is the contract's; unknown optional keys are absent, never null.
#[derive(Serialize)]
struct Body<'a> {
    project_id: &'a str,
    account_id: &'a str,
    event: String,
    event_date: Timestamp,
    record_type: &'static str,
    record_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_remote_id: Option<&'a str>,
    sent_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_event: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin_owner_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin_owner_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin_username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    setup_information: Option<Box<RawValue>>,
}

/// The body of one attempt.
///
/// # Errors
/// When `raw_event`, `event_data` or `setup_information` is not the JSON text it should be.
pub fn body(
    event: &UnifiedEvent,
    form: RecordType,
    sent_at: Timestamp,
) -> Result<Vec<u8>, serde_json::Error> {
    let record_type = match (form, event.mode) {
        (RecordType::Legacy, Mode::Synthetic) => event.event.resource.legacy_name(),
        (RecordType::Legacy, Mode::NativeAutomatic | Mode::NativeManual) | (RecordType::Full, _) => {
            event.event.resource.name()
        }
    };
    let mut body = Body {
        project_id: event.project.as_str(),
        account_id: event.account.as_str(),
        event: event.event.to_string(),
        event_date: event.event_date,
        record_type,
        record_id: event.account.as_str(),
        record_remote_id: None,
        sent_at,
        raw_event: None,
        event_data: None,
        provider: None,
        origin_owner_id: None,
        origin_owner_name: None,
        origin_username: None,
        setup_information: None,
    };
    match &event.subject {
        Subject::Record { record_id, remote_id, raw_event, event_data } => {
            body.record_id = record_id;
            body.record_remote_id = Some(remote_id.as_str());
            body.raw_event = json(raw_event.as_ref())?;
            body.event_data = json(event_data.as_ref())?;
        }
        Subject::Account(facts) => {
            body.provider = Some(event.provider.as_str());
            body.origin_owner_id = event.origin_owner_id.as_deref();
            body.origin_owner_name = facts.origin_owner_name.as_deref();
            body.origin_username = facts.origin_username.as_deref();
            body.setup_information = json(facts.setup_information.as_ref())?;
        }
    }
    serde_json::to_vec(&body)
}

fn json(text: Option<&String>) -> Result<Option<Box<RawValue>>, serde_json::Error> {
    text.map(|text| RawValue::from_string(text.clone())).transpose()
}

/// The provider's request as `raw_event`: JSON as JSON, other text as a string, binary as base64, nothing as null.
pub fn raw_event(headers: &[(String, String)], body: &[u8]) -> String {
    let headers: serde_json::Map<String, serde_json::Value> =
        headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    let headers = serde_json::Value::Object(headers);
    let text = std::str::from_utf8(body);
    let (body, encoding) = match text {
        Ok("") => ("null".to_owned(), ""),
        Ok(text) if serde_json::from_str::<&RawValue>(text).is_ok() => (text.trim().to_owned(), ""),
        Ok(text) => (serde_json::Value::from(text).to_string(), ""),
        Err(_) => {
            (serde_json::Value::from(STANDARD.encode(body)).to_string(), r#","body_encoding":"base64""#)
        }
    };
    format!(r#"{{"headers":{headers},"body":{body}{encoding}}}"#)
}

/// A `raw_event` without its body, which says so (contract §2): for requests that tell of so many records that their bodies
/// together would be too much. `None`, if it is not one.
pub fn without_body(raw_event: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Headers<'a> {
        #[serde(borrow)]
        headers: &'a RawValue,
    }
    let Headers { headers } = serde_json::from_str(raw_event).ok()?;
    Some(format!(r#"{{"headers":{headers},"body_omitted":true}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::AccountFacts,
        id::{EventId, RemoteId, Sequence},
    };

    fn event(name: &str, mode: Mode, subject: Subject) -> UnifiedEvent {
        UnifiedEvent {
            event_id: EventId([0; 16]),
            sequence: Sequence(1),
            previous_sequence: None,
            project: "acme-27270".parse().unwrap(),
            account: "GnQoASvosYhE5wJcmmAQs".parse().unwrap(),
            provider: "bamboohr".parse().unwrap(),
            origin_owner_id: Some("customer-7".into()),
            event: name.parse().unwrap(),
            event_date: "2026-11-01T15:09:22.961Z".parse().unwrap(),
            detected_at: "2026-11-01T15:09:22.961Z".parse().unwrap(),
            mode,
            subject,
        }
    }

    fn employee(raw_event: Option<String>, event_data: Option<&str>) -> Subject {
        let event_data = event_data.map(str::to_owned);
        Subject::Record {
            record_id: "dHIxIWlkOjQy".into(),
            remote_id: RemoteId::new("42"),
            raw_event,
            event_data,
        }
    }

    fn written(event: &UnifiedEvent, form: RecordType) -> String {
        let sent_at = "2026-11-01T15:09:22.978Z".parse().unwrap();
        String::from_utf8(body(event, form, sent_at).unwrap()).unwrap()
    }

    #[test]
    fn a_synthetic_body_is_the_contract_s() {
        let event = event("hris_employees.updated", Mode::Synthetic, employee(None, None));
        let expected = r#"{"project_id":"acme-27270","account_id":"GnQoASvosYhE5wJcmmAQs","event":"hris_employees.updated","event_date":"2026-11-01T15:09:22.961Z","record_type":"hris_employees","record_id":"dHIxIWlkOjQy","record_remote_id":"42","sent_at":"2026-11-01T15:09:22.978Z"}"#;
        assert_eq!(written(&event, RecordType::Full), expected);
        let legacy = expected.replace(r#""record_type":"hris_employees""#, r#""record_type":"employees""#);
        assert_eq!(written(&event, RecordType::Legacy), legacy);
    }

    #[test]
    fn a_native_body_carries_the_request_as_it_came_and_its_full_record_type() {
        let raw = raw_event(&[("greenhouse-event-id".into(), "7".into())], br#" {"b": 1.0, "a": "\u003c"} "#);
        let event =
            event("hris_employees.updated", Mode::NativeManual, employee(Some(raw), Some(r#"{"id":"42"}"#)));
        let body = written(&event, RecordType::Legacy);
        assert!(body.contains(r#""record_type":"hris_employees""#), "{body}");
        let tail = r#","raw_event":{"headers":{"greenhouse-event-id":"7"},"body":{"b": 1.0, "a": "\u003c"}},"event_data":{"id":"42"}}"#;
        assert!(body.ends_with(tail), "{body}");
    }

    #[test]
    fn an_account_body_is_the_contract_s() {
        let facts = AccountFacts {
            origin_owner_name: Some("Customer 7".into()),
            origin_username: Some("hr@customer7.example".into()),
            setup_information: Some(r#"{"subdomain":"customer7"}"#.into()),
        };
        let event = event("account.updated", Mode::NativeAutomatic, Subject::Account(facts));
        let expected = r#"{"project_id":"acme-27270","account_id":"GnQoASvosYhE5wJcmmAQs","event":"account.updated","event_date":"2026-11-01T15:09:22.961Z","record_type":"account","record_id":"GnQoASvosYhE5wJcmmAQs","sent_at":"2026-11-01T15:09:22.978Z","provider":"bamboohr","origin_owner_id":"customer-7","origin_owner_name":"Customer 7","origin_username":"hr@customer7.example","setup_information":{"subdomain":"customer7"}}"#;
        assert_eq!(written(&event, RecordType::Full), expected);
    }

    #[test]
    fn a_body_that_is_left_out_is_said_to_be() {
        let raw = raw_event(&[("x-event".into(), "hired".into())], b"[1]");
        let without = without_body(&raw).unwrap();
        assert_eq!(without, r#"{"headers":{"x-event":"hired"},"body_omitted":true}"#);
        assert_eq!(without_body("[]"), None);
    }

    #[test]
    fn a_request_is_kept_as_what_it_is() {
        for (body, expected) in [
            (&b""[..], r#"{"headers":{},"body":null}"#),
            (b"Ping test", r#"{"headers":{},"body":"Ping test"}"#),
            (b"[1, 2]", r#"{"headers":{},"body":[1, 2]}"#),
            (b"\xff\x00", r#"{"headers":{},"body":"/wA=","body_encoding":"base64"}"#),
        ] {
            assert_eq!(raw_event(&[], body), expected);
        }
    }
}
