//! The examples beside a definition: what a provider sends, and what we make of it. They are the definition's tests.

use serde::Deserialize;
use serde_json::{Map, Value};
use tributary_schemas::{
    resource::{EventName, Resource},
    time::Timestamp,
};

use crate::{
    Connector, conformance,
    legacy::DefinitionError,
    polling::{Answer, More, Scope, Setup},
};

/// An example of one file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    /// What it shows, in a sentence.
    #[expect(dead_code, reason = "for readers of the file")]
    shows: String,
    /// A page as the provider answered.
    page: Option<PageExample>,
    /// A request as the provider sent it.
    request: Option<RequestExample>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PageExample {
    resource: Resource,
    #[serde(default)]
    setup: std::collections::BTreeMap<String, String>,
    answer: String,
    records: Vec<RecordExample>,
    #[serde(default)]
    more: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordExample {
    id: String,
    /// Fields that it must have; others may be there.
    fields: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestExample {
    body: String,
    events: Vec<EventExample>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventExample {
    event: EventName,
    id: String,
    /// When it happened, by the provider's clock.
    at: Option<Timestamp>,
    /// Fields that its `event_data` must have.
    #[serde(default)]
    data: Map<String, Value>,
}

/// Runs an example against its connector.
///
/// # Errors
/// What differs, and in which file.
pub fn check(connector: &Connector, file: &str, text: &str) -> Result<(), DefinitionError> {
    let wrong = |problem: String| DefinitionError { file: file.to_owned(), problem };
    let example: Example = serde_saphyr::from_str(text).map_err(|error| wrong(error.to_string()))?;
    if let Some(page) = &example.page {
        page.check(connector).map_err(wrong)?;
    }
    if let Some(request) = &example.request {
        request.check(connector).map_err(wrong)?;
    }
    if example.page.is_none() && example.request.is_none() {
        return Err(wrong("expected `page` or `request`".into()));
    }
    Ok(())
}

impl PageExample {
    fn check(&self, connector: &Connector) -> Result<(), String> {
        let polled =
            connector.polled(self.resource).ok_or_else(|| format!("{} is not polled", self.resource))?;
        let mut listing = polled.list(Scope::Full, Setup(self.setup.clone()));
        let answer = Answer { status: 200, retry_after: None, body: self.answer.as_bytes() };
        let page = listing.answer(answer).map_err(|error| error.to_string())?;
        if (page.more == More::Yes) != self.more {
            return Err(format!("more: expected {}, found {:?}", self.more, page.more));
        }
        if page.records.len() != self.records.len() {
            return Err(format!("expected {} records, found {}", self.records.len(), page.records.len()));
        }
        for (expected, found) in self.records.iter().zip(&page.records) {
            if expected.id != found.remote_id.as_str() {
                return Err(format!("expected id {}, found {}", expected.id, found.remote_id));
            }
            if let Some(mapped) = &found.mapped {
                conformance::check_record(self.resource, mapped)
                    .map_err(|why| format!("{}: {why}", expected.id))?;
            }
            holds(&expected.fields, found.mapped.as_ref())
                .map_err(|why| format!("{}: {why}", expected.id))?;
        }
        Ok(())
    }
}

impl RequestExample {
    fn check(&self, connector: &Connector) -> Result<(), String> {
        let native = connector.native().ok_or("the connector is not native")?;
        let found = native.events(&[], self.body.as_bytes()).map_err(|error| error.to_string())?;
        let names: Vec<String> =
            found.iter().map(|it| format!("{}.{} {}", it.resource, it.action, it.remote_id)).collect();
        let expected: Vec<String> = self.events.iter().map(|it| format!("{} {}", it.event, it.id)).collect();
        if names != expected {
            return Err(format!("expected {expected:?}, found {names:?}"));
        }
        for (expected, found) in self.events.iter().zip(&found) {
            if let Some(data) = &found.event_data {
                conformance::check_record(found.resource, data)
                    .map_err(|why| format!("{}: {why}", expected.event))?;
            }
            if let Some(at) = expected.at.filter(|at| Some(*at) != found.occurred_at) {
                let occurred = found.occurred_at.map_or("none".into(), |at| at.to_string());
                return Err(format!("{}: at: expected {at}, found {occurred}", expected.event));
            }
            holds(&expected.data, found.event_data.as_ref())
                .map_err(|why| format!("{}: {why}", expected.event))?;
        }
        Ok(())
    }
}

fn holds(expected: &Map<String, Value>, found: Option<&Map<String, Value>>) -> Result<(), String> {
    for (name, value) in expected {
        let held = found.and_then(|found| found.get(name)).unwrap_or(&Value::Null);
        if held != value {
            return Err(format!("{name}: expected {value}, found {held}"));
        }
    }
    Ok(())
}
