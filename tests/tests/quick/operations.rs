//! What operators touch hangs together: rules and dashboards ask for what is measured, by labels that it has; each alert
//! says how grave it is, has a heading in the runbook, and a test in which it fires and one in which it does not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tributary_tests::operations::{self, Rule};

/// What Prometheus puts on every series.
const OUTER: [&str; 2] = ["instance", "job"];

#[test]
fn rules_and_dashboards_ask_for_what_is_measured() {
    let metrics = operations::metrics().unwrap();
    assert!(metrics.len() > 50, "{}", metrics.len());
    let rules = operations::rules().unwrap();
    let recorded: BTreeSet<&str> =
        rules.iter().filter(|rule| !rule.alert).map(|rule| rule.name.as_str()).collect();
    let asked = rules.iter().map(|rule| (rule.file.clone(), rule.expr.clone()));
    for (file, expr) in asked.chain(operations::queries().unwrap()) {
        for (name, labels) in operations::series(&expr) {
            if name.contains(':') {
                assert!(recorded.contains(name.as_str()), "{file}: {name} is not recorded");
                continue;
            }
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
                let base = name.strip_suffix(end)?;
                metrics.get(base).filter(|metric| metric.kind == "histogram")
            });
            let metric = base.or_else(|| metrics.get(&name).filter(|metric| metric.kind != "histogram"));
            let metric = metric.unwrap_or_else(|| panic!("{file}: nothing measures {name}"));
            for label in labels {
                let bucket = label == "le" && base.is_some();
                assert!(
                    bucket || OUTER.contains(&label.as_str()) || metric.labels.contains(&label),
                    "{file}: {name} has no label {label}"
                );
            }
            for growth in ["rate(", "increase("] {
                let grows = metric.kind != "gauge" || !expr.contains(&format!("{growth}{name}"));
                assert!(grows, "{file}: {growth}{name}): it is a gauge");
            }
        }
    }
}

#[test]
fn each_alert_says_how_grave_it_is_and_what_to_do() {
    let runbook = operations::text("runbook.md").unwrap();
    let headings: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let rules = operations::rules().unwrap();
    let alerts: BTreeMap<&str, &Rule> =
        rules.iter().filter(|rule| rule.alert).map(|rule| (rule.name.as_str(), rule)).collect();
    for (name, rule) in &alerts {
        let severity = rule.written["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("page" | "ticket")), "{name}: severity {severity:?}");
        assert!(rule.written["annotations"]["summary"].is_string(), "{name} has no summary");
        assert!(headings.contains(name), "ops/runbook.md has no heading for {name}");
    }
    for heading in headings.iter().filter(|it| !it.contains(' ')) {
        assert!(alerts.contains_key(heading), "ops/runbook.md tells of an alert {heading} that there is not");
    }
}

#[test]
fn each_alert_is_tested_where_it_fires_and_where_it_does_not() {
    // Of a file's tests: how many alerts of a name are expected, and beside how many series they were told apart.
    let mut fires: BTreeSet<String> = BTreeSet::new();
    let mut silent: BTreeSet<String> = BTreeSet::new();
    for (file, text) in operations::files("prometheus/tests", ".yml").unwrap() {
        for test in operations::yaml(&text).unwrap()["tests"].as_array().unwrap_or_else(|| panic!("{file}")) {
            for case in test["alert_rule_test"].as_array().into_iter().flatten() {
                let alert = case["alertname"].as_str().unwrap_or_else(|| panic!("{file}")).to_owned();
                let expected = case["exp_alerts"].as_array().map_or(0, Vec::len);
                // A list of alerts is the whole list: what else there is in the test is silent.
                let others = test["input_series"].as_array().map_or(0, Vec::len) > expected;
                if expected > 0 {
                    fires.insert(alert.clone());
                }
                if expected == 0 || others {
                    silent.insert(alert);
                }
            }
        }
    }
    for rule in operations::rules().unwrap().iter().filter(|rule| rule.alert) {
        assert!(fires.contains(&rule.name), "no test of ops/prometheus/tests in which {} fires", rule.name);
        assert!(silent.contains(&rule.name), "none in which {} does not", rule.name);
    }
}

/// The documents of a file of YAML.
fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n").map(|document| operations::yaml(document).unwrap()).collect()
}

/// Every `args` and `command` below, that is words.
fn commands(below: &Value, found: &mut Vec<Vec<String>>) {
    match below {
        Value::Object(fields) => {
            for (name, value) in fields {
                let words = match value {
                    Value::Array(words) => {
                        words.iter().filter_map(Value::as_str).map(str::to_owned).collect()
                    }
                    Value::String(words) => words.split_whitespace().map(str::to_owned).collect(),
                    _ => Vec::new(),
                };
                if ["args", "command"].contains(&name.as_str()) && !words.is_empty() {
                    found.push(words);
                }
                commands(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| commands(item, found)),
        _ => {}
    }
}

#[test]
fn manifests_and_units_start_commands_that_there_are() {
    let mut found = Vec::new();
    for text in operations::files("kubernetes", ".yaml").unwrap().values() {
        documents(text).iter().for_each(|document| commands(document, &mut found));
    }
    let unit = operations::text("systemd/tributary@.service").unwrap();
    let start =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/tributary ")).unwrap();
    found.push(start.replace("%i", "unify").split_whitespace().map(str::to_owned).collect());
    let compose = operations::yaml(&operations::text("compose.yaml").unwrap()).unwrap();
    for service in compose["services"].as_object().unwrap().values().filter(|it| it["image"] == "tributary") {
        commands(service, &mut found);
    }
    assert!(found.len() > 12, "{found:?}");
    for words in found {
        // `--help` is the last: what stands before it has been understood.
        let words: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let (code, said) = crate::said(&words, &[]);
        assert_eq!(code, Some(0), "tributary {}: {said}", words.join(" "));
    }
}

#[test]
fn what_the_manifests_configure_is_understood() {
    let config = operations::text("kubernetes/config.yaml").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = documents(&config)[0]["data"]["tributary.toml"].as_str().unwrap().to_owned();
    std::fs::write(file.path(), text).unwrap();
    let (code, said) = crate::said(&["--config", &file.path().display().to_string(), "metrics"], &[]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn each_service_of_compose_is_looked_at_and_waits_for_what_is_well() {
    let compose = operations::yaml(&operations::text("compose.yaml").unwrap()).unwrap();
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        assert!(service["healthcheck"].is_object(), "{name} has no health check");
        for (other, condition) in service["depends_on"].as_object().into_iter().flatten() {
            let other = services.get(other).unwrap_or_else(|| panic!("{name} waits for {other}"));
            let well = condition["condition"] == "service_healthy" && other["healthcheck"]["test"].is_array();
            let done = condition["condition"] == "service_completed_successfully" && other["restart"] == "no";
            assert!(well || done, "{name}: {condition}");
        }
    }
}
