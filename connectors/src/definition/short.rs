//! A section whose most usual key may stand alone: `check: GET /me` is `check: { call: GET /me }`.

use std::ops::Deref;

use serde_json::{Map, Value, json};

use super::{
    keys::Read,
    node::{Kind, Node},
    problem::Problem,
};

/// A section that a text alone says.
pub trait Shorthand: Read {
    /// The key that the text is of.
    const KEY: &str;
}

/// A section, or the text of its first key.
#[derive(Debug, Clone, PartialEq)]
pub struct Short<T>(pub T);

impl<T> Deref for Short<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Shorthand> Read for Short<T> {
    fn read(node: &Node) -> Result<Self, Problem> {
        match node.kind {
            Kind::Map(_) => T::read(node).map(Self),
            Kind::Null | Kind::Text { .. } | Kind::List(_) => {
                let kind = Kind::Map(vec![(T::KEY.to_owned(), node.clone())]);
                T::read(&Node { line: node.line, language: node.language, kind }).map(Self)
            }
        }
    }

    fn schema(defs: &mut Map<String, Value>) -> Value {
        json!({ "anyOf": [{ "type": "string" }, T::schema(defs)] })
    }
}
