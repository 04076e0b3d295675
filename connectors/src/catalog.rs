//! All connectors of a deployment.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Connector, DefinitionError};

/// The definitions that ship with this release.
pub const BUILT_IN: [(&str, &str); 3] = [
    ("demo", include_str!("../definitions/demo/connector.yaml")),
    ("greenhouse", include_str!("../definitions/greenhouse/connector.yaml")),
    ("tryton", include_str!("../definitions/tryton/connector.yaml")),
];

/// All connectors of a deployment, by name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog {
    connectors: Arc<BTreeMap<String, Connector>>,
}

impl Catalog {
    /// The connectors that ship with this release.
    ///
    /// # Errors
    /// None in a release whose tests passed.
    pub fn built_in() -> Result<Self, DefinitionError> {
        Self::read(BUILT_IN.map(|(name, text)| (format!("{name}/connector.yaml"), text)))
    }

    /// Connectors from texts, each with the name of its file.
    ///
    /// # Errors
    /// The first definition that can't be used, or a name that is taken twice.
    pub fn read<'a>(files: impl IntoIterator<Item = (String, &'a str)>) -> Result<Self, DefinitionError> {
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
    pub fn get(&self, name: &str) -> Option<&Connector> {
        self.connectors.get(name)
    }

    /// All connectors, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Connector> {
        self.connectors.values()
    }
}
