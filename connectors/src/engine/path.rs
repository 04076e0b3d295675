//! Paths: `.a.b`, `.a.0`, `.sync-token`, `."odd key".c` (language §2).
//!
//! A path never fails on what is absent. A scalar in its way is trouble. An empty list in the way of a key is an empty
//! object, as PHP spells one.

use std::fmt;

use super::{
    json,
    trouble::{Kind, Trouble},
    value::member,
};

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A key of an object.
    Key(Box<str>),
    /// A place in a list, from 0; of an object, the key that is spelt so.
    Index(usize),
}

/// A path from the thing at hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<Step>);

impl Path {
    /// Reads a path; `None` where the text is something else (jq, or just a text).
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "." => Some(Self::default()),
            _ if text.starts_with('.') => steps(text).map(Self),
            _ => None,
        }
    }

    /// Reads a path from a name: `$setup.site`, `$identity`.
    pub fn parse_named(text: &str) -> Option<(&str, Self)> {
        let rest = text.strip_prefix('$')?;
        let end = rest.find(|it: char| !(it.is_ascii_alphanumeric() || it == '_')).unwrap_or(rest.len());
        if !rest.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_') {
            return None;
        }
        let path = match &rest[end..] {
            "" => Some(Self::default()),
            steps => Self::parse(steps).filter(|path| !path.0.is_empty()),
        };
        path.map(|path| (&text[..=end], path))
    }

    /// What it leads to in a JSON text; `None` where that is absent or null.
    ///
    /// # Errors
    /// Where a scalar, or a list in the way of a key, stands in its way.
    pub fn walk<'a>(&self, text: &'a str) -> Result<Option<&'a str>, Trouble> {
        let mut at = text;
        for step in &self.0 {
            let found = match (step, json::kind(at)) {
                (_, Kind::Null) => return Ok(None),
                (Step::Key(key), Kind::Object) => member(at, key),
                (Step::Index(index), Kind::List) => json::elements(at).nth(*index),
                (Step::Index(index), Kind::Object) => member(at, &index.to_string()),
                (Step::Key(_), Kind::List) if json::elements(at).next().is_none() => None,
                (Step::Key(_), found) => return Err(Trouble::expected("an object", found)),
                (Step::Index(_), found) => return Err(Trouble::expected("a list", found)),
            };
            match found {
                Some(found) => at = found,
                None => return Ok(None),
            }
        }
        Ok(Some(at).filter(|found| json::kind(found) != Kind::Null))
    }

    /// The first step, if it is a key, and the steps behind it.
    pub fn split_first(&self) -> Option<(&str, &[Step])> {
        match self.0.split_first()? {
            (Step::Key(key), rest) => Some((key, rest)),
            (Step::Index(_), _) => None,
        }
    }
}

fn steps(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some(step) = rest.strip_prefix('.') {
        if step.starts_with('"') {
            let end = json::value(step.as_bytes(), 0).ok()?;
            steps.push(Step::Key(json::unescape(&step[..end]).into()));
            rest = &step[end..];
            continue;
        }
        let end =
            step.find(|it: char| !(it.is_alphanumeric() || it == '_' || it == '-')).unwrap_or(step.len());
        let (name, behind) = step.split_at(end);
        if name.is_empty() || name.starts_with('-') || name.ends_with('-') {
            return None;
        }
        steps.push(match name.parse() {
            Ok(index) if name.bytes().all(|byte| byte.is_ascii_digit()) => Step::Index(index),
            Ok(_) | Err(_) => Step::Key(name.into()),
        });
        rest = behind;
    }
    rest.is_empty().then_some(steps)
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(".");
        }
        self.0.iter().try_for_each(|step| match step {
            Step::Index(index) => write!(f, ".{index}"),
            Step::Key(key) if steps(&format!(".{key}")).is_some_and(|steps| steps == [step.clone()]) => {
                write!(f, ".{key}")
            }
            Step::Key(key) => {
                let mut quoted = String::new();
                json::escape(key, &mut quoted);
                write!(f, ".{quoted}")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_is_a_path_and_nothing_else_is() {
        for text in
            [".", ".a", ".a.b", ".a.0", ".sync-token", ".\"odd key\".c", ".\"@odata.nextLink\"", ".größe"]
        {
            assert_eq!(Path::parse(text).map(|path| path.to_string()).as_deref(), Some(text));
        }
        for text in
            ["", "a", "..", ".a.", ".a[0]", ".a?", ".a | b", ".a == 1", ".-a", ".a - 1", ".\"open", ".a b"]
        {
            assert_eq!(Path::parse(text), None, "{text}");
        }
        let named = |text| Path::parse_named(text).map(|(name, path)| (name, path.to_string()));
        assert_eq!(named("$setup.site"), Some(("$setup", ".site".into())));
        assert_eq!(named("$headers.x-sig"), Some(("$headers", ".x-sig".into())));
        assert_eq!(named("$token"), Some(("$token", ".".into())));
        for text in ["$", "$a.", "$a b", "$a | b", "setup", "$1", "$a[0]"] {
            assert_eq!(named(text), None, "{text}");
        }
    }

    #[test]
    fn a_path_leads_to_what_is_there() {
        let record = r#"{"a":{"b":[1,{"c":"x"}],"n":null,"e":[]},"odd key":{"0":true},"s":"text"}"#;
        let walk =
            |path: &str| Path::parse(path).unwrap().walk(record).map_err(|trouble| trouble.to_string());
        for (path, expected) in [
            (".a.b.0", Ok(Some("1"))),
            (".a.b.1.c", Ok(Some("\"x\""))),
            (".a.b.7", Ok(None)),
            (".a.n", Ok(None)),
            (".a.n.deeper.0", Ok(None)),
            (".a.e.key", Ok(None)),
            (".nothing.here", Ok(None)),
            (".\"odd key\".0", Ok(Some("true"))),
            (".s", Ok(Some("\"text\""))),
            (".s.x", Err("expected an object, found a text")),
            (".a.0.x", Ok(None)),
            (".s.0", Err("expected a list, found a text")),
            (".a.b.c", Err("expected an object, found a list")),
        ] {
            assert_eq!(walk(path), expected.map_err(str::to_owned), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_key_can_be_written_and_read_back(keys in prop::collection::vec(".{1,8}", 1..4)) {
            let path = Path(keys.into_iter().map(|key| Step::Key(key.into())).collect());
            let read = Path::parse(&path.to_string());
            prop_assert_eq!(read, Some(path));
        }
    }
}
