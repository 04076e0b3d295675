//! The definitions that ship: each compiles, and its examples hold.
#![expect(clippy::disallowed_methods, reason = "a test reads the files that ship")]

mod catalogue;
mod drafts;

use std::{collections::BTreeSet, fs, io, path::Path};

use serde::Deserialize;
use serde_json::Value;
use tributary_connectors::{Catalog, Connector, example};
use tributary_schemas::resource::{EventName, Resource};

/// The examples beside a connector's definition: file and text.
fn examples(connector: &Connector) -> io::Result<Vec<(String, String)>> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("definitions").join(connector.name()).join("examples");
    let read = |entry: io::Result<fs::DirEntry>| {
        let file = entry?.path();
        Ok((file.display().to_string(), fs::read_to_string(&file)?))
    };
    fs::read_dir(folder)?.map(read).collect()
}

#[test]
fn every_example_holds() {
    for connector in Catalog::built_in().unwrap().olds() {
        for (file, text) in examples(connector).unwrap() {
            example::check(connector, &file, &text).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// What an example is of, read as far as it takes to see what has one.
#[derive(Deserialize)]
struct Exercised {
    page: Option<PageOf>,
    request: Option<RequestOf>,
}

#[derive(Deserialize)]
struct PageOf {
    resource: Resource,
    records: Vec<Value>,
}

#[derive(Deserialize)]
struct RequestOf {
    events: Vec<EventOf>,
}

#[derive(Deserialize)]
struct EventOf {
    event: EventName,
}

#[test]
fn every_polled_resource_and_every_native_event_has_an_example() {
    let mut missing = Vec::new();
    for connector in Catalog::built_in().unwrap().olds() {
        let mut pages = BTreeSet::new();
        let mut events = BTreeSet::new();
        for (file, text) in examples(connector).unwrap() {
            let example: Exercised =
                serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
            pages.extend(example.page.filter(|page| !page.records.is_empty()).map(|page| page.resource));
            events.extend(
                example.request.into_iter().flat_map(|request| request.events).map(|event| event.event),
            );
        }
        for (resource, _) in connector.polled_resources() {
            if !pages.contains(&resource) {
                missing.push(format!("{}: a page of {resource}", connector.name()));
            }
        }
        for (resource, action) in connector.native().into_iter().flat_map(|native| native.tells()) {
            let event = EventName { resource, action };
            if !events.contains(&event) {
                missing.push(format!("{}: a request that means {event}", connector.name()));
            }
        }
    }
    assert!(missing.is_empty(), "no example shows\n{}", missing.join("\n"));
}

#[test]
fn a_malformed_definition_names_the_file_the_place_and_what_was_expected() {
    for (text, said) in [
        ("name: [", "x.yaml"),
        ("name: x\ntitle: X\ncategory: hris\nsetupp: []", "setupp"),
        ("name: x\ntitle: X", "category"),
        ("name: x\ntitle: X\ncategory: hris\npolled: {hris_people: {}}", "hris_people"),
        ("name: x\ntitle: X\ncategory: hris\nerror: '.a | nonsense('", "not a jq expression"),
        ("name: x y\ntitle: X\ncategory: hris", "expected letters"),
    ] {
        let error = Connector::read("x.yaml", text).unwrap_err().to_string();
        assert!(error.contains("x.yaml") && error.contains(said), "{text}: {error}");
    }
}

/// A definition that polls one resource.
fn polling(resource: &str, fields: &str) -> String {
    format!(
        "{{ name: x, title: X, category: hris, polled: {{ {resource}: {{ listing: keyed, request: {{ url: 'http://x' }}, \
         records: .records, next: 'null', id: .id, {fields} }} }} }}"
    )
}

/// A definition whose webhooks tell of one resource.
fn telling(resource: &str, model: &str, fields: &str) -> String {
    format!(
        "{{ name: x, title: X, category: ats, native: {{ mode: native_manual, signature: {{ hmac: {{ at: {{ header: s }}, \
         parts: [body] }} }}, models: {{ {model}: {{ {fields} }} }}, events: [{{ when: 'true', resource: {resource}, \
         action: created, each: .records, id: .id, model: record }}] }} }}"
    )
}

#[test]
fn a_definition_that_breaks_its_unified_model_is_told_what_the_model_has() {
    for (definition, said) in [
        (
            polling("hris_employees", "fields: { work_mail: .mail }"),
            "polled: hris_employees has no field `work_mail`; did you mean `work_email`?",
        ),
        (
            polling("ats_users", "fields: { department: .team }"),
            "polled: ats_users has no field `department`: expected one of id, remote_id, unified_custom_fields, email, \
             first_name, last_name, name, phone",
        ),
        (
            polling("crm_accounts", "fields: { name: .name }, sets: [phone_number]"),
            "polled: crm_accounts has no field `phone_number`; did you mean `phone_numbers`?",
        ),
        (polling("account", "fields: { name: .name }"), "polled: account has no unified model"),
        (
            polling("lms_assignments", "fields: { status: { from: .s, values: { done: complete } } }"),
            "polled: lms_assignments.status has no value `complete`: expected one of pending, in_progress, completed",
        ),
        (
            polling("hris_employees", "fields: { gender: .gender }"),
            "polled: hris_employees.gender is an enum: expected `from` and `values`",
        ),
        (
            polling("ats_jobs", "fields: { status: { from: .s, values: { open: open } } }"),
            "polled: ats_jobs.status is no enum: expected an expression alone",
        ),
        (
            telling("ats_job_postings", "record", "titel: .title"),
            "native: models.record: ats_job_postings has no field `titel`; did you mean `title`?",
        ),
        (
            telling("ats_job_postings", "record", "status: { from: .s, values: { open: open } }"),
            "native: models.record: ats_job_postings.status has no value `open`: expected one of live, draft, pending, \
             internal, rejected, closed, archived",
        ),
        (
            telling("ats_jobs", "record: { title: .title }, posting", "title: .title"),
            "native: models.posting: no event maps to it",
        ),
    ] {
        let error = Connector::read("x.yaml", &definition).unwrap_err().to_string();
        assert_eq!(error, format!("x.yaml: {said}"), "{definition}");
    }
}

#[test]
fn an_example_whose_record_breaks_its_unified_model_is_told_what_was_expected() {
    let enumerated = "gender: { from: .x, values: { f: female } }";
    for (field, given, said) in [
        ("name: .x", "\"Ada\"", None),
        ("start_date: .x", "\"2026-11-01\"", None),
        ("start_date: .x", "\"2026-11-01T15:09:22Z\"", None),
        (enumerated, "\"f\"", None),
        (enumerated, "\"?\"", None),
        ("name: .x", "1", Some("name: expected a text, found 1")),
        (
            "start_date: .x",
            "\"1 March\"",
            Some(
                "start_date: expected a date-time such as 2026-11-01T15:09:22.961Z, or a date, found \"1 March\"",
            ),
        ),
        ("skills: .x", "{}", Some("skills: expected a list, found {}")),
        ("groups: .x", "[{}, \"a\"]", Some("groups[1]: expected an object, found \"a\"")),
        (
            "citizenships: .x",
            "[\"FR\"]",
            Some("citizenships[0]: expected {\"value\", \"source_value\"}, found \"FR\""),
        ),
    ] {
        let expected = |place: &str| said.map(|said| format!("x.yaml: {place}: hris_employees.{said}"));
        let body = format!("{{\"records\": [{{\"id\": 1, \"x\": {given}}}]}}");

        let polled =
            Connector::read("x", &polling("hris_employees", &format!("fields: {{ {field} }}"))).unwrap();
        let example = format!(
            "{{ shows: it, page: {{ resource: hris_employees, answer: '{body}', records: [{{ id: '1', fields: {{}} }}] }} }}"
        );
        let found = example::check(&polled, "x.yaml", &example).err().map(|error| error.to_string());
        assert_eq!(found, expected("1"), "{field}");

        let native = Connector::read("x", &telling("hris_employees", "record", field)).unwrap();
        let example = format!(
            "{{ shows: it, request: {{ body: '{body}', events: [{{ event: hris_employees.created, id: '1' }}] }} }}"
        );
        let found = example::check(&native, "x.yaml", &example).err().map(|error| error.to_string());
        assert_eq!(found, expected("hris_employees.created"), "{field}");
    }
}

#[test]
fn an_example_whose_event_happened_at_another_time_is_told_when() {
    let definition = telling("ats_job_postings", "record", "title: .title")
        .replace("each: .records", "each: .records, at: .at");
    let connector = Connector::read("x", &definition).unwrap();
    let check = |at: &str| {
        let body = "{\"at\": \"2026-11-01T10:00:00Z\", \"records\": [{\"id\": 1}]}";
        let event = format!("{{ event: ats_job_postings.created, id: '1', at: '{at}' }}");
        let example = format!("{{ shows: it, request: {{ body: '{body}', events: [{event}] }} }}");
        example::check(&connector, "x.yaml", &example).err().map(|error| error.to_string())
    };
    assert_eq!(check("2026-11-01T11:00:00+01:00"), None);
    let said = check("2026-11-01T11:00:00Z").unwrap();
    assert!(said.contains("at: expected 2026-11-01T11:00:00.000Z, found"), "{said}");
}
