//! What operators touch, as it is in `ops/`: metrics, rules, dashboards, the runbook.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::Value;

/// The folder `ops/`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops")
}

/// A file of it.
///
/// # Errors
/// When it can't be read.
pub fn text(file: impl AsRef<Path>) -> anyhow::Result<String> {
    let path = folder().join(file);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// The files of a folder of it with an ending, by name.
///
/// # Errors
/// When it can't be read.
pub fn files(under: &str, ending: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder().join(under)).with_context(|| under.to_owned())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(ending) {
            let text = text(format!("{under}/{name}"))?;
            found.insert(name, text);
        }
    }
    Ok(found)
}

/// YAML as JSON.
///
/// # Errors
/// When it is none.
pub fn yaml(text: &str) -> anyhow::Result<Value> {
    Ok(serde_saphyr::from_str(text)?)
}

/// A metric of `ops/metrics.md`.
#[derive(Debug)]
pub struct Metric {
    /// counter, gauge, histogram.
    pub kind: String,
    /// Its labels.
    pub labels: BTreeSet<String>,
}

/// What `ops/metrics.md` lists.
///
/// # Errors
/// When it can't be read.
pub fn metrics() -> anyhow::Result<BTreeMap<String, Metric>> {
    let mut metrics = BTreeMap::new();
    for line in text("metrics.md")?.lines().filter(|line| line.starts_with("| `tributary_")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, kind, _, labels, ..] = cells[..] else { continue };
        let labels = labels.split_whitespace().map(|label| label.trim_matches('`').to_owned()).collect();
        metrics.insert(name.trim_matches('`').to_owned(), Metric { kind: kind.to_owned(), labels });
    }
    Ok(metrics)
}

/// An alert or a recording rule.
#[derive(Debug)]
pub struct Rule {
    /// The file that has it.
    pub file: String,
    /// The alert's name, or the recorded one.
    pub name: String,
    /// Whether it is an alert.
    pub alert: bool,
    /// What it asks.
    pub expr: String,
    /// All of it.
    pub written: Value,
}

/// The rules of `ops/prometheus/rules`.
///
/// # Errors
/// When a file can't be read.
pub fn rules() -> anyhow::Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for (file, text) in files("prometheus/rules", ".yml")? {
        let read = yaml(&text).with_context(|| file.clone())?;
        let groups = read["groups"].as_array().into_iter().flatten();
        for written in groups.filter_map(|group| group["rules"].as_array()).flatten() {
            let of = |key: &str| written[key].as_str().map(str::to_owned);
            let name = of("alert").or_else(|| of("record")).context("a rule without a name")?;
            let expr = of("expr").context("a rule without an expression")?;
            let alert = written["alert"].is_string();
            rules.push(Rule { file: file.clone(), name, alert, expr, written: written.clone() });
        }
    }
    Ok(rules)
}

/// The queries of the dashboards: which one, and what it asks.
///
/// # Errors
/// When a file can't be read.
pub fn queries() -> anyhow::Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    for (file, text) in files("grafana/dashboards", ".json")? {
        let dashboard: Value = serde_json::from_str(&text).with_context(|| file.clone())?;
        let panels = dashboard["panels"].as_array().context("panels")?;
        for target in panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten() {
            let expr = target["expr"].as_str().context("a target's expr")?;
            queries.push((file.clone(), expr.to_owned()));
        }
    }
    Ok(queries)
}

/// The series that an expression names, each with the labels by which it selects; recorded ones too.
pub fn series(expr: &str) -> Vec<(String, Vec<String>)> {
    let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == ':';
    let mut found = Vec::new();
    let mut rest = expr;
    while let Some(begin) = rest.find(is_name) {
        rest = &rest[begin..];
        let end = rest.find(|it| !is_name(it)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        if !(name.starts_with("tributary_") || name.contains(':') && name.len() > 5) {
            continue;
        }
        let selectors = after.strip_prefix('{').and_then(|it| it.split_once('}')).map_or("", |(it, _)| it);
        let labels = selectors
            .split(',')
            .filter_map(|selector| selector.split(['=', '!']).next())
            .map(|label| label.trim().to_owned())
            .filter(|label| !label.is_empty() && label.chars().all(is_name))
            .collect();
        found.push((name.to_owned(), labels));
    }
    found
}
