//! Reads what a caller sent. What is wrong is named by its field, with what was expected and the nearest name to a
//! misspelt one; never by its value.

use axum::body::{Body, Bytes};
use http::{HeaderMap, header::CONTENT_TYPE};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::http_error::HttpError;

/// The most that a body of the API may hold.
const BODY_BYTES: usize = 1 << 20;
/// How long it may take to arrive.
const BODY_SECONDS: u64 = 30;

/// A request's body, whole.
pub(super) async fn bytes(headers: &HeaderMap, body: Body) -> Result<Bytes, HttpError> {
    let kind = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    if !kind.is_none_or(is_json) {
        return Err(HttpError::unprocessable("content-type: expected application/json"));
    }
    let limit = std::time::Duration::from_secs(BODY_SECONDS);
    match tokio::time::timeout(limit, axum::body::to_bytes(body, BODY_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_over(&error) => {
            Err(HttpError::too_large(format!("body: expected at most {BODY_BYTES} bytes")))
        }
        Ok(Err(_)) => Err(HttpError::bad_request("body: it broke off")),
        Err(_) => Err(HttpError::bad_request("body: it did not arrive in time")),
    }
}

/// JSON, or what clients say when they say nothing (curl's `-d` calls everything a form).
fn is_json(kind: &str) -> bool {
    let (kind, parameters) = kind.split_once(';').unwrap_or((kind, ""));
    let kind = kind.trim().to_ascii_lowercase();
    let parameters = parameters.trim().to_ascii_lowercase();
    let charset = parameters.strip_prefix("charset=").map(|it| it.trim_matches('"'));
    let known = ["application/json", "application/x-www-form-urlencoded"];
    (known.contains(&kind.as_str()) || kind.ends_with("+json")) && charset.is_none_or(|it| it == "utf-8")
}

/// Whether a body was longer than allowed.
pub(crate) fn is_over(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = cause.source();
    }
    false
}

/// A JSON body as a `T`: 400 when it is no JSON, 422 naming the field when it is not as expected.
pub(super) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, HttpError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        HttpError::bad_request(format!(
            "body: expected JSON (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    typed(value, "body")
}

/// A JSON value as a `T`. `whole` is what the value is called where no field is to blame.
pub(super) fn typed<T: DeserializeOwned>(value: Value, whole: &str) -> Result<T, HttpError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { "" } else { &path };
        HttpError::unprocessable(worded(whole, path, &error.inner().to_string()))
    })
}

/// serde's words in ours. Its forms are fixed by a test: a release that changes them fails there.
fn worded(whole: &str, path: &str, said: &str) -> String {
    let quoted =
        |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let inside = |name: &str| match path.rsplit_once('.') {
        _ if path == name => name.to_owned(),
        Some((_, last)) if last == name => path.to_owned(),
        _ if path.is_empty() => name.to_owned(),
        _ => format!("{path}.{name}"),
    };
    if let Some(rest) = said.strip_prefix("unknown field ") {
        // The given name may hold backquotes itself: it ends where the list begins.
        let (given, known) = rest
            .split_once("`, expected ")
            .or_else(|| rest.split_once("`, there are "))
            .unwrap_or((rest, ""));
        let given = given.trim_matches('`');
        return format!("{}: unknown field: {}", inside(given), advice(given, &quoted(known)));
    }
    let at = if path.is_empty() { whole } else { path };
    if let Some(rest) = said.strip_prefix("unknown variant ") {
        let (given, known) = rest.split_once("`, expected ").unwrap_or((rest, ""));
        return format!("{at}: {}", advice(given.trim_matches('`'), &quoted(known)));
    }
    if let Some(rest) = said.strip_prefix("missing field ") {
        return format!("{}: required", inside(rest.trim_matches('`')));
    }
    // `invalid type: string "…", expected …` holds the value.
    match said.split_once(", expected ") {
        Some((before, expected)) if before.starts_with("invalid ") => format!("{at}: expected {expected}"),
        _ => format!("{at}: {said}"),
    }
}

/// What a misspelt name may have meant.
pub(super) fn advice(given: &str, known: &[String]) -> String {
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&given.to_ascii_lowercase(), name), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3);
    match (nearest, known) {
        (Some((_, name)), _) => format!("did you mean `{name}`?"),
        (None, []) => "expected none here".into(),
        (None, known) => format!("expected one of {}", known.join(", ")),
    }
}

/// Query parameters as a `T`, whose schema tells the names and which of them are numbers.
pub(super) fn query<T: DeserializeOwned>(text: &str, schema: &Map<String, Value>) -> Result<T, HttpError> {
    let mut given = Map::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        let Some(known) = schema.get(name.as_ref()) else {
            let known: Vec<String> = schema.keys().cloned().collect();
            let name: String = name.chars().take(64).collect();
            return Err(HttpError::unprocessable(format!(
                "{name}: unknown parameter: {}",
                advice(&name, &known)
            )));
        };
        let value = match value.parse::<u64>() {
            Ok(number) if is_a(known, "integer") => number.into(),
            _ if is_a(known, "boolean") && value == "true" => true.into(),
            _ if is_a(known, "boolean") && value == "false" => false.into(),
            _ if is_a(known, "array") => value.split(',').map(Value::from).collect(),
            _ => Value::from(value.as_ref()),
        };
        if given.insert(name.to_string(), value).is_some() {
            return Err(HttpError::unprocessable(format!("{name}: expected once")));
        }
    }
    typed(Value::Object(given), "query")
}

fn is_a(schema: &Value, kind: &str) -> bool {
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(|it| it == kind),
        single => single == kind,
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    use super::{super::bounds::*, *};

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Sample {
        interval: Option<IntervalSeconds>,
        #[serde(default)]
        label: Change<Label>,
        #[serde(default)]
        name: Set<Name>,
        list: Option<List<Inner, 1, 2>>,
        setup: Option<Named<Text<1, 8>, 2>>,
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Inner {
        value: Whole<0, 5>,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Polled,
        Native,
    }

    fn message(error: HttpError) -> String {
        error.message().to_owned()
    }

    #[test]
    fn a_body_that_is_not_as_expected_is_told_by_its_field() {
        for (body, expected) in [
            (r#"{"interval":315360000}"#, "interval: expected a whole number from 300 to 2592000"),
            (r#"{"interval":-1}"#, "interval: expected a whole number from 300 to 2592000"),
            (r#"{"interval":299}"#, "interval: expected a whole number from 300 to 2592000"),
            (r#"{"interval":1e300}"#, "interval: expected a whole number from 300 to 2592000"),
            (r#"{"interval":300.5}"#, "interval: expected a whole number from 300 to 2592000"),
            (r#"{"interval":99999999999999999999}"#, "interval: expected a whole number from 300 to 2592000"),
            (r#"{"interval":"hunter2"}"#, "interval: expected a whole number from 300 to 2592000"),
            (r#"{"intervall":300}"#, "intervall: unknown field: did you mean `interval`?"),
            (
                r#"{"zzz":300}"#,
                "zzz: unknown field: expected one of interval, label, name, list, setup, kind",
            ),
            (r#"{"label":"a\nb"}"#, "label: expected a text without control characters such as line ends"),
            (r#"{"name":null}"#, "name: expected a value: this field can't be cleared"),
            (r#"{"name":"  "}"#, "name: expected 1 to 256 characters"),
            (r#"{"list":[]}"#, "list: expected 1 to 2 elements"),
            (r#"{"list":[{"value":1},{"valeu":2}]}"#, "list[1].valeu: unknown field: did you mean `value`?"),
            (r#"{"list":[{"value":6}]}"#, "list[0].value: expected a whole number from 0 to 5"),
            (r#"{"list":[{}]}"#, "list[0].value: required"),
            (r#"{"setup":{"a":"123456789"}}"#, "setup.a: expected 1 to 8 characters"),
            (r#"{"setup":{"a":"1","b":"1","c":"1"}}"#, "setup: expected at most 2 names"),
            (r#"{"kind":"poled"}"#, "kind: did you mean `polled`?"),
            (r#"{"kind":5}"#, "kind: expected string or map"),
            (r#"[]"#, "body: "),
            (r#""x""#, "body: expected struct Sample"),
        ] {
            let refused = message(json::<Sample>(body.as_bytes()).unwrap_err());
            assert!(refused.starts_with(expected), "{body}: {refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        for body in [r#"{"interval":300.0}"#, r#"{"label":null}"#, r#"{"interval":null}"#, "{}"] {
            json::<Sample>(body.as_bytes()).unwrap();
        }
        assert_eq!(json::<Sample>(br#"{"label":null}"#).unwrap().label, Change::Clear);
        assert_eq!(json::<Sample>(b"{}").unwrap().label, Change::Keep);
        for body in ["", "{", "nonsense", &"[".repeat(10_000)] {
            assert_eq!(json::<Sample>(body.as_bytes()).unwrap_err().status(), 400, "{body}");
        }
    }

    #[test]
    fn a_query_is_read_by_its_schema() {
        #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
        struct Filter {
            page_size: Option<PageSize>,
            provider: Option<Slug>,
            events: Option<List<Slug, 1, 2>>,
        }
        let schema = schemars::schema_for!(Filter);
        let schema = schema.as_object().unwrap()["properties"].as_object().unwrap().clone();
        for (text, expected) in [
            ("page_size=0", "page_size: expected a whole number from 1 to 100"),
            ("page_size=101", "page_size: expected a whole number from 1 to 100"),
            ("page_size=x", "page_size: expected a whole number from 1 to 100"),
            ("page_size=", "page_size: expected a whole number from 1 to 100"),
            ("pagesize=5", "pagesize: unknown parameter: did you mean `page_size`?"),
            ("provider=a&provider=b", "provider: expected once"),
            ("provider=a%20b", "provider: expected 1 to 64 characters"),
            ("events=a,b,c", "events: expected 1 to 2 elements"),
        ] {
            let refused = message(query::<Filter>(text, &schema).unwrap_err());
            assert!(refused.starts_with(expected), "{text}: {refused}");
        }
        let found: Filter = query("page_size=5&provider=demo&events=a,b", &schema).unwrap();
        assert_eq!((found.page_size.unwrap().get(), found.events.unwrap().as_slice().len()), (5, 2));
    }

    #[test]
    fn json_is_what_says_so_or_says_nothing() {
        for (kind, expected) in [
            ("application/json", true),
            ("application/JSON; charset=UTF-8", true),
            ("application/merge-patch+json", true),
            ("application/x-www-form-urlencoded", true),
            ("application/json; charset=utf-16", false),
            ("text/plain", false),
            ("multipart/form-data; boundary=x", false),
        ] {
            assert_eq!(is_json(kind), expected, "{kind}");
        }
    }
    #[test]
    fn the_schema_of_a_type_says_its_range() {
        let schema = serde_json::to_value(schemars::schema_for!(Sample)).unwrap();
        assert_eq!(schema["properties"]["interval"]["maximum"], json!(2_592_000));
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["properties"]["label"]["type"], json!(["string", "null"]));
    }
}
