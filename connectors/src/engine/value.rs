//! A value at hand: a slice of JSON text inside a body that its siblings share.
//!
//! The text is well-formed and of bounded depth; there is no other way to make one. Cloning copies nothing. `Debug`
//! shows the kind alone.

use std::{borrow::Cow, fmt, sync::Arc};

use serde_json::Value as Tree;

use super::{
    json::{self, Flaw},
    trouble::{Kind, Trouble, TroubleKind},
};

/// A value.
#[derive(Clone)]
pub struct Value {
    body: Body,
    begin: usize,
    end: usize,
}

#[derive(Clone)]
enum Body {
    Fixed(&'static str),
    Shared(Arc<str>),
}

impl Body {
    fn text(&self) -> &str {
        match self {
            Body::Fixed(text) => text,
            Body::Shared(text) => text,
        }
    }
}

impl From<Flaw> for Trouble {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Malformed => TroubleKind::Malformed("JSON").into(),
            Flaw::Truncated => TroubleKind::Truncated("JSON").into(),
            Flaw::TooDeep => TroubleKind::TooDeep { most: json::DEPTH_MOST }.into(),
        }
    }
}

impl Value {
    /// Nothing.
    pub const fn null() -> Self {
        Self::fixed("null")
    }

    /// True or false.
    pub const fn boolean(truth: bool) -> Self {
        Self::fixed(if truth { "true" } else { "false" })
    }

    /// A text.
    pub fn text(said: &str) -> Self {
        let mut text = String::with_capacity(said.len() + 2);
        json::escape(said, &mut text);
        Self::known(text)
    }

    /// Reads JSON: one value and nothing behind it.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, Trouble> {
        let text = text.into();
        let end = json::value(text.as_bytes(), 0)?;
        if json::spaces(text.as_bytes(), end) != text.len() {
            return Err(TroubleKind::Malformed("JSON").into());
        }
        let begin = json::spaces(text.as_bytes(), 0);
        Ok(Self { body: Body::Shared(text), begin, end })
    }

    /// The value of a tree; one that is too deep to be text of ours is nothing.
    pub fn from_json(tree: &Tree) -> Self {
        Self::parse(tree.to_string()).unwrap_or(Self::null())
    }

    /// A list.
    ///
    /// # Errors
    /// When it is too deep.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Result<Self, Trouble> {
        let mut text = String::from("[");
        for item in items {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(item.json());
        }
        text.push(']');
        Self::parse(text)
    }

    /// An object; of a key that comes twice, the last counts.
    ///
    /// # Errors
    /// When it is too deep.
    pub fn object<'k>(members: impl IntoIterator<Item = (&'k str, Value)>) -> Result<Self, Trouble> {
        let mut text = String::from("{");
        for (key, value) in members {
            if text.len() > 1 {
                text.push(',');
            }
            json::escape(key, &mut text);
            text.push(':');
            text.push_str(value.json());
        }
        text.push('}');
        Self::parse(text)
    }

    /// A value of text that is known to be well-formed.
    pub(crate) fn known(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let end = text.len();
        Self { body: Body::Shared(text), begin: 0, end }
    }

    const fn fixed(text: &'static str) -> Self {
        Self { body: Body::Fixed(text), begin: 0, end: text.len() }
    }

    /// Its JSON text, without spaces around it.
    #[inline]
    pub fn json(&self) -> &str {
        &self.body.text()[self.begin..self.end]
    }

    /// The part of this value that a slice of its text is.
    pub(crate) fn part(&self, slice: &str) -> Self {
        let begin = (slice.as_ptr() as usize).wrapping_sub(self.body.text().as_ptr() as usize);
        match self.body.text().get(begin..begin.wrapping_add(slice.len())) {
            Some(same) if std::ptr::eq(same, slice) => {
                Self { body: self.body.clone(), begin, end: begin + slice.len() }
            }
            Some(_) | None => Self::known(slice),
        }
    }

    /// A copy that keeps nothing else of its body alive.
    #[must_use]
    pub fn detached(&self) -> Self {
        match &self.body {
            Body::Fixed(_) => self.clone(),
            Body::Shared(_) => Self::known(self.json()),
        }
    }

    /// As a tree; numbers that no `f64` holds are texts in it.
    pub fn to_json(&self) -> Tree {
        tree(self.json())
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        json::kind(self.json())
    }

    /// Whether it is nothing.
    pub fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    /// Whether it is neither nothing nor false.
    pub fn truthy(&self) -> bool {
        !matches!(self.json(), "null" | "false")
    }

    /// An object's value; nothing of anything else.
    #[must_use]
    pub fn get(&self, key: &str) -> Self {
        member(self.json(), key).map_or(Self::null(), |value| self.part(value))
    }

    /// A list's element; nothing of anything else.
    #[must_use]
    pub fn at(&self, index: usize) -> Self {
        json::elements(self.json()).nth(index).map_or(Self::null(), |value| self.part(value))
    }

    /// A list's elements.
    pub fn items(&self) -> Option<Vec<Self>> {
        let list = self.kind() == Kind::List;
        list.then(|| json::elements(self.json()).map(|value| self.part(value)).collect())
    }

    /// An object's members.
    pub fn entries(&self) -> Option<Vec<(String, Self)>> {
        let object = self.kind() == Kind::Object;
        let entry = |(key, value)| (json::unescape(key).into_owned(), self.part(value));
        object.then(|| json::members(self.json()).map(entry).collect())
    }

    /// What a text says, or a number's digits as they came.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self.kind() {
            Kind::Text => Some(json::unescape(self.json())),
            Kind::Number => Some(Cow::Borrowed(self.json())),
            Kind::Null | Kind::Boolean | Kind::List | Kind::Object => None,
        }
    }

    /// The object with a value under a key, in place of what was there.
    ///
    /// # Errors
    /// When it is no object, or becomes too deep.
    pub fn with(&self, key: &str, value: &Value) -> Result<Self, Trouble> {
        if self.kind() != Kind::Object {
            return Err(Trouble::expected("an object", self.kind()));
        }
        let others = json::members(self.json()).filter(|(name, _)| !json::is_key(name, key));
        let mut text = String::from("{");
        for (name, other) in others {
            text.push_str(name);
            text.push(':');
            text.push_str(other);
            text.push(',');
        }
        json::escape(key, &mut text);
        text.push(':');
        text.push_str(value.json());
        text.push('}');
        Self::parse(text)
    }
}

/// The value of a key: where it stands twice, the last.
pub(crate) fn member<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    json::members(text).filter(|(name, _)| json::is_key(name, key)).last().map(|(_, value)| value)
}

fn tree(text: &str) -> Tree {
    match json::kind(text) {
        Kind::Null => Tree::Null,
        Kind::Boolean => Tree::Bool(text == "true"),
        Kind::Number => serde_json::from_str(text).map_or_else(|_| Tree::from(text), Tree::Number),
        Kind::Text => Tree::String(json::unescape(text).into_owned()),
        Kind::List => json::elements(text).map(tree).collect(),
        Kind::Object => {
            json::members(text).map(|(key, value)| (json::unescape(key).into_owned(), tree(value))).collect()
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({})", self.kind())
    }
}

impl PartialEq for Value {
    /// Whether they are the same value, however it is spelt.
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json() || self.to_json() == other.to_json()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Value {
        Value::parse(text).unwrap()
    }

    #[test]
    fn a_value_is_looked_at_in_place() {
        let at_hand = value(r#" {"a":[1,"x",{}], "b":12345678901234567890123, "a":[2,"\ud83d"]} "#);
        assert_eq!(at_hand.get("a").at(0).as_text().as_deref(), Some("2"), "the last of two counts");
        assert_eq!(at_hand.get("a").at(1).as_text().as_deref(), Some("\u{fffd}"));
        assert_eq!(at_hand.get("b").as_text().as_deref(), Some("12345678901234567890123"));
        assert!(at_hand.get("c").is_null() && at_hand.at(0).is_null() && at_hand.get("b").get("x").is_null());
        assert_eq!(at_hand.get("a").items().unwrap().len(), 2);
        assert_eq!(at_hand.get("a").detached().json(), r#"[2,"\ud83d"]"#);
        assert!(value("0").truthy() && !value("false").truthy() && !Value::null().truthy());
    }

    #[test]
    fn a_value_is_made_of_others() {
        let made = Value::object([
            ("x", Value::text("a\"b")),
            ("y", Value::list([value("1"), value("[2]")]).unwrap()),
        ]);
        let made = made.unwrap();
        assert_eq!(made.to_json(), json!({"x": "a\"b", "y": [1, [2]]}));
        assert_eq!(made.with("x", &Value::null()).unwrap().to_json(), json!({"x": null, "y": [1, [2]]}));
        assert_eq!(value("{}").with("k", &value("true")).unwrap().json(), r#"{"k":true}"#);
        assert!(value("[]").with("k", &Value::null()).is_err());
        assert_eq!(Value::from_json(&json!({"a": 1.5})).to_json(), json!({"a": 1.5}));
    }

    #[test]
    fn what_is_built_is_no_deeper_than_what_is_read() {
        let mut deep = Value::null();
        let refused = (0..200).find_map(|_| match Value::list([deep.clone()]) {
            Ok(deeper) => {
                deep = deeper;
                None
            }
            Err(trouble) => Some(trouble),
        });
        assert_eq!(refused.map(|trouble| trouble.kind), Some(TroubleKind::TooDeep { most: 128 }));
    }

    #[test]
    fn nothing_of_a_value_is_shown() {
        assert_eq!(format!("{:?}", value(r#"{"a":"canary"}"#)), "Value(an object)");
    }
}
