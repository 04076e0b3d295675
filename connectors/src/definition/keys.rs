//! How a section says its keys: once, as a struct of options.
//!
//! [`keys!`] makes of one text the struct, its reader and its JSON Schema; [`words!`] does the same for a closed set of
//! words. So a key is documented where it is read, and an unknown one names the nearest that exists. Alternatives are
//! structs of options too: [`exactly_one`] holds them to one.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    node::{Kind, Node, scalar},
    problem::Problem,
};

/// What can be read from a tree.
pub trait Read: Sized {
    /// Reads a value.
    ///
    /// # Errors
    /// What is wrong with it, and where in it.
    fn read(node: &Node) -> Result<Self, Problem>;

    /// What it is where it is left out; `None` where it has to be said.
    fn absent() -> Option<Self> {
        None
    }

    /// Its JSON Schema; what has a name is put into `defs`.
    fn schema(defs: &mut Map<String, Value>) -> Value;
}

/// The keys of a map that no struct has taken yet.
pub struct Keys<'n> {
    node: &'n Node,
    taken: Vec<&'static str>,
    known: Vec<&'static str>,
}

impl<'n> Keys<'n> {
    /// The keys of a map.
    ///
    /// # Errors
    /// Where it is no map.
    pub fn of(node: &'n Node) -> Result<Self, Problem> {
        match &node.kind {
            Kind::Map(_) => Ok(Self { node, taken: Vec::new(), known: Vec::new() }),
            Kind::Null | Kind::Text { .. } | Kind::List(_) => {
                Err(Problem::new(format!("expected a map, found {}", node.found())))
            }
        }
    }

    /// Takes a key's value.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn take<T: Read>(
        &mut self,
        name: &'static str,
        since: u32,
        about: &str,
    ) -> Result<Option<T>, Problem> {
        self.known.push(name);
        match self.node.get(name) {
            Some(_) if since > self.node.language => Err(Problem::new(format!(
                "is a key of language {since}, and this file says `language: {}`",
                self.node.language
            ))
            .at(name)),
            Some(value) => {
                self.taken.push(name);
                T::read(value).map(Some).map_err(|problem| problem.at(name))
            }
            None => match T::absent() {
                Some(absent) => Ok(Some(absent)),
                None if about.is_empty() => Ok(None),
                None => Err(Problem::new(format!("the key `{name}` is missing:{about}"))),
            },
        }
    }

    /// That nothing else stands in the map.
    ///
    /// # Errors
    /// The first key that nobody knows.
    pub fn end(self) -> Result<(), Problem> {
        match self.node.entries().iter().find(|(key, _)| !self.taken.contains(&key.as_str())) {
            Some((key, _)) => Err(Problem::unknown("key", key, self.known).at(key.clone())),
            None => Ok(()),
        }
    }
}

/// Of alternatives exactly one is set.
///
/// # Errors
/// Which there are.
pub fn exactly_one(alternatives: &[(&str, bool)]) -> Result<(), Problem> {
    let names: Vec<&str> = alternatives.iter().map(|(name, _)| *name).collect();
    let set: Vec<&str> = alternatives.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    match set.as_slice() {
        [_] => Ok(()),
        [] => Err(Problem::new(format!("expected exactly one of {}", names.join(", ")))),
        _ => Err(Problem::new(format!(
            "expected exactly one of {}, found {}",
            names.join(", "),
            set.join(" and ")
        ))),
    }
}

/// Structs of options, as sections have them. A field is `name: Type`, `name: Type = default`, or `name as "key": …`
/// where the key is a word of Rust; `@2` before it says the language that it came with; `; ..part: Type` takes the keys
/// of another struct from the same map.
macro_rules! keys {
    ($(
        $(#[doc = $about:literal])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $(@$since:literal)? $field:ident $(as $key:literal)? : $type:ty $(= $default:expr)?
            ),* $(,)?
            $(; $(#[doc = $part_doc:literal])* ..$part:ident : $part_type:ty)*
        }
    )*) => {$(
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])* pub $field: $type,)*
            $($(#[doc = $part_doc])* pub $part: $part_type,)*
        }

        impl $name {
            /// Takes its keys of a map that may hold others.
            #[allow(unused_variables, reason = "a struct may have no keys of its own")]
            pub(crate) fn take(keys: &mut $crate::definition::keys::Keys<'_>) -> Result<Self, $crate::definition::Problem> {
                Ok(Self {
                    $($field: $crate::definition::keys::take_key!(
                        keys, $type, [$($key)? , $field], [$($since)?], [$($default)?], concat!("", $($doc),*)
                    ),)*
                    $($part: <$part_type>::take(keys)?,)*
                })
            }

            /// The schema of its keys, and which have to be there.
            pub(crate) fn properties(
                defs: &mut serde_json::Map<String, serde_json::Value>,
                properties: &mut serde_json::Map<String, serde_json::Value>,
                required: &mut Vec<serde_json::Value>,
            ) {
                $(
                    let name = $crate::definition::keys::key_name!([$($key)? , $field]);
                    let schema = <$type as $crate::definition::keys::Read>::schema(defs);
                    let about = concat!("", $($doc),*).trim();
                    properties.insert(name.into(), $crate::definition::keys::described(schema, about));
                    if <$type as $crate::definition::keys::Read>::absent().is_none() && [$(stringify!($default),)? ""].len() == 1 {
                        required.push(name.into());
                    }
                )*
                $(<$part_type>::properties(defs, properties, required);)*
            }
        }

        impl $crate::definition::keys::Read for $name {
            fn read(node: &$crate::definition::node::Node) -> Result<Self, $crate::definition::Problem> {
                let mut keys = $crate::definition::keys::Keys::of(node)?;
                let read = Self::take(&mut keys)?;
                keys.end()?;
                Ok(read)
            }

            fn schema(defs: &mut serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
                $crate::definition::keys::named(defs, stringify!($name), |defs| {
                    let (mut properties, mut required) = (serde_json::Map::new(), Vec::new());
                    Self::properties(defs, &mut properties, &mut required);
                    serde_json::json!({
                        "type": "object", "description": concat!("", $($about),*).trim(), "properties": properties,
                        "required": required, "additionalProperties": false,
                    })
                })
            }
        }
    )*};
}

/// A key's name: as said, or the field's.
macro_rules! key_name {
    ([$key:literal , $field:ident]) => {
        $key
    };
    ([, $field:ident]) => {
        stringify!($field)
    };
}

/// A key's value: as written, or by default.
macro_rules! take_key {
    ($keys:ident, $type:ty, $name:tt, [$($since:literal)?], [], $doc:expr) => {{
        let since = [1_u32, $($since)?].into_iter().last().unwrap_or(1);
        match $keys.take::<$type>($crate::definition::keys::key_name!($name), since, $doc)? {
            Some(value) => value,
            None => return Err($crate::definition::Problem::new(concat!("a key is missing:", $doc))),
        }
    }};
    ($keys:ident, $type:ty, $name:tt, [$($since:literal)?], [$default:expr], $doc:expr) => {{
        let since = [1_u32, $($since)?].into_iter().last().unwrap_or(1);
        match $keys.take::<$type>($crate::definition::keys::key_name!($name), since, "")? {
            Some(value) => value,
            None => $default,
        }
    }};
}

/// A closed set of words.
macro_rules! words {
    ($(
        $(#[doc = $about:literal])*
        pub enum $name:ident { $($(#[doc = $doc:literal])* $variant:ident = $word:literal),* $(,)? }
    )*) => {$(
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $doc])* $variant),* }

        impl $name {
            /// The word.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl $crate::definition::keys::Read for $name {
            fn read(node: &$crate::definition::node::Node) -> Result<Self, $crate::definition::Problem> {
                let text = <String as $crate::definition::keys::Read>::read(node)?;
                match text.as_str() {
                    $($word => Ok(Self::$variant),)*
                    other => Err($crate::definition::Problem::unknown("value", other, [$($word),*])),
                }
            }

            fn schema(_: &mut serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
                serde_json::json!({ "enum": [$($word),*] })
            }
        }
    )*};
}

pub(crate) use {key_name, keys, take_key, words};

/// Puts a schema among the named ones, and refers to it.
pub(crate) fn named(
    defs: &mut Map<String, Value>,
    name: &str,
    schema: impl FnOnce(&mut Map<String, Value>) -> Value,
) -> Value {
    if !defs.contains_key(name) {
        // Taken before it is made, as what holds itself would never end.
        defs.insert(name.to_owned(), Value::Null);
        let made = schema(defs);
        defs.insert(name.to_owned(), made);
    }
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// A schema with what people should know.
pub(crate) fn described(schema: Value, about: &str) -> Value {
    let mut schema = schema;
    if let Value::Object(fields) = &mut schema {
        fields.insert("description".into(), about.into());
    }
    schema
}

impl<T: Read> Read for Option<T> {
    fn read(node: &Node) -> Result<Self, Problem> {
        match node.kind {
            Kind::Null => Ok(None),
            Kind::Text { .. } | Kind::List(_) | Kind::Map(_) => T::read(node).map(Some),
        }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn schema(defs: &mut Map<String, Value>) -> Value {
        T::schema(defs)
    }
}

impl Read for String {
    fn read(node: &Node) -> Result<Self, Problem> {
        match &node.kind {
            Kind::Text { text, .. } => Ok(text.clone()),
            Kind::Map(_) => {
                Err(Problem::new("expected a text, found a map: quote it if it is meant as text"))
            }
            Kind::List(_) => {
                Err(Problem::new("expected a text, found a list: quote it if it is meant as text"))
            }
            Kind::Null => Err(Problem::new("expected a text, found nothing")),
        }
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": ["string", "number", "boolean"] })
    }
}

impl Read for bool {
    fn read(node: &Node) -> Result<Self, Problem> {
        match &node.kind {
            Kind::Text { text, plain: true } if text == "true" => Ok(true),
            Kind::Text { text, plain: true } if text == "false" => Ok(false),
            Kind::Text { .. } | Kind::Null | Kind::List(_) | Kind::Map(_) => {
                Err(Problem::new(format!("expected true or false, found {}", node.found())))
            }
        }
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": "boolean" })
    }
}

macro_rules! whole {
    ($($type:ty),*) => {$(
        impl Read for $type {
            fn read(node: &Node) -> Result<Self, Problem> {
                let expected = || {
                    Problem::new(format!("expected a whole number from 0 to {}, found {}", <$type>::MAX, node.found()))
                };
                match &node.kind {
                    Kind::Text { text, .. } => text.parse().map_err(|_| expected()),
                    Kind::Null | Kind::List(_) | Kind::Map(_) => Err(expected()),
                }
            }

            fn schema(_: &mut Map<String, Value>) -> Value {
                json!({ "type": "integer", "minimum": 0 })
            }
        }
    )*};
}

whole!(u16, u32, u64);

impl Read for Value {
    fn read(node: &Node) -> Result<Self, Problem> {
        Ok(match &node.kind {
            Kind::Text { text, plain } => scalar(text, *plain),
            Kind::Null | Kind::List(_) | Kind::Map(_) => node.json(),
        })
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({})
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node) -> Result<Self, Problem> {
        match &node.kind {
            Kind::List(items) => {
                let read =
                    |(index, item)| T::read(item).map_err(|problem| problem.at(usize::to_string(&index)));
                items.iter().enumerate().map(read).collect()
            }
            Kind::Null | Kind::Text { .. } | Kind::Map(_) => {
                Err(Problem::new(format!("expected a list, found {}", node.found())))
            }
        }
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }

    fn schema(defs: &mut Map<String, Value>) -> Value {
        json!({ "type": "array", "items": T::schema(defs) })
    }
}

/// Names and what they stand for, in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Named<T>(pub Vec<(String, T)>);

impl<T> Named<T> {
    /// What a name stands for.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Read> Read for Named<T> {
    fn read(node: &Node) -> Result<Self, Problem> {
        Keys::of(node)?;
        let read = |(name, value): &(String, Node)| {
            Ok((name.clone(), T::read(value).map_err(|problem| problem.at(name.clone()))?))
        };
        Ok(Self(node.entries().iter().map(read).collect::<Result<_, _>>()?))
    }

    fn absent() -> Option<Self> {
        Some(Self::default())
    }

    fn schema(defs: &mut Map<String, Value>) -> Value {
        json!({ "type": "object", "additionalProperties": T::schema(defs) })
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn read(node: &Node) -> Result<Self, Problem> {
        Named::read(node).map(|named| named.0.into_iter().collect())
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }

    fn schema(defs: &mut Map<String, Value>) -> Value {
        Named::<T>::schema(defs)
    }
}

impl<T: Read> Read for Box<T> {
    fn read(node: &Node) -> Result<Self, Problem> {
        T::read(node).map(Box::new)
    }

    fn absent() -> Option<Self> {
        T::absent().map(Box::new)
    }

    fn schema(defs: &mut Map<String, Value>) -> Value {
        T::schema(defs)
    }
}

/// The longest that a definition may speak of.
const DURATION_MOST: Duration = Duration::from_secs(366 * 86_400);

/// A duration of a definition: `30s`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|it: char| !it.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis).filter(|duration| *duration <= DURATION_MOST)
}

impl Read for Duration {
    fn read(node: &Node) -> Result<Self, Problem> {
        let text = String::read(node)?;
        duration(&text).ok_or_else(|| {
            Problem::new(format!(
                "expected a duration with its unit (10s, 5m, 1h, 7d; at most 366d), found `{text}`"
            ))
        })
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })
    }
}

/// One, or a list of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OneOrMore<T>(pub Vec<T>);

impl<T: Read> Read for OneOrMore<T> {
    fn read(node: &Node) -> Result<Self, Problem> {
        match node.kind {
            Kind::List(_) => Vec::read(node).map(Self),
            Kind::Null | Kind::Text { .. } | Kind::Map(_) => T::read(node).map(|one| Self(vec![one])),
        }
    }

    fn absent() -> Option<Self> {
        Some(Self(Vec::new()))
    }

    fn schema(defs: &mut Map<String, Value>) -> Value {
        let one = T::schema(defs);
        json!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "what `keys!` makes is public")]
mod tests {
    use super::*;

    keys! {
        /// For the tests.
        pub struct Part {
            /// One of a part.
            inner: Option<String>,
        }
        /// For the tests.
        pub struct Sample {
            /// A name.
            name: String,
            /// A word.
            word as "as": Option<Word>,
            /// A number.
            most: u32 = 7,
            /// Of a later language.
            @2 later: Option<bool>,
            ; /// The part.
            ..part: Part
        }
    }
    words! {
        /// For the tests.
        pub enum Word {
            /// One.
            Json = "json",
            /// Another.
            Csv = "csv",
        }
    }

    fn sample(text: &str) -> Result<Sample, String> {
        Sample::read(&Node::parse(text).unwrap()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_section_is_read_whole_or_says_what_is_wrong() {
        let read = sample("name: x\nas: csv\ninner: y").unwrap();
        assert_eq!((read.name.as_str(), read.word, read.most), ("x", Some(Word::Csv), 7));
        assert_eq!(Word::Json.word(), "json");
        assert_eq!(read.part.inner.as_deref(), Some("y"));
        for (text, expected) in [
            ("as: json", "the key `name` is missing: A name."),
            ("name: x\nas: jsn", "as: no value `jsn`; did you mean `json`?"),
            ("name: x\nmst: 1", "mst: no key `mst`; did you mean `most`?"),
            ("name: x\ninnr: 1", "innr: no key `innr`; did you mean `inner`?"),
            ("name: x\nmost: -1", "most: expected a whole number from 0 to 4294967295, found `-1`"),
            ("name: {.id}", "name: expected a text, found a map: quote it if it is meant as text"),
            ("name: x\nlater: true", "later: is a key of language 2, and this file says `language: 1`"),
            (
                "language: 1\nname: x",
                "language: no key `language`: expected one of name, as, most, later, inner",
            ),
        ] {
            assert_eq!(sample(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn the_schema_has_every_key_and_what_is_required() {
        let mut defs = Map::new();
        assert_eq!(Sample::schema(&mut defs), json!({ "$ref": "#/$defs/Sample" }));
        let schema = &defs["Sample"];
        assert_eq!(schema["required"], json!(["name"]));
        assert_eq!(schema["properties"]["as"]["enum"], json!(["json", "csv"]));
        assert_eq!(schema["properties"]["inner"]["description"], json!("One of a part."));
    }

    #[test]
    fn a_duration_has_a_unit_and_a_bound() {
        assert_eq!(duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("1500ms"), Some(Duration::from_millis(1500)));
        for wrong in ["90", "s", "1 h", "-1s", "9999999999999999d", "400d", "1.5h"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn of_alternatives_exactly_one_is_set() {
        assert!(exactly_one(&[("a", true), ("b", false)]).is_ok());
        assert_eq!(
            exactly_one(&[("a", false), ("b", false)]).unwrap_err().what(),
            "expected exactly one of a, b"
        );
        assert!(exactly_one(&[("a", true), ("b", true)]).unwrap_err().what().ends_with("found a and b"));
    }
}
