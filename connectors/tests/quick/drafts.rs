//! The twelve definitions that the language was tried on.

use std::{fs, io, path::Path};

use tributary_connectors::engine::connector::Connector;
use tributary_connectors::{
    definition::Written,
    engine::{
        expression::{Expression, Helpers},
        map::{Mapping, Parts},
        names::{Name, Scope},
    },
};
use tributary_schemas::resource::Resource;

/// File and text of each.
pub(crate) fn all() -> io::Result<Vec<(String, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/quick/drafts");
    let read = |entry: io::Result<fs::DirEntry>| {
        let file = entry?;
        Ok((file.file_name().to_string_lossy().into_owned(), fs::read_to_string(file.path())?))
    };
    let mut read: Vec<(String, String)> = fs::read_dir(folder)?.map(read).collect::<io::Result<_>>()?;
    read.sort();
    Ok(read)
}

#[test]
fn each_compiles() {
    let all = all().unwrap();
    assert_eq!(all.len(), 12);
    let mut wrong = Vec::new();
    for (file, text) in &all {
        if let Err(error) = Connector::read(file, text) {
            wrong.push(error.to_string());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All maps, ids, filters and decoded texts of the drafts mean something to the engine.
#[test]
fn each_map_compiles() {
    let mut wrong = Vec::new();
    for (file, text) in &all().unwrap() {
        let written = Written::read(file, text).unwrap();
        let definition = &written.definition;
        let helpers = Helpers::compile(definition.helpers.as_deref().unwrap_or_default()).unwrap();
        for (name, resource) in definition.resources.iter() {
            let parents = resource.over.iter().map(|over| over.name.as_str());
            let scope = parents.fold(Scope::of(&[Name::Setup, Name::With]), Scope::named);
            let unified = Resource::ALL.into_iter().find(|known| known.name() == name).unwrap();
            let parts = Parts {
                resource: unified,
                map: resource.map.as_ref().unwrap(),
                maps: &definition.maps,
                dates: resource.dates.as_ref(),
                label: &resource.label,
                volatile: &resource.volatile,
                sets: &resource.sets,
                decode: &resource.decode,
            };
            if let Err(problem) = Mapping::compile(parts, &scope, &helpers) {
                wrong.push(format!("{file}: {name}: {problem}"));
            }
            if let Some(filter) = &resource.filter
                && let Err(problem) = Expression::compile(filter, &scope, &helpers)
            {
                wrong.push(format!("{file}: {name}: where: {problem}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
