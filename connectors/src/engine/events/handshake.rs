//! Questions of a provider's that are answered before anything is verified, and tell nothing.

use crate::{
    definition::{Problem, events},
    engine::{
        expression::{Expression, Helpers},
        names::{Name, Names, Scope},
        template::{Place, Template},
        value::Value,
    },
};

/// The longest answer, in bytes: what a caller sends is sent back before it is verified.
const ANSWER_MOST: usize = 4_096;

#[derive(Debug)]
pub(super) struct Handshake {
    when: Expression,
    status: u16,
    text: Option<Template>,
    json: Option<Template>,
    headers: Vec<(String, Template)>,
}

/// An answer to a provider's question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers, beside the kind of content.
    pub headers: Vec<(String, String)>,
    /// The kind of content: never one that a browser runs.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Handshake {
    pub(super) fn compile(
        written: &events::Handshake,
        scope: &Scope,
        helpers: &Helpers,
    ) -> Result<Self, Problem> {
        let answer = &written.answer;
        let template = |one: &Option<_>, place, key: &str| {
            let compiled = one.as_ref().map(|one| Template::compile(one, place, scope, helpers)).transpose();
            compiled.map_err(|problem: Problem| problem.at(key).at("answer"))
        };
        if answer.text.is_some() && answer.json.is_some() {
            return Err(Problem::new("expected `text` or `json`, found both").at("answer"));
        }
        if !(100..=599).contains(&answer.status) {
            return Err(Problem::new("expected a status").at("status").at("answer"));
        }
        let header = |(name, value): (&str, &_)| {
            let compiled = Template::compile(value, Place::Header, scope, helpers);
            let compiled = compiled.map_err(|problem| problem.at(name).at("headers").at("answer"))?;
            Ok((name.to_ascii_lowercase(), compiled))
        };
        Ok(Self {
            when: Expression::compile(&written.when, scope, helpers).map_err(|it| it.at("when"))?,
            status: answer.status,
            text: template(&answer.text, Place::Text, "text")?,
            json: template(&answer.json, Place::Json, "json")?,
            headers: answer.headers.iter().map(header).collect::<Result<_, Problem>>()?,
        })
    }

    pub(super) fn uses(&self, name: &Name) -> bool {
        let texts = self.text.iter().chain(&self.json).chain(self.headers.iter().map(|(_, value)| value));
        self.when.uses(name) || texts.into_iter().any(|text| text.uses(name))
    }

    /// The answer, if this is the question. What fails does not hold.
    pub(super) fn answer(&self, body: &Value, names: &Names) -> Option<Reply> {
        if !self.when.holds(body, names).unwrap_or(false) {
            return None;
        }
        let mut headers = Vec::new();
        for (name, value) in &self.headers {
            headers.extend(value.text(body, names).ok()?.map(|value| (name.clone(), value)));
        }
        let (content_type, body) = match (&self.text, &self.json) {
            (Some(text), _) => ("text/plain; charset=utf-8", text.text(body, names).ok()??),
            (None, Some(json)) => ("application/json", json.json(body, names).ok()??.json().to_owned()),
            (None, None) => ("text/plain; charset=utf-8", String::new()),
        };
        (body.len() <= ANSWER_MOST).then_some(Reply { status: self.status, headers, content_type, body })
    }
}
