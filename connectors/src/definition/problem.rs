//! What is wrong with a definition: which file, line and key, what was expected, and the nearest name that exists.
//!
//! Whoever finds a problem knows only what it is; each caller on the way out puts its own key in front ([`Problem::at`]),
//! and the reader of the file turns the path into a line.

use std::fmt;

use super::node::Node;

/// Something wrong at a place of a definition, before the file is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    path: Vec<String>,
    what: String,
}

impl Problem {
    /// A problem here.
    pub fn new(what: impl Into<String>) -> Self {
        Self { path: Vec::new(), what: what.into() }
    }

    /// A name that does not exist: says which was probably meant, or else which there are.
    pub fn unknown<'a>(kind: &str, given: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        Self::new(match nearest(given, known.iter().copied()) {
            Some(meant) => format!("no {kind} `{given}`; did you mean `{meant}`?"),
            None if known.is_empty() => format!("no {kind} `{given}`: there are none here"),
            None => format!("no {kind} `{given}`: expected one of {}", known.join(", ")),
        })
    }

    /// The same problem, seen from one key further out.
    #[must_use]
    pub fn at(mut self, step: impl Into<String>) -> Self {
        self.path.insert(0, step.into());
        self
    }

    /// The same problem, seen from further out: `a.b`.
    #[must_use]
    pub fn under(self, path: &str) -> Self {
        path.split('.').rev().fold(self, Problem::at)
    }

    /// What is wrong, without its place.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The problem with its file, and with its line where the tree has the place or one around it.
    pub(crate) fn of(self, file: &str, tree: &Node) -> DefinitionError {
        DefinitionError { file: file.to_owned(), line: tree.line_of(&self.path), problem: self.to_string() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_slice() {
            [] => f.write_str(&self.what),
            path => write!(f, "{}: {}", path.join("."), self.what),
        }
    }
}

/// The known name that was probably meant: a third of its letters wrong is a slip, more is another word.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(given, name), name))
        .filter(|(distance, name)| distance * 3 <= given.chars().count().max(name.chars().count()))
        .min()
        .map(|(_, name)| name)
}

/// A definition that can't be used: which file, where, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct DefinitionError {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The keys that lead there, and what is wrong.
    pub problem: String,
}

impl DefinitionError {
    /// An error of a whole file.
    pub fn new(file: &str, problem: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 1, problem: problem.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_says_which_was_meant_or_which_there_are() {
        let known = ["list", "page", "changed"];
        assert_eq!(Problem::unknown("key", "lst", known).what(), "no key `lst`; did you mean `list`?");
        assert_eq!(
            Problem::unknown("key", "paging_mode", known).what(),
            "no key `paging_mode`: expected one of list, page, changed"
        );
        assert_eq!(Problem::new("wrong").at("b").at("a").to_string(), "a.b: wrong");
        assert_eq!(Problem::new("wrong").at("c").under("a.b").to_string(), "a.b.c: wrong");
    }
}
