use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::definition::{keys::Read, node::Node};

/// A mapping of `hris_employees`, unless the text says another `resource`.
fn compile(written: &str) -> Result<Mapping, String> {
    let node = Node::parse(written).unwrap();
    let list = |key: &str| node.get(key).map_or(Vec::new(), |node| Vec::<String>::read(node).unwrap());
    let resource = node.get("resource").map_or("hris_employees".into(), |node| String::read(node).unwrap());
    let maps = node.get("maps").map_or(Named::default(), |node| Named::read(node).unwrap());
    let map = Map::read(node.get("map").unwrap()).map_err(|problem| problem.at("map").to_string())?;
    let dates = node.get("dates").map(|node| resource::Dates::read(node).unwrap());
    let label: Vec<text::Expression> = node.get("label").map_or(Vec::new(), |node| Vec::read(node).unwrap());
    let decode = node.get("decode").map_or(Named::default(), |node| Named::read(node).unwrap());
    let parts = Parts {
        resource: Resource::ALL.into_iter().find(|known| known.name() == resource).unwrap(),
        map: &map,
        maps: &maps,
        dates: dates.as_ref(),
        label: &label,
        volatile: &list("volatile"),
        sets: &list("sets"),
        decode: &decode,
    };
    let scope = Scope::of(&[Name::Setup]).named("company");
    let helpers = Helpers::compile("def full: \"\\(.first) \\(.last)\"; def unused: .x;").unwrap();
    Mapping::compile(parts, &scope, &helpers).map_err(|problem| problem.to_string())
}

fn names() -> Names {
    Names::new().with(Name::Named("company".into()), Value::from_json(&json!({"id": 7, "name": "Acme"})))
}

fn map(written: &str, record: Tree) -> Result<Tree, String> {
    let mapping = compile(written)?;
    let mapped = mapping.map(&Value::from_json(&record), &names(), "tr1!");
    mapped.map(Tree::Object).map_err(|trouble| trouble.to_string())
}

fn hashed(written: &str, record: &str) -> String {
    compile(written).unwrap().canonical(&Value::parse(record).unwrap(), &names()).unwrap()
}

#[test]
fn a_record_becomes_what_the_model_has() {
    for (written, record, expected) in [
        ("map: {first_name: .a.b, title: .t}", json!({"a": {"b": "x"}}), json!({"first_name": "x"})),
        ("map: {employee_number: .n, name: .e}", json!({"n": 42, "e": ""}), json!({"employee_number": "42"})),
        (
            "map: {company_id: $company.id, company_name: $company.name}",
            json!({}),
            json!({"company_id": "dHIxIWlkOjc", "company_name": "Acme"}),
        ),
        (
            "map: {manager_id: .m}",
            json!({"m": 7}),
            json!({"manager_id": "dHIxIWlkOjc", "remote_manager_id": "7"}),
        ),
        (
            "map: {name: full, title: '.x | ascii_upcase'}",
            json!({"first": "A", "last": "B", "x": "y"}),
            json!({"name": "A B", "title": "Y"}),
        ),
        ("map: {name: {text: '{.a} {.b} {.c}!'}}", json!({"a": "x", "c": "z"}), json!({"name": "x z!"})),
        ("map: {name: {text: '{.a} {.b}'}}", json!({"a": null}), json!({})),
        (
            "map: {job_title: {first: [.a.b, .c, .d]}}",
            json!({"a": "in the way", "d": "x"}),
            json!({"job_title": "x"}),
        ),
        (
            "map: {company_name: {const: Acme}, employment_status: {const: active}}",
            json!({}),
            json!({"company_name": "Acme", "employment_status": {"value": "active", "source_value": "active"}}),
        ),
        (
            "map: {employment_status: {enum: .s, values: {'true': active, on: leave}, else: unknown}}",
            json!({"s": true}),
            json!({"employment_status": {"value": "active", "source_value": true}}),
        ),
        (
            "map: {employment_status: {enum: .s, values: {}}, gender: .g, marital_status: {enum: .m, values: {}}}",
            json!({"s": "x", "g": "f", "m": 3}),
            json!({"employment_status": {"value": "unmapped_value", "source_value": "x"}, "gender": {"value": "f", "source_value": "f"}, "marital_status": {"value": "unmapped_value", "source_value": 3}}),
        ),
        (
            "map: {citizenships: {enum: .c, values: {d: DE}}, skills: [.x, .y, {first: [.z]}]}",
            json!({"c": ["d", "e"], "x": [1, 2], "z": "s"}),
            json!({"citizenships": [{"value": "DE", "source_value": "d"}, {"value": "unmapped_value", "source_value": "e"}], "skills": [1, 2, "s"]}),
        ),
        (
            "map: {groups: {each: .teams, map: team}}\nmaps: {team: {id: .id, name: .name, created_at: .c}}",
            json!({"teams": [{"id": 1, "name": "a", "c": "2026-01-01 00:00:00"}, {"x": 1}]}),
            json!({"groups": [{"id": "dHIxIWlkOjE", "remote_id": "1", "name": "a", "created_at": "2026-01-01T00:00:00Z"}]}),
        ),
        (
            "map: {groups: {each: .t, map: {id: .}}}",
            json!({"t": 5}),
            json!({"groups": [{"id": "dHIxIWlkOjU", "remote_id": "5"}]}),
        ),
        (
            "map: {groups: {map: {id: .t}}, company: {map: {name: .c.n}}}",
            json!({"t": 5}),
            json!({"groups": [{"id": "dHIxIWlkOjU", "remote_id": "5"}]}),
        ),
        (
            "resource: ats_candidates\nmap: {application_ids: {each: .a, value: {first: [.id, .]}}, tags: .t}",
            json!({"a": [{"id": 1}, "x"], "t": []}),
            json!({"application_ids": ["dHIxIWlkOjE", "dHIxIWlkOng"], "remote_application_ids": ["1", "x"]}),
        ),
        (
            "map: {hire_date: {date: .d, as: '%d.%m.%Y'}, start_date: .s}",
            json!({"d": "01.02.2026", "s": 0}),
            json!({"hire_date": "2026-02-01", "start_date": "1970-01-01T00:00:00Z"}),
        ),
        (
            "map: {department: .d}\nlabel: [.name, .x]",
            json!({"d": {"id": 1, "x": "D"}}),
            json!({"department": "D"}),
        ),
        (
            "map: {unified_custom_fields: {map: {code: .c, id: .i, on_date: .o}}}",
            json!({"c": 1.50, "i": 2, "o": "soon"}),
            json!({"unified_custom_fields": {"code": 1.5, "id": 2, "on_date": "soon"}}),
        ),
        (
            "map: {last_name: '[.card[] | select(.name == \"N\")][0].value'}\ndecode: {card: {at: .v, as: content_lines}}",
            json!({"v": "N:x"}),
            json!({"last_name": "x"}),
        ),
        (
            "map: {skills: '.s[]?', work_email: '.e | select(. != null)'}",
            json!({"s": [1, 2]}),
            json!({"skills": [1]}),
        ),
        ("map: {skills: {each: '.s[]', value: .}}", json!({"s": [1, 2]}), json!({"skills": [1, 2]})),
    ] {
        let written = if written.contains("start_date") {
            format!("{written}\ndates: {{numbers: epoch_s}}")
        } else {
            written.to_owned()
        };
        assert_eq!(map(&written, record), Ok(expected), "{written}");
    }
}

#[test]
fn what_does_not_fit_names_the_field_and_no_value() {
    for (written, expected) in [
        ("map: {hire_date: .a}", "hire_date: expected a date in a usual spelling, found another text"),
        ("map: {first_name: .a, last_name: .a.b}", "last_name: expected an object, found a text"),
        ("map: {last_name: .a.b.c}", "last_name: expected an object, found a text"),
        (
            "map: {last_name: '.a + 1', first_name: .o}",
            "first_name: expected a text (or `label`, what an object says), found an object",
        ),
        ("map: {last_name: '.a + 1'}", "last_name: the expression failed"),
        ("map: {last_name: '[range(1e9)]'}", "the expression took too many steps"),
        ("map: {groups: {each: .l, map: {id: .x}}}", "id: expected an object, found a text"),
        ("map: {company: .a}", "company: expected an object, found a text"),
        ("map: {tenure: .a}", "tenure: expected a number, found another text"),
        (
            "map: {name: x}\ndecode: {card: {at: .a, as: json}}",
            "map.name: no jq function `x` (a path begins with `.`)",
        ),
        ("map: {name: .x}\ndecode: {card: {at: .a, as: json}}", "card: not JSON"),
    ] {
        let record = json!({"a": "canary", "o": {"b": "canary"}, "l": ["canary"]});
        let found = map(written, record).unwrap_err();
        assert_eq!(found, expected, "{written}");
        assert!(!found.contains("canary"));
    }
}

#[test]
fn a_mapping_that_means_nothing_is_refused_with_its_place() {
    for (written, expected) in [
        (
            "map: {first_nam: .a}",
            "map.first_nam: no field of the model `first_nam`; did you mean `first_name`?",
        ),
        ("map: {name: $compny.id}", "map.name: no name `$compny`; did you mean `$company`?"),
        ("map: {name: [.a]}", "map.name: is one value: expected a path, not a list"),
        ("map: {name: {enum: .a}}", "map.name.enum: is no enum: expected a path alone"),
        (
            "map: {employment_status: {enum: .a, values: {x: activ}}}",
            "map.employment_status.values.x: no value `activ`; did you mean `active`?",
        ),
        (
            "map: {employment_status: {const: activ}}",
            "map.employment_status.const: no value `activ`; did you mean `active`?",
        ),
        (
            "map: {employment_status: {enum: .a, else: gone}}",
            "map.employment_status.else: no value `gone`: expected one of active, pending, terminated, leave, inactive, unknown",
        ),
        (
            "map: {groups: {each: .a, map: tem}}\nmaps: {team: {id: .id}}",
            "map.groups.map: no map `tem`; did you mean `team`?",
        ),
        (
            "map: {groups: {each: .a, map: a}}\nmaps: {a: {x: {map: a}}}",
            "map.groups.map.x.map: the map `a` holds itself",
        ),
        ("map: {name: {map: {x: .y}}}", "map.name.map: is no object"),
        ("map: {name: {date: .y}}", "map.name.date: is no date"),
        (
            "map: {name: .a}\nvolatile: [nam]",
            "volatile.0: no field of hris_employees `nam`; did you mean `name`?",
        ),
        (
            "map: {name: .a}\nsets: [grups.*]",
            "sets.0: no field of hris_employees `grups`; did you mean `groups`?",
        ),
        ("map: {name: .a}\nlabel: ['.a | .b']", "label.0: expected a path"),
        (
            "map: {name: .a}\ndates: {zone: Mars}",
            "dates.zone: no zone `Mars`: expected UTC, an offset such as +01:00, or a name such as Europe/Berlin",
        ),
        ("map: {name: {text: 'a{.b'}}", "map.name.text: a `{` without its `}`: `a{.b`"),
        (
            "map: {hire_date: {const: soon}}",
            "map.hire_date.const: expected a date in a usual spelling, found another text",
        ),
    ] {
        assert_eq!(compile(written).err().as_deref(), Some(expected), "{written}");
    }
}

const HASHED: &str = "
map:
  first_name: .first
  employee_number: .number
  hire_date: .hired
  tenure: .tenure
  updated_at: .updated
  groups: {each: .teams, map: {id: .id, members_count: .count}}
  skills: .skills
  home_location: .home
  company: .company
volatile: [groups.*.members_count, home_location.seen]
sets: [groups, skills]
dates: {numbers: epoch_s}
";

#[test]
fn one_record_in_its_spellings_is_one() {
    let base = r#"{"first":"Zoë","number":"5","hired":"2026-11-01T15:09:22Z","teams":[{"id":1,"count":1},{"id":2}],"skills":["a",1],"home":{"x":1,"y":"z"},"company":{"n":[1,2]}}"#;
    let expected = hashed(HASHED, base);
    for (rule, same, record) in [
        (
            "keys in another order",
            true,
            r#"{"company":{"n":[1,2]},"home":{"y":"z","x":1},"skills":["a",1],"teams":[{"count":1,"id":1},{"id":2}],"hired":"2026-11-01T15:09:22Z","number":"5","first":"Zoë"}"#,
        ),
        (
            "escapes, spaces, digits, another zone, nulls",
            true,
            r#"{ "first" : "Zo\u00eb", "number":5,"hired":"2026-11-01T16:09:22.000+01:00","teams":[{"id":1,"count":1},{"id":2,"x":null}],"skills":["a",1.0],"home":{"x":1e0,"y":"z","n":null},"company":{"n":[1,2]}, "new": 1}"#,
        ),
        (
            "epoch seconds",
            true,
            r#"{"first":"Zoë","number":"5","hired":1793545762,"teams":[{"id":1},{"id":2}],"skills":["a",1],"home":{"x":1,"y":"z"},"company":{"n":[1,2]}}"#,
        ),
        (
            "what is volatile",
            true,
            r#"{"first":"Zoë","number":"5","hired":"2026-11-01T15:09:22Z","tenure":4,"updated":"2026-01-01","teams":[{"id":1,"count":9},{"id":2}],"skills":["a",1],"home":{"x":1,"y":"z","seen":3},"company":{"n":[1,2]}}"#,
        ),
        (
            "sets in another order, doubled",
            true,
            r#"{"first":"Zoë","number":"5","hired":"2026-11-01T15:09:22Z","teams":[{"id":2},{"id":1},{"id":2}],"skills":[1,"a"],"home":{"x":1,"y":"z"},"company":{"n":[1,2]}}"#,
        ),
        (
            "a list in another order",
            false,
            r#"{"first":"Zoë","number":"5","hired":"2026-11-01T15:09:22Z","teams":[{"id":1},{"id":2}],"skills":["a",1],"home":{"x":1,"y":"z"},"company":{"n":[2,1]}}"#,
        ),
        (
            "another name",
            false,
            r#"{"first":"Zoe","number":"5","hired":"2026-11-01T15:09:22Z","teams":[{"id":1},{"id":2}],"skills":["a",1],"home":{"x":1,"y":"z"},"company":{"n":[1,2]}}"#,
        ),
        (
            "another depth",
            false,
            r#"{"first":"Zoë","number":"5","hired":"2026-11-01T15:09:22Z","teams":[{"id":1},{"id":2}],"skills":["a",1],"home":{"x":1,"y":["z"]},"company":{"n":[1,2]}}"#,
        ),
        (
            "another instant",
            false,
            r#"{"first":"Zoë","number":"5","hired":"2026-11-01T15:09:23Z","teams":[{"id":1},{"id":2}],"skills":["a",1],"home":{"x":1,"y":"z"},"company":{"n":[1,2]}}"#,
        ),
    ] {
        assert_eq!(hashed(HASHED, record) == expected, same, "{rule}");
    }
    let (mapping, key) = (compile(HASHED).unwrap(), Keyed::new(&[1; 32]));
    let hash = |record: &str, ignored: &[&str]| {
        let ignored: Vec<String> = ignored.iter().map(|it| (*it).to_owned()).collect();
        mapping.hash(&Value::parse(record).unwrap(), &names(), &ignored, &key).unwrap()
    };
    assert_ne!(hash(base, &[]), hash(base, &["first_name"]));
    assert_eq!(hash(base, &["first_name"]), hash(&base.replace("Zoë", "Zoe"), &["first_name"]));
}

#[test]
fn a_mapping_tells_what_it_reads_and_fills() {
    let mapping =
        compile("map: {name: full, title: .properties.title, skills: '.properties | [.a, .b]'}").unwrap();
    assert_eq!(mapping.fields().collect::<Vec<_>>(), ["name", "skills", "title"]);
    let reads = mapping.reads();
    for path in [&["first"][..], &["properties", "title"], &["properties"]] {
        assert!(reads.iter().any(|read| read == path), "{path:?}: {reads:?}");
    }
    assert!(mapping.helpers().contains("def full") && !mapping.helpers().contains("unused"));
}

/// A JSON text of the same value with other spellings: keys turned round, spaces, escapes, numbers.
fn respelt(json: &Tree, seed: u8) -> String {
    let odd = seed % 2 == 1;
    match json {
        Tree::Null | Tree::Bool(_) => format!(" {json} "),
        Tree::Number(number) => match (number.as_i64(), odd) {
            (Some(whole), true) => format!("{whole}.0"),
            (Some(whole), false) if whole % 10 == 0 && whole != 0 => format!("{}e1", whole / 10),
            _ => number.to_string(),
        },
        Tree::String(text) if odd => {
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
            format!("\"{}\"", units.collect::<String>())
        }
        Tree::String(_) => json.to_string(),
        Tree::Array(items) => {
            format!("[ {} ]", items.iter().map(|item| respelt(item, seed)).collect::<Vec<_>>().join(" , "))
        }
        Tree::Object(members) => {
            let mut members: Vec<String> = members
                .iter()
                .map(|(key, value)| {
                    format!("{} :{}", respelt(&Tree::from(key.as_str()), seed), respelt(value, seed))
                })
                .collect();
            if seed & 2 == 2 {
                members.reverse();
            }
            format!("{{{}}}", members.join(","))
        }
    }
}

fn any_json() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i32>().prop_map(Tree::from),
        (-1000..1000_i64).prop_map(|number| Tree::from(number * 10)),
        ".{0,6}".prop_map(Tree::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::from),
            prop::collection::btree_map("[a-cé]{0,3}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

const ANY: &str = "map: {skills: .s, home_location: {map: {x: .h, y: .s.0}}, benefits: [.h.a, .h.b], tenure: .n}\nsets: [benefits]";

proptest! {
    #[test]
    fn the_canonical_form_does_not_depend_on_spelling(s in prop::collection::vec(any_json(), 0..4), h in prop::collection::btree_map("[a-c]", any_json(), 0..3), seed in 0..4_u8) {
        let record = json!({"s": s, "h": h, "n": 10});
        prop_assert_eq!(hashed(ANY, &respelt(&record, seed)), hashed(ANY, &record.to_string()));
    }

    #[test]
    fn a_canary_in_every_leaf_is_in_no_trouble(record in any_json(), field in 0..12_usize) {
        let forms = ["hire_date: .a", "tenure: .a", "first_name: .a.b", "company: .a", "groups: {each: .a, map: {id: .b, at_date: .c}}", "skills: '.a + 1'",
            "name: '.a | tonumber'", "gender: .b", "name: {text: '{.a}{.b}'}", "hire_date: {date: .b, as: '%d'}", "citizenships: {enum: .a, values: {}}", "name: 'error(.)'"];
        fn planted(json: Tree) -> Tree {
            match json {
                Tree::Array(items) => items.into_iter().map(planted).collect(),
                Tree::Object(members) => members.into_iter().map(|(key, value)| (key, planted(value))).collect(),
                _ => Tree::from("canary"),
            }
        }
        let record = json!({"a": planted(record.clone()), "b": {"b": "canary"}, "c": planted(record)});
        let value = Value::from_json(&record);
        let shown = format!("{value:?}");
        prop_assert!(!shown.contains("canary"));
        for decode in ["", "\ndecode: {d: {at: .a, as: json}, e: {at: .c, as: content_lines}}"] {
            let mapping = compile(&format!("map: {{{}}}{decode}", forms[field])).unwrap();
            if let Err(trouble) = mapping.map(&value, &names(), "") {
                let shown = format!("{trouble} {trouble:?}");
                prop_assert!(!shown.contains("canary"), "{}", shown);
            }
        }
    }

    #[test]
    fn what_is_told_is_of_the_models_kinds(record in any_json()) {
        let written = "map: {first_name: .a, hire_date: .b, tenure: .c, skills: .a, company: .b, gender: .c, citizenships: .a, groups: .b, employment_status: .a}";
        let mapping = compile(written).unwrap();
        if let Ok(mapped) = mapping.map(&Value::from_json(&record), &names(), "") {
            let model = model::of(Resource::HrisEmployees).unwrap();
            for (name, value) in &mapped {
                prop_assert!(model.kind(name).unwrap().check(name, value).is_ok(), "{} {}", name, value);
            }
        }
    }
}
