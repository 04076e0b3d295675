//! Expressions, compiled: a path, a path from a name, a list of expressions, or jq (language §2).

use super::{
    jq::{self, Program},
    json,
    names::{Name, Names, Scope},
    path::Path,
    trouble::{Kind, Trouble},
    value::Value,
};
use crate::definition::{Problem, text};

pub use super::jq::Helpers;

/// A compiled expression.
#[derive(Debug)]
pub struct Expression(Code);

#[derive(Debug)]
enum Code {
    Path(Path),
    Named(Name, Path),
    All(Vec<Expression>),
    Jq(Program),
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// When it is neither a path nor jq, or names what does not exist here.
    pub fn compile(written: &text::Expression, scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        match written {
            text::Expression::Text(text) => Self::read(text, scope, helpers),
            text::Expression::All(all) => {
                let one = |(index, one): (usize, &text::Expression)| {
                    Self::compile(one, scope, helpers).map_err(|problem| problem.at(index.to_string()))
                };
                Ok(Self(Code::All(all.iter().enumerate().map(one).collect::<Result<_, _>>()?)))
            }
        }
    }

    /// Compiles a text.
    ///
    /// # Errors
    /// As [`Expression::compile`].
    pub fn read(text: &str, scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        let text = text.trim();
        if let Some(path) = Path::parse(text) {
            return Ok(Self(Code::Path(path)));
        }
        if let Some((name, path)) = Path::parse_named(text) {
            return Ok(Self(Code::Named(scope.name(name)?, path)));
        }
        Program::compile(text, scope, helpers).map(|program| Self(Code::Jq(program)))
    }

    /// The first result, or null.
    ///
    /// # Errors
    /// What is wrong with the value at hand.
    pub fn one(&self, dot: &Value, names: &Names) -> Result<Value, Trouble> {
        match &self.0 {
            Code::Path(path) => Ok(path.walk(dot.json())?.map_or(Value::null(), |found| dot.part(found))),
            Code::Named(name, path) => {
                let named = names.get(name);
                Ok(path.walk(named.json())?.map_or(Value::null(), |found| named.part(found)))
            }
            Code::All(all) => {
                let mut values = Vec::new();
                for one in all {
                    values.extend(Some(one.one(dot, names)?).filter(|value| !value.is_null()));
                }
                Value::list(values)
            }
            Code::Jq(program) => program.first(dot.json(), names)?.map_or(Ok(Value::null()), jq::value),
        }
    }

    /// All results; of a path to a list its elements, of a list of expressions one result each.
    ///
    /// # Errors
    /// What is wrong with the value at hand.
    pub fn each(&self, dot: &Value, names: &Names) -> Result<Vec<Value>, Trouble> {
        match &self.0 {
            Code::Path(_) | Code::Named(..) => {
                let found = self.one(dot, names)?;
                Ok(match found.kind() {
                    Kind::Null => Vec::new(),
                    Kind::List => found.items().unwrap_or_default(),
                    Kind::Boolean | Kind::Number | Kind::Text | Kind::Object => vec![found],
                })
            }
            Code::All(all) => {
                let mut values = Vec::new();
                for one in all {
                    values.extend(one.each(dot, names)?);
                }
                Ok(values)
            }
            Code::Jq(program) => program.run(dot.json(), names)?.into_iter().map(jq::value).collect(),
        }
    }

    /// Whether it holds: the first result is neither null nor false.
    ///
    /// # Errors
    /// What is wrong with the value at hand.
    pub fn holds(&self, dot: &Value, names: &Names) -> Result<bool, Trouble> {
        self.one(dot, names).map(|value| value.truthy())
    }

    /// Whether it asks for a name.
    pub fn uses(&self, name: &Name) -> bool {
        match &self.0 {
            Code::Path(_) => false,
            Code::Named(own, _) => own == name,
            Code::All(all) => all.iter().any(|one| one.uses(name)),
            Code::Jq(program) => program.uses().contains(name),
        }
    }

    /// The path, if it is nothing but one from the thing at hand.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Code::Path(path) => Some(path),
            Code::Named(..) | Code::All(_) | Code::Jq(_) => None,
        }
    }

    /// The name and the path from it, if it is nothing but that.
    pub(super) fn named(&self) -> Option<(&Name, &Path)> {
        match &self.0 {
            Code::Named(name, path) => Some((name, path)),
            Code::Path(_) | Code::All(_) | Code::Jq(_) => None,
        }
    }

    /// The expressions, if it is a list of them.
    pub(super) fn all(&self) -> Option<&[Expression]> {
        match &self.0 {
            Code::All(all) => Some(all),
            Code::Path(_) | Code::Named(..) | Code::Jq(_) => None,
        }
    }

    /// Whether it is jq.
    pub(super) fn is_jq(&self) -> bool {
        matches!(self.0, Code::Jq(_))
    }

    /// The keys that lead from the thing at hand to what it reads; of jq, what its syntax says.
    pub fn reads(&self) -> Vec<Vec<String>> {
        match &self.0 {
            Code::Path(path) => {
                let keys = path.0.iter().map(|step| match step {
                    super::path::Step::Key(key) => key.to_string(),
                    super::path::Step::Index(index) => index.to_string(),
                });
                vec![keys.collect()]
            }
            Code::Named(..) => Vec::new(),
            Code::All(all) => all.iter().flat_map(Expression::reads).collect(),
            Code::Jq(program) => program.paths().to_vec(),
        }
    }

    /// The texts of the helpers that it calls: a part of what it means.
    pub fn helpers(&self) -> String {
        match &self.0 {
            Code::Path(_) | Code::Named(..) => String::new(),
            Code::All(all) => all.iter().map(Expression::helpers).collect(),
            Code::Jq(program) => program.helpers().to_owned(),
        }
    }
}

/// What a value is as text: texts and numbers as they came, truth in words.
///
/// # Errors
/// Where it is a list, an object or nothing.
pub(super) fn text_of(text: &str) -> Result<std::borrow::Cow<'_, str>, Trouble> {
    match json::kind(text) {
        Kind::Text => Ok(json::unescape(text)),
        Kind::Number | Kind::Boolean => Ok(std::borrow::Cow::Borrowed(text)),
        found @ (Kind::Null | Kind::List | Kind::Object) => Err(Trouble::expected("a text", found)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expression(written: &[&str]) -> Expression {
        let scope = Scope::of(&[Name::Setup]).named("company");
        let written = match written {
            [one] => text::Expression::Text((*one).into()),
            all => {
                text::Expression::All(all.iter().map(|one| text::Expression::Text((*one).into())).collect())
            }
        };
        Expression::compile(&written, &scope, &Helpers::default()).unwrap()
    }

    #[test]
    fn an_expression_is_a_path_a_name_a_list_or_jq() {
        let dot = Value::from_json(&json!({"a": {"b": [1, 2]}, "c": "x", "n": null}));
        let names = Names::new().with(Name::Named("company".into()), Value::from_json(&json!({"id": 7})));
        for (written, one, each) in [
            (&["."][..], dot.to_json(), json!([dot.to_json()])),
            (&[".c"], json!("x"), json!(["x"])),
            (&[".a.b"], json!([1, 2]), json!([1, 2])),
            (&[".n.deeper"], json!(null), json!([])),
            (&["$company.id"], json!(7), json!([7])),
            (&["$setup.site"], json!(null), json!([])),
            (&[".c", ".n", ".a.b.0"], json!(["x", 1]), json!(["x", 1])),
            (&[".a.b", ".c"], json!([[1, 2], "x"]), json!([1, 2, "x"])),
            (&[".a.b | map(. * 2)"], json!([2, 4]), json!([[2, 4]])),
            (&[".a.b[]"], json!(1), json!([1, 2])),
            (&["empty"], json!(null), json!([])),
        ] {
            let expression = expression(written);
            assert_eq!(expression.one(&dot, &names).unwrap().to_json(), one, "{written:?}");
            let found: serde_json::Value =
                expression.each(&dot, &names).unwrap().iter().map(Value::to_json).collect();
            assert_eq!(found, each, "{written:?}");
        }
        assert!(expression(&[".c == \"x\""]).holds(&dot, &names).unwrap());
        assert!(!expression(&[".n"]).holds(&dot, &names).unwrap());
    }

    #[test]
    fn an_expression_tells_what_it_asks_for() {
        let company = Name::Named("company".into());
        assert!(expression(&["$company.id"]).uses(&company) && expression(&["[$company.id]"]).uses(&company));
        assert!(!expression(&[".company"]).uses(&company));
        assert_eq!(expression(&[".a.b"]).reads(), [["a", "b"]]);
        assert_eq!(
            expression(&["[.a.b, .c // {d}] | length"]).reads(),
            [vec!["a", "b"], vec!["c"], vec!["d"]]
        );
    }
}
