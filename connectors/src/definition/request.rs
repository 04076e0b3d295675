//! A request as written, and what of its answer is a listing.

use std::time::Duration;

use super::{
    keys::{Named, exactly_one, keys, words},
    problem::Problem,
    short::Shorthand,
    text::{Expression, Template},
};

keys! {
    /// A request. All of it are templates.
    pub struct Request {
        /// The method and the path behind `base`, or one hole that is a whole URL.
        call: Option<String>,
        /// What the path stands behind, in place of the default's.
        base: Option<Template>,
        /// Parameters: a list is sent repeated, `{ join: […] }` with commas; null leaves one out.
        query: Named<Template>,
        /// Headers, beside the default's.
        headers: Named<Template>,
        /// The body as JSON.
        json: Option<Template>,
        /// The body as a form.
        form: Option<Named<Template>>,
        /// The body as XML: what stands in its holes is escaped.
        xml: Option<Template>,
        /// The body as text.
        text: Option<Template>,
        /// A GraphQL query, sent as JSON with `variables`.
        graphql: Option<String>,
        /// The query's variables.
        variables: Option<Template>,
        /// The name of the `auth` that it goes with.
        auth: Option<String>,
        /// How long it may take.
        timeout: Option<Duration>,
    }
    /// A listing: a request, and where the records are in its answer.
    pub struct List {
        /// The records.
        records: Option<Expression>,
        /// What the body is.
        format as "as": Option<Format>,
        /// How many records there are in all, where the provider says.
        total: Option<Expression>,
        /// What it means if the path to the records is not there.
        missing: Option<Missing>,
        /// Whether the body is a gzip file.
        gzip: bool = false,
        ; /// The request of a page.
        ..request: Request
    }
}

words! {
    /// What a body is.
    pub enum Format {
        /// JSON.
        Json = "json",
        /// JSON, a record a line.
        JsonLines = "json_lines",
        /// Comma-separated values under a line of names.
        Csv = "csv",
        /// XML.
        Xml = "xml",
    }
    /// What an answer without the path to its records is.
    pub enum Missing {
        /// A page without records.
        None = "none",
        /// A bad answer.
        Bad = "bad",
    }
}

/// The keys that are a body; a listing that sets one inherits none.
pub(crate) const BODIES: [&str; 5] = ["json", "form", "xml", "text", "graphql"];

impl Shorthand for Request {
    const KEY: &str = "call";
}

impl Request {
    /// That it can be made: a method and a path, and one body at the most.
    ///
    /// # Errors
    /// What is missing or too much.
    pub fn check(&self) -> Result<(), Problem> {
        let Some(call) = &self.call else {
            return Err(Problem::new("the key `call` is missing: a method and a path, such as `GET /users`"));
        };
        let method = call.split(' ').next().unwrap_or_default();
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') {
            let what =
                format!("expected a method in capitals and a path, such as `GET /users`, found `{call}`");
            return Err(Problem::new(what).at("call"));
        }
        let bodies = [
            ("json", self.json.is_some()),
            ("form", self.form.is_some()),
            ("xml", self.xml.is_some()),
            ("text", self.text.is_some()),
            ("graphql", self.graphql.is_some()),
        ];
        if bodies.iter().any(|(_, set)| *set) {
            exactly_one(&bodies)?;
        }
        match (&self.graphql, &self.variables) {
            (None, Some(_)) => Err(Problem::new("stands only beside `graphql`").at("variables")),
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// The method, and what follows it.
    pub fn method_and_path(&self) -> (&str, &str) {
        let call = self.call.as_deref().unwrap_or("GET");
        call.split_once(' ').map_or((call, ""), |(method, path)| (method, path.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{keys::Read, node::Node};

    fn check(text: &str) -> Result<(), String> {
        let read = Request::read(&Node::parse(text).unwrap()).map_err(|problem| problem.to_string())?;
        read.check().map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_request_can_be_made_or_says_why_not() {
        assert_eq!(check("call: GET /x\nquery: {a: [b, c], d: {join: $fields}}"), Ok(()));
        assert_eq!(check("call: POST"), Ok(()));
        assert!(check("query: {a: b}").unwrap_err().contains("`call` is missing"));
        assert!(check("call: get /x").unwrap_err().contains("method in capitals"));
        assert!(check("call: POST /x\njson: {}\nxml: x").unwrap_err().contains("found json and xml"));
        assert!(check("call: POST /x\njson: {$setup.x}").unwrap_err().contains("quote it"));
        assert!(check("call: POST /x\nvariables: {a: 1}").unwrap_err().contains("beside `graphql`"));
    }
}
