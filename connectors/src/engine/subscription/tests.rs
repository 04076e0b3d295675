//! The steps over the drafts of real providers: what is asked, and what the answers mean.

use std::collections::BTreeMap;

use serde_json::json;
use tributary_schemas::time::Timestamp;

use super::*;
use crate::definition::setup::SetupKind;
use crate::engine::{
    auth::{Credentials, Session},
    connector::Connector,
    outcome::Answer,
    request::Request,
};

const NOW: Timestamp = Timestamp::from_micros(1_795_579_000_000_000);
const URL: &str = "https://in.example/native/p/token.nonce";

macro_rules! draft {
    ($file:literal) => {
        Arc::new(
            Connector::read($file, include_str!(concat!("../../../tests/quick/drafts/", $file)))
                .unwrap_or_else(|error| panic!("{error}")),
        )
    };
}

fn credentials() -> Credentials {
    let mut credentials = Credentials::default();
    for name in ["base_url", "site", "url"] {
        credentials.setup.insert(name.into(), json!("https://crm.example"));
    }
    credentials.app.insert("app_id".into(), json!("77"));
    credentials
}

fn subject(asks: &[&str]) -> Subject {
    Subject {
        url: URL.into(),
        secret: Some("s3cret".into()),
        asks: asks.iter().map(|it| Asked((*it).into())).collect(),
        uuid: "c0ffee".into(),
        registered: None,
    }
}

fn known(id: &str, taken: &[(&str, &str)]) -> Subject {
    let taken = taken.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    Subject { registered: Some(Registered { id: id.into(), taken }), ..subject(&["a"]) }
}

/// Answers by turns; gives the requests in short and what came of it.
fn walked(
    connector: &Arc<Connector>,
    step: Step,
    subject: &Subject,
    answers: &[(u16, &str)],
) -> (Vec<String>, Outcome) {
    let mut walk = connector.walk(step, subject, &credentials(), NOW);
    let mut asked = Vec::new();
    let mut answers = answers.iter();
    loop {
        match walk.next(&Session::default()) {
            Next::Done(outcome) => {
                assert_eq!(answers.len(), 0, "answers that nobody asked for; asked: {asked:#?}");
                return (asked, outcome);
            }
            Next::Send(request) => {
                asked.push(short(&request));
                match answers.next() {
                    Some((0, _)) => walk.unanswered(),
                    Some((status, body)) => {
                        walk.answered(Answer { status: *status, headers: &[], body: body.as_bytes() }, NOW);
                    }
                    None => panic!("one more request: {asked:#?}"),
                }
            }
        }
    }
}

fn short(request: &Request) -> String {
    let path = &request.url[url::Position::BeforePath..];
    let body = request.body.as_ref().map(|body| format!(" {}", String::from_utf8_lossy(body)));
    format!("{} {path}{}", request.method, body.unwrap_or_default())
}

fn made(outcome: &Outcome) -> (&str, Option<&str>, Option<u64>) {
    match outcome {
        Outcome::Made { registered, secret, life } => {
            (&registered.id, secret.as_deref(), life.map(|life| life.as_secs()))
        }
        other => panic!("{other:?}"),
    }
}

fn reason(outcome: &Outcome) -> RefusedAs {
    match outcome {
        Outcome::Refused(refused) => refused.reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_is_made_as_each_provider_wants_it() {
    let (asked, outcome) = walked(
        &draft!("02-lever.yaml"),
        Step::Create,
        &subject(&["candidateHired"]),
        &[(201, r#"{"data":{"id":"w1","configuration":{"signatureToken":"theirs"}}}"#)],
    );
    assert!(asked[0].ends_with(&format!(
        r#"/webhooks {{"url":"{URL}","event":"candidateHired","configuration":{{"conditions":{{"origins":["applied","sourced","referred","university","agency","internal"]}}}}}}"#
    )), "{asked:?}");
    assert_eq!(made(&outcome), ("w1", Some("theirs"), None));

    let (asked, outcome) = walked(
        &draft!("07-ashby.yaml"),
        Step::Create,
        &subject(&["candidateHire"]),
        &[(200, r#"{"success":true,"results":{"id":"w2"}}"#)],
    );
    assert!(
        asked[0].contains(r#""webhookType":"candidateHire""#) && asked[0].contains("s3cret"),
        "{asked:?}"
    );
    assert_eq!(made(&outcome), ("w2", None, None));

    let (asked, outcome) = walked(
        &draft!("06-microsoft-graph.yaml"),
        Step::Create,
        &subject(&["updated"]),
        &[(201, r#"{"id":"g1","expirationDateTime":"2026-11-26T03:56:40Z"}"#)],
    );
    assert!(asked[0].contains(r#""clientState":"s3cret""#), "{asked:?}");
    assert!(asked[0].contains(r#""expirationDateTime":"2026-12-24T"#), "29 days on: {asked:?}");
    assert_eq!(made(&outcome), ("g1", None, Some(86_400)), "what the provider says, not what was asked");

    let (asked, outcome) = walked(
        &draft!("03-hubspot.yaml"),
        Step::Create,
        &subject(&[r#"{"eventType":"contact.propertyChange","propertyName":"email"}"#]),
        &[(200, "{}"), (201, r#"{"id":5}"#)],
    );
    assert!(asked[0].starts_with("PUT") && asked[0].contains(URL), "{asked:?}");
    assert!(
        asked[1].contains(r#""propertyName":"email""#) && asked[1].contains(r#""active":true"#),
        "{asked:?}"
    );
    assert_eq!(made(&outcome).0, "5");

    let (asked, outcome) = walked(
        &draft!("05-google-drive.yaml"),
        Step::Create,
        &subject(&["change"]),
        &[
            (200, r#"{"startPageToken":"1024"}"#),
            (200, r#"{"id":"c0ffee","resourceId":"r9","expiration":"1795665400000"}"#),
        ],
    );
    assert!(asked[0].contains("startPageToken"), "{asked:?}");
    assert!(asked[1].contains("pageToken=1024") && asked[1].contains(r#""id":"c0ffee""#), "{asked:?}");
    assert_eq!(made(&outcome), ("c0ffee", None, Some(86_400)));
    assert!(matches!(&outcome, Outcome::Made { registered, .. } if registered.taken["resource"] == "r9"));
}

#[test]
fn steps_at_one_name_it_and_what_was_taken_of_it() {
    for (connector, step, subject, answers, expected) in [
        (draft!("02-lever.yaml"), Step::Delete, known("w/1", &[]), (204, ""), "DELETE /v1/webhooks/w%2F1"),
        (
            draft!("05-google-drive.yaml"),
            Step::Delete,
            known("c", &[("resource", "r9")]),
            (204, ""),
            r#"{"id":"c","resourceId":"r9"}"#,
        ),
        (
            draft!("07-ashby.yaml"),
            Step::Resume,
            known("w2", &[]),
            (200, r#"{"success":true}"#),
            r#""enabled":true"#,
        ),
        (
            draft!("09-bottlecrm.yaml"),
            Step::Update,
            Subject { asks: vec![Asked("contact.created".into())], ..known("3", &[]) },
            (200, "{}"),
            r#""events":["contact.created"]"#,
        ),
        (
            draft!("06-microsoft-graph.yaml"),
            Step::Renew,
            known("g1", &[]),
            (200, "{}"),
            "PATCH /v1.0/subscriptions/g1",
        ),
    ] {
        let (asked, outcome) = walked(&connector, step, &subject, &[answers]);
        assert!(asked[0].contains(expected), "{step:?}: {asked:?}");
        assert!(matches!(outcome, Outcome::Done { .. }), "{step:?}: {outcome:?}");
        let (_, outcome) = walked(&connector, step, &subject, &[(404, "")]);
        assert_eq!(outcome, Outcome::Gone, "{step:?}");
    }
}

#[test]
fn nobody_takes_a_doubt_for_a_yes_or_a_no() {
    let lever = draft!("02-lever.yaml");
    let create = |answer: (u16, &str)| walked(&lever, Step::Create, &subject(&["x"]), &[answer]).1;
    for (rule, answer) in [
        ("no answer", (0, "")),
        ("it fell over, perhaps behind it", (502, "<html>")),
        ("made, and nobody knows which", (201, "{}")),
        ("made, and what it says can't be read", (201, "<html>")),
    ] {
        assert!(matches!(create(answer), Outcome::Unclear(_)), "{rule}");
    }
    for (answer, expected) in [
        ((401, "{}"), RefusedAs::CredentialsRefused),
        ((403, "{}"), RefusedAs::MissingScope),
        ((429, "{}"), RefusedAs::ProviderError),
        ((400, "{}"), RefusedAs::ProviderError),
    ] {
        assert_eq!(reason(&create(answer)), expected, "{answer:?}");
    }
    // What was not done can be said of a deletion that fell over: it is tried again.
    let delete = |answer| walked(&lever, Step::Delete, &known("w", &[]), &[answer]).1;
    assert_eq!(reason(&delete((502, ""))), RefusedAs::ProviderError);
    assert!(matches!(delete((0, "")), Outcome::Unclear(_)));
}

#[test]
fn a_list_is_read_to_its_end_or_not_at_all() {
    let lever = draft!("02-lever.yaml");
    let page = |ids: &[&str], next: &str| {
        let data: Vec<_> =
            ids.iter().map(|id| json!({"id": id, "url": URL, "event": "candidateHired"})).collect();
        json!({"data": data, "next": next, "hasNext": !next.is_empty()}).to_string()
    };
    let (first, last) = (page(&["a", "b"], "n2"), page(&["b", "c"], ""));
    let (asked, outcome) =
        walked(&lever, Step::List, &Subject::default(), &[(200, first.as_str()), (200, last.as_str())]);
    assert!(asked[1].contains("offset=n2"), "{asked:?}");
    let Outcome::Listed(shown) = outcome else { panic!("{outcome:?}") };
    assert_eq!(shown.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(shown[0].asks, [Asked("candidateHired".into())]);
    for broken in ["{}", r#"{"data":[{"url":"x"}]}"#, "<html>"] {
        let (_, outcome) =
            walked(&lever, Step::List, &Subject::default(), &[(200, first.as_str()), (200, broken)]);
        assert_eq!(reason(&outcome), RefusedAs::ProviderError, "{broken}");
    }
    let bottle = draft!("09-bottlecrm.yaml");
    let body = r#"{"endpoints":[{"id":3,"url":"u","events":["b","a"],"is_active":false,"disabled_reason":"too many failures"}]}"#;
    let (_, outcome) = walked(&bottle, Step::List, &Subject::default(), &[(200, body)]);
    let Outcome::Listed(shown) = outcome else { panic!("{outcome:?}") };
    assert!(shown[0].paused && shown[0].says.is_none(), "a sentence is not passed on: {shown:?}");
    assert_eq!(shown[0].asks, [Asked("a".into()), Asked("b".into())]);
    let (_, outcome) = walked(
        &draft!("07-ashby.yaml"),
        Step::Look,
        &known("w", &[]),
        &[(200, r#"{"success":true,"results":{"requestUrl":"u","webhookType":"x","enabled":false}}"#)],
    );
    assert!(
        matches!(&outcome, Outcome::Listed(shown) if shown[0].id == "w" && shown[0].paused),
        "{outcome:?}"
    );
}

/// A definition with all that the drafts lack.
fn acme() -> Arc<Connector> {
    Arc::new(
        Connector::read(
            "acme.yaml",
            "language: 1\nname: acme\ntitle: Acme\ncategory: crm\n\
             defaults: { base: https://acme.example }\n\
             resources:\n  crm_contacts: { list: { call: GET /c, records: . }, id: .id, map: { first_name: .name } }\n\
             events: { verify: { hmac: sha256, over: [$body], in: $headers.x-s }, event: .t, rules: [{ event: [a, b], emit: crm_contacts.updated, id: .id }, { event: h, by_hand: true, emit: crm_contacts.created, id: .id }] }\n\
             subscription:\n  per: event\n  create: { call: POST /h, json: { to: $url }, id: .id, duplicate: { status: 409, id: .existing.id } }\n\
             \x20 activate: { call: 'PUT /h/{$subscription.id}/on' }\n  delete: { call: 'DELETE /h/{$subscription.id}', gone: [404] }\n\
             \x20 refused: [{ when: '$status == 400 and .code == \"MAX\"', reason: quota }, { when: .code == \"PING\", reason: handshake_failed }]\n",
        )
        .unwrap_or_else(|error| panic!("{error}")),
    )
}

#[test]
fn what_can_t_be_made_to_speak_is_taken_away_again() {
    let acme = acme();
    let create = |answers: &[(u16, &str)]| walked(&acme, Step::Create, &subject(&["a"]), answers);
    let (asked, outcome) = create(&[(201, r#"{"id":1}"#), (200, "")]);
    assert_eq!(asked[1], "PUT /h/1/on");
    assert_eq!(made(&outcome).0, "1");
    let (asked, outcome) = create(&[(201, r#"{"id":1}"#), (400, r#"{"code":"PING"}"#), (204, "")]);
    assert_eq!(asked[2], "DELETE /h/1");
    assert_eq!(reason(&outcome), RefusedAs::HandshakeFailed);
    let (_, outcome) = create(&[(201, r#"{"id":1}"#), (400, r#"{"code":"PING"}"#), (500, "")]);
    assert!(matches!(outcome, Outcome::Unclear(_)), "it may be there yet: {outcome:?}");
    assert_eq!(reason(&create(&[(400, r#"{"code":"MAX"}"#)]).1), RefusedAs::Quota);
    let (_, outcome) = create(&[(409, r#"{"existing":{"id":7}}"#)]);
    assert_eq!(outcome, Outcome::Duplicate { id: Some("7".into()) });
}

#[test]
fn what_is_automatic_can_be_asked_for_and_what_is_by_hand_can_t() {
    let told = |connector: &Arc<Connector>| -> BTreeMap<String, usize> {
        let mut told = BTreeMap::new();
        for it in connector.automatic(&credentials()).unwrap() {
            *told.entry(it.asked.0.to_string()).or_default() += 1;
        }
        told
    };
    assert_eq!(told(&acme()), BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 1)]));
    let drive = told(&draft!("05-google-drive.yaml"));
    assert_eq!(
        drive,
        BTreeMap::from([("change".to_owned(), 6)]),
        "two resources, each created, updated, deleted"
    );
    assert!(!told(&draft!("07-ashby.yaml")).contains_key("jobCreate"));
    assert!(told(&draft!("10-radicale.yaml")).is_empty());
}

#[test]
fn debug_shows_no_secret() {
    let (_, outcome) = walked(
        &draft!("02-lever.yaml"),
        Step::Create,
        &subject(&["x"]),
        &[(201, r#"{"data":{"id":"w1","configuration":{"signatureToken":"hunter2"}}}"#)],
    );
    assert!(!format!("{outcome:?} {:?}", subject(&["x"])).contains("hunter2"));
    assert!(!format!("{:?}", subject(&["x"])).contains("s3cret"));
}

macro_rules! catalogue {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../definitions/", $name, "/connector.yaml")))),*]
    };
}

/// Whatever a definition of the catalogue asks of its provider can be made, says where we are called, and is no expression.
#[test]
fn each_of_the_catalogue_can_be_asked_for() {
    let mut wrong = Vec::new();
    for (name, text) in catalogue![
        "360learning",
        "ashby",
        "bamboohr",
        "box",
        "google_drive",
        "hubspot",
        "lever",
        "microsoft_graph",
        "personio",
        "pipedrive",
        "smartrecruiters",
        "thinkific",
        "workable",
        "zoho_crm",
    ] {
        let connector = Arc::new(Connector::read(name, text).unwrap_or_else(|error| panic!("{error}")));
        let mut credentials = Credentials::default();
        for (field, written) in connector.definition().setup.iter() {
            let given = match written.kind {
                SetupKind::Url => "https://x.example",
                SetupKind::Text | SetupKind::Number | SetupKind::Host | SetupKind::HostLabel => "x",
            };
            credentials
                .setup
                .insert(field.into(), json!(written.choices.first().map_or(given, String::as_str)));
        }
        for field in connector.definition().app.names() {
            credentials.app.insert(field.into(), json!("x"));
        }
        let automatic = connector.automatic(&credentials).unwrap();
        if automatic.is_empty() {
            wrong.push(format!("{name}: there is nothing to ask for"));
        }
        for it in automatic {
            let secret = Some("0123456789abcdef0123456789abcdef0123456789abcdef".into());
            let uuid = "a1b2c3d4-0000-4000-a000-123456789012".into();
            let asks = vec![it.asked.clone()];
            let subject = Subject { url: URL.into(), secret, asks, uuid, registered: None };
            let mut walk = connector.walk(Step::Create, &subject, &credentials, NOW);
            let mut sent = Vec::new();
            let outcome = loop {
                match walk.next(&Session::default()) {
                    Next::Done(outcome) => break outcome,
                    Next::Send(request) => {
                        sent.push(format!("{} {}", request.url, short(&request)));
                        // The feed's position, or what does not say what was made.
                        let body = br#"{"startPageToken":"7"}"#;
                        walk.answered(Answer { status: 200, headers: &[], body }, NOW);
                    }
                }
            };
            let sent = sent.join("\n");
            if !sent.contains(URL) {
                wrong.push(format!("{name}: {}: no request names our URL: {outcome:?}", it.asked.0));
            }
            if sent.contains("\"$") || sent.contains("if (") {
                wrong.push(format!("{name}: {}: an expression is sent as text: {sent}", it.asked.0));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
