//! The definitions that ship: each compiles, and its examples hold.
#![expect(clippy::disallowed_methods, reason = "a test reads the files that ship")]

use std::{fs, path::Path};

use tributary_connectors::{Catalog, Connector, example};

#[test]
fn every_example_holds() {
    let catalog = Catalog::built_in().unwrap();
    for connector in catalog.iter() {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("definitions").join(connector.name()).join("examples");
        let mut examples = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            let file = entry.unwrap().path();
            let text = fs::read_to_string(&file).unwrap();
            example::check(connector, &file.display().to_string(), &text)
                .unwrap_or_else(|error| panic!("{error}"));
            examples += 1;
        }
        assert!(examples > 0, "{} has no examples", connector.name());
    }
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
