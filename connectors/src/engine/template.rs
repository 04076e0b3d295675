//! Templates: text with holes, encoded by where it goes (language §2, "Values").
//!
//! A path alone, or a hole alone, keeps its value's kind. What stands in a hole can't break out of its place: URLs are
//! percent-encoded, XML is escaped, a header has no line break.

use std::fmt::Write as _;

use super::{
    expression::{Expression, Helpers, text_of},
    names::{Name, Names, Scope},
    path::Path,
    trouble::{Trouble, TroubleKind},
    value::Value,
};
use crate::definition::{Problem, text};

/// Where a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A URL: holes are percent-encoded, but one at the very beginning is a URL itself; null is trouble.
    Url,
    /// A query parameter: whoever appends it encodes it.
    Query,
    /// A header's value: no control characters.
    Header,
    /// A part of JSON.
    Json,
    /// A form's field: whoever appends it encodes it.
    Form,
    /// XML: holes are escaped.
    Xml,
    /// Text as it is.
    Text,
}

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    shape: Shape,
    place: Place,
}

#[derive(Debug)]
enum Shape {
    Fixed(Value),
    Hole(Expression),
    Parts(Vec<Part>),
    List(Vec<Template>),
    Map(Vec<(Template, Template)>),
}

#[derive(Debug)]
enum Part {
    Text(String),
    Hole(Expression),
}

impl Template {
    /// Compiles a template: a text that is a path is its value.
    ///
    /// # Errors
    /// When a hole is no expression, or does not end.
    pub fn compile(
        written: &text::Template,
        place: Place,
        scope: &Scope,
        helpers: &Helpers,
    ) -> Result<Self, Problem> {
        let shape = match written {
            text::Template::Null => Shape::Fixed(Value::null()),
            text::Template::Bool(truth) => Shape::Fixed(Value::boolean(*truth)),
            text::Template::Number(number) => Shape::Fixed(Value::known(number.to_string())),
            text::Template::Text(text) if is_path(text) => {
                Shape::Hole(Expression::read(text, scope, helpers)?)
            }
            text::Template::Text(text) => return Self::holes(text, place, scope, helpers),
            text::Template::List(items) => {
                let one = |(index, one): (usize, &text::Template)| {
                    Self::compile(one, place, scope, helpers).map_err(|problem| problem.at(index.to_string()))
                };
                Shape::List(items.iter().enumerate().map(one).collect::<Result<_, _>>()?)
            }
            text::Template::Map(members) => {
                let one = |(key, one): &(String, text::Template)| {
                    let compiled = Self::holes(key, place, scope, helpers)
                        .and_then(|key| Ok((key, Self::compile(one, place, scope, helpers)?)));
                    compiled.map_err(|problem| problem.at(key.clone()))
                };
                Shape::Map(members.iter().map(one).collect::<Result<_, _>>()?)
            }
        };
        Ok(Self { shape, place })
    }

    /// Compiles a text whose holes alone mean something: a key, a `call`.
    ///
    /// # Errors
    /// As [`Template::compile`].
    pub fn holes(written: &str, place: Place, scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        let mut parts = Vec::new();
        let (mut said, mut rest) = (String::new(), written);
        while let Some(at) = rest.find('{') {
            said.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix('{') {
                said.push('{');
                rest = behind;
                continue;
            }
            let end = hole(rest).ok_or_else(|| {
                Problem::new(format!("a `{{` without its `}}` (write `{{{{` for a brace): `{written}`"))
            })?;
            if !said.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut said)));
            }
            parts.push(Part::Hole(Expression::read(&rest[..end], scope, helpers)?));
            rest = &rest[end + 1..];
        }
        said.push_str(rest);
        let shape = match (parts.as_slice(), said.as_str()) {
            ([], said) => Shape::Fixed(Value::text(said)),
            ([Part::Hole(_)], "") => match parts.pop() {
                Some(Part::Hole(hole)) => Shape::Hole(hole),
                Some(Part::Text(_)) | None => Shape::Fixed(Value::null()),
            },
            (_, "") => Shape::Parts(parts),
            (_, _) => {
                parts.push(Part::Text(said));
                Shape::Parts(parts)
            }
        };
        Ok(Self { shape, place })
    }

    /// The text, encoded for its place; `None` if a hole is null.
    ///
    /// # Errors
    /// Where a hole is a list or an object, or does not fit its place.
    pub fn text(&self, dot: &Value, names: &Names) -> Result<Option<String>, Trouble> {
        let mut filled = String::new();
        match &self.shape {
            Shape::Fixed(value) if value.is_null() => return self.left_out(),
            Shape::Fixed(value) => filled.push_str(&text_of(value.json())?),
            Shape::Hole(hole) => {
                let value = hole.one(dot, names)?;
                if value.is_null() {
                    return self.left_out();
                }
                self.fill(&text_of(value.json())?, true, &mut filled)?;
            }
            Shape::Parts(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    match part {
                        Part::Text(text) => filled.push_str(text),
                        Part::Hole(hole) => {
                            let value = hole.one(dot, names)?;
                            if value.is_null() {
                                return self.left_out();
                            }
                            self.fill(&text_of(value.json())?, index == 0, &mut filled)?;
                        }
                    }
                }
            }
            Shape::List(_) => return Err(Trouble::expected("a text", super::Kind::List)),
            Shape::Map(_) => return Err(Trouble::expected("a text", super::Kind::Object)),
        }
        Ok(Some(filled))
    }

    /// The value with its kinds; keys whose value is null are left out. `None` if it is null itself.
    ///
    /// # Errors
    /// Where an expression fails.
    pub fn json(&self, dot: &Value, names: &Names) -> Result<Option<Value>, Trouble> {
        let value = match &self.shape {
            Shape::Fixed(value) => value.clone(),
            Shape::Hole(hole) => hole.one(dot, names)?,
            Shape::Parts(_) => match self.text(dot, names)? {
                Some(text) => Value::text(&text),
                None => return Ok(None),
            },
            Shape::List(items) => {
                let mut values = Vec::new();
                for item in items {
                    values.push(item.json(dot, names)?.unwrap_or(Value::null()));
                }
                Value::list(values)?
            }
            Shape::Map(members) => {
                let mut values = Vec::new();
                for (key, value) in members {
                    if let (Some(key), Some(value)) = (key.text(dot, names)?, value.json(dot, names)?) {
                        values.push((key, value));
                    }
                }
                Value::object(values.iter().map(|(key, value)| (key.as_str(), value.clone())))?
            }
        };
        Ok(Some(value).filter(|value| !value.is_null()))
    }

    /// Whether it asks for a name.
    pub fn uses(&self, name: &Name) -> bool {
        match &self.shape {
            Shape::Fixed(_) => false,
            Shape::Hole(hole) => hole.uses(name),
            Shape::Parts(parts) => {
                parts.iter().any(|part| matches!(part, Part::Hole(hole) if hole.uses(name)))
            }
            Shape::List(items) => items.iter().any(|item| item.uses(name)),
            Shape::Map(members) => members.iter().any(|(key, value)| key.uses(name) || value.uses(name)),
        }
    }

    fn left_out(&self) -> Result<Option<String>, Trouble> {
        match self.place {
            Place::Url => Err(TroubleKind::Absent.into()),
            Place::Query | Place::Header | Place::Json | Place::Form | Place::Xml | Place::Text => Ok(None),
        }
    }

    fn fill(&self, said: &str, first: bool, to: &mut String) -> Result<(), Trouble> {
        match self.place {
            Place::Url if first => match said.chars().all(|it| !it.is_control() && !it.is_whitespace()) {
                true => to.push_str(said),
                false => return Err(TroubleKind::Unlike("a URL").into()),
            },
            Place::Url => percent(said, to),
            Place::Header => match said.chars().any(|it| it.is_control() && it != '\t') {
                true => return Err(TroubleKind::Control.into()),
                false => to.push_str(said),
            },
            Place::Xml => xml(said, to),
            Place::Query | Place::Json | Place::Form | Place::Text => to.push_str(said),
        }
        Ok(())
    }
}

fn is_path(text: &str) -> bool {
    Path::parse(text).is_some() || Path::parse_named(text).is_some()
}

/// RFC 3986: all but what is unreserved. `.` and `..` alone would be steps of a path.
fn percent(said: &str, to: &mut String) {
    let dots = matches!(said, "." | "..");
    for byte in said.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => to.push(char::from(byte)),
            b'.' if !dots => to.push('.'),
            byte => {
                let _ = write!(to, "%{byte:02X}");
            }
        }
    }
}

fn xml(said: &str, to: &mut String) {
    for character in said.chars() {
        match character {
            '&' => to.push_str("&amp;"),
            '<' => to.push_str("&lt;"),
            '>' => to.push_str("&gt;"),
            '"' => to.push_str("&quot;"),
            '\'' => to.push_str("&apos;"),
            '\t' | '\n' | '\r' => to.push(character),
            // XML 1.0 has no way to say it.
            '\0'..=' ' | '\u{fffe}' | '\u{ffff}' if character != ' ' => to.push(char::REPLACEMENT_CHARACTER),
            character => to.push(character),
        }
    }
}

/// Where the brace is that ends the hole: texts in it may hold braces, and holes of their own.
pub(super) fn hole(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = quoted(bytes, at)?;
                continue;
            }
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Behind jq's text that begins at `at`: `"a\(.b + "c")"`. Parentheses are counted by a list of what is open, as texts
/// may stand in each other.
fn quoted(bytes: &[u8], at: usize) -> Option<usize> {
    enum Open {
        Text,
        Parenthesis,
    }
    let mut open = vec![Open::Text];
    let mut at = at + 1;
    while let Some(byte) = bytes.get(at) {
        match (open.last()?, byte) {
            (Open::Text, b'\\') => {
                at += 1;
                if bytes.get(at) == Some(&b'(') {
                    open.push(Open::Parenthesis);
                }
            }
            (Open::Text, b'"') => {
                open.pop();
                if open.is_empty() {
                    return Some(at + 1);
                }
            }
            (Open::Parenthesis, b'"') => open.push(Open::Text),
            (Open::Parenthesis, b'(') => open.push(Open::Parenthesis),
            (Open::Parenthesis, b')') => {
                open.pop();
            }
            (Open::Text | Open::Parenthesis, _) => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::definition::{keys::Read, node::Node};

    fn scope() -> Scope {
        Scope::of(&[Name::Setup, Name::Cursor, Name::Since, Name::Size, Name::Event, Name::Token])
    }

    fn compile(written: &str, place: Place) -> Template {
        let written = text::Template::read(&Node::parse(written).unwrap()).unwrap();
        Template::compile(&written, place, &scope(), &Helpers::default()).unwrap()
    }

    fn dot() -> Value {
        Value::from_json(&json!({"id": "a/b c", "n": 5, "nl": "x\r\ny", "o": {}, "t": true}))
    }

    fn names() -> Names {
        let setup = json!({"site": "https://x.example/base", "tenant": "a&b", "amp": "<&\"'>\u{1}"});
        let names = Names::new().with(Name::Setup, Value::from_json(&setup));
        names.with(Name::Size, Value::from_json(&json!(50))).with(Name::Event, Value::text("created"))
    }

    #[test]
    fn a_text_is_encoded_by_where_it_goes() {
        for (written, place, expected) in [
            ("/x/{.id}/y?q={.id}", Place::Url, Ok(Some("/x/a%2Fb%20c/y?q=a%2Fb%20c"))),
            ("'{$setup.site}/rest'", Place::Url, Ok(Some("https://x.example/base/rest"))),
            ("$setup.site", Place::Url, Ok(Some("https://x.example/base"))),
            ("https://{$setup.tenant}.example", Place::Url, Ok(Some("https://a%26b.example"))),
            ("/x/{$cursor}", Place::Url, Err("nothing where a value is needed")),
            ("'{.id}'", Place::Url, Err("expected a URL, found another text")),
            ("$cursor", Place::Query, Ok(None)),
            ("x{$cursor}", Place::Query, Ok(None)),
            ("$size", Place::Query, Ok(Some("50"))),
            ("{.t}-{.n}", Place::Query, Ok(Some("true-5"))),
            ("{.o}", Place::Query, Err("expected a text, found an object")),
            ("Bearer {.nl}", Place::Header, Err("a line break or another control character in a header")),
            ("Bearer {.id}", Place::Header, Ok(Some("Bearer a/b c"))),
            ("<a>{$setup.amp}</a>", Place::Xml, Ok(Some("<a>&lt;&amp;&quot;&apos;&gt;\u{fffd}</a>"))),
            ("{{.id}", Place::Text, Ok(Some("{.id}"))),
            ("'{if .n > 3 then \"} {\\(.n)\" else \"\" end}!'", Place::Text, Ok(Some("} {5!"))),
            ("'{[\"a\\(.n + (\"\\(1)\" | tonumber))\"] | join(\",\")}'", Place::Text, Ok(Some("a6"))),
        ] {
            // In YAML a text that begins with a brace is quoted.
            let written = if written.starts_with('{') { format!("'{written}'") } else { written.to_owned() };
            let found =
                compile(&written, place).text(&dot(), &names()).map_err(|trouble| trouble.to_string());
            assert_eq!(
                found,
                expected.map(|text| text.map(str::to_owned)).map_err(str::to_owned),
                "{written}"
            );
        }
    }

    #[test]
    fn a_value_keeps_its_kind_and_nulls_are_left_out() {
        let template = compile(
            r#"
            a: $size
            b: "{$size}"
            c: "{$size}!"
            d: [$cursor, 1, {e: $cursor, f: $event}]
            "{$event}.x": true
            gone: $cursor
            none: null
            also: "{$since}x"
            quoted: "5"
            "#,
            Place::Json,
        );
        let expected = json!({"a": 50, "b": 50, "c": "50!", "d": [null, 1, {"f": "created"}], "created.x": true, "quoted": "5"});
        assert_eq!(template.json(&dot(), &names()).unwrap().unwrap().to_json(), expected);
        assert!(template.uses(&Name::Since) && template.uses(&Name::Event) && !template.uses(&Name::Token));
        assert_eq!(compile("$cursor", Place::Json).json(&dot(), &names()).unwrap(), None);
    }

    #[test]
    fn a_template_that_means_nothing_is_refused() {
        let refused = |written: &str| {
            let written = text::Template::Text(written.to_owned());
            Template::compile(&written, Place::Text, &scope(), &Helpers::default()).unwrap_err().to_string()
        };
        assert!(refused("{.a").contains("without its `}`"));
        assert!(refused("x {$sincee}").contains("did you mean `$since`?"));
        assert!(refused("$cursr").contains("did you mean `$cursor`?"));
        assert_eq!(
            Template::holes("$top", Place::Query, &scope(), &Helpers::default())
                .unwrap()
                .text(&dot(), &names())
                .unwrap()
                .as_deref(),
            Some("$top")
        );
    }

    proptest! {
        #[test]
        fn nothing_breaks_out_of_its_place(said in ".*") {
            let dot = Value::from_json(&json!({"x": said}));
            let fill = |place| {
                let written = text::Template::Text("a{.x}b".into());
                Template::compile(&written, place, &scope(), &Helpers::default()).unwrap().text(&dot, &Names::new())
            };
            let url = fill(Place::Url).unwrap().unwrap();
            prop_assert!(url.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)));
            let xml = fill(Place::Xml).unwrap().unwrap();
            prop_assert!(!xml.contains(['<', '>', '"', '\'']));
            if let Ok(header) = fill(Place::Header) {
                prop_assert!(!header.unwrap().contains(['\r', '\n', '\0']));
            }
        }

        #[test]
        fn any_text_compiles_or_is_refused(text in "[a-z.{}()\"\\\\$ ]{0,24}") {
            let _ = Template::compile(&text::Template::Text(text), Place::Text, &scope(), &Helpers::default());
        }
    }
}
