//! What requests mean, as tables; and what no request may bring about.

use proptest::prelude::*;

use super::*;
use crate::engine::connector::Connector;

const HEAD: &str = "language: 1
name: acme
title: Acme
category: hris
defaults: { base: https://acme.example }
manual: { secret: ours, steps: [\"At {url} with {secret}\"] }
events:
  verify: { token: $headers.token }
";

fn connector(events: &str) -> Connector {
    let indented: String = events.lines().map(|line| format!("  {}\n", line.trim_end())).collect();
    Connector::read("acme.yaml", &format!("{HEAD}{indented}")).unwrap_or_else(|error| panic!("{error}"))
}

fn told(connector: &Connector, headers: &[(&str, &str)], body: &str) -> Told {
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    connector.native().unwrap().tell(&headers, body.as_bytes(), "tr1!")
}

fn verified(body: &[u8]) -> Verified {
    let request = Inbound { method: "POST", url: "https://in.example", headers: &[], body };
    Verified { body: request.json(), headers: Vec::new(), delivery: DeliveryId::None }
}

/// Events and what is set aside, a line each.
fn lines(told: &Told, body: &str) -> Vec<String> {
    let event = |it: &NativeEvent| {
        let raw = it.raw.text().unwrap_or_else(|| "whole".into());
        assert_eq!(it.raw.len(body.len()), it.raw.text().map_or(body.len(), |raw| raw.len()));
        let data = it.event_data.as_deref().unwrap_or("-");
        format!("{}.{} {} {raw} {data}", it.resource, it.action, it.remote_id.as_str())
    };
    let aside = |it: &SetAside| format!("{}: {it}", it.reason.name());
    told.events.iter().map(event).chain(told.set_aside.iter().map(aside)).collect()
}

const BATCH: &str = r#"items: .events
event: .type
at: .at
delivery: .id
keep: [X-Kind]
rules:
  - { event: ping, ignore: true }
  - { event: hired, emit: hris_employees.created, each: .people, id: .id, map: { name: .name, start_date: .start } }
  - { event: fired, emit: hris_employees.deleted, id: .person }
  - { event: moved, when: '.deep.er == 1', emit: hris_employments.updated, id: { person: .person, job: .job } }
"#;

#[test]
fn an_element_that_cannot_be_told_is_set_aside_alone() {
    let acme = connector(BATCH);
    for (body, expected) in [
        (
            r#"{"v":2,"events":[{"type":"fired","person":1},{"type":"fired"},{"type":"fired","person":"x"}]}"#,
            vec![
                r#"hris_employees.deleted 1 {"v":2,"events":[{"type":"fired","person":1}]} -"#,
                r#"hris_employees.deleted x {"v":2,"events":[{"type":"fired","person":"x"}]} -"#,
                "no_id: item 1, hris_employees.deleted 0: the record has no id",
            ],
        ),
        (
            r#"{"events":[{"type":"hired","people":[{"id":7,"name":"A"},{"id":8,"start":"soon"},{"id":9}]},{"type":"hired"}]}"#,
            vec![
                r#"hris_employees.created 7 {"events":[{"type":"hired","people":[{"id":7,"name":"A"}]}]} {"id":"dHIxIWlkOjc","name":"A","remote_id":"7"}"#,
                r#"hris_employees.created 9 {"events":[{"type":"hired","people":[{"id":9}]}]} -"#,
                "unmapped: item 0, hris_employees.created 1: the record does not map (start_date: expected a date in a usual spelling, found another text)",
                "no_id: item 1, hris_employees.created 0: the record has no id",
            ],
        ),
        (
            r#"{"events":[{"type":"moved","deep":"canary"},{"type":"moved","person":1,"job":"2","deep":{"er":1}}]}"#,
            vec![
                r#"hris_employments.updated 1|2 {"events":[{"type":"moved","person":1,"job":"2","deep":{"er":1}}]} -"#,
                "failed: item 0: an expression of the definition fails on it (when: the expression failed)",
            ],
        ),
        (r#"{"events":[{"type":"ping"},{"type":"other"},{}]}"#, vec![]),
        (r#"{"events":[]}"#, vec![]),
        (r#"{"people":[]}"#, vec!["no_items: the batch has no items where the definition has them"]),
        ("no json", vec!["unreadable: the body can't be read (not JSON)"]),
    ] {
        let found = lines(&told(&acme, &[], body), body);
        let found: Vec<String> = found.iter().map(|line| line.replace('\u{1f}', "|")).collect();
        assert_eq!(found, expected, "{body}");
    }
    let unmatched = told(&acme, &[], r#"{"events":[{"type":"ping"},{"type":"other"},{}]}"#).unmatched;
    assert_eq!(unmatched, 2);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    assert_eq!(told(&acme, &[], &deep).set_aside[0].reason, SetAsideReason::Unreadable);
}

#[test]
fn a_moment_is_one_in_any_usual_spelling_or_none() {
    let acme = connector(BATCH);
    for (at, expected, untimed) in [
        ("\"2026-11-01T15:09:22Z\"", Some(1_793_545_762), 0),
        ("\"2026-11-01T15:09Z\"", Some(1_793_545_740), 0),
        ("\"2026-11-01T16:09:22+01\"", Some(1_793_545_762), 0),
        ("\"Sun, 01 Nov 2026 15:09:22 GMT\"", Some(1_793_545_762), 0),
        ("\"2026-11-01 15:09:22 UTC\"", Some(1_793_545_762), 0),
        ("1793545762", Some(1_793_545_762), 0),
        ("1793545762000", Some(1_793_545_762), 0),
        ("null", None, 0),
        ("\"yesterday\"", None, 1),
        ("true", None, 1),
    ] {
        let body = format!(r#"{{"events":[{{"type":"fired","person":1,"at":{at}}}]}}"#);
        let told = told(&acme, &[], &body);
        let found = told.events[0].occurred_at.map(|at| at.as_micros() / 1_000_000);
        assert_eq!((found, told.untimed), (expected, untimed), "{at}");
    }
}

#[test]
fn a_body_without_a_list_goes_on_whole_and_one_with_many_names_costs_no_copy() {
    let acme = connector(
        "event: .type\nrules:\n  - { event: gone, emit: hris_employees.deleted, each: .ids, id: . }\n  - { event: one, emit: hris_employees.deleted, id: .id }\n",
    );
    let told_one = told(&acme, &[], r#"{"type":"one","id":1}"#);
    assert!(told_one.events[0].raw.is_whole());
    let ids = |many: usize| (0..many).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    let body = format!(r#"{{"type":"gone","ids":[{}],"pad":"{}"}}"#, ids(10_000), "x".repeat(900_000));
    let many = told(&acme, &[], &body);
    assert_eq!(many.events.len(), 10_000);
    let lengths: usize = many.events.iter().map(|event| event.raw.len(body.len())).sum();
    assert!(lengths > 9_000_000_000, "together they would be {lengths} bytes, and none is made");
    let body = format!(r#"{{"type":"gone","ids":[{}]}}"#, ids(EVENTS_MOST + 1));
    assert_eq!(
        lines(&told(&acme, &[], &body), &body),
        ["too_many: more events than one request may tell: expected at most 16384"]
    );
}

#[test]
fn a_request_says_what_is_to_be_done_beside_its_events() {
    let acme = Connector::read(
        "acme.yaml",
        &format!(
            "{HEAD}  event: .type\n  rules:\n  - {{ event: changed, trigger: [hris_employees] }}\n  - {{ event: lost, lifecycle: lost }}\n  - {{ event: hired, emit: hris_employees.created, id: .id, fetch: true }}\n  - {{ event: ping, ignore: true }}\nresources:\n  hris_employees:\n    list: {{ call: GET /people, records: . }}\n    page: none\n    id: .id\n    map: {{ name: .name }}\n    get: {{ call: 'GET /people/{{.id}}' }}\n"
        ),
    );
    let acme = acme.unwrap_or_else(|error| panic!("{error}"));
    let asks = |body: &str| acme.native().unwrap().asks(&verified(body.as_bytes()));
    assert_eq!(asks(r#"{"type":"ping"}"#), Asks::default());
    assert_eq!(asks(r#"{"type":"changed"}"#).trigger, [Resource::HrisEmployees].into());
    assert_eq!(asks(r#"{"type":"lost"}"#).lifecycle, Some(crate::definition::events::Lifecycle::Lost));
    let hired = asks(r#"{"type":"hired","id":42}"#);
    assert!(
        hired.tells && hired.fetch.iter().all(|it| it.remote_id.as_str() == "42") && hired.fetch.len() == 1
    );
    assert!(asks("no json").tells, "what can't be read is unify's to set aside");
}

#[test]
fn a_handshake_is_answered_before_anything_is_verified() {
    let acme = connector(
        "handshakes:\n  - { when: $query.challenge, answer: { text: $query.challenge } }\n  - { when: '.type == \"url_verification\"', answer: { status: 201, json: { challenge: .challenge }, headers: { X-Ours: '{.type}' } } }\nevent: .type\nrules:\n  - { event: x, ignore: true }\n",
    );
    let hear = |url: &str, body: &str| {
        let request = Inbound { method: "GET", url, headers: &[], body: body.as_bytes() };
        acme.native().unwrap().hear(&request, Names::new(), &[b"s"], Timestamp::from_micros(0))
    };
    let reply = |heard| match heard {
        Heard::Handshake(reply) => Some(reply),
        Heard::Refused(_) | Heard::Verified(_) => None,
    };
    let asked = reply(hear("https://in.example/n?challenge=a%20b%3Cscript%3E", "")).unwrap();
    assert_eq!(
        (asked.status, &*asked.body, asked.content_type),
        (200, "a b<script>", "text/plain; charset=utf-8")
    );
    let asked =
        reply(hear("https://in.example/n", r#"{"type":"url_verification","challenge":"x"}"#)).unwrap();
    assert_eq!((asked.status, &*asked.body), (201, r#"{"challenge":"x"}"#));
    assert_eq!(asked.headers, [("x-ours".to_owned(), "url_verification".to_owned())]);
    let long = format!("https://in.example/n?challenge={}", "x".repeat(10_000));
    for (url, body) in
        [("https://in.example/n", r#"{"type":7}"#), ("https://in.example/n?challenge=", "["), (&long, "")]
    {
        assert!(reply(hear(url, body)).is_none() || url.ends_with('='), "{url}");
    }
}

#[test]
fn what_tells_a_delivery_from_others_is_its_own_or_all_items_say_together() {
    let id = |written: &str, body: &str| {
        let acme = connector(&format!("{written}\nrules:\n  - {{ when: 'true', ignore: true }}\n"));
        let headers = [("token".to_owned(), "s".to_owned()), ("x-id".to_owned(), "h1".to_owned())];
        let request =
            Inbound { method: "POST", url: "https://in.example", headers: &headers, body: body.as_bytes() };
        match acme.native().unwrap().hear(&request, Names::new(), &[b"s"], Timestamp::from_micros(0)) {
            Heard::Verified(verified) => verified.delivery,
            other => panic!("{other:?}"),
        }
    };
    let declared = |text: &str| DeliveryId::Declared(text.into());
    for (written, body, expected) in [
        ("delivery: .id", r#"{"id":"a"}"#, declared("a")),
        ("delivery: .id", r#"{"id":7}"#, declared("7")),
        ("delivery: .id", "{}", DeliveryId::None),
        ("delivery: [.id, .type]", r#"{"id":"a","type":"b"}"#, declared(r#"["a","b"]"#)),
        ("delivery: [.id, .type]", "{}", DeliveryId::None),
        ("delivery: $headers.x-id", "{}", declared("h1")),
        ("delivery: none", r#"{"id":"a"}"#, DeliveryId::None),
        ("items: .\ndelivery: .id", r#"[{"id":"a"},{"id":"b"}]"#, declared(r#""a","b""#)),
        ("items: .\ndelivery: .id", r#"[{"id":"a"},{}]"#, DeliveryId::None),
        ("items: .\ndelivery: .id", "[]", DeliveryId::None),
    ] {
        assert_eq!(id(written, body), expected, "{written} {body}");
    }
    assert_ne!(id("delivery: digest", "{}"), id("delivery: digest", "{ }"));
}

#[test]
fn a_definition_that_reads_what_unify_never_sees_is_refused() {
    for (events, expected) in [
        (
            "event: $headers.x-type\nrules:\n  - { event: a, ignore: true }",
            "events.event: the header `x-type` does not go on: add it to `keep`",
        ),
        ("event: $query.x\nrules:\n  - { event: a, ignore: true }", "events.event: no name `$query`"),
        (
            "event: .t\nrules:\n  - { event: a, emit: hris_employees.created, id: .id, map: { name: $setup.x } }",
            "no name `$setup`",
        ),
        (
            "event: .t\nrules:\n  - { event: a, emit: hris_employees.created, id: .id, map: { nam: .x } }",
            "did you mean `name`?",
        ),
        (
            "answer: 404\nevent: .t\nrules:\n  - { event: a, ignore: true }",
            "events.answer: expected a status of success",
        ),
    ] {
        let indented: String = events.lines().map(|line| format!("  {line}\n")).collect();
        let error = Connector::read("acme.yaml", &format!("{HEAD}{indented}")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\nis not\n{expected}");
    }
}

proptest! {
    /// Whatever the body: what comes in is told or set aside, and no element sees another's part.
    #[test]
    fn no_element_sees_anothers(people in prop::collection::vec((0..3_u8, 0..4_usize), 0..8)) {
        let acme = connector(BATCH);
        let items: Vec<String> = people.iter().enumerate().map(|(item, (kind, many))| match kind {
            0 => format!(r#"{{"type":"fired","person":"secret-{item}-0"}}"#),
            1 => {
                let parts: Vec<String> = (0..*many).map(|part| format!(r#"{{"id":"secret-{item}-{part}"}}"#)).collect();
                format!(r#"{{"type":"hired","people":[{}]}}"#, parts.join(" , "))
            }
            _ => format!(r#"{{"type":"hired","people":"secret-{item}-0"}}"#),
        }).collect();
        let body = format!(r#" {{ "v" : 1, "events" : [ {} ] , "w":{{}}}} "#, items.join(",\n"));
        let told = told(&acme, &[], &body);
        let expected: usize = people.iter().map(|(kind, many)| match kind { 0 => 1, 1 => *many, _ => 0 }).sum();
        prop_assert_eq!(told.events.len(), expected);
        for event in &told.events {
            let raw = event.raw.text().unwrap();
            prop_assert_eq!(raw.matches("secret-").count(), 1, "{}", raw);
            prop_assert!(raw.contains(event.remote_id.as_str()));
            prop_assert_eq!(event.raw.len(body.len()), raw.len());
            prop_assert!(serde_json::from_str::<serde_json::Value>(&raw).is_ok());
        }
        for aside in &told.set_aside {
            prop_assert!(!aside.to_string().contains("secret"), "{}", aside);
        }
    }

    #[test]
    fn nothing_that_comes_in_breaks_it(body in any::<Vec<u8>>()) {
        let acme = connector(BATCH);
        let native = acme.native().unwrap();
        let told = native.tell(&[], &body, "tr1!");
        let asks = native.asks(&verified(&body));
        prop_assert_eq!(asks.tells, !told.events.is_empty() || !told.set_aside.is_empty());
    }
}
