//! The catalogue: each definition compiles, names its records by ids that are no addresses, and all of it together
//! covers the events.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::{collections::BTreeMap, fs, path::Path};

use tributary_connectors::{
    definition::{
        Definition, Written,
        map::{Field, Map},
        resource::Id,
        text::Expression,
    },
    engine::{
        connector::Connector,
        expression::Helpers,
        map::{Mapping, Parts},
        names::{Name, Scope},
    },
};
use tributary_schemas::resource::{EventName, Resource};

/// File and text of each definition that ships.
pub(crate) fn all() -> Vec<(String, String)> {
    let shipped = tributary_connectors::catalog::BUILT_IN.iter();
    shipped.map(|(name, text)| (format!("{name}/connector.yaml"), (*text).to_owned())).collect()
}

/// A folder without a line in the catalogue is a definition that nobody gets.
#[test]
fn each_folder_ships() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("definitions");
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for folder in folders.filter(|folder| folder.join("connector.yaml").exists()) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        assert!(tributary_connectors::catalog::BUILT_IN.iter().any(|(known, _)| *known == name), "{name}");
    }
}

fn written() -> Vec<(String, Written)> {
    let read = |(file, text): (String, String)| {
        let written = Written::read(&file, &text).unwrap_or_else(|error| panic!("{error}"));
        (file, written)
    };
    all().into_iter().map(read).collect()
}

#[test]
fn each_compiles_and_so_do_its_maps() {
    let mut wrong = Vec::new();
    for (file, text) in all() {
        match Connector::read(&file, &text) {
            Err(error) => wrong.push(error.to_string()),
            Ok(connector) => {
                wrong.extend(maps(connector.definition()).into_iter().map(|it| format!("{file}: {it}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the maps of a definition, those of its rules too.
fn maps(definition: &Definition) -> Vec<String> {
    let helpers = Helpers::compile(definition.helpers.as_deref().unwrap_or_default()).unwrap();
    let unified = |name: &str| Resource::ALL.into_iter().find(|known| known.name() == name);
    let compile = |resource: Resource, name: &str, map: &Map, scope: &Scope| {
        let of = definition.resources.get(name)?;
        let parts = Parts {
            resource,
            map,
            maps: &definition.maps,
            dates: of.dates.as_ref(),
            label: &of.label,
            volatile: &of.volatile,
            sets: &of.sets,
            decode: &of.decode,
        };
        Mapping::compile(parts, scope, &helpers).err().map(|problem| format!("{name}: {problem}"))
    };
    let mut wrong = Vec::new();
    for (name, resource) in definition.resources.iter() {
        let scope = parents(definition, name)
            .iter()
            .fold(Scope::of(&[Name::Setup, Name::With]), |scope, parent| scope.named(parent));
        let Some(map) = &resource.map else {
            wrong.push(format!("{name}: no map"));
            continue;
        };
        wrong.extend(compile(unified(name).unwrap(), name, map, &scope));
    }
    for rule in definition.events.iter().flat_map(|events| &events.rules) {
        if let (Some(emits), Some(map)) = (rule.emit, &rule.map) {
            let name = emits.0.resource.name();
            let map = match map {
                Map::Named(other) => definition.resources.get(other).and_then(|other| other.map.as_ref()),
                Map::Fields(_) => None,
            }
            .unwrap_or(map);
            let scope = Scope::of(&[Name::Setup, Name::With]);
            wrong.extend(compile(emits.0.resource, name, map, &scope).map(|it| format!("events: {it}")));
        }
    }
    wrong
}

/// The names that a resource is listed over, outermost first.
fn parents(definition: &Definition, name: &str) -> Vec<String> {
    use tributary_connectors::definition::over::Each;
    let Some(resource) = definition.resources.get(name) else { return Vec::new() };
    let mut names = Vec::new();
    for over in &resource.over {
        if let Each::Resource(parent) = &over.each {
            names.extend(parents(definition, parent));
        }
        names.push(over.name.clone());
    }
    names
}

/// What is read for an id: of an address or a name it says nothing about who is meant tomorrow.
#[test]
fn ids_are_neither_addresses_nor_names() {
    const NO_IDS: [&str; 8] =
        ["email", "mail", "name", "login", "phone", "title", "primary_email", "workemail"];
    let mut wrong = Vec::new();
    for (file, written) in written() {
        for (name, resource) in written.definition.resources.iter() {
            let Some(id) = &resource.id else {
                wrong.push(format!("{file}: {name}: no id"));
                continue;
            };
            let all: Vec<&Expression> = match id {
                Id::One(one) => vec![one],
                Id::First(all) => all.iter().collect(),
                Id::Parts(parts) => parts.iter().map(|(_, part)| part).collect(),
            };
            for one in all {
                let Expression::Text(text) = one else { continue };
                let last = text.rsplit('.').next().unwrap_or_default().to_lowercase();
                if NO_IDS.contains(&last.as_str()) {
                    wrong.push(format!("{file}: {name}: {text}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_says_how_far_it_was_verified() {
    for (file, written) in written() {
        let docs = written.definition.docs.as_ref().unwrap_or_else(|| panic!("{file}: no docs"));
        assert!(docs.verified.len() > 10, "{file}: docs.verified");
    }
}

/// Maps that fill next to nothing are no connectors.
#[test]
fn each_map_fills_what_makes_its_record_worth_having() {
    let size = |map: Option<&Map>, definition: &Definition| match map {
        Some(Map::Fields(fields)) => fields.names().count(),
        Some(Map::Named(name)) => definition.maps.get(name).map_or(0, |map| match map {
            Map::Fields(fields) => fields
                .iter()
                .filter(|(_, field)| !matches!(field, Field::Form(form) if form.constant.is_some()))
                .count(),
            Map::Named(_) => 0,
        }),
        None => 0,
    };
    for (file, written) in written() {
        for (name, resource) in written.definition.resources.iter() {
            let least = match name {
                "ats_lists" | "ats_users" | "ats_assessments" => 2,
                _ => 3,
            };
            let fields = size(resource.map.as_ref(), &written.definition);
            assert!(fields >= least, "{file}: {name} fills {fields}");
        }
    }
}

/// Which connectors tell each event, natively and at all. (That a subscriber hears it is the provider suite's to show.)
pub(crate) fn matrix() -> BTreeMap<String, (Vec<String>, Vec<String>)> {
    let mut told: BTreeMap<String, (Vec<String>, Vec<String>)> = EventName::all()
        .filter(|event| event.resource.name() != "account")
        .map(|event| (event.to_string(), Default::default()))
        .collect();
    for (_, written) in written() {
        let definition = &written.definition;
        for (event, (polled, _)) in &mut told {
            let resource = event.split_once('.').map_or("", |(resource, _)| resource);
            if definition.resources.get(resource).is_some() {
                polled.push(definition.name.clone());
            }
        }
        for rule in definition.events.iter().flat_map(|events| &events.rules) {
            let triggered = rule.trigger.iter().flat_map(|resource| {
                ["created", "updated", "deleted"].map(|action| format!("{resource}.{action}"))
            });
            for event in rule.emit.iter().map(|emits| emits.0.to_string()).chain(triggered) {
                if let Some((_, native)) = told.get_mut(&event)
                    && !native.contains(&definition.name)
                {
                    native.push(definition.name.clone());
                }
            }
        }
    }
    told
}

#[test]
fn all_events_are_told_and_forty_of_them_natively() {
    let matrix = matrix();
    assert_eq!(matrix.len(), 57);
    let untold: Vec<&String> =
        matrix.iter().filter(|(_, (polled, _))| polled.is_empty()).map(|(event, _)| event).collect();
    let polled_only: Vec<&String> =
        matrix.iter().filter(|(_, (_, native))| native.is_empty()).map(|(event, _)| event).collect();
    assert!(untold.is_empty(), "nobody tells {untold:?}");
    let native = matrix.len() - polled_only.len();
    assert!(native >= 40, "{native} are told natively; not {polled_only:?}");
}
