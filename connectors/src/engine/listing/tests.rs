//! Runs played: what a definition asks for, what the provider answers, and what is made of it.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::definition::auth::Purpose;
use crate::engine::{
    auth::{Step, Tokens},
    connector::Connector,
    listing::run::Scope,
    outcome::Answer,
    position::Position,
};

const NOW: Timestamp = Timestamp::from_micros(1_795_579_000_000_000);

fn connector(resources: &str) -> Arc<Connector> {
    let text = format!(
        "language: 1\nname: acme\ntitle: Acme\ncategory: crm\n\
         setup: {{ key: {{ label: Key, secret: true, optional: true }} }}\n\
         defaults: {{ base: https://acme.example, id: .id, map: {{ created_at: .name }} }}\n{resources}"
    );
    Arc::new(Connector::read("acme.yaml", &text).unwrap_or_else(|error| panic!("{error}")))
}

/// What the provider answers to which path and query: statuses and bodies in turn.
type World<'a> = &'a [(&'a str, u16, serde_json::Value)];

struct Played {
    asked: Vec<String>,
    found: Vec<String>,
    waits: usize,
    ended: Option<Ended>,
}

fn shown(found: &Found) -> String {
    match &found.what {
        What::Record(..) => found.remote_id.as_str().to_owned(),
        What::Unread(_) => format!("{}?", found.remote_id.as_str()),
        What::Gone(_) => format!("-{}", found.remote_id.as_str()),
    }
}

fn play(connector: &Arc<Connector>, resource: &str, scope: Scope, world: World<'_>) -> Played {
    let resource = crate::definition::unified(resource).unwrap();
    let credentials = connector.credentials(&BTreeMap::new(), &BTreeMap::new()).unwrap();
    let most = Most { pages: 50, held: 1 << 20 };
    let mut listing = connector.list(resource, scope, &credentials, most, NOW).unwrap();
    let mut used = vec![false; world.len()];
    let mut played = Played { asked: Vec::new(), found: Vec::new(), waits: 0, ended: None };
    for _ in 0..200 {
        match listing.next() {
            Next::Authorize(refused) => {
                let step =
                    connector.step(Purpose::List, &credentials, &Tokens::default(), refused.as_ref(), NOW);
                match step.unwrap() {
                    Step::Use(session) => listing.authorize(session),
                    Step::Ask(_) => panic!("no login here"),
                }
            }
            Next::Wait(_) => played.waits += 1,
            Next::Done(ended) => {
                played.ended = Some(ended);
                break;
            }
            Next::Request(request) => {
                let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
                let target = format!("{}{query}", request.url.path());
                let at = world.iter().enumerate().position(|(at, (path, ..))| !used[at] && *path == target);
                let Some(at) = at else { panic!("nobody answers {target}") };
                // The last answer of a path is given for ever.
                used[at] = world.iter().skip(at + 1).any(|(path, ..)| *path == target);
                played.asked.push(target);
                let (_, status, body) = &world[at];
                let body = if body.is_null() { String::new() } else { body.to_string() };
                listing.answer(Answer { status: *status, headers: &[], body: body.as_bytes() }, NOW);
            }
        }
        played.found.extend(listing.take().iter().map(shown));
    }
    played.found.extend(listing.take().iter().map(shown));
    played
}

fn complete(played: &Played) -> &Complete {
    match &played.ended {
        Some(Ended::Complete(complete)) => complete,
        other => panic!("{other:?} after {:?}", played.asked),
    }
}

fn failed(played: &Played) -> FailureKind {
    match &played.ended {
        Some(Ended::Failed(failure)) => failure.kind,
        other => panic!("{other:?} after {:?}", played.asked),
    }
}

fn since() -> Scope {
    Scope::Changes(Position::Since { begun: NOW, covered: None, gone_covered: None })
}

const PAGED: &str = "resources:\n  crm_contacts:\n    list: { call: GET /c, query: { after: $cursor }, records: .d, total: .t }\n    page: { cursor: .n, stable: the server keeps the cursor }\n";

#[test]
fn a_whole_listing_is_sure_and_one_that_breaks_off_says_nothing() {
    let acme = connector(PAGED);
    let page = |ids: &[u64], next: Option<&str>| json!({"d": ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>(), "n": next});
    let played = play(
        &acme,
        "crm_contacts",
        Scope::Full,
        &[
            ("/c", 200, page(&[1, 2], Some("a"))),
            ("/c?after=a", 200, page(&[], Some("b"))),
            ("/c?after=b", 200, page(&[3], None)),
        ],
    );
    assert_eq!(played.found, ["1", "2", "3"]);
    assert_eq!((complete(&played).doubts.len(), complete(&played).partial.len()), (0, 0));
    for (status, kind, waits) in [
        (500, FailureKind::Unreachable, 4),
        (401, FailureKind::Unauthorized, 0),
        (403, FailureKind::Forbidden, 0),
        (404, FailureKind::BadAnswer, 0),
        (304, FailureKind::BadAnswer, 0),
    ] {
        let played = play(
            &acme,
            "crm_contacts",
            Scope::Full,
            &[("/c", 200, page(&[1], Some("a"))), ("/c?after=a", status, json!({}))],
        );
        assert_eq!((failed(&played), played.waits), (kind, waits), "{status}");
    }
    let without = [("/c", 200, json!({"error": "no"}))];
    assert_eq!(failed(&play(&acme, "crm_contacts", Scope::Full, &without)), FailureKind::BadAnswer);
    let nothing = [("/c", 204, json!(null))];
    assert_eq!(complete(&play(&acme, "crm_contacts", Scope::Full, &nothing)).records, 0);
}

#[test]
fn a_wait_keeps_the_place_in_the_listing() {
    let acme = connector(PAGED);
    let played = play(
        &acme,
        "crm_contacts",
        Scope::Full,
        &[
            ("/c", 200, json!({"d": [{"id": 1}], "n": "a"})),
            ("/c?after=a", 429, json!({})),
            ("/c?after=a", 503, json!({})),
            ("/c?after=a", 200, json!({"d": [{"id": 2}]})),
        ],
    );
    assert_eq!((played.found, played.waits), (vec!["1".to_owned(), "2".to_owned()], 2));
    assert_eq!(played.asked, ["/c", "/c?after=a", "/c?after=a", "/c?after=a"]);
}

#[test]
fn absence_is_doubted_where_a_record_can_be_missed() {
    let doubts = |resources: &str, world: World<'_>| {
        let acme = connector(resources);
        let played = play(&acme, "crm_contacts", Scope::Full, world);
        !complete(&played).doubts.is_empty()
    };
    let one = json!({"d": [{"id": 1}]});
    let list = |rest: &str| {
        format!("resources:\n  crm_contacts:\n    list: {{ call: GET /c, records: .d, total: .t }}\n{rest}")
    };
    assert!(!doubts(&list("    page: none"), &[("/c", 200, one.clone())]));
    assert!(doubts(&list("    page: { cursor: .n }"), &[("/c", 200, one.clone())]), "a cursor on trust");
    assert!(
        doubts(&list("    page: { offset: 0, ends: short_page }"), &[("/c", 200, one.clone())]),
        "offsets"
    );
    assert!(doubts(&list("    gone: { absence: ignored }"), &[("/c", 200, one.clone())]), "looks back only");
    assert!(doubts(&list(""), &[("/c", 200, json!({"d": [{"id": 1}], "t": 2}))]), "another total");
    assert!(!doubts(&list(""), &[("/c", 200, json!({"d": [{"id": 1}, {"id": 1}, {"id": 2}], "t": 2}))]));
    let over = |stable: &str| {
        format!(
            "resources:\n  crm_contacts:\n    over: [{{ each: [a], as: kind{stable} }}]\n    list: {{ call: 'GET /c/{{$kind}}', records: .d }}\n"
        )
    };
    assert!(doubts(&over(""), &[("/c/a", 200, one.clone())]));
    assert!(doubts(&over(", stable: one is never the other"), &[("/c/a", 200, one)]), "a fixed list");
}

#[test]
fn what_has_no_id_or_can_not_be_judged_makes_the_run_partial() {
    let resources = "resources:\n  crm_contacts:\n    list: { call: GET /c, records: .d }\n    where: .kind | ascii_downcase == \"p\"\n    gone: { when: .archived }\n";
    let acme = connector(resources);
    let run = |items: serde_json::Value| {
        let played = play(&acme, "crm_contacts", Scope::Full, &[("/c", 200, json!({ "d": items }))]);
        (played.found.clone(), complete(&played).partial.len())
    };
    assert_eq!(run(json!([{"id": 1, "kind": "P"}, {"id": 2, "kind": "x"}])), (vec!["1".into()], 0));
    assert_eq!(run(json!([{"id": 1, "kind": "P"}, {"kind": "P"}])), (vec!["1".into()], 1), "no id");
    assert_eq!(run(json!([{"kind": "x"}])), (vec![], 0), "not ours: its id is nobody's matter");
    assert_eq!(run(json!([{"id": 1, "kind": 7}])), (vec![], 1), "a `where` that fails");
    assert_eq!(
        run(json!([{"id": 1, "archived": true, "kind": 7}])),
        (vec!["-1".into()], 0),
        "gone is judged first"
    );
    assert_eq!(run(json!([{"archived": true}])), (vec![], 1), "gone, but who?");
}

#[test]
fn a_parent_that_fails_makes_the_run_partial_and_all_of_them_end_it() {
    let resources = "resources:\n  crm_accounts:\n    list: { call: GET /a, records: .d }\n  crm_contacts:\n    over: [{ each: crm_accounts, as: account, stable: it never moves, skip: [404] }]\n    list: { call: 'GET /a/{$account.id}/c', records: .d }\n    id: { account: $account.id, no: .no }\n";
    let acme = connector(resources);
    let parents = ("/a", 200, json!({"d": [{"id": 1}, {"id": 2}]}));
    let child = json!({"d": [{"no": 7}]});
    let run = |first: (u16, serde_json::Value), second: (u16, serde_json::Value)| {
        play(
            &acme,
            "crm_contacts",
            Scope::Full,
            &[parents.clone(), ("/a/1/c", first.0, first.1), ("/a/2/c", second.0, second.1)],
        )
    };
    let played = run((200, child.clone()), (200, child.clone()));
    assert_eq!(played.found, ["1|7", "2|7"]);
    assert!(complete(&played).partial.is_empty() && complete(&played).doubts.is_empty());
    let played = run((404, json!({})), (200, child.clone()));
    assert_eq!(
        (played.found.clone(), complete(&played).partial.len()),
        (vec!["2|7".to_owned()], 0),
        "it has none"
    );
    let played = run((403, json!({})), (200, child));
    assert_eq!((played.found.clone(), complete(&played).partial.len()), (vec!["2|7".to_owned()], 1));
    assert_eq!(failed(&run((403, json!({})), (403, json!({})))), FailureKind::Forbidden);
}

const TIMED: &str = "resources:\n  crm_contacts:\n    list: { call: GET /c, query: { since: $since }, records: .d }\n    changed: { time: epoch_s, overlap: 60s, covered: .upto }\n    gone: { list: { call: GET /gone, query: { since: $since } }, id: .ref, at: .at }\n";

#[test]
fn tombstones_are_read_before_the_changes_and_the_position_is_the_start() {
    let acme = connector(TIMED);
    let world: World<'_> = &[
        ("/gone?since=1795578940", 200, json!({"d": [{"ref": 1}, {"ref": 9, "at": 1795578990}]})),
        ("/c?since=1795578940", 200, json!({"d": [{"id": 1}], "upto": "x9"})),
    ];
    let played = play(&acme, "crm_contacts", since(), world);
    assert_eq!(played.found, ["-1", "-9", "1"], "an id in both exists: what is later counts");
    let Some(Position::Since { begun, covered, .. }) = &complete(&played).position else {
        panic!("a position")
    };
    assert_eq!((*begun, covered.as_deref()), (NOW, Some("x9")));
    let covered =
        Scope::Changes(Position::Since { begun: NOW, covered: Some("x9".into()), gone_covered: None });
    let again: World<'_> = &[("/gone?since=x9", 200, json!({"d": []})), ("/c?since=x9", 304, json!(null))];
    assert!(play(&acme, "crm_contacts", covered, again).found.is_empty());
    let full = play(&acme, "crm_contacts", Scope::Full, &[("/c", 200, json!({"d": [{"id": 1}]}))]);
    assert_eq!(full.asked, ["/c"], "a full run reads no feed");
}

#[test]
fn a_token_is_taken_first_or_last_and_one_that_is_not_kept_ends_the_run() {
    let acme = connector(
        "resources:\n  crm_contacts:\n    list: { call: GET /c, query: { token: $token }, records: .d }\n    changed: { token: .next, expired: [410] }\n",
    );
    let token = |token: &str| Scope::Changes(Position::Token(json!(token)));
    let full =
        play(&acme, "crm_contacts", Scope::Full, &[("/c", 200, json!({"d": [{"id": 1}], "next": "t1"}))]);
    assert_eq!(complete(&full).position, Some(Position::Token(json!("t1"))));
    assert_eq!(
        failed(&play(&acme, "crm_contacts", Scope::Full, &[("/c", 200, json!({"d": []}))])),
        FailureKind::BadAnswer,
        "no token"
    );
    assert_eq!(
        failed(&play(&acme, "crm_contacts", token("t1"), &[("/c?token=t1", 410, json!({}))])),
        FailureKind::Expired
    );
    let unchanged = play(&acme, "crm_contacts", token("t1"), &[("/c?token=t1", 304, json!(null))]);
    assert_eq!(complete(&unchanged).position, Some(Position::Token(json!("t1"))));
    let started = connector(
        "resources:\n  crm_contacts:\n    list: { call: GET /c, records: .d }\n    changed: { token: .next, start: { call: GET /start, token: .t }, list: { call: GET /ch, query: { token: $token }, records: .ch }, record: .file, gone: { when: .removed, id: .fid } }\n",
    );
    let full = play(
        &started,
        "crm_contacts",
        Scope::Full,
        &[("/start", 200, json!({"t": "s1"})), ("/c", 200, json!({"d": []}))],
    );
    assert_eq!(
        (full.asked.as_slice(), &complete(&full).position),
        (&["/start".to_owned(), "/c".to_owned()][..], &Some(Position::Token(json!("s1"))))
    );
    let delta = play(
        &started,
        "crm_contacts",
        token("s1"),
        &[(
            "/ch?token=s1",
            200,
            json!({"ch": [{"fid": 1, "removed": true}, {"file": {"id": 2}}], "next": "s2"}),
        )],
    );
    assert_eq!(delta.found, ["-1", "2"]);
}

#[test]
fn records_are_enriched_and_fetched_and_what_fails_is_unread() {
    let acme = connector(
        "resources:\n  crm_contacts:\n    list: { call: GET /c, query: { since: $since }, records: .d }\n    changed: { time: epoch_s, list: { call: GET /ids, query: { since: $since } }, fetch: true }\n    get: { call: 'GET /c/{.id}', record: .r }\n    enrich: [{ call: 'GET /c/{.id}/more', into: more, unless: .more, missing: [404] }]\n",
    );
    let full = play(
        &acme,
        "crm_contacts",
        Scope::Full,
        &[
            ("/c", 200, json!({"d": [{"id": 1}, {"id": 2, "more": {}}, {"id": 3}, {"id": 4}]})),
            ("/c/1/more", 200, json!({"x": 1})),
            ("/c/3/more", 404, json!({})),
            ("/c/4/more", 403, json!({})),
        ],
    );
    assert_eq!(full.found, ["1", "2", "3", "4?"]);
    assert!(complete(&full).partial.is_empty(), "an unread record exists");
    let delta = play(
        &acme,
        "crm_contacts",
        since(),
        &[
            ("/ids?since=1795578940", 200, json!({"d": [7, 8]})),
            ("/c/7", 200, json!({"r": {"id": 7, "more": {}}})),
            ("/c/8", 404, json!({})),
        ],
    );
    assert_eq!((delta.found.clone(), complete(&delta).unread), (vec!["7".to_owned(), "8?".to_owned()], 1));
}

#[test]
fn a_cap_goes_on_from_the_last_record_and_one_value_alone_is_endless() {
    let acme = connector(
        "resources:\n  crm_contacts:\n    list: { call: GET /c, query: { since: $since, after: $cursor }, records: .d }\n    page: { cursor: .n }\n    changed: { time: epoch_s, cap: { records: 2, from: .u } }\n",
    );
    let world: World<'_> = &[
        ("/c?since=1795578940", 200, json!({"d": [{"id": 1, "u": 5}, {"id": 2, "u": 6}], "n": "a"})),
        ("/c?since=6", 200, json!({"d": [{"id": 2, "u": 6}]})),
    ];
    assert_eq!(play(&acme, "crm_contacts", since(), world).found, ["1", "2", "2"]);
    let stuck: World<'_> = &[
        ("/c?since=1795578940", 200, json!({"d": [{"id": 1, "u": 6}, {"id": 2, "u": 6}]})),
        ("/c?since=6", 200, json!({"d": [{"id": 1, "u": 6}, {"id": 2, "u": 6}]})),
    ];
    assert_eq!(failed(&play(&acme, "crm_contacts", since(), stuck)), FailureKind::Endless);
    let turns = |u: u64| json!({"d": [{"id": 1, "u": u}, {"id": 2, "u": u}]});
    let to_and_fro: World<'_> = &[
        ("/c?since=1795578940", 200, turns(6)),
        ("/c?since=6", 200, turns(7)),
        ("/c?since=7", 200, turns(6)),
    ];
    assert_eq!(failed(&play(&acme, "crm_contacts", since(), to_and_fro)), FailureKind::Endless);
}

#[test]
fn an_id_is_its_digits_as_they_came() {
    let acme = connector("resources:\n  crm_contacts:\n    list: { call: GET /c, records: .d }\n");
    let text = r#"{"d":[{"id":42},{"id":42.0},{"id":18446744073709551617},{"id":"a b"}]}"#;
    let credentials = connector_credentials(&acme);
    let mut listing = acme
        .list(Unified::CrmContacts, Scope::Full, &credentials, Most { pages: 5, held: 1 << 20 }, NOW)
        .unwrap();
    listing.authorize(crate::engine::auth::Session::default());
    assert!(matches!(listing.next(), Next::Request(_)));
    listing.answer(Answer { status: 200, headers: &[], body: text.as_bytes() }, NOW);
    assert!(matches!(listing.next(), Next::Done(Ended::Complete(_))));
    let found: Vec<String> = listing.take().iter().map(shown).collect();
    assert_eq!(found, ["42", "42", "18446744073709551617", "a b"]);
}

fn connector_credentials(connector: &Arc<Connector>) -> crate::engine::auth::Credentials {
    connector.credentials(&BTreeMap::new(), &BTreeMap::new()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However a provider pages and wherever it breaks, what a complete run found is what there is.
    #[test]
    fn a_complete_run_found_everything(pages in prop::collection::vec(prop::collection::vec(0_u32..500, 0..5), 1..8), broken in prop::option::of(0_usize..8)) {
        let acme = connector(PAGED);
        let mut paths = vec!["/c".to_owned()];
        paths.extend((1..pages.len()).map(|at| format!("/c?after=k{at}")));
        let world: Vec<(&str, u16, serde_json::Value)> = pages.iter().enumerate().map(|(at, ids)| {
            let next = (at + 1 < pages.len()).then(|| format!("k{}", at + 1));
            let records: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
            let status = if broken == Some(at) { 400 } else { 200 };
            (paths[at].as_str(), status, json!({"d": records, "n": next}))
        }).collect();
        let played = play(&acme, "crm_contacts", Scope::Full, &world);
        let whole = broken.is_none_or(|at| at >= pages.len());
        prop_assert_eq!(matches!(played.ended, Some(Ended::Complete(_))), whole);
        if whole {
            let expected: Vec<String> = pages.iter().flatten().map(u32::to_string).collect();
            prop_assert_eq!(played.found, expected);
        }
    }
}

#[test]
fn a_parents_listing_has_its_own_constants_and_fields_are_what_is_read() {
    let acme = connector(
        "resources:\n  crm_accounts:\n    with: { kind: companies }\n    list: { call: \"GET /{$with.kind}\", records: . }\n    page: none\n\
         \x20 crm_contacts:\n    with: { kind: people }\n    over: [{ each: crm_accounts, as: company, stable: they never move }]\n\
         \x20   list: { call: \"GET /{$company.id}/{$with.kind}\", query: { show: { join: $fields } }, records: . }\n    page: none\n\
         \x20   fields: { at: .p, also: [z] }\n    where: .p.live\n    map: { first_name: .p.first, last_name: .p.last, company_name: .other }\n",
    );
    let played = play(
        &acme,
        "crm_contacts",
        Scope::Full,
        &[
            ("/companies", 200, json!([{"id": 1}])),
            ("/1/people?show=first%2Clast%2Clive%2Cz", 200, json!([{"id": 7, "p": {"live": true}}])),
        ],
    );
    assert_eq!(played.found, ["7"]);
    assert!(complete(&played).doubts.is_empty());
}

const FOLDERS: &str = "resources:\n  documents_files:\n    over: [{ each: [root], as: folder, skip: [404], descend: 'select(.dir).id' }]\n    list: { call: 'GET /f/{$folder}', records: .d }\n    page: none\n    where: .dir | not\n    map: { name: .name }\n";

#[test]
fn folders_within_folders_are_listed_each_once_to_any_depth() {
    let acme = connector(FOLDERS);
    let file = |id: &str| json!({"id": id, "name": id});
    let folder = |id: &str| json!({"id": id, "dir": true});
    let world = [
        // A folder may list itself, and be shown in two places.
        ("/f/root", 200, json!({"d": [folder("root"), file("1"), folder("a"), folder("b")]})),
        ("/f/a", 200, json!({"d": [folder("b"), folder("c"), file("2")]})),
        ("/f/b", 200, json!({"d": [file("3"), folder("a")]})),
        ("/f/c", 404, json!({})),
    ];
    let played = play(&acme, "documents_files", Scope::Full, &world);
    assert_eq!(played.asked, ["/f/root", "/f/a", "/f/b", "/f/c"]);
    assert_eq!(played.found, ["1", "2", "3"]);
    let complete = complete(&played);
    assert!(complete.partial.is_empty(), "one that went meanwhile has none: {:?}", complete.partial);
    assert!(!complete.doubts.is_empty(), "a file can move to a folder that was looked at before");
}
