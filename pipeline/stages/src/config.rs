//! The whole configuration: each stage's own, composed. One file, the environment over it, unknown keys refused.

use std::path::Path;

use anyhow::Context;
use config::{Environment, File, FileFormat};
use serde::{Deserialize, Serialize};

use crate::{control, deliver, ingest, kafka, poll, registry, store, telemetry, unify};

/// Everything that can be set. `ops/tributary.toml` has every default and its reason.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How to reach Kafka.
    pub kafka: kafka::Config,
    /// The schema registry of those who read the topics directly.
    pub registry: registry::Config,
    /// Where things are kept.
    pub store: store::Config,
    /// Metrics and health.
    pub telemetry: telemetry::Config,
    /// The ingest stage.
    pub ingest: ingest::Config,
    /// The poll stage.
    pub poll: poll::Config,
    /// The unify stage.
    pub unify: unify::Config,
    /// The deliver stage.
    pub deliver: deliver::Config,
    /// The control stage.
    pub control: control::Config,
}

impl Config {
    /// Reads a file, if one is named, and the environment over it: `TRIBUTARY__KAFKA__BROKERS=broker:9092` sets
    /// `kafka.brokers`.
    ///
    /// # Errors
    /// What is wrong: which key, in which file, and what was expected.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("reading the configuration {}", file.display()))?;
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
        }
        let environment = Environment::with_prefix("TRIBUTARY")
            .prefix_separator("__")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("store.cql.hosts");
        let where_from =
            file.map_or("the environment".into(), |file| format!("{} or the environment", file.display()));
        builder
            .add_source(environment)
            .build()
            .and_then(config::Config::try_deserialize)
            .with_context(|| format!("the configuration from {where_from}; ops/tributary.toml has every key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_ships_holds_every_default() {
        let text = include_str!("../../../ops/tributary.toml");
        let shipped: Config = toml::from_str(text).unwrap();
        assert_eq!(shipped, Config::default());
        let tests_only = ["test_interval_ms", "test_full_interval_ms", "test_retry_scale"];
        let unset = ["url", "username", "password"];
        let all = serde_json::to_value(Config::default()).unwrap();
        let shipped = serde_json::to_value(toml::from_str::<toml::Value>(text).unwrap()).unwrap();
        for (section, fields) in all.as_object().unwrap() {
            for field in fields.as_object().unwrap().keys() {
                let named = shipped[section].get(field).is_some();
                let left_out = tests_only.contains(&field.as_str()) || unset.contains(&field.as_str());
                assert!(named || left_out, "ops/tributary.toml lacks {section}.{field}");
            }
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tributary.toml");
        std::fs::write(&file, "[unify]\ninstanse = 3\n").unwrap();
        let error = format!("{:#}", Config::load(Some(&file)).unwrap_err());
        assert!(error.contains("instanse") && error.contains("tributary.toml"), "{error}");
        std::fs::write(&file, "[unify]\ninstance = \"three\"\n").unwrap();
        let error = format!("{:#}", Config::load(Some(&file)).unwrap_err());
        assert!(error.contains("unify.instance"), "{error}");
    }
}
