//! All connectors of a deployment, by name: those that ship, and those of a folder beside them.
//!
//! A set is never half loaded: a definition that can't be used is refused with file, line and key, and what was loaded under its
//! name before stays. Readers ask by name each time; what they hold of a set before goes on being valid.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use sha2::{Digest, Sha256};

use crate::{
    definition::{DefinitionError, Problem, Written},
    engine::connector::Connector,
    legacy_catalog::OldCatalog,
};

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// The definitions that ship with this release.
        pub const BUILT_IN: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../definitions/", $name, "/connector.yaml")))),*];
    };
}

built_in![
    "360learning",
    "ashby",
    "bamboohr",
    "box",
    "canvas",
    "demo",
    "docebo",
    "dropbox",
    "google_drive",
    "hibob",
    "hubspot",
    "lever",
    "microsoft_graph",
    "moodle",
    "personio",
    "pipedrive",
    "recruitee",
    "salesforce",
    "smartrecruiters",
    "talentlms",
    "teamtailor",
    "thinkific",
    "tryton",
    "workable",
    "workday",
    "zoho_crm",
];

/// A definition's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path, as errors name it.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// All connectors of a deployment, by name. Cheap to clone; every clone sees what is loaded.
#[derive(Clone)]
pub struct Catalog {
    built_in: Arc<BTreeMap<String, Arc<Connector>>>,
    set: Arc<RwLock<Arc<Set>>>,
    old: Arc<OldCatalog>,
}

#[derive(Default)]
struct Set {
    connectors: BTreeMap<String, Arc<Connector>>,
    /// The text of each that is not built in.
    texts: BTreeMap<String, String>,
    number: u32,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.current().connectors.keys()).finish()
    }
}

impl Catalog {
    /// The connectors that ship with this release.
    ///
    /// # Errors
    /// None in a release whose tests passed.
    pub fn built_in() -> Result<Self, DefinitionError> {
        let mut built_in = BTreeMap::new();
        for (name, text) in BUILT_IN {
            let connector = Connector::read(&format!("{name}/connector.yaml"), text)?;
            built_in.insert(connector.name().to_owned(), Arc::new(connector));
        }
        let old = OldCatalog::built_in().map_err(|error| DefinitionError {
            file: error.file,
            line: 1,
            problem: error.problem,
        })?;
        let catalog = Self { built_in: Arc::new(built_in), set: Arc::default(), old: Arc::new(old) };
        catalog.load(&[]);
        Ok(catalog)
    }

    /// Loads the definitions of a folder, in place of those that were loaded of it before. Gives what was refused: of such a
    /// name the definition before stays.
    pub fn load(&self, files: &[File]) -> Vec<DefinitionError> {
        let before = self.current();
        let mut refused = Vec::new();
        let mut set = Set { connectors: (*self.built_in).clone(), ..Set::default() };
        for file in files {
            match self.compiled(file, &set) {
                Ok(connector) => {
                    let name = connector.name().to_owned();
                    set.texts.insert(name.clone(), file.text.clone());
                    set.connectors.insert(name, Arc::new(connector));
                }
                Err((name, error)) => {
                    refused.push(error);
                    if let Some(name) = name.filter(|name| !set.texts.contains_key(name))
                        && let (Some(text), Some(kept)) =
                            (before.texts.get(&name), before.connectors.get(&name))
                    {
                        set.texts.insert(name.clone(), text.clone());
                        set.connectors.insert(name, Arc::clone(kept));
                    }
                }
            }
        }
        set.number = set.numbered();
        *self.set.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
        refused
    }

    /// A connector by its name.
    pub fn get(&self, name: &str) -> Option<Arc<Connector>> {
        self.current().connectors.get(name).cloned()
    }

    /// All connectors, by name.
    pub fn all(&self) -> Vec<Arc<Connector>> {
        self.current().connectors.values().cloned().collect()
    }

    /// Says which set is loaded: processes that show another number run other definitions.
    pub fn number(&self) -> u32 {
        self.current().number
    }

    /// A connector of the language before.
    pub fn old(&self, name: &str) -> Option<&crate::Connector> {
        self.old.get(name)
    }

    /// All connectors of the language before.
    pub fn olds(&self) -> impl Iterator<Item = &crate::Connector> {
        self.old.iter()
    }

    /// A file's connector; with an error the name that it would have had, where that can be told.
    fn compiled(&self, file: &File, set: &Set) -> Result<Connector, (Option<String>, DefinitionError)> {
        let folder = || {
            let mut steps = file.path.rsplit(['/', '\\']);
            steps.next().zip(steps.next()).map(|(_, folder)| folder.to_owned())
        };
        let written = Written::read(&file.path, &file.text).map_err(|error| (folder(), error))?;
        let name = written.definition.name.clone();
        let refuse = |what: String| {
            let problem = Problem::new(what).at("name");
            Err((None, written.error(problem)))
        };
        if set.texts.contains_key(&name) {
            return refuse(format!("`{name}` is taken by another definition of the folder"));
        }
        if self.built_in.contains_key(&name) && !written.definition.replaces {
            return refuse(format!("`{name}` is built in: say `replaces: true` to take its place"));
        }
        Connector::compile(written).map_err(|error| (Some(name), error))
    }

    fn current(&self) -> Arc<Set> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Set {
    fn numbered(&self) -> u32 {
        let mut digest = Sha256::new();
        for (name, connector) in &self.connectors {
            let canonical = connector.canonical();
            digest.update((name.len() as u64).to_be_bytes());
            digest.update(name);
            digest.update((canonical.len() as u64).to_be_bytes());
            digest.update(canonical);
        }
        let digest = digest.finalize();
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &str, name: &str, title: &str) -> File {
        let text = format!(
            "language: 1\nname: {name}\ntitle: {title}\ncategory: crm\ndefaults: {{ base: https://acme.example }}\n\
             resources:\n  crm_contacts: {{ list: {{ call: GET /c, records: . }}, page: none, id: .id, map: {{ first_name: .name }} }}\n"
        );
        File { path: format!("{folder}/connector.yaml"), text }
    }

    fn titles(catalog: &Catalog, name: &str) -> Option<String> {
        catalog.get(name).map(|connector| connector.definition().title.clone())
    }

    #[test]
    fn a_folder_is_loaded_again_and_what_is_broken_leaves_what_was_before() {
        let catalog = Catalog::built_in().unwrap();
        let (seen, shipped) = (catalog.clone(), catalog.all().len());
        let bare = catalog.number();
        assert_eq!(catalog.load(&[file("acme", "acme", "Acme"), file("beta", "beta", "Beta")]), []);
        assert_eq!((titles(&seen, "acme").as_deref(), seen.all().len()), (Some("Acme"), shipped + 2));
        let loaded = catalog.number();
        assert_ne!(loaded, bare);

        let mut broken = file("acme", "acme", "Acme 2");
        broken.text = broken.text.replace("page: none", "paje: none");
        let refused = catalog.load(&[broken, file("beta", "beta", "Beta 2")]);
        assert_eq!(refused.len(), 1);
        let error = refused[0].to_string();
        assert!(
            error.starts_with(
                "acme/connector.yaml:7: resources.crm_contacts.paje: no key `paje`; did you mean `page`?"
            ),
            "{error}"
        );
        assert_eq!(titles(&seen, "acme").as_deref(), Some("Acme"), "the one before stays");
        assert_eq!(titles(&seen, "beta").as_deref(), Some("Beta 2"), "the others do not wait for it");

        assert_eq!(catalog.load(&[file("beta", "beta", "Beta")]), []);
        assert_eq!(titles(&seen, "acme"), None, "its file is gone");
        assert_eq!(catalog.load(&[file("acme", "acme", "Acme"), file("beta", "beta", "Beta")]), []);
        assert_eq!(catalog.number(), loaded, "the same definitions, the same number");
    }

    #[test]
    fn a_name_is_taken_once_and_one_that_ships_only_on_purpose() {
        let catalog = Catalog::built_in().unwrap();
        let refused = catalog.load(&[file("a", "acme", "A"), file("b", "acme", "B")]);
        assert_eq!(
            refused[0].to_string(),
            "b/connector.yaml:2: name: `acme` is taken by another definition of the folder"
        );
        assert_eq!(titles(&catalog, "acme").as_deref(), Some("A"));

        let mut demo = file("demo", "demo", "Ours");
        assert_eq!(
            catalog.load(std::slice::from_ref(&demo))[0].to_string(),
            "demo/connector.yaml:2: name: `demo` is built in: say `replaces: true` to take its place"
        );
        assert_ne!(titles(&catalog, "demo").as_deref(), Some("Ours"));
        demo.text.push_str("replaces: true\n");
        assert_eq!(catalog.load(&[demo]), []);
        assert_eq!(titles(&catalog, "demo").as_deref(), Some("Ours"));
    }
}
