//! A resource's `map`, as written: which unified field comes from where.

use std::collections::BTreeMap;

use serde_json::{Map as Json, Value, json};

use super::{
    keys::{Named, Read, exactly_one, keys, named},
    node::{Kind, Node},
    problem::Problem,
    text::Expression,
};

/// What becomes of a record: one of `maps` (or a resource's) by its name, or its fields.
#[derive(Debug, Clone, PartialEq)]
pub enum Map {
    /// By its name.
    Named(String),
    /// Here.
    Fields(Named<Field>),
}

impl Read for Map {
    fn read(node: &Node) -> Result<Self, Problem> {
        match node.kind {
            Kind::Text { .. } => String::read(node).map(Self::Named),
            Kind::Null | Kind::List(_) | Kind::Map(_) => Named::read(node).map(Self::Fields),
        }
    }

    fn schema(defs: &mut Json<String, Value>) -> Value {
        named(defs, "Map", |defs| json!({ "anyOf": [{ "type": "string" }, Named::<Field>::schema(defs)] }))
    }
}

/// Where a field comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// A path or jq.
    From(Expression),
    /// A list of what these give, without the absent.
    All(Vec<Field>),
    /// One of the small forms.
    Form(Box<Form>),
}

impl Read for Field {
    fn read(node: &Node) -> Result<Self, Problem> {
        match node.kind {
            Kind::List(_) => Vec::read(node).map(Self::All),
            Kind::Map(_) => {
                let form = Form::read(node)?;
                form.check()?;
                Ok(Self::Form(Box::new(form)))
            }
            Kind::Null | Kind::Text { .. } => Expression::read(node).map(Self::From),
        }
    }

    fn schema(defs: &mut Json<String, Value>) -> Value {
        named(defs, "Field", |defs| {
            let form = Form::schema(defs);
            json!({ "anyOf": [{ "type": ["string", "number", "boolean"] }, { "type": "array", "items": { "$ref": "#/$defs/Field" } }, form] })
        })
    }
}

keys! {
    /// A small form of a field. Exactly one of `const`, `text`, `first`, `enum`, `each`, `date` and `map` alone is set.
    pub struct Form {
        /// This value.
        constant as "const": Option<Value>,
        /// A text with holes; absent parts are left out.
        text: Option<String>,
        /// The first that is there.
        first: Option<Vec<Field>>,
        /// What `values` are of.
        from as "enum": Option<Expression>,
        /// The unified value for each of the provider's.
        values: Option<BTreeMap<String, String>>,
        /// The unified value of what is not among them.
        otherwise as "else": Option<String>,
        /// A list; one value is a list of one.
        each: Option<Expression>,
        /// What becomes of each; alone, an object, absent if it is empty.
        map: Option<Map>,
        /// What becomes of each, as one value.
        value: Option<Field>,
        /// A date in a spelling of its own.
        date: Option<Expression>,
        /// Its spelling, by `strptime`.
        spelling as "as": Option<String>,
        /// Its zone, where it has none.
        zone: Option<String>,
    }
}

impl Form {
    fn check(&self) -> Result<(), Problem> {
        exactly_one(&[
            ("const", self.constant.is_some()),
            ("text", self.text.is_some()),
            ("first", self.first.is_some()),
            ("enum", self.from.is_some()),
            ("each", self.each.is_some()),
            ("date", self.date.is_some()),
            ("map", self.map.is_some() && self.each.is_none()),
        ])?;
        let beside = |key: &str, set: bool, of: &str, there: bool| match set && !there {
            true => Err(Problem::new(format!("stands only beside `{of}`")).at(key)),
            false => Ok(()),
        };
        beside("values", self.values.is_some(), "enum", self.from.is_some())?;
        beside("else", self.otherwise.is_some(), "enum", self.from.is_some())?;
        beside("as", self.spelling.is_some(), "date", self.date.is_some())?;
        beside("zone", self.zone.is_some(), "date", self.date.is_some())?;
        beside("value", self.value.is_some(), "each", self.each.is_some())?;
        match self.each.is_some() {
            true => exactly_one(&[("map", self.map.is_some()), ("value", self.value.is_some())]),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Map, String> {
        Map::read(&Node::parse(text).unwrap()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_map_is_a_name_or_its_fields_in_one_form_each() {
        assert_eq!(read("team"), Ok(Map::Named("team".into())));
        let text = "a: .x\nb: [.y, {first: [.z]}]\nc: {each: .l, map: team}\nd: {enum: .s, values: {a: b, 1: c}, else: unknown}\ne: {map: {x: .y}}\nf: {const: 5}\ng: {date: .d, as: '%d.%m.%Y', zone: Europe/Berlin}\nh: {each: .l, value: {text: 'x{.y}'}}";
        let Ok(Map::Fields(fields)) = read(text) else { panic!("{:?}", read(text)) };
        assert_eq!(fields.names().collect::<String>(), "abcdefgh");
        for (text, expected) in [
            (
                "a: {first: [.x], text: y}",
                "a: expected exactly one of const, text, first, enum, each, date, map, found text and first",
            ),
            ("a: {values: {}}", "a: expected exactly one of"),
            ("a: {const: 1, values: {}}", "a.values: stands only beside `enum`"),
            ("a: {each: .x}", "a: expected exactly one of map, value"),
            ("a: {map: {}, value: .x}", "a.value: stands only beside `each`"),
            ("a: {frist: [.x]}", "a.frist: no key `frist`; did you mean `first`?"),
        ] {
            assert!(read(text).unwrap_err().starts_with(expected), "{text}: {:?}", read(text));
        }
    }
}
