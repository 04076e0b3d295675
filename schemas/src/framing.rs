//! Unified events as records of the unified topics: Avro in Confluent framing (contract §4).
//!
//! Two schemas serve all topics: one for records, one for accounts. They are backward compatible for ever; the tests
//! compare them with the first release's.

use std::sync::LazyLock;

use apache_avro::{Schema, from_avro_datum, to_avro_datum, types::Value};
use serde_json::json;

use crate::{
    event::{AccountFacts, Subject, UnifiedEvent},
    id::{InvalidId, RemoteId, Sequence},
    resource::{Mode, Resource},
    time::Timestamp,
};

/// The text of the schema of record events.
pub const RECORD_SCHEMA: &str = include_str!("../avro/record.avsc");
/// The text of the schema of account events.
pub const ACCOUNT_SCHEMA: &str = include_str!("../avro/account.avsc");

static RECORD: LazyLock<Schema> =
    LazyLock::new(|| Schema::parse_str(RECORD_SCHEMA).expect("the tests parse it"));
static ACCOUNT: LazyLock<Schema> =
    LazyLock::new(|| Schema::parse_str(ACCOUNT_SCHEMA).expect("the tests parse it"));

/// What the registry calls the schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaIds {
    /// The schema of record events.
    pub record: u32,
    /// The schema of account events.
    pub account: u32,
}

impl Default for SchemaIds {
    /// Where no registry is configured: control serves these (contract §4).
    fn default() -> Self {
        Self { record: 1, account: 2 }
    }
}

impl SchemaIds {
    /// The schema that a resource's topic has.
    pub fn of(self, resource: Resource) -> u32 {
        if resource == Resource::Account { self.account } else { self.record }
    }
}

/// The schema text of a resource's topic.
pub fn schema_text(resource: Resource) -> &'static str {
    if resource == Resource::Account { ACCOUNT_SCHEMA } else { RECORD_SCHEMA }
}

/// Bytes that are no unified event.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not 0x00 and a four-byte schema id.
    #[error("expected Confluent framing: 0x00 and a four-byte schema id")]
    Framing,
    /// A schema that is neither of ours.
    #[error("schema {0} is not a schema of unified events")]
    Schema(u32),
    /// Not Avro of that schema.
    #[error("decoding the Avro value")]
    Avro(#[from] Box<apache_avro::Error>),
    /// A field that does not hold what it should.
    #[error("field `{0}` does not hold what it should")]
    Field(&'static str),
}

/// Encodes an event.
///
/// # Errors
/// When a value does not fit the schema, which the types rule out.
pub fn encode(event: &UnifiedEvent, ids: SchemaIds) -> Result<Vec<u8>, Box<apache_avro::Error>> {
    let (schema, fields): (&Schema, Vec<(&str, Value)>) = match &event.subject {
        Subject::Record { record_id, remote_id, raw_event, event_data } => {
            let own = [
                ("record_id", text(record_id)),
                ("record_remote_id", text(remote_id)),
                ("raw_event", optional(raw_event.as_ref())),
                ("event_data", optional(event_data.as_ref())),
            ];
            (&RECORD, own.into())
        }
        Subject::Account(facts) => {
            let own = [
                ("record_id", text(&event.account)),
                ("origin_owner_name", optional(facts.origin_owner_name.as_ref())),
                ("origin_username", optional(facts.origin_username.as_ref())),
                ("setup_information", optional(facts.setup_information.as_ref())),
            ];
            (&ACCOUNT, own.into())
        }
    };
    let previous = event.previous_sequence.map_or_else(none, |previous| some(Value::Long(previous.0)));
    let shared = [
        ("event_id", text(event.event_id)),
        ("sequence", Value::Long(event.sequence.0)),
        ("previous_sequence", previous),
        ("project_id", text(&event.project)),
        ("account_id", text(&event.account)),
        ("provider", text(&event.provider)),
        ("origin_owner_id", optional(event.origin_owner_id.as_ref())),
        ("event", text(event.event)),
        ("mode", text(event.mode.name())),
        ("event_date", Value::TimestampMillis(event.event_date.as_millis())),
        ("detected_at", Value::TimestampMillis(event.detected_at.as_millis())),
        ("record_type", text(event.event.resource)),
    ];
    let record = shared.into_iter().chain(fields).map(|(name, value)| (name.to_owned(), value)).collect();
    let datum = to_avro_datum(schema, Value::Record(record)).map_err(Box::new)?;
    let mut framed = Vec::with_capacity(5 + datum.len());
    framed.push(0);
    framed.extend(ids.of(event.event.resource).to_be_bytes());
    framed.extend(datum);
    Ok(framed)
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// [`Unreadable`] says what was expected.
pub fn decode(mut bytes: &[u8], ids: SchemaIds) -> Result<UnifiedEvent, Unreadable> {
    let id = match bytes.split_at_checked(5) {
        Some(([0, id @ ..], datum)) => {
            bytes = datum;
            u32::from_be_bytes(id.try_into().map_err(|_| Unreadable::Framing)?)
        }
        Some(_) | None => return Err(Unreadable::Framing),
    };
    let schema = match id {
        id if id == ids.record => &RECORD,
        id if id == ids.account => &ACCOUNT,
        other => return Err(Unreadable::Schema(other)),
    };
    let value = from_avro_datum(schema, &mut bytes, None).map_err(Box::new)?;
    let Value::Record(fields) = value else { return Err(Unreadable::Field("record")) };
    let mut fields = Fields(fields.into_iter().collect());
    let subject = if id == ids.account {
        Subject::Account(AccountFacts {
            origin_owner_name: fields.optional("origin_owner_name")?,
            origin_username: fields.optional("origin_username")?,
            setup_information: fields.optional("setup_information")?,
        })
    } else {
        Subject::Record {
            record_id: fields.text("record_id")?,
            remote_id: RemoteId::new(fields.text("record_remote_id")?),
            raw_event: fields.optional("raw_event")?,
            event_data: fields.optional("event_data")?,
        }
    };
    let wrong = |name| move |_| Unreadable::Field(name);
    let wrong_id = |name| move |_: InvalidId| Unreadable::Field(name);
    let mode = fields.text("mode")?;
    let modes = [Mode::NativeAutomatic, Mode::NativeManual, Mode::Synthetic];
    Ok(UnifiedEvent {
        event_id: fields.text("event_id")?.parse().map_err(|_| Unreadable::Field("event_id"))?,
        sequence: Sequence(fields.long("sequence")?),
        previous_sequence: fields.optional_long("previous_sequence")?.map(Sequence),
        project: fields.text("project_id")?.parse().map_err(wrong_id("project_id"))?,
        account: fields.text("account_id")?.parse().map_err(wrong_id("account_id"))?,
        provider: fields.text("provider")?.parse().map_err(wrong_id("provider"))?,
        origin_owner_id: fields.optional("origin_owner_id")?.map(Into::into),
        event: fields.text("event")?.parse().map_err(wrong("event"))?,
        mode: modes.into_iter().find(|it| it.name() == mode).ok_or(Unreadable::Field("mode"))?,
        event_date: fields.instant("event_date")?,
        detected_at: fields.instant("detected_at")?,
        subject,
    })
}

/// The Kafka headers of an event, so that a reader can filter without decoding (contract §4). An account without an
/// `origin_owner_id` has no such header.
pub fn headers(event: &UnifiedEvent) -> Vec<(String, Vec<u8>)> {
    let owner = event.origin_owner_id.as_ref().map(|owner| ("origin_owner_id", owner.to_string()));
    [
        ("event", event.event.to_string()),
        ("project_id", event.project.to_string()),
        ("account_id", event.account.to_string()),
        ("event_id", event.event_id.to_string()),
        ("mode", event.mode.name().to_owned()),
        ("provider", event.provider.to_string()),
    ]
    .into_iter()
    .chain(owner)
    .map(|(name, value)| (name.to_owned(), value.into_bytes()))
    .collect()
}

/// A decoded record's fields, taken out one by one.
struct Fields(std::collections::HashMap<String, Value>);

impl Fields {
    fn take(&mut self, name: &'static str) -> Result<Value, Unreadable> {
        self.0.remove(name).ok_or(Unreadable::Field(name))
    }
    fn text(&mut self, name: &'static str) -> Result<String, Unreadable> {
        match self.take(name)? {
            Value::String(text) => Ok(text),
            _ => Err(Unreadable::Field(name)),
        }
    }
    fn long(&mut self, name: &'static str) -> Result<i64, Unreadable> {
        match self.take(name)? {
            Value::Long(number) => Ok(number),
            _ => Err(Unreadable::Field(name)),
        }
    }
    fn instant(&mut self, name: &'static str) -> Result<Timestamp, Unreadable> {
        match self.take(name)? {
            Value::TimestampMillis(millis) => Ok(Timestamp::from_micros(millis.saturating_mul(1000))),
            _ => Err(Unreadable::Field(name)),
        }
    }
    fn optional(&mut self, name: &'static str) -> Result<Option<String>, Unreadable> {
        match self.take(name)? {
            Value::Union(_, value) => match *value {
                Value::Null => Ok(None),
                Value::String(text) => Ok(Some(text)),
                _ => Err(Unreadable::Field(name)),
            },
            _ => Err(Unreadable::Field(name)),
        }
    }
    fn optional_long(&mut self, name: &'static str) -> Result<Option<i64>, Unreadable> {
        match self.take(name)? {
            Value::Union(_, value) => match *value {
                Value::Null => Ok(None),
                Value::Long(number) => Ok(Some(number)),
                _ => Err(Unreadable::Field(name)),
            },
            _ => Err(Unreadable::Field(name)),
        }
    }
}

fn text(value: impl std::fmt::Display) -> Value {
    Value::String(value.to_string())
}

fn some(value: Value) -> Value {
    Value::Union(1, Box::new(value))
}

fn none() -> Value {
    Value::Union(0, Box::new(Value::Null))
}

fn optional(value: Option<&impl std::fmt::Display>) -> Value {
    value.map_or_else(none, |value| some(text(value)))
}

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
    use apache_avro::schema_compatibility::SchemaCompatibility;

    use super::*;
    use crate::id::EventId;

    fn event(subject: Subject, name: &str) -> UnifiedEvent {
        UnifiedEvent {
            event_id: EventId([7; 16]),
            sequence: Sequence(1_764_000_000_000_001),
            previous_sequence: Some(Sequence(9)),
            project: "acme-27270".parse().unwrap(),
            account: "GnQoASvosYhE5wJcmmAQs".parse().unwrap(),
            provider: "tryton".parse().unwrap(),
            origin_owner_id: Some("customer-7".into()),
            event: name.parse().unwrap(),
            event_date: "2026-11-01T15:09:22.961Z".parse().unwrap(),
            detected_at: "2026-11-01T15:09:22.970Z".parse().unwrap(),
            mode: Mode::NativeManual,
            subject,
        }
    }

    #[test]
    fn an_event_reads_back_as_it_was_written() {
        let record = Subject::Record {
            record_id: "dHIxIWlkOjQy".into(),
            remote_id: RemoteId::new("42"),
            raw_event: Some(r#"{"headers":{},"body":{"a":1}}"#.into()),
            event_data: None,
        };
        let facts = AccountFacts {
            origin_owner_name: None,
            origin_username: None,
            setup_information: Some("{}".into()),
        };
        for event in
            [event(record, "hris_employees.updated"), event(Subject::Account(facts), "account.created")]
        {
            let bytes = encode(&event, SchemaIds::default()).unwrap();
            assert_eq!(bytes[..4], [0, 0, 0, 0]);
            assert_eq!(decode(&bytes, SchemaIds::default()).unwrap(), event);
        }
    }

    #[test]
    fn the_headers_are_the_contract_s() {
        let subject = Subject::Record {
            record_id: "dHIxIWlkOjQy".into(),
            remote_id: RemoteId::new("42"),
            raw_event: None,
            event_data: None,
        };
        let owned = event(subject.clone(), "hris_employees.updated");
        let names =
            |event: &UnifiedEvent| headers(event).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let expected =
            ["event", "project_id", "account_id", "event_id", "mode", "provider", "origin_owner_id"];
        assert_eq!(names(&owned), expected);
        let unowned = UnifiedEvent { origin_owner_id: None, ..owned };
        assert_eq!(names(&unowned), expected[..6]);
    }

    #[test]
    fn what_is_no_event_is_said_to_be_none() {
        for (bytes, said) in [
            (&b""[..], "framing"),
            (b"\x01\0\0\0\x01", "framing"),
            (b"\0\0\0\0\x09", "schema 9"),
            (b"\0\0\0\0\x01", "Avro"),
        ] {
            let error = decode(bytes, SchemaIds::default()).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn readers_of_the_first_release_read_what_is_written_today_and_the_other_way_round() {
        for (first, now) in [
            (include_str!("../avro/first/record.avsc"), &*RECORD),
            (include_str!("../avro/first/account.avsc"), &*ACCOUNT),
        ] {
            let first = Schema::parse_str(first).unwrap();
            SchemaCompatibility::mutual_read(&first, now).unwrap();
        }
    }

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
