//! Expressions over JSON: plain paths (`.data.id`), read directly, and jq for what paths can't say.

use std::fmt;

use jaq_core::{
    Ctx, Vars, data,
    load::{Arena, File, Loader},
    unwrap_valr,
};
use jaq_json::Val;
use serde_json::Value;

/// A compiled expression.
pub(crate) struct Expression {
    text: String,
    code: Code,
}

enum Code {
    Path(Vec<String>),
    Jq(Box<jaq_core::compile::Filter<jaq_core::Native<data::JustLut<Val>>>>),
}

/// An expression that failed on a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expression `{text}`: {reason}")]
pub struct Failed {
    text: String,
    reason: String,
}

/// Results of one expression at the most: a guard against `repeat` and its like.
const RESULTS_MOST: usize = 100_000;

impl Expression {
    /// Compiles an expression; `prelude` holds jq definitions it may use.
    pub(crate) fn compile(text: &str, prelude: &str) -> Result<Self, String> {
        let code = match path(text) {
            Some(path) => Code::Path(path),
            None => Code::Jq(Box::new(
                jq(&format!("{prelude}\n{text}")).map_err(|why| format!("`{text}`: {why}"))?,
            )),
        };
        Ok(Self { text: text.to_owned(), code })
    }

    /// The first result, or null.
    pub(crate) fn first(&self, input: &Value) -> Result<Value, Failed> {
        match &self.code {
            Code::Path(path) => Ok(walk(input, path).clone()),
            Code::Jq(_) => Ok(self.all(input)?.into_iter().next().unwrap_or(Value::Null)),
        }
    }

    /// Every result; for a path, the elements of the array that it leads to.
    pub(crate) fn each(&self, input: &Value) -> Result<Vec<Value>, Failed> {
        match &self.code {
            Code::Path(path) => match walk(input, path) {
                Value::Array(items) => Ok(items.clone()),
                Value::Null => Ok(Vec::new()),
                one => Ok(vec![one.clone()]),
            },
            Code::Jq(_) => self.all(input),
        }
    }

    fn all(&self, input: &Value) -> Result<Vec<Value>, Failed> {
        let Code::Jq(filter) = &self.code else { return Ok(vec![self.first(input)?]) };
        let failed = |reason: String| Failed { text: self.text.clone(), reason };
        let input: Val = serde_json::from_value(input.clone()).map_err(|error| failed(error.to_string()))?;
        let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
        let mut results = Vec::new();
        for result in filter.id.run((context, input)).map(unwrap_valr) {
            let result = result.map_err(|error| failed(error.to_string()))?;
            if results.len() == RESULTS_MOST {
                return Err(failed(format!("more than {RESULTS_MOST} results")));
            }
            let json = result.to_string();
            results.push(serde_json::from_str(&json).map_err(|error| failed(error.to_string()))?);
        }
        Ok(results)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.text)
    }
}

/// The steps of `.a.b`, if the text is nothing but a path.
fn path(text: &str) -> Option<Vec<String>> {
    if text == "." {
        return Some(Vec::new());
    }
    let steps: Vec<String> = text.strip_prefix('.')?.split('.').map(str::to_owned).collect();
    let plain = |step: &String| {
        let mut bytes = step.bytes();
        bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    steps.iter().all(plain).then_some(steps)
}

fn walk<'a>(input: &'a Value, path: &[String]) -> &'a Value {
    path.iter().fold(input, |value, step| &value[step])
}

fn jq(code: &str) -> Result<jaq_core::compile::Filter<jaq_core::Native<data::JustLut<Val>>>, String> {
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let modules = Loader::new(defs)
        .load(&arena, File { code, path: () })
        .map_err(|errors| format!("not a jq expression: {}", shown(&errors)))?;
    jaq_core::Compiler::default()
        .with_funs(funs)
        .compile(modules)
        .map_err(|errors| format!("not a jq expression: {}", shown(&errors)))
}

fn shown(errors: &impl fmt::Debug) -> String {
    let mut text = format!("{errors:?}");
    text.truncate(300);
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_expression_is_a_path_or_jq() {
        let input = json!({"a": {"b": [1, 2]}, "c": "x"});
        for (text, expected) in [
            (".", input.clone()),
            (".c", json!("x")),
            (".a.b", json!([1, 2])),
            (".nothing.here", Value::Null),
            (".a.b | map(. * 2)", json!([2, 4])),
            ("empty", Value::Null),
            ("def twice: . * 2; .a.b[1] | twice", json!(4)),
        ] {
            assert_eq!(Expression::compile(text, "").unwrap().first(&input).unwrap(), expected, "{text}");
        }
        assert_eq!(Expression::compile(".a.b", "").unwrap().each(&input).unwrap(), [json!(1), json!(2)]);
        assert_eq!(Expression::compile("id2(3)", "def id2(f): f;").unwrap().first(&input).unwrap(), json!(3));
    }

    #[test]
    fn a_wrong_expression_says_so_and_a_failing_one_too() {
        assert!(Expression::compile(".a | nonsense(", "").unwrap_err().contains("not a jq expression"));
        let failing = Expression::compile(".c + 1", "").unwrap();
        assert!(failing.first(&json!({"c": "x"})).is_err());
        assert!(Expression::compile("repeat(1)", "").unwrap().first(&Value::Null).is_err());
    }
}
