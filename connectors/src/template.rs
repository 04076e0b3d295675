//! Text with expressions in braces: `{.setup.base_url}/employees`.

use serde_json::Value;

use crate::expression::{Expression, Failed};

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Value(Expression),
}

impl Template {
    pub(crate) fn compile(text: &str, prelude: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, after) =
                after.split_once('}').ok_or_else(|| format!("`{text}`: a `{{` without `}}`"))?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Value(Expression::compile(inside, prelude)?));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// The text; `None` if an expression in it gives null.
    pub(crate) fn fill(&self, context: &Value) -> Result<Option<String>, Failed> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Value(expression) => match expression.first(context)? {
                    Value::Null => return Ok(None),
                    Value::String(text) => filled.push_str(&text),
                    other => filled.push_str(&other.to_string()),
                },
            }
        }
        Ok(Some(filled))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_is_filled_or_left_out() {
        let context = json!({"setup": {"host": "x"}, "limit": 50});
        let fill = |text| Template::compile(text, "").unwrap().fill(&context).unwrap();
        assert_eq!(fill("https://{.setup.host}/a?n={.limit}").as_deref(), Some("https://x/a?n=50"));
        assert_eq!(fill("{.cursor}"), None);
        assert!(Template::compile("{.a", "").is_err());
    }
}
