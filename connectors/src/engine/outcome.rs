//! What an answer means: by the definition's `errors` first, then by its status.
//!
//! What is said of an answer holds the provider's code at the most, never a value of it.

use std::time::Duration;

use tributary_schemas::time::Timestamp;

use super::{
    expression::Expression,
    jq::Helpers,
    names::{Name, Names, Scope},
    read::{self, Bounds},
    value::Value,
};
use crate::definition::{
    Problem,
    errors::{ErrorRule, Means, Wait},
    request::Format,
};

/// The largest body that is read whole.
const ANSWER_MOST: usize = 32 << 20;

/// The longest that a provider is waited for.
pub const WAIT_MOST: Duration = Duration::from_secs(86_400);

/// An answer. Header names are in lower case.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: &'a [(String, String)],
    /// The body, decompressed.
    pub body: &'a [u8],
}

impl std::fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

impl Answer<'_> {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// When the provider made it, by its own clock.
    pub fn date(&self) -> Option<Timestamp> {
        self.header("date").and_then(http_date)
    }

    /// The headers as an object.
    pub(crate) fn header_values(&self) -> Value {
        let mut seen: Vec<(&str, Value)> = Vec::new();
        for (name, value) in self.headers {
            if !seen.iter().any(|(known, _)| known == name) {
                seen.push((name, Value::text(value)));
            }
        }
        Value::object(seen).unwrap_or(Value::null())
    }

    /// What it asks to wait: `Retry-After` as seconds, a date or a moment, within bounds.
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        self.header("retry-after").and_then(|text| wait_of(text, now))
    }
}

/// A wait as seconds, a date or a moment (seconds or milliseconds since 1970), at most a day.
pub(crate) fn wait_of(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<f64>() {
        Ok(number) if !number.is_finite() || number < 0.0 => return None,
        Ok(number) if number >= 1e11 => moment((number * 1e3) as i64).since(now),
        Ok(number) if number >= 1e9 => moment((number * 1e6) as i64).since(now),
        Ok(number) => Duration::from_secs_f64(number.min(WAIT_MOST.as_secs_f64())),
        Err(_) => http_date(text).or_else(|| text.parse().ok())?.since(now),
    };
    Some(wait.min(WAIT_MOST))
}

fn moment(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// A date as HTTP has it.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()?;
    Some(Timestamp::from_micros(parsed.as_microsecond()))
}

/// An answer that is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it means.
    pub means: Means,
    /// How long the provider asks to wait.
    pub wait: Option<Duration>,
    /// The provider's code for it.
    pub says: Option<String>,
    /// The status.
    pub status: u16,
    /// What is wrong with it, where it is a bad answer.
    pub what: Option<String>,
}

impl Refusal {
    pub(crate) fn bad(status: u16, what: impl Into<String>) -> Self {
        Self { means: Means::Bad, wait: None, says: None, status, what: Some(what.into()) }
    }

    /// What happened, in words, without values.
    pub fn words(&self) -> String {
        let status = self.status;
        let said = self.says.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
        match self.means {
            Means::Limited => format!("the provider limits our requests: HTTP {status}{said}"),
            Means::Unauthorized | Means::Refresh => {
                format!("the provider refuses the credentials: HTTP {status}{said}")
            }
            Means::Forbidden => format!("the provider refuses this resource: HTTP {status}{said}"),
            Means::Gone => format!("it is not there: HTTP {status}{said}"),
            Means::Transient => format!("the provider is in trouble: HTTP {status}{said}"),
            Means::Restart => format!("the provider wants the listing to begin anew: HTTP {status}{said}"),
            Means::Expired => {
                format!("the provider does not keep our position any more: HTTP {status}{said}")
            }
            Means::None => format!("nothing: HTTP {status}{said}"),
            Means::Bad => match &self.what {
                Some(what) => format!("{what}: HTTP {status}{said}"),
                None => format!("the provider answered HTTP {status}{said}"),
            },
        }
    }
}

/// Where an answer stands: it decides whether `none` may be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A full listing, or what is not a listing at all.
    Whole,
    /// A delta, a child or an enrichment: it may say that there is nothing.
    Part,
}

/// A definition's `errors`, compiled.
#[derive(Debug)]
pub(crate) struct Errors(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    when: Expression,
    means: Means,
    wait: Option<Waiting>,
    says: Option<Expression>,
}

#[derive(Debug)]
enum Waiting {
    For(Duration),
    Said(Expression),
}

impl Errors {
    pub(crate) fn compile(written: &[ErrorRule], scope: &Scope, helpers: &Helpers) -> Result<Self, Problem> {
        let scope = scope.clone().and(Name::Status).and(Name::Headers);
        let compile = |(index, rule): (usize, &ErrorRule)| {
            let at = |key: &'static str| move |problem: Problem| problem.at(key).at(index.to_string());
            Ok(Rule {
                when: Expression::compile(&rule.when, &scope, helpers).map_err(at("when"))?,
                means: rule.means,
                wait: match &rule.wait {
                    None => None,
                    Some(Wait::For(duration)) => Some(Waiting::For(*duration)),
                    Some(Wait::Said(said)) => {
                        Some(Waiting::Said(Expression::compile(said, &scope, helpers).map_err(at("wait"))?))
                    }
                },
                says: match &rule.says {
                    None => None,
                    Some(says) => Some(Expression::compile(says, &scope, helpers).map_err(at("says"))?),
                },
            })
        };
        Ok(Self(written.iter().enumerate().map(compile).collect::<Result<_, Problem>>()?))
    }

    /// Reads an answer: its body, or what it means instead.
    pub(crate) fn read(
        &self,
        answer: Answer<'_>,
        format: Format,
        standing: Standing,
        names: &Names,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        let body = read::body(format, answer.body, Bounds::whole(ANSWER_MOST));
        let nothing = Value::null();
        let seen = body.as_ref().unwrap_or(&nothing);
        let names = names_of(answer, names);
        if let Some(refusal) = self.told(answer, seen, standing, &names, now) {
            return Err(refusal);
        }
        match by_status(answer.status, answer.header("retry-after").is_some()) {
            None => body.map_err(|trouble| Refusal::bad(answer.status, trouble.to_string())),
            Some(Means::None) if standing == Standing::Whole => {
                Err(Refusal::bad(answer.status, "a full listing can't be unchanged"))
            }
            Some(means) => {
                let wait = answer.retry_after(now);
                Err(Refusal { means, wait, says: None, status: answer.status, what: None })
            }
        }
    }

    fn told(
        &self,
        answer: Answer<'_>,
        body: &Value,
        standing: Standing,
        names: &Names,
        now: Timestamp,
    ) -> Option<Refusal> {
        let applies = |rule: &&Rule| rule.when.holds(body, names).unwrap_or(false);
        let rule = self.0.iter().find(applies)?;
        let means = match (rule.means, standing) {
            (Means::None, Standing::Whole) => Means::Bad,
            (means, Standing::Whole | Standing::Part) => means,
        };
        let wait = match &rule.wait {
            None => answer.retry_after(now),
            Some(Waiting::For(duration)) => Some(*duration),
            Some(Waiting::Said(said)) => {
                let text = said.one(body, names).ok();
                text.and_then(|text| wait_of(&text.as_text()?, now)).or_else(|| answer.retry_after(now))
            }
        };
        let says = rule.says.as_ref().and_then(|says| says.one(body, names).ok()).as_ref().and_then(code_of);
        Some(Refusal {
            means,
            wait: wait.map(|wait| wait.min(WAIT_MOST)),
            says,
            status: answer.status,
            what: None,
        })
    }
}

/// The names of an answer: `$status` and `$headers`.
pub(crate) fn names_of(answer: Answer<'_>, names: &Names) -> Names {
    let status = Value::from_json(&serde_json::Value::from(answer.status));
    names.clone().with(Name::Status, status).with(Name::Headers, answer.header_values())
}

/// A code: short, without spaces. A sentence may hold values, so it is not passed on.
fn code_of(value: &Value) -> Option<String> {
    let text = value.as_text()?;
    let fits = |it: char| it.is_ascii_alphanumeric() || "_-.:/".contains(it);
    (!text.is_empty() && text.len() <= 64 && text.chars().all(fits)).then(|| text.into_owned())
}

fn by_status(status: u16, asks_to_wait: bool) -> Option<Means> {
    Some(match status {
        200..=299 => return None,
        304 => Means::None,
        401 => Means::Unauthorized,
        403 if asks_to_wait => Means::Limited,
        403 => Means::Forbidden,
        404 | 410 => Means::Gone,
        429 => Means::Limited,
        408 | 425 | 500..=599 => Means::Transient,
        _ => Means::Bad,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::{keys::Read, node::Node};

    fn errors(text: &str) -> Errors {
        let rules = Vec::read(&Node::parse(text).unwrap()).unwrap();
        Errors::compile(&rules, &Scope::default(), &Helpers::default()).unwrap()
    }

    fn answer<'a>(status: u16, headers: &'a [(String, String)], body: &'a str) -> Answer<'a> {
        Answer { status, headers, body: body.as_bytes() }
    }

    const NOW: Timestamp = Timestamp::from_micros(1_795_579_000_000_000);

    fn means(errors: &Errors, answer: Answer<'_>, standing: Standing) -> Option<Means> {
        errors.read(answer, Format::Json, standing, &Names::default(), NOW).err().map(|refusal| refusal.means)
    }

    #[test]
    fn an_answer_means_what_the_definition_says_then_what_its_status_says() {
        let errors = errors(
            "- { when: '$status == 403 and .code == \"RATE\"', means: limited, wait: .after, says: .code }\n\
             - { when: .broken | keys, means: bad }\n- { when: .success == false, means: bad, says: .message }\n\
             - { when: .unchanged, means: none }",
        );
        let none = &[];
        let wait = &[("retry-after".to_owned(), "7".to_owned())];
        for (given, standing, expected) in [
            (answer(200, none, r#"{"a":1}"#), Standing::Whole, None),
            (answer(204, none, ""), Standing::Whole, None),
            (answer(200, none, "\u{feff}{}"), Standing::Whole, None),
            (answer(200, none, "<html>"), Standing::Whole, Some(Means::Bad)),
            (answer(200, none, r#"{"success":false}"#), Standing::Whole, Some(Means::Bad)),
            (answer(403, none, r#"{"code":"RATE"}"#), Standing::Whole, Some(Means::Limited)),
            (answer(403, none, "{}"), Standing::Whole, Some(Means::Forbidden)),
            (answer(403, wait, "{}"), Standing::Whole, Some(Means::Limited)),
            (answer(401, none, "{}"), Standing::Whole, Some(Means::Unauthorized)),
            (answer(404, none, "{}"), Standing::Whole, Some(Means::Gone)),
            (answer(502, none, "<html>"), Standing::Whole, Some(Means::Transient)),
            (answer(400, none, "{}"), Standing::Whole, Some(Means::Bad)),
            (answer(304, none, ""), Standing::Whole, Some(Means::Bad)),
            (answer(304, none, ""), Standing::Part, Some(Means::None)),
            (answer(200, none, r#"{"unchanged":true}"#), Standing::Whole, Some(Means::Bad)),
            (answer(200, none, r#"{"unchanged":true}"#), Standing::Part, Some(Means::None)),
        ] {
            assert_eq!(means(&errors, given, standing), expected, "{given:?} {standing:?}");
        }
    }

    #[test]
    fn a_wait_is_seconds_a_date_or_a_moment_and_never_more_than_a_day() {
        for (text, expected) in [
            ("7", Some(7)),
            ("1.5", Some(1)),
            ("1795579070", Some(70)),
            ("1795579070000", Some(70)),
            ("Wed, 25 Nov 2026 03:57:50 GMT", Some(70)),
            ("2026-11-25T03:57:50Z", Some(70)),
            ("2592000", Some(86_400)),
            ("9999999999999", Some(86_400)),
            ("Sat, 25 Nov 2000 00:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("NaN", None),
        ] {
            assert_eq!(wait_of(text, NOW).map(|wait| wait.as_secs()), expected, "{text}");
        }
    }

    #[test]
    fn the_providers_words_are_a_code_and_never_a_value() {
        let errors = errors("- { when: .error, means: bad, says: .error }");
        let says = |body: &str| {
            let refused =
                errors.read(answer(200, &[], body), Format::Json, Standing::Whole, &Names::default(), NOW);
            refused.unwrap_err().says
        };
        assert_eq!(says(r#"{"error":"NO_SCOPE"}"#).as_deref(), Some("NO_SCOPE"));
        assert_eq!(says(r#"{"error":"Ada Lovelace is not there"}"#), None);
        assert_eq!(says(r#"{"error":["ada@example.com"]}"#), None);
    }
}
