//! The connectors of the language before: what the stages that are not over yet still run.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Connector, DefinitionError};

/// The definitions that ship with this release.
const BUILT_IN: [(&str, &str); 3] = [
    ("demo", include_str!("../definitions/demo/legacy.yaml")),
    ("greenhouse", include_str!("../definitions/greenhouse/legacy.yaml")),
    ("tryton", include_str!("../definitions/tryton/legacy.yaml")),
];

/// All connectors of a deployment, by name. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct OldCatalog {
    connectors: Arc<BTreeMap<String, Connector>>,
}

impl OldCatalog {
    /// The connectors that ship with this release.
    ///
    /// # Errors
    /// None in a release whose tests passed.
    pub(crate) fn built_in() -> Result<Self, DefinitionError> {
        Self::read(BUILT_IN.map(|(name, text)| (format!("{name}/legacy.yaml"), text)))
    }

    /// Connectors from texts, each with the name of its file.
    ///
    /// # Errors
    /// The first definition that can't be used, or a name that is taken twice.
    fn read<'a>(files: impl IntoIterator<Item = (String, &'a str)>) -> Result<Self, DefinitionError> {
        let mut connectors = BTreeMap::new();
        for (file, text) in files {
            let connector = Connector::read(&file, text)?;
            let name = connector.name().to_owned();
            if connectors.insert(name.clone(), connector).is_some() {
                return Err(DefinitionError { file, problem: format!("name: `{name}` is taken") });
            }
        }
        Ok(Self { connectors: Arc::new(connectors) })
    }

    /// A connector by its name.
    pub(crate) fn get(&self, name: &str) -> Option<&Connector> {
        self.connectors.get(name)
    }

    /// All connectors, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Connector> {
        self.connectors.values()
    }
}
