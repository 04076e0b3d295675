//! A request, made of its templates; and whether it may go where it leads.
//!
//! Credentials go with a request only to the home of the definition's `base` and to `hosts`: an answer's URL that leads
//! elsewhere is not followed.

use std::{fmt, time::Duration};

use url::Url;

use super::{
    Trouble,
    jq::Helpers,
    names::{Name, Names, Scope},
    template::{Place, Template},
    value::Value,
};
use crate::definition::{
    Problem, keys::Named, request::Request as Written, text::Template as WrittenTemplate,
};

/// A request to make. `Debug` shows method, host and path.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The URL, with its query.
    pub url: Url,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Vec<u8>>,
    /// How long it may take.
    pub timeout: Duration,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.method, self.url.host_str().unwrap_or_default(), self.url.path())
    }
}

/// Why a request can't be made: where and why, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmade {
    /// An expression failed, or gave nothing where something has to be.
    #[error("the request can't be made: {0}")]
    Trouble(String),
    /// It leads where nobody said that it may.
    #[error("an answer leads to another host, which `hosts` does not name: it is not followed")]
    Elsewhere,
}

impl From<Trouble> for Unmade {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble.to_string())
    }
}

/// What all requests of a definition share.
#[derive(Debug)]
pub(crate) struct Shared {
    base: Option<Template>,
    headers: Vec<(String, Template)>,
    timeout: Duration,
    hosts: Vec<String>,
}

/// What goes with requests once one has logged in.
#[derive(Clone, Default, PartialEq)]
pub struct Authorization {
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Parameters.
    pub query: Vec<(String, String)>,
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(***)")
    }
}

/// A compiled request.
#[derive(Debug)]
pub(crate) struct Call {
    method: String,
    target: Target,
    base: Option<Template>,
    query: Vec<(Template, Template)>,
    headers: Vec<(String, Template)>,
    body: Body,
    timeout: Option<Duration>,
    /// Whether a whole URL comes of a value, other than what linking the account gave.
    whole_is_given: bool,
}

#[derive(Debug)]
enum Target {
    /// The base itself.
    Root,
    /// Behind the base.
    Path(Template),
    /// A whole URL that a hole gives.
    Whole(Template),
}

#[derive(Debug)]
enum Body {
    None,
    Json(Template),
    Form(Vec<(Template, Template)>),
    Xml(Template),
    Text(Template),
    GraphQl(String, Option<Template>),
}

impl Shared {
    pub(crate) fn compile(
        base: Option<&WrittenTemplate>,
        headers: &Named<WrittenTemplate>,
        timeout: Duration,
        hosts: &[String],
        scope: &Scope,
        helpers: &Helpers,
    ) -> Result<Self, Problem> {
        let base = base.map(|base| Template::compile(base, Place::Url, scope, helpers));
        Ok(Self {
            base: base.transpose().map_err(|problem| problem.at("base"))?,
            headers: compile_headers(headers, scope, helpers)?,
            timeout,
            hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        })
    }

    /// Whether an answer's URL may be followed: to the home of the base, or to a host that the definition names.
    fn follows(&self, url: &Url, home: Option<&Url>) -> bool {
        let same = |home: &Url| {
            (home.scheme(), home.host_str(), home.port_or_known_default())
                == (url.scheme(), url.host_str(), url.port_or_known_default())
        };
        home.is_some_and(same) || (url.scheme() == "https" && self.names(url))
    }

    fn names(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        self.hosts.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(domain) => {
                host.strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            None => host == pattern,
        })
    }
}

fn compile_headers(
    headers: &Named<WrittenTemplate>,
    scope: &Scope,
    helpers: &Helpers,
) -> Result<Vec<(String, Template)>, Problem> {
    let compile = |(name, value): (&str, &WrittenTemplate)| {
        let at = |problem: Problem| problem.at(name).at("headers");
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        {
            return Err(at(Problem::new("expected a header's name: letters, digits, `-` and `_`")));
        }
        Ok((name.to_ascii_lowercase(), Template::compile(value, Place::Header, scope, helpers).map_err(at)?))
    };
    headers.iter().map(compile).collect()
}

fn compile_pairs(
    pairs: &Named<WrittenTemplate>,
    key: &'static str,
    place: Place,
    scope: &Scope,
    helpers: &Helpers,
) -> Result<Vec<(Template, Template)>, Problem> {
    let compile = |(name, value): (&str, &WrittenTemplate)| {
        let at = |problem: Problem| problem.at(name).at(key);
        let name = Template::holes(name, place, scope, helpers).map_err(at)?;
        Ok((name, Template::compile(value, place, scope, helpers).map_err(at)?))
    };
    pairs.iter().map(compile).collect()
}

impl Call {
    pub(crate) fn compile(written: &Written, scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        written.check()?;
        if written.auth.is_some() {
            return Err(Problem::new("a request can't choose its way to log in yet: use `for`").at("auth"));
        }
        let (method, path) = written.method_and_path();
        let at = |key: &'static str| move |problem: Problem| problem.at(key);
        let compile = |template: &WrittenTemplate, place, key| {
            Template::compile(template, place, scope, helpers).map_err(at(key))
        };
        let target = match path {
            "" => Target::Root,
            path if path.starts_with('{') || path.starts_with("http") => {
                Target::Whole(Template::holes(path, Place::Url, scope, helpers).map_err(at("call"))?)
            }
            path if path.starts_with('/') || path.starts_with('?') => {
                Target::Path(Template::holes(path, Place::Url, scope, helpers).map_err(at("call"))?)
            }
            path => {
                let what = format!(
                    "expected a path that begins with `/`, or one hole that is a URL, found `{path}`"
                );
                return Err(Problem::new(what).at("call"));
            }
        };
        let body = if let Some(json) = &written.json {
            Body::Json(compile(json, Place::Json, "json")?)
        } else if let Some(form) = &written.form {
            Body::Form(compile_pairs(form, "form", Place::Form, scope, helpers)?)
        } else if let Some(xml) = &written.xml {
            Body::Xml(compile(xml, Place::Xml, "xml")?)
        } else if let Some(text) = &written.text {
            Body::Text(compile(text, Place::Text, "text")?)
        } else if let Some(query) = &written.graphql {
            let variables =
                written.variables.as_ref().map(|it| compile(it, Place::Json, "variables")).transpose()?;
            Body::GraphQl(query.clone(), variables)
        } else {
            Body::None
        };
        let base = written.base.as_ref().map(|base| Template::compile(base, Place::Url, scope, helpers));
        let whole_is_given = path.starts_with('{') && !path.starts_with("{$setup.");
        Ok(Self {
            whole_is_given,
            method: method.to_owned(),
            target,
            base: base.transpose().map_err(at("base"))?,
            query: compile_pairs(&written.query, "query", Place::Query, scope, helpers)?,
            headers: compile_headers(&written.headers, scope, helpers)?,
            body,
            timeout: written.timeout,
        })
    }

    /// Whether anything in it asks for the name.
    pub(crate) fn uses(&self, name: &Name) -> bool {
        let pairs = |pairs: &[(Template, Template)]| {
            pairs.iter().any(|(key, value)| key.uses(name) || value.uses(name))
        };
        let target = match &self.target {
            Target::Root => false,
            Target::Path(template) | Target::Whole(template) => template.uses(name),
        };
        let body = match &self.body {
            Body::None => false,
            Body::Json(template) | Body::Xml(template) | Body::Text(template) => template.uses(name),
            Body::Form(form) => pairs(form),
            Body::GraphQl(_, variables) => variables.as_ref().is_some_and(|it| it.uses(name)),
        };
        target || body || pairs(&self.query) || self.headers.iter().any(|(_, value)| value.uses(name))
    }

    /// The request, with what goes with it.
    pub(crate) fn make(
        &self,
        shared: &Shared,
        dot: &Value,
        names: &Names,
        with: &Authorization,
    ) -> Result<Request, Unmade> {
        let base = self.home(shared, dot, names)?;
        let url = match &self.target {
            Target::Root => base.ok_or_else(|| Unmade::Trouble("there is no base".into()))?,
            Target::Path(path) => {
                let base = base.ok_or_else(|| Unmade::Trouble("there is no base".into()))?;
                let path =
                    path.text(dot, names)?.ok_or_else(|| Unmade::Trouble("the path lacks a value".into()))?;
                parse(&format!("{}{path}", base.as_str().trim_end_matches('/')))?
            }
            Target::Whole(whole) => {
                let text =
                    whole.text(dot, names)?.ok_or_else(|| Unmade::Trouble("the URL lacks a value".into()))?;
                let url = parse(&text)?;
                // What the definition spells out is its own; what comes of a value may come of an answer.
                if self.whole_is_given && !shared.follows(&url, base.as_ref()) {
                    return Err(Unmade::Elsewhere);
                }
                url
            }
        };
        self.finish(url, shared, dot, names, with, true)
    }

    /// The same request at another URL, which an answer gave.
    pub(crate) fn follow(
        &self,
        next: &str,
        shared: &Shared,
        dot: &Value,
        names: &Names,
        with: &Authorization,
    ) -> Result<Request, Unmade> {
        let base = self.home(shared, dot, names)?;
        let url = match (Url::parse(next), &base) {
            (Ok(url), _) => url,
            // A path from the root of the base's host.
            (Err(url::ParseError::RelativeUrlWithoutBase), Some(base)) => {
                base.join(next).map_err(|_| Unmade::Trouble("the next page's URL is none".into()))?
            }
            (Err(_), _) => return Err(Unmade::Trouble("the next page's URL is none".into())),
        };
        if !shared.follows(&url, base.as_ref()) {
            return Err(Unmade::Elsewhere);
        }
        self.finish(url, shared, dot, names, with, false)
    }

    fn home(&self, shared: &Shared, dot: &Value, names: &Names) -> Result<Option<Url>, Unmade> {
        let Some(template) = self.base.as_ref().or(shared.base.as_ref()) else { return Ok(None) };
        let text =
            template.text(dot, names)?.ok_or_else(|| Unmade::Trouble("the base lacks a value".into()))?;
        let url = parse(&text)?;
        // A base that an answer gave has to be named.
        if template.uses(&Name::Auth) && !shared.names(&url) {
            return Err(Unmade::Elsewhere);
        }
        Ok(Some(url))
    }

    fn finish(
        &self,
        mut url: Url,
        shared: &Shared,
        dot: &Value,
        names: &Names,
        with: &Authorization,
        asks: bool,
    ) -> Result<Request, Unmade> {
        if asks {
            let mut query = Vec::new();
            for (name, value) in &self.query {
                if let Some(name) = name.text(dot, names)?.filter(|name| !name.is_empty()) {
                    push_query(&mut query, &name, value.json(dot, names)?);
                }
            }
            query.into_iter().for_each(|(name, value)| {
                url.query_pairs_mut().append_pair(&name, &value);
            });
        }
        for (name, value) in &with.query {
            if !url.query_pairs().any(|(known, _)| known == name.as_str()) {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let mut headers: Vec<(String, String)> = Vec::new();
        let mut put = |name: &str, value: String| {
            headers.retain(|(known, _)| known != name);
            headers.push((name.to_owned(), value));
        };
        let (body, kind) = self.body(dot, names)?;
        if let Some(kind) = kind {
            put("content-type", kind.to_owned());
        }
        for (name, value) in shared.headers.iter().chain(&self.headers) {
            if let Some(value) = value.text(dot, names)? {
                put(name, value);
            }
        }
        with.headers.iter().for_each(|(name, value)| put(name, value.clone()));
        let timeout = self.timeout.unwrap_or(shared.timeout);
        Ok(Request { method: self.method.clone(), url, headers, body, timeout })
    }

    fn body(&self, dot: &Value, names: &Names) -> Result<(Option<Vec<u8>>, Option<&'static str>), Unmade> {
        const JSON: Option<&str> = Some("application/json");
        let nothing = || Unmade::Trouble("the body lacks a value".into());
        Ok(match &self.body {
            Body::None => (None, None),
            Body::Json(template) => {
                let body = template.json(dot, names)?.unwrap_or_else(Value::null);
                (Some(body.json().as_bytes().to_vec()), JSON)
            }
            Body::GraphQl(query, variables) => {
                let mut entries = vec![("query", Value::text(query))];
                if let Some(variables) = variables {
                    entries.push(("variables", variables.json(dot, names)?.unwrap_or_else(Value::null)));
                }
                (Some(Value::object(entries)?.json().as_bytes().to_vec()), JSON)
            }
            Body::Form(form) => {
                let mut pairs = Vec::new();
                for (name, value) in form {
                    if let Some(name) = name.text(dot, names)? {
                        push_query(&mut pairs, &name, value.json(dot, names)?);
                    }
                }
                let encoded =
                    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                (Some(encoded.into_bytes()), Some("application/x-www-form-urlencoded"))
            }
            Body::Xml(template) => {
                let text = template.text(dot, names)?.ok_or_else(nothing)?;
                (Some(text.into_bytes()), Some("application/xml; charset=utf-8"))
            }
            Body::Text(template) => {
                let text = template.text(dot, names)?.ok_or_else(nothing)?;
                (Some(text.into_bytes()), Some("text/plain; charset=utf-8"))
            }
        })
    }
}

fn parse(text: &str) -> Result<Url, Unmade> {
    let url = Url::parse(text).map_err(|_| Unmade::Trouble("the URL is none".into()))?;
    match (url.scheme(), url.host_str()) {
        ("https" | "http", Some(_)) => Ok(url),
        _ => Err(Unmade::Trouble("the URL is none of HTTP".into())),
    }
}

/// A list is sent repeated, `{ join: […] }` with commas, null not at all.
fn push_query(to: &mut Vec<(String, String)>, name: &str, value: Option<Value>) {
    let Some(value) = value else { return };
    if let Some(items) = value.items() {
        items.into_iter().for_each(|item| push_query(to, name, Some(item)));
    } else if let Some(items) = value.get("join").items() {
        let joined: Vec<String> = items.iter().filter_map(plain).collect();
        to.push((name.to_owned(), joined.join(",")));
    } else {
        to.extend(plain(&value).map(|text| (name.to_owned(), text)));
    }
}

/// A text, number or truth as text.
pub(crate) fn plain(value: &Value) -> Option<String> {
    match value.as_text() {
        Some(text) => Some(text.into_owned()),
        None => ["true", "false"].into_iter().find(|it| value.json() == *it).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::definition::{keys::Read, node::Node};

    fn value(json: serde_json::Value) -> Value {
        Value::from_json(&json)
    }

    fn made(text: &str, hosts: &[&str], names: &Names) -> Result<Request, Unmade> {
        let helpers = Helpers::default();
        let scope =
            Scope::of(&[Name::Setup, Name::Auth, Name::Size, Name::Cursor, Name::Since, Name::Fields]);
        let written = Written::read(&Node::parse(text).unwrap()).unwrap();
        let base = WrittenTemplate::Text("https://{$setup.host}.acme.example/api/".into());
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let shared = Shared::compile(
            Some(&base),
            &Named::default(),
            Duration::from_secs(30),
            &hosts,
            &scope,
            &helpers,
        )
        .unwrap();
        let call = Call::compile(&written, &scope, &helpers).unwrap();
        let with =
            Authorization { headers: vec![("authorization".into(), "Bearer t".into())], query: Vec::new() };
        call.make(&shared, &value(json!({"id": "a/b ?"})), names, &with)
    }

    fn names() -> Names {
        Names::new()
            .with(Name::Setup, value(json!({"host": "x"})))
            .with(Name::Size, value(json!(50)))
            .with(Name::Fields, value(json!(["a", "b"])))
    }

    #[test]
    fn a_request_is_made_of_its_templates_encoded_by_their_place() {
        for (text, expected) in [
            ("call: GET /people", "https://x.acme.example/api/people"),
            ("call: GET", "https://x.acme.example/api/"),
            ("call: GET /people/{.id}/x", "https://x.acme.example/api/people/a%2Fb%20%3F/x"),
            (
                "call: GET /p\nquery: {limit: $size, after: $cursor, tag: [a, b], f: {join: $fields}, s: 'x {.id}'}",
                "https://x.acme.example/api/p?limit=50&tag=a&tag=b&f=a%2Cb&s=x+a%2Fb+%3F",
            ),
        ] {
            assert_eq!(made(text, &[], &names()).unwrap().url.as_str(), expected, "{text}");
        }
        let body = |text: &str| String::from_utf8(made(text, &[], &names()).unwrap().body.unwrap()).unwrap();
        assert_eq!(
            body("call: POST /x\njson: {a: $size, b: '{$size}', c: 'n{$size}', d: $cursor}"),
            r#"{"a":50,"b":50,"c":"n50"}"#
        );
        assert_eq!(body("call: POST /x\nform: {a: [1, 2], b: $cursor}"), "a=1&a=2");
        assert_eq!(
            body("call: POST /x\nxml: '<a>{.id}</a><b>{$setup.host}&amp;</b>'"),
            "<a>a/b ?</a><b>x&amp;</b>"
        );
        assert_eq!(
            body("call: POST /x\ngraphql: query { a }\nvariables: {n: $size}"),
            r#"{"query":"query { a }","variables":{"n":50}}"#
        );
    }

    #[test]
    fn a_null_is_left_out_but_in_a_url_it_is_an_error() {
        let headers = |text: &str| made(text, &[], &names()).unwrap().headers;
        assert_eq!(
            headers("call: GET /x\nheaders: {X-A: $cursor, X-B: b}"),
            [("x-b".to_owned(), "b".to_owned()), ("authorization".to_owned(), "Bearer t".to_owned()),]
        );
        assert!(matches!(made("call: GET /x/{$cursor}", &[], &names()), Err(Unmade::Trouble(_))));
    }

    #[test]
    fn no_header_holds_a_line_end() {
        let names = names().with(Name::Cursor, Value::text("a\r\nx-evil: 1"));
        let refused = made("call: GET /x\nheaders: {x-a: $cursor}", &[], &names).unwrap_err();
        assert!(refused.to_string().contains("line break"), "{refused}");
        assert!(!refused.to_string().contains("evil"));
    }

    #[test]
    fn an_answers_url_is_followed_home_and_to_named_hosts_only() {
        let to = |url: &str, hosts: &[&str]| {
            made("call: GET {$cursor}", hosts, &names().with(Name::Cursor, Value::text(url)))
        };
        assert!(to("https://x.acme.example/next?page=2", &[]).is_ok());
        for elsewhere in [
            "https://evil.example/next",
            "http://x.acme.example/next",
            "https://x.acme.example:8443/next",
            "https://y.acme.example/next",
            "https://x.acme.example@evil.example/",
        ] {
            assert_eq!(to(elsewhere, &[]), Err(Unmade::Elsewhere), "{elsewhere}");
        }
        assert!(to("https://y.acme.example/next", &["*.acme.example"]).is_ok());
        assert_eq!(to("https://evilacme.example/next", &["*.acme.example"]), Err(Unmade::Elsewhere));
        assert_eq!(to("http://y.acme.example/next", &["*.acme.example"]), Err(Unmade::Elsewhere));
        assert!(matches!(to("file:///etc/passwd", &[]), Err(Unmade::Trouble(_))));
    }

    #[test]
    fn debug_shows_no_query_header_or_body() {
        let request = made("call: POST /x?secret=s1\njson: {a: s2}", &[], &names()).unwrap();
        assert_eq!(format!("{request:?}"), "POST x.acme.example/api/x");
    }
}
