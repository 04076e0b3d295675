//! What a listing is repeated over.

use serde_json::{Map, Value, json};

use super::{
    keys::{Read, keys},
    node::{Kind, Node},
    problem::Problem,
    request::List,
    text::Expression,
};

keys! {
    /// One level that a listing is repeated over.
    pub struct Over {
        /// What there is one of for each listing.
        each: Each,
        /// The name that it has: `$company`.
        name as "as": String,
        /// So many at a time; then the name is a list.
        batch: Option<u32>,
        /// Why a child never moves to another parent.
        stable: Option<String>,
        /// Statuses that say that this parent has none.
        skip: Vec<u16>,
        /// What of each record is a parent too: folders within folders. The listing is repeated over these as well.
        descend: Option<Expression>,
    }
}

/// What a listing is repeated over.
#[derive(Debug, Clone, PartialEq)]
pub enum Each {
    /// The records of another resource, as listed.
    Resource(String),
    /// Fixed values.
    Fixed(Vec<Value>),
    /// The rows of a set-up field, or another expression.
    Value(Expression),
    /// What a listing of its own gives.
    List(Box<List>),
}

impl Read for Each {
    fn read(node: &Node) -> Result<Self, Problem> {
        match &node.kind {
            Kind::List(_) => Vec::read(node).map(Self::Fixed),
            Kind::Map(_) => List::read(node).map(|list| Self::List(Box::new(list))),
            Kind::Text { text, .. } if text.starts_with(['$', '.', '[', '(']) => {
                Ok(Self::Value(Expression::Text(text.clone())))
            }
            Kind::Text { text, .. } => Ok(Self::Resource(text.clone())),
            Kind::Null => {
                Err(Problem::new("expected a resource, a list, `$setup.x` or a listing, found nothing"))
            }
        }
    }

    fn schema(defs: &mut Map<String, Value>) -> Value {
        json!({ "anyOf": [{ "type": "string" }, { "type": "array" }, List::schema(defs)] })
    }
}
