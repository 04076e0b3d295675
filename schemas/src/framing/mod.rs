//! Unified events as records of the unified topics: Avro in Confluent framing (contract §4).
//!
//! Two schemas serve all topics: one for records, one for accounts. They are backward compatible for ever; the tests
//! compare them with the first release's.

mod avro;
mod registry;

pub use registry::registry_answer;

use crate::{
    event::{AccountFacts, Subject, UnifiedEvent},
    id::{RemoteId, Sequence},
    resource::{Mode, Resource},
};

/// The text of the schema of record events.
pub const RECORD_SCHEMA: &str = include_str!("../../avro/record.avsc");
/// The text of the schema of account events.
pub const ACCOUNT_SCHEMA: &str = include_str!("../../avro/account.avsc");

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
    /// The value goes on after its last field.
    #[error("the value is longer than its fields")]
    Longer,
    /// A field that does not hold what it should.
    #[error("field `{0}` does not hold what it should")]
    Field(&'static str),
}

/// The event, framed: 0x00, the schema's id, and the Avro value.
pub fn encode(event: &UnifiedEvent, ids: SchemaIds) -> Vec<u8> {
    let mut to = Vec::with_capacity(256);
    to.push(0);
    to.extend(ids.of(event.event.resource).to_be_bytes());
    let mut to = avro::Writer(to);
    to.shown(event.event_id);
    to.long(event.sequence.0);
    to.optional(event.previous_sequence, |to, previous| to.long(previous.0));
    to.text(event.project.as_str());
    to.text(event.account.as_str());
    to.text(event.provider.as_str());
    to.optional_text(event.origin_owner_id.as_deref());
    to.shown(event.event);
    to.text(event.mode.name());
    to.long(event.event_date.as_millis());
    to.long(event.detected_at.as_millis());
    to.text(event.event.resource.name());
    match &event.subject {
        Subject::Record { record_id, remote_id, raw_event, event_data } => {
            to.text(record_id);
            to.text(remote_id.as_str());
            to.optional_text(raw_event.as_deref());
            to.optional_text(event_data.as_deref());
        }
        Subject::Account(facts) => {
            to.text(event.account.as_str());
            to.optional_text(facts.origin_owner_name.as_deref());
            to.optional_text(facts.origin_username.as_deref());
            to.optional_text(facts.setup_information.as_deref());
        }
    }
    to.0
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// [`Unreadable`] says what was expected.
pub fn decode(bytes: &[u8], ids: SchemaIds) -> Result<UnifiedEvent, Unreadable> {
    let Some(([0, id @ ..], datum)) = bytes.split_at_checked(5) else { return Err(Unreadable::Framing) };
    let id = u32::from_be_bytes(id.try_into().map_err(|_| Unreadable::Framing)?);
    let of_accounts = match id {
        id if id == ids.record => false,
        id if id == ids.account => true,
        other => return Err(Unreadable::Schema(other)),
    };
    let mut from = avro::Reader(datum);
    let event = UnifiedEvent {
        event_id: from.parsed("event_id")?,
        sequence: Sequence(from.long("sequence")?),
        previous_sequence: from.optional("previous_sequence", avro::Reader::long)?.map(Sequence),
        project: from.parsed("project_id")?,
        account: from.parsed("account_id")?,
        provider: from.parsed("provider")?,
        origin_owner_id: from.optional("origin_owner_id", avro::Reader::text)?.map(Into::into),
        event: from.parsed("event")?,
        mode: mode(from.text("mode")?)?,
        event_date: from.instant("event_date")?,
        detected_at: from.instant("detected_at")?,
        subject: {
            from.text("record_type")?;
            let record_id = from.text("record_id")?.to_owned();
            if of_accounts {
                Subject::Account(AccountFacts {
                    origin_owner_name: from.optional_text("origin_owner_name")?,
                    origin_username: from.optional_text("origin_username")?,
                    setup_information: from.optional_text("setup_information")?,
                })
            } else {
                Subject::Record {
                    record_id,
                    remote_id: RemoteId::new(from.text("record_remote_id")?),
                    raw_event: from.optional_text("raw_event")?,
                    event_data: from.optional_text("event_data")?,
                }
            }
        },
    };
    from.end()?;
    Ok(event)
}

fn mode(name: &str) -> Result<Mode, Unreadable> {
    let modes = [Mode::NativeAutomatic, Mode::NativeManual, Mode::Synthetic];
    modes.into_iter().find(|mode| mode.name() == name).ok_or(Unreadable::Field("mode"))
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

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use apache_avro::{
        Schema, from_avro_datum, schema_compatibility::SchemaCompatibility, to_avro_datum, types::Value,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::{id::EventId, time::Timestamp};

    fn schema(resource: Resource) -> &'static Schema {
        static SCHEMAS: LazyLock<[Schema; 2]> =
            LazyLock::new(|| [RECORD_SCHEMA, ACCOUNT_SCHEMA].map(|text| Schema::parse_str(text).unwrap()));
        &SCHEMAS[usize::from(resource == Resource::Account)]
    }

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

    /// As the topics keep it: to the millisecond.
    fn kept(event: UnifiedEvent) -> UnifiedEvent {
        let whole = |at: Timestamp| Timestamp::from_micros(at.as_millis().saturating_mul(1000));
        let (event_date, detected_at) = (whole(event.event_date), whole(event.detected_at));
        UnifiedEvent { event_date, detected_at, ..event }
    }

    /// A field as the `apache-avro` crate has it.
    fn field(value: &Value, name: &str) -> Option<String> {
        let Value::Record(fields) = value else { panic!("a record") };
        match fields.iter().find(|(it, _)| it == name).map(|(_, value)| value) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Union(1, value)) => match &**value {
                Value::String(text) => Some(text.clone()),
                other => panic!("{name}: {other:?}"),
            },
            Some(Value::Union(0, _)) | None => None,
            other => panic!("{name}: {other:?}"),
        }
    }

    proptest! {
        #[test]
        fn an_event_reads_back_as_it_was_written(event: UnifiedEvent) {
            let event = kept(event);
            let bytes = encode(&event, SchemaIds::default());
            let of_accounts = event.event.resource == Resource::Account;
            // A subject of another kind than its topic's is not said by anyone.
            prop_assume!(of_accounts == matches!(event.subject, Subject::Account(_)));
            prop_assert_eq!(decode(&bytes, SchemaIds::default()).unwrap(), event);
        }

        #[test]
        fn a_stock_reader_reads_what_is_written(event: UnifiedEvent) {
            let event = kept(event);
            let of_accounts = event.event.resource == Resource::Account;
            prop_assume!(of_accounts == matches!(event.subject, Subject::Account(_)));
            let bytes = encode(&event, SchemaIds::default());
            let mut datum = &bytes[5..];
            let value = from_avro_datum(schema(event.event.resource), &mut datum, None).unwrap();
            prop_assert!(datum.is_empty());
            prop_assert_eq!(field(&value, "event_id"), Some(event.event_id.to_string()));
            prop_assert_eq!(field(&value, "event"), Some(event.event.to_string()));
            prop_assert_eq!(field(&value, "mode"), Some(event.mode.name().to_owned()));
            prop_assert_eq!(field(&value, "origin_owner_id"), event.origin_owner_id.as_deref().map(str::to_owned));
            match &event.subject {
                Subject::Record { remote_id, event_data, .. } => {
                    prop_assert_eq!(field(&value, "record_remote_id"), Some(remote_id.as_str().to_owned()));
                    prop_assert_eq!(field(&value, "event_data"), event_data.clone());
                }
                Subject::Account(facts) => {
                    prop_assert_eq!(field(&value, "setup_information"), facts.setup_information.clone());
                }
            }
            // And what it writes is what we write: nothing is spelt in another way.
            prop_assert_eq!(to_avro_datum(schema(event.event.resource), value).unwrap(), bytes[5..].to_vec());
        }

        #[test]
        fn bytes_of_any_kind_are_read_or_refused(bytes: Vec<u8>, of_ours: bool) {
            let framed = [&[0, 0, 0, 0, u8::from(of_ours) + 1][..], &bytes].concat();
            let _ = decode(&framed, SchemaIds::default());
            let _ = decode(&bytes, SchemaIds::default());
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
            (b"\0\0\0\0\x01", "event_id"),
        ] {
            let error = decode(bytes, SchemaIds::default()).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn readers_of_the_first_release_read_what_is_written_today_and_the_other_way_round() {
        for (first, now) in [
            (include_str!("../../avro/first/record.avsc"), schema(Resource::HrisEmployees)),
            (include_str!("../../avro/first/account.avsc"), schema(Resource::Account)),
        ] {
            let first = Schema::parse_str(first).unwrap();
            SchemaCompatibility::mutual_read(&first, now).unwrap();
        }
    }
}
