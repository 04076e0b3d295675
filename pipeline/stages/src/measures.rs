//! Everything that is measured: the one list. `tributary metrics` writes it into `ops/metrics.md`, dashboards and rules
//! are checked against that, and the recorder takes nothing else.

use std::fmt::Write as _;

use crate::{
    control, deliver, entity, ingest, kafka, listen, poll, store,
    telemetry::{self, LABELS, Metric},
    unify,
};

/// What is measured, by the part that measures it, in the order of the flow.
pub const SECTIONS: &[(&str, &[&[Metric]])] = &[
    ("ingest", &[ingest::metrics::ALL]),
    ("poll", &[poll::metrics::ALL]),
    ("unify", &[unify::metrics::ALL]),
    ("deliver", &[deliver::metrics::ALL]),
    ("control", &[control::metrics::ALL, entity::metrics::ALL]),
    ("kafka", &[kafka::metrics::ALL]),
    ("store", &[store::metrics::ALL]),
    ("process", &[telemetry::ALL, listen::ALL]),
];

/// All of them.
pub fn all() -> impl Iterator<Item = Metric> {
    SECTIONS.iter().flat_map(|(_, parts)| parts.iter().copied().flatten().copied())
}

/// Says that a stage runs in this process.
pub fn begin(stage: &'static str) {
    let parts = SECTIONS.iter().filter(|(of, _)| [stage, "store"].contains(of)).flat_map(|(_, parts)| *parts);
    parts.for_each(|metrics| telemetry::begin(stage, metrics));
}

/// The list as a page: `ops/metrics.md`.
pub fn page() -> String {
    let mut page = String::from(HEAD);
    for (section, parts) in SECTIONS {
        let _ = write!(
            page,
            "\n## {section}\n\n| metric | kind | unit | labels | meaning |\n|---|---|---|---|---|\n"
        );
        for metric in parts.iter().copied().flatten() {
            let labels: Vec<String> = metric.labels().iter().map(|label| format!("`{label}`")).collect();
            let (name, kind, unit) = (metric.name(), metric.kind().name(), metric.unit());
            let _ = writeln!(
                page,
                "| `{name}` | {kind} | {unit} | {} | {} |",
                labels.join(" "),
                metric.meaning()
            );
        }
    }
    page.push_str("\n## Labels\n\n| label | its values |\n|---|---|\n");
    for (label, values) in LABELS {
        let _ = writeln!(page, "| `{label}` | {values} |");
    }
    page
}

const HEAD: &str = "\
# What is measured

Made by `tributary metrics` from what the code declares; a test holds them together. Each process serves its own on
`/metrics` of its admin port. A name is `tributary_<stage>_<what>_<unit>`, a counter's with `_total` behind it; a
histogram has `_bucket`, `_sum` and `_count`. Labels are bounded: none has a value that a tenant, a caller or a provider
makes up.
";

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, path::Path};

    use super::*;
    use crate::telemetry::Kind;

    #[test]
    fn the_page_is_what_the_code_declares() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops/metrics.md");
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        if kept != page() {
            std::fs::write(&file, page()).unwrap();
            panic!("ops/metrics.md was of another day: it is written anew, commit it");
        }
    }

    #[test]
    fn names_say_stage_and_unit() {
        for (section, metric) in
            SECTIONS.iter().flat_map(|(of, parts)| parts.iter().copied().flatten().map(move |it| (of, it)))
        {
            let name = metric.name();
            let rest = name.strip_prefix("tributary_").unwrap_or_else(|| panic!("{name}"));
            assert!(rest.starts_with(&format!("{section}_")) || name == "tributary_build_info", "{name}");
            assert!(name.bytes().all(|it| it.is_ascii_lowercase() || it == b'_'), "{name}");
            assert_eq!(metric.kind() == Kind::Counter, name.ends_with("_total"), "{name}");
            if metric.kind() != Kind::Counter {
                assert!(UNITS.contains(&metric.unit()), "{name} ends in no unit that is known");
            }
            assert!(metric.meaning().ends_with('.') && metric.meaning().len() > 10, "{name} says nothing");
        }
    }

    /// What a gauge or a histogram counts: base units, or what is counted.
    const UNITS: &[&str] = &[
        "accounts",
        "attempts",
        "brokers",
        "bytes",
        "changes",
        "connections",
        "deliveries",
        "events",
        "info",
        "messages",
        "partitions",
        "records",
        "requests",
        "resources",
        "runs",
        "seconds",
        "stages",
        "subscriptions",
        "webhooks",
    ];

    #[test]
    fn each_is_declared_once_with_labels_that_are_bounded() {
        let mut names = HashSet::new();
        for metric in all() {
            assert!(names.insert(metric.name()), "{} is declared twice", metric.name());
            for label in metric.labels() {
                assert!(
                    LABELS.iter().any(|(known, _)| known == label),
                    "{}: say in telemetry/metric.rs what bounds the label {label}",
                    metric.name()
                );
            }
        }
    }

    #[test]
    fn whatever_the_code_names_like_a_metric_is_declared() {
        let declared: HashSet<&str> = all().map(|metric| metric.name()).collect();
        for file in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for name in code.split('"').filter(|it| is_a_name(it)) {
                assert!(declared.contains(name), "{name} is not declared: {}", file.display());
            }
        }
    }

    fn is_a_name(text: &str) -> bool {
        let of_a_section = SECTIONS.iter().any(|(of, _)| text.starts_with(&format!("tributary_{of}_")));
        of_a_section && text.bytes().all(|it| it.is_ascii_lowercase() || it == b'_')
    }

    fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                found.extend(sources(&entry));
            } else if entry.extension().is_some_and(|it| it == "rs") {
                found.push(entry);
            }
        }
        found
    }
}
