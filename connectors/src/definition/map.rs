//! A resource's `map`, as written.

use serde_json::{Map as Fields, Value};

use super::{keys::Read, node::Node, problem::Problem};

/// What becomes of a record: one of `maps` by its name, or its fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Map(pub Node);

impl Read for Map {
    fn read(node: &Node) -> Result<Self, Problem> {
        Ok(Self(node.clone()))
    }

    fn schema(_: &mut Fields<String, Value>) -> Value {
        Value::Object(Fields::new())
    }
}
