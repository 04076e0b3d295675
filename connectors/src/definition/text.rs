//! Texts as written: expressions, which give a value, and templates, which make what is sent. Where a text stands says
//! which it is; the engine compiles them.

use serde_json::{Map, Number, Value, json};

use super::{
    keys::Read,
    node::{Kind, Node, scalar},
    problem::Problem,
};

/// A path, jq, or a list of them: the list of their values, without the absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// One.
    Text(String),
    /// The list of what these give.
    All(Vec<Expression>),
}

impl Read for Expression {
    fn read(node: &Node) -> Result<Self, Problem> {
        match &node.kind {
            Kind::List(_) => Vec::read(node).map(Self::All),
            Kind::Null | Kind::Text { .. } | Kind::Map(_) => String::read(node).map(Self::Text),
        }
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({ "type": ["string", "number", "boolean", "array"] })
    }
}

/// Text with holes, or JSON whose texts have them.
#[derive(Debug, Clone, PartialEq)]
pub enum Template {
    /// Null: what it is for is left out.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text with holes; a path alone is its value.
    Text(String),
    /// A list.
    List(Vec<Template>),
    /// An object; its keys may have holes.
    Map(Vec<(String, Template)>),
}

impl Read for Template {
    fn read(node: &Node) -> Result<Self, Problem> {
        Ok(match &node.kind {
            Kind::Null => Self::Null,
            Kind::Text { text, plain } => match scalar(text, *plain) {
                Value::Bool(truth) => Self::Bool(truth),
                Value::Number(number) => Self::Number(number),
                Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                    Self::Text(text.clone())
                }
            },
            Kind::List(_) => Self::List(Vec::read(node)?),
            Kind::Map(entries) => {
                let read = |(key, value): &(String, Node)| match value.kind {
                    Kind::Null if key.starts_with(['.', '$']) => Err(Problem::new(format!(
                        "`{{{key}}}` is read as a map: quote it if it is meant as text"
                    ))),
                    _ => Ok((key.clone(), Self::read(value).map_err(|problem| problem.at(key.clone()))?)),
                };
                Self::Map(entries.iter().map(read).collect::<Result<_, _>>()?)
            }
        })
    }

    fn schema(_: &mut Map<String, Value>) -> Value {
        json!({})
    }
}
