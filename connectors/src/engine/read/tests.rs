use std::io::Write;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    definition::text,
    engine::{expression::Helpers, names::Scope},
};

const BOUNDS: Bounds = Bounds { held: 1 << 20, read: 1 << 30 };

fn expression(written: &str) -> Expression {
    Expression::read(written, &Scope::default(), &Helpers::default()).unwrap()
}

fn both(written: &[&str]) -> Expression {
    let all = written.iter().map(|one| text::Expression::Text((*one).into())).collect();
    Expression::compile(&text::Expression::All(all), &Scope::default(), &Helpers::default()).unwrap()
}

/// The records and the body, read in pieces of this size.
fn read(
    format: Format,
    records: &Expression,
    bytes: &[u8],
    piece: usize,
) -> Result<(serde_json::Value, Option<serde_json::Value>), String> {
    let mut found = Vec::new();
    let mut each = |record: Value| {
        found.push(record.to_json());
        Ok(())
    };
    let mut reader = Reader::new(format, false, records, BOUNDS);
    let ended = bytes
        .chunks(piece)
        .try_for_each(|piece| reader.feed(piece, &mut each))
        .and_then(|()| reader.end(&Names::new(), &mut each))
        .map_err(|trouble| trouble.to_string())?;
    Ok((ended.body.to_json(), ended.found.then_some(found.into())))
}

#[test]
fn the_records_of_a_body_are_read_however_it_comes() {
    let nested =
        r#"{"meta":{"next":"a","data":[9]},"data":{"items":[{"id":1},{"id":12},3],"n":null},"total":3}"#;
    for (format, records, body, expected_body, expected) in [
        (Format::Json, ".", "[1, 2 ,{\"a\":[]}]", json!([]), Some(json!([1, 2, {"a": []}]))),
        (Format::Json, ".", "\u{feff} [ ] ", json!([]), Some(json!([]))),
        (Format::Json, ".", "[10, 200,3.25e1,true]", json!([]), Some(json!([10, 200, 32.5, true]))),
        (
            Format::Json,
            ".data.items",
            nested,
            json!({"meta": {"next": "a", "data": [9]}, "data": {"items": [], "n": null}, "total": 3}),
            Some(json!([{"id": 1}, {"id": 12}, 3])),
        ),
        (Format::Json, ".data.nothing", nested, serde_json::from_str(nested).unwrap(), None),
        (Format::Json, ".data.n", nested, serde_json::from_str(nested).unwrap(), None),
        (Format::Json, ".0.x", r#"[{"x":[1]},2]"#, json!([{"x": []}, 2]), Some(json!([1]))),
        (
            Format::Json,
            ".data.items | map(.id?)[]",
            nested,
            serde_json::from_str(nested).unwrap(),
            Some(json!([1, 12])),
        ),
        (Format::Json, ".", "", json!(null), None),
        (Format::Json, ".d", " ", json!(null), None),
        (Format::JsonLines, ".", "{\"a\":1}\r\n\n {\"a\":2}", json!(null), Some(json!([{"a": 1}, {"a": 2}]))),
        (
            Format::Csv,
            ".",
            "\u{feff}id, name\r\n1,\"a \"\"b\"\"\nc\"\n2,\n",
            json!(null),
            Some(json!([{"id": "1", "name": "a \"b\"\nc"}, {"id": "2", "name": ""}])),
        ),
        (Format::Csv, ".", "", json!(null), Some(json!([]))),
        (
            Format::Xml,
            ".r.e",
            "<r><e>1</e><e>2</e></r>",
            json!({"r": {"e": ["1", "2"]}}),
            Some(json!(["1", "2"])),
        ),
        (Format::Xml, ".r.e", "<r><e><x/></e></r>", json!({"r": {"e": {"x": ""}}}), Some(json!([{"x": ""}]))),
        (Format::Xml, ".r.e", "<r><f/></r>", json!({"r": {"f": ""}}), None),
    ] {
        // What jq can't index is its own affair.
        let records = if records.contains("map(.id?)") { ".data.items[] | .id? // empty" } else { records };
        for piece in [1, 2, 3, 7, 1000] {
            let found = read(format, &expression(records), body.as_bytes(), piece);
            assert_eq!(
                found,
                Ok((expected_body.clone(), expected.clone())),
                "{records} of {body} by {piece}"
            );
        }
    }
}

#[test]
fn several_paths_are_read_one_after_the_other_and_all_have_to_be_there() {
    let records = both(&[".open.list", ".closed"]);
    let read = |body: &str| read(Format::Json, &records, body.as_bytes(), 5).unwrap().1;
    assert_eq!(read(r#"{"closed":[3],"open":{"list":[1,2]}}"#), Some(json!([1, 2, 3])));
    assert_eq!(read(r#"{"closed":[3]}"#), None);
}

#[test]
fn what_is_no_body_of_its_kind_says_so_without_a_value() {
    for (format, records, body, expected) in [
        (Format::Json, ".", "[1,2", "JSON that breaks off"),
        (Format::Json, ".", "[1 2]", "not JSON"),
        (Format::Json, ".", "[1,]", "not JSON"),
        (Format::Json, ".", "[1] canary", "not JSON"),
        (Format::Json, ".", "<html>canary", "not JSON"),
        (Format::Json, ".d", r#"{"d":"canary"}"#, "records: expected a list, found a text"),
        (Format::Json, ".d", r#"{"d":{"error":"canary"}}"#, "records: expected a list, found an object"),
        (Format::Json, ".d.e", r#"{"d":"canary"}"#, "records: expected an object, found a text"),
        (
            Format::Json,
            ".d",
            r#"{"d":[1],"d":["canary"]}"#,
            "expected the key of the records once, found another text",
        ),
        (Format::Json, ".d + 1", r#"{"d":"canary"}"#, "records: the expression failed"),
        (Format::JsonLines, ".", "{\"a\":\ncanary", "JSON that breaks off"),
        (
            Format::Csv,
            ".",
            "a,b\ncanary",
            "expected a line with as many fields as there are names, found another text",
        ),
        (Format::Xml, ".", "canary", "not XML"),
    ] {
        for piece in [1, 1000] {
            assert_eq!(
                read(format, &expression(records), body.as_bytes(), piece),
                Err(expected.into()),
                "{body}"
            );
        }
    }
    let deep = format!("[{}", "[".repeat(200_000));
    assert_eq!(
        read(Format::Json, &expression("."), deep.as_bytes(), 4096).unwrap_err(),
        "more than 128 values in each other"
    );
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn bounds_hold_behind_gzip_and_a_report_is_one_pass() {
    let dot = expression(".");
    let mut bomb = b"[\"".to_vec();
    bomb.resize(64 << 20, b'x');
    let bomb = gzipped(&bomb);
    assert!(bomb.len() < 100_000);
    let mut nobody = |_| Ok(());
    let mut reader = Reader::new(Format::Json, true, &dot, BOUNDS);
    let refused = reader.feed(&bomb, &mut nobody).unwrap_err();
    assert_eq!(refused.kind, TroubleKind::TooLarge { what: "held", most: 1 << 20 });

    let mut reader = Reader::new(Format::Json, true, &dot, Bounds { held: 1 << 20, read: 1 << 20 });
    assert!(matches!(reader.feed(&bomb, &mut nobody).unwrap_err().kind, TroubleKind::TooLarge { .. }));
    assert!(page(Format::Json, true, b"no gzip", &dot, &Names::new(), BOUNDS).is_err());
    assert!(page(Format::Json, true, &gzipped(b"[1]")[..12], &dot, &Names::new(), BOUNDS).is_err());

    // 32 MiB of records under a bound of 1 MiB.
    let record = format!("{{\"id\":\"{}\"}},", "y".repeat(1000));
    let report = format!("{{\"report\":[{}{{}}]}}", record.repeat(32 << 10));
    let (records, mut count) = (expression(".report"), 0);
    let mut reader = Reader::new(Format::Json, true, &records, BOUNDS);
    let mut each = |_| {
        count += 1;
        Ok(())
    };
    reader.feed(&gzipped(report.as_bytes()), &mut each).unwrap();
    let ended = reader.end(&Names::new(), &mut each).unwrap();
    assert_eq!((count, ended.body.to_json()), ((32 << 10) + 1, json!({"report": []})));
}

#[test]
fn what_a_provider_cut_is_read_all_the_same() {
    let mut bytes = br#"{"data":[{"a":"x\ud83d"},{"b":""#.to_vec();
    bytes.extend([0xF0, 0x9F, 0x98]);
    bytes.extend(br#""}]}"#);
    for piece in [1, 3, 100] {
        let (_, records) = read(Format::Json, &expression(".data"), &bytes, piece).unwrap();
        assert_eq!(records, Some(json!([{"a": "x\u{fffd}"}, {"b": "\u{fffd}"}])));
    }
    assert_eq!(body(Format::Json, b"\xEF\xBB\xBF{\"a\":1}", BOUNDS).unwrap().to_json(), json!({"a": 1}));
}

proptest! {
    #[test]
    fn a_page_is_read_as_serde_json_reads_it(
        records in prop::collection::vec("[a-z\"\\\\\u{e9}\u{1f600}\n]{0,6}", 0..6),
        before in any::<bool>(),
        pretty in any::<bool>(),
        piece in 1_usize..40,
    ) {
        let list: Vec<_> = records.iter().enumerate().map(|(id, name)| json!({"id": id, "name": name, "in": [[id]]})).collect();
        let page = if before { json!({"a": {"data": [1]}, "data": list}) } else { json!({"data": list, "z": [{"data": 1}]}) };
        let text = if pretty { serde_json::to_string_pretty(&page) } else { serde_json::to_string(&page) }.unwrap();
        let (body, found) = read(Format::Json, &expression(".data"), text.as_bytes(), piece).unwrap();
        prop_assert_eq!(found, Some(page["data"].clone()));
        let mut around = page;
        around["data"] = json!([]);
        prop_assert_eq!(body, around);
    }

    #[test]
    fn pieces_change_nothing(text in r#"[ \[\]{}",:da0-9.]{0,24}"#, piece in 1_usize..6) {
        for records in [".", ".d"] {
            let records = expression(records);
            prop_assert_eq!(
                read(Format::Json, &records, text.as_bytes(), piece).is_ok(),
                read(Format::Json, &records, text.as_bytes(), 1000).is_ok()
            );
        }
    }

    #[test]
    fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..64), piece in 1_usize..9) {
        for format in [Format::Json, Format::JsonLines, Format::Csv, Format::Xml] {
            let _ = read(format, &expression(".a"), &bytes, piece);
            let _ = read(format, &expression("."), &bytes, piece);
        }
    }
}
