//! What a caller may give: each number, text, list and moment of the API is a type that has its range. The same type
//! reads the value, refuses it by its range, and writes the range into the OpenAPI document: a bound stands once.

use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error, IntoDeserializer, Visitor},
};
use tributary_schemas::{
    entity::{AccountStatus, Ordering, RecordType, SecretRole},
    observation::NativePayload,
    resource::{EventName, EventPattern, Mode, Resource},
    time::Timestamp,
};

/// The longest that anything may be put off: 30 days.
pub(super) const LONGEST_SECONDS: u64 = 30 * 86_400;

/// The size of a page of a list.
pub(super) type PageSize = Whole<1, 100>;
/// Where a list goes on: what a page before gave as `next`.
pub(super) type Cursor = Text<1, 512>;
/// A name or label for people, or what a caller calls its own things.
pub(super) type Name = Text<1, 256>;
/// A label that may be empty.
pub(super) type Label = Text<0, 256>;
/// A URL.
pub(super) type UrlText = Text<1, 2_048>;
/// An interval of polling, in seconds. What a connector can do may need longer ones.
pub(super) type IntervalSeconds = Whole<300, LONGEST_SECONDS>;
/// An interval between full scans, in seconds.
pub(super) type FullIntervalSeconds = Whole<3_600, LONGEST_SECONDS>;
/// Requests a second that a webhook takes. A rate above this would limit nothing: a process has fewer in flight.
pub(super) type Rate = Whole<1, 10_000>;
/// The events of a webhook or a wish.
pub(super) type Patterns = List<Known<EventPattern>, 1, 100>;
/// Names of providers.
pub(super) type Providers = List<Slug, 0, 100>;
/// A moment.
pub(super) type Moment = Known<Timestamp>;
/// Ids of accounts.
pub(super) type Accounts = List<Slug, 0, 1_000>;

/// A whole number of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole<const LEAST: u64, const MOST: u64>(u64);

impl<const LEAST: u64, const MOST: u64> Whole<LEAST, MOST> {
    pub(super) fn get(self) -> u64 {
        self.0
    }
    pub(super) fn seconds(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Whole<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // Through a float too: 300.0 is a whole number in JSON.
        struct Number<const LEAST: u64, const MOST: u64>;
        impl<const LEAST: u64, const MOST: u64> Visitor<'_> for Number<LEAST, MOST> {
            type Value = u64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {LEAST} to {MOST}")
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
                let refused = || E::custom(format!("expected a whole number from {LEAST} to {MOST}"));
                (LEAST..=MOST).contains(&value).then_some(value).ok_or_else(refused)
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
                self.visit_u64(u64::try_from(value).unwrap_or(u64::MAX))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<u64, E> {
                let whole = value.fract() == 0.0 && (0.0..9e15).contains(&value);
                self.visit_u64(if whole { value as u64 } else { u64::MAX })
            }
        }
        from.deserialize_any(Number::<LEAST, MOST>).map(Self)
    }
}

impl<const LEAST: u64, const MOST: u64> JsonSchema for Whole<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Whole_{LEAST}_{MOST}").into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": LEAST, "maximum": MOST })
    }
}

/// A text of so many characters, none of which is a control character; if it must hold any, one is not white space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text<const LEAST: usize, const MOST: usize>(String);

impl<const LEAST: usize, const MOST: usize> Text<LEAST, MOST> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const LEAST: usize, const MOST: usize> FromStr for Text<LEAST, MOST> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if !(LEAST..=MOST).contains(&text.chars().count()) || (LEAST > 0 && text.trim().is_empty()) {
            return Err(format!("expected {LEAST} to {MOST} characters"));
        }
        if text.chars().any(char::is_control) {
            return Err("expected a text without control characters such as line ends".into());
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de, const LEAST: usize, const MOST: usize> Deserialize<'de> for Text<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl<const LEAST: usize, const MOST: usize> JsonSchema for Text<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Text_{LEAST}_{MOST}").into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        const PLAIN: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$";
        json_schema!({ "type": "string", "minLength": LEAST, "maxLength": MOST, "pattern": PLAIN })
    }
}

/// A name of letters, digits, `-` and `_`: an id, or a provider's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slug(String);

impl Slug {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
    /// As the id of its kind.
    pub(super) fn id<Kind>(&self) -> Option<tributary_schemas::id::Id<Kind>> {
        self.0.parse().ok()
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match text.parse::<tributary_schemas::id::ProjectId>() {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err(D::Error::custom("expected 1 to 64 characters of A-Z, a-z, 0-9, `_` and `-`")),
        }
    }
}

impl Serialize for Slug {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl JsonSchema for Slug {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Slug".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" })
    }
}

/// A list of so many elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List<T, const LEAST: usize, const MOST: usize>(Vec<T>);

impl<T, const LEAST: usize, const MOST: usize> List<T, LEAST, MOST> {
    pub(super) fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>, const LEAST: usize, const MOST: usize> Deserialize<'de>
    for List<T, LEAST, MOST>
{
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let elements = Vec::<T>::deserialize(from)?;
        if (LEAST..=MOST).contains(&elements.len()) {
            return Ok(Self(elements));
        }
        Err(D::Error::custom(format!("expected {LEAST} to {MOST} elements")))
    }
}

impl<T: JsonSchema, const LEAST: usize, const MOST: usize> JsonSchema for List<T, LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("List_{}_{LEAST}_{MOST}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<T>();
        json_schema!({ "type": "array", "items": items, "minItems": LEAST, "maxItems": MOST })
    }
}

/// Values by name, of at most so many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named<T, const MOST: usize>(pub(super) BTreeMap<String, T>);

impl<T, const MOST: usize> Default for Named<T, MOST> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Named<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let values = BTreeMap::<String, T>::deserialize(from)?;
        if values.len() > MOST {
            return Err(D::Error::custom(format!("expected at most {MOST} names")));
        }
        Ok(Self(values))
    }
}

impl<T: JsonSchema, const MOST: usize> JsonSchema for Named<T, MOST> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Named_{}_{MOST}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": values, "maxProperties": MOST })
    }
}

/// A text that stands for something of ours: an event, a resource, a state, a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known<T>(pub(super) T);

/// What a [`Known`] may be.
pub(super) trait Told: DeserializeOwned {
    /// The type's name in the document.
    const NAME: &'static str;
    /// All names, if there is an end to them.
    fn names() -> Vec<String>;
    /// What is expected, in words, where there is no list of names.
    const EXPECTED: &'static str = "a known name";
    /// Its schema.
    fn schema() -> Schema {
        json_schema!({ "type": "string", "enum": Self::names() })
    }
    /// Whether it is in range.
    fn is_in_range(&self) -> bool {
        true
    }
}

impl Told for EventPattern {
    const NAME: &'static str = "EventPattern";
    fn names() -> Vec<String> {
        EventName::all().map(|event| event.to_string()).chain(["*".to_owned()]).collect()
    }
    fn schema() -> Schema {
        json_schema!({ "type": "string", "maxLength": 64, "examples": ["*", "hris_*", "hris_employees.created"],
            "description": "`*`, a prefix such as `hris_*`, or an event's name." })
    }
}

impl Told for Timestamp {
    const NAME: &'static str = "Moment";
    const EXPECTED: &'static str = "an RFC 3339 date-time from 1970 to 2199 such as 2026-11-01T15:09:22.961Z";
    fn names() -> Vec<String> {
        Vec::new()
    }
    fn schema() -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "description": "From 1970 to 2199." })
    }
    fn is_in_range(&self) -> bool {
        // 2200-01-01T00:00:00Z.
        (0..7_258_118_400_000_000).contains(&self.as_micros())
    }
}

macro_rules! told {
    ($($type:ty: $($name:literal)*;)*) => {$(
        impl Told for $type {
            const NAME: &'static str = stringify!($type);
            fn names() -> Vec<String> {
                vec![$($name.to_owned()),*]
            }
        }
    )*};
}
told! {
    AccountStatus: "active" "inactive" "suspended" "archived" "expired" "error";
    Mode: "native_automatic" "native_manual" "synthetic";
    RecordType: "full" "legacy";
    Ordering: "unordered" "record";
    NativePayload: "full" "event_data" "none";
    SecretRole: "active" "inactive";
}

impl Told for Resource {
    const NAME: &'static str = "Resource";
    fn names() -> Vec<String> {
        Resource::ALL.iter().map(|resource| resource.name().to_owned()).collect()
    }
}

impl<'de, T: Told> Deserialize<'de> for Known<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let read =
            T::deserialize(IntoDeserializer::<serde::de::value::Error>::into_deserializer(text.as_str()));
        read.ok().filter(Told::is_in_range).map(Self).ok_or_else(|| match T::names().as_slice() {
            [] => D::Error::custom(format!("expected {}", T::EXPECTED)),
            names => D::Error::custom(format!("unknown name: {}", super::read::advice(&text, names))),
        })
    }
}

impl<T: Serialize> Serialize for Known<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<T: Told> JsonSchema for Known<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

/// A field of a PATCH that can be cleared: absent changes nothing, null clears.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is cleared.
    Clear,
    /// It becomes this.
    Set(T),
}

impl<T> Change<T> {
    /// Makes the change.
    pub(super) fn apply<U>(&self, to: &mut Option<U>, with: impl FnOnce(&T) -> U) {
        match self {
            Self::Keep => {}
            Self::Clear => *to = None,
            Self::Set(value) => *to = Some(with(value)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(from)?.map_or(Self::Clear, Self::Set))
    }
}

impl<T: JsonSchema> JsonSchema for Change<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Nullable_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

/// A field of a PATCH that can't be cleared: absent changes nothing, null is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set<T>(pub(super) Option<T>);

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Set<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Option::deserialize(from)? {
            Some(value) => Ok(Self(Some(value))),
            None => Err(D::Error::custom("expected a value: this field can't be cleared")),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Set<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}
