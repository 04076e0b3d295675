//! A YAML text as a tree that knows its lines.
//!
//! One document, texts and maps and lists alone: no anchors, tags, merge keys or other spellings of true. A key stands
//! once in its map. Inheritance is done on this tree, so that what is read from it has its line wherever it was written.

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Number, Value};

use super::problem::Problem;

/// Maps and lists in each other at the most.
const DEPTH_MOST: usize = 64;

/// A value of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it begins, from 1.
    pub line: u32,
    /// The language of its file.
    pub(crate) language: u32,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: `null`, `~` or left empty.
    Null,
    /// A text. A plain one may be read as a number or as true or false, where those are expected.
    Text {
        /// The text.
        text: String,
        /// Whether it stands without quotes.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of its keys.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Reads a text.
    ///
    /// # Errors
    /// With the line, where it is no YAML of ours.
    pub fn parse(text: &str) -> Result<Self, (u32, Problem)> {
        let mut tree = Reader { events: Parser::new_from_str(text), line: 1 }.document()?;
        let language = match tree.get("language").map(|node| &node.kind) {
            Some(Kind::Text { text, .. }) => text.parse().unwrap_or(1),
            _ => 1,
        };
        tree.speak(language);
        Ok(tree)
    }

    fn speak(&mut self, language: u32) {
        self.language = language;
        match &mut self.kind {
            Kind::Null | Kind::Text { .. } => {}
            Kind::List(items) => items.iter_mut().for_each(|item| item.speak(language)),
            Kind::Map(entries) => entries.iter_mut().for_each(|(_, value)| value.speak(language)),
        }
    }

    /// A map's value.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// A map's entries; none of anything else.
    pub fn entries(&self) -> &[(String, Node)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Null | Kind::Text { .. } | Kind::List(_) => &[],
        }
    }

    /// What it is, in words.
    pub(crate) fn found(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".into(),
            Kind::Text { text, .. } => format!("`{text}`"),
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a map".into(),
        }
    }

    /// The line of the place, or of the nearest around it.
    pub(crate) fn line_of(&self, path: &[String]) -> u32 {
        let mut node = self;
        for step in path {
            let inner = match &node.kind {
                Kind::Map(_) => node.get(step),
                Kind::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
                Kind::Null | Kind::Text { .. } => None,
            };
            match inner {
                Some(inner) => node = inner,
                None => break,
            }
        }
        node.line
    }

    /// The value as JSON: a plain text as the number or truth that it spells.
    pub(crate) fn json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Text { text, plain } => scalar(text, *plain),
            Kind::List(items) => items.iter().map(Node::json).collect(),
            Kind::Map(entries) => entries.iter().map(|(key, value)| (key.clone(), value.json())).collect(),
        }
    }

    /// The tree with `over` laid upon it: its keys replace those here, a null takes away.
    pub(crate) fn with(&self, over: &Node) -> Node {
        let mut merged: Vec<(String, Node)> =
            self.entries().iter().filter(|(key, _)| over.get(key).is_none()).cloned().collect();
        merged.extend(over.entries().iter().filter(|(_, value)| value.kind != Kind::Null).cloned());
        Node { line: over.line, language: over.language, kind: Kind::Map(merged) }
    }

    /// Puts a value under a key, in place of what was there.
    pub(crate) fn set(&mut self, key: &str, value: Node) {
        if let Kind::Map(entries) = &mut self.kind {
            entries.retain(|(name, _)| name != key);
            entries.push((key.to_owned(), value));
        }
    }

    /// Takes a key away.
    pub(crate) fn take(&mut self, key: &str) {
        if let Kind::Map(entries) = &mut self.kind {
            entries.retain(|(name, _)| name != key);
        }
    }

    /// One spelling of the tree, whatever the order of keys, the comments and the layout.
    pub fn canonical(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    fn write(&self, to: &mut Vec<u8>) {
        let text = |text: &str, to: &mut Vec<u8>| {
            to.extend((text.len() as u64).to_be_bytes());
            to.extend(text.as_bytes());
        };
        match &self.kind {
            Kind::Null => to.push(b'0'),
            Kind::Text { text: written, plain } => {
                to.push(if *plain { b'p' } else { b'q' });
                text(written, to);
            }
            Kind::List(items) => {
                to.push(b'[');
                items.iter().for_each(|item| item.write(to));
                to.push(b']');
            }
            Kind::Map(entries) => {
                let mut sorted: Vec<_> = entries.iter().collect();
                sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
                to.push(b'{');
                for (key, value) in sorted {
                    text(key, to);
                    value.write(to);
                }
                to.push(b'}');
            }
        }
    }
}

/// `no` and `yes` are texts; `true`, `false`, JSON's numbers and nothing else are not.
pub(crate) fn scalar(text: &str, plain: bool) -> Value {
    match text {
        _ if !plain => Value::from(text),
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text => match serde_json::from_str::<Number>(text) {
            Ok(number) => Value::Number(number),
            Err(_) => Value::from(text),
        },
    }
}

struct Reader<I> {
    events: I,
    line: u32,
}

impl<'a, I, E> Reader<I>
where
    I: Iterator<Item = Result<(Event<'a>, granit_parser::Span), E>>,
    E: std::fmt::Display,
{
    fn document(mut self) -> Result<Node, (u32, Problem)> {
        let tree = loop {
            match self.next()? {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd => return Err(self.wrong("the file is empty")),
                event => break self.node(event, 0)?,
            }
        };
        loop {
            match self.next()? {
                Event::StreamEnd => return Ok(tree),
                Event::DocumentEnd => {}
                _ => return Err(self.wrong("expected one document, found another behind it")),
            }
        }
    }

    fn next(&mut self) -> Result<Event<'a>, (u32, Problem)> {
        loop {
            match self.events.next() {
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => {
                    self.line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
                    return Ok(event);
                }
                Some(Err(error)) => {
                    return Err(
                        self.wrong(format!("not YAML: {error} (quote what holds `{{`, `[`, `,` or `: `)"))
                    );
                }
                None => return Err(self.wrong("it breaks off")),
            }
        }
    }

    fn wrong(&self, what: impl Into<String>) -> (u32, Problem) {
        (self.line, Problem::new(what))
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Node, (u32, Problem)> {
        let line = self.line;
        if depth > DEPTH_MOST {
            return Err(self.wrong(format!("more than {DEPTH_MOST} maps and lists in each other")));
        }
        let kind = match event {
            Event::Scalar(_, _, _, Some(_))
            | Event::MappingStart(_, _, Some(_))
            | Event::SequenceStart(_, _, Some(_)) => {
                return Err(self.wrong("tags (`!…`) are not of this language: quote the text"));
            }
            Event::Scalar(text, style, _, None) => match (style, text.as_ref()) {
                (ScalarStyle::Plain, "" | "~" | "null") => Kind::Null,
                (style, text) => Kind::Text { text: text.to_owned(), plain: style == ScalarStyle::Plain },
            },
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break Kind::List(items),
                        event => items.push(self.node(event, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries: Vec<(String, Node)> = Vec::new();
                loop {
                    let key = match self.next()? {
                        Event::MappingEnd => break Kind::Map(entries),
                        Event::Scalar(text, ..) => text.into_owned(),
                        Event::MappingStart(..) | Event::SequenceStart(..) => {
                            return Err(self.wrong("a map or list as a key: quote it if it is meant as text"));
                        }
                        _ => return Err(self.wrong("anchors are not of this language")),
                    };
                    if entries.iter().any(|(known, _)| *known == key) {
                        return Err(self.wrong(format!("the key `{key}` stands here twice")));
                    }
                    let event = self.next()?;
                    let mut value = self.node(event, depth + 1)?;
                    if value.kind == Kind::Null {
                        value.line = self.line;
                    }
                    entries.push((key, value));
                }
            }
            _ => return Err(self.wrong("anchors are not of this language")),
        };
        Ok(Node { line, language: 1, kind })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_read_with_its_lines_and_kinds() {
        let tree =
            Node::parse("a: 1\nb:\n  - {c: no, d: 'true', e: true}\n  # a comment\n  - f: null\n").unwrap();
        assert_eq!(tree.json(), json!({"a": 1, "b": [{"c": "no", "d": "true", "e": true}, {"f": null}]}));
        let path = |path: &str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(tree.line_of(&path("b.0.d")), 3);
        assert_eq!(tree.line_of(&path("b.1.f")), 5);
        assert_eq!(tree.line_of(&path("b.1.nothing.here")), 5);
    }

    #[test]
    fn what_is_no_definition_is_refused_with_its_line() {
        for (text, line, expected) in [
            ("", 1, "empty"),
            ("a: 1\na: 2", 2, "twice"),
            ("a: &x 1\nb: *x", 2, "anchors"),
            ("a: !!str 1", 1, "tags"),
            ("a: 1\n---\nb: 2", 2, "another"),
            ("a:\n  b: {c: GET /x/{.id}}", 2, "quote"),
            ("a: [1\nb: 2", 1, "not YAML"),
            ("{a: 1}: 2", 1, "quote"),
        ] {
            let (found, problem) = Node::parse(text).unwrap_err();
            assert!(problem.what().contains(expected), "{text}: {problem}");
            assert!(found >= line, "{text}: {found}");
        }
        let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
        assert!(Node::parse(&deep).unwrap_err().1.what().contains("in each other"));
    }

    #[test]
    fn order_and_comments_change_no_spelling_and_content_does() {
        let canonical = |text: &str| Node::parse(text).unwrap().canonical();
        assert_eq!(canonical("a: 1\nb: [x]"), canonical("# why\nb:\n  - x\na: 1"));
        assert_ne!(canonical("a: 1"), canonical("a: '1'"));
        assert_ne!(canonical("a: [b, c]"), canonical("a: [bc]"));
    }

    #[test]
    fn a_null_takes_away_what_is_inherited() {
        let under = Node::parse("a: 1\nb: 2").unwrap();
        let over = Node::parse("b: null\nc: 3").unwrap();
        assert_eq!(under.with(&over).json(), json!({"a": 1, "c": 3}));
    }
}
