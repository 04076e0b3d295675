//! What is measured is declared: a name, a kind, its labels and what it means, once, beside the code that counts.
//! [`declare`] makes the constants, [`measures`](crate::measures) lists them all, and the recorder refuses what is not
//! declared so.

use metrics::SharedString;

/// What kind of metric one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from the process's start.
    Counter,
    /// What is true now.
    Gauge,
    /// How observations spread.
    Histogram,
}

impl Kind {
    /// Its name, as Prometheus has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric: made by [`declare`] only. It stands where `counter!`, `gauge!` and `histogram!` take a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    meaning: &'static str,
}

impl Metric {
    /// A counter; its name ends in `_total`.
    pub const fn counter(name: &'static str, labels: &'static [&'static str], meaning: &'static str) -> Self {
        Self { name, kind: Kind::Counter, labels, meaning }
    }

    /// A gauge; its name ends in its unit.
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], meaning: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, labels, meaning }
    }

    /// A histogram; its name ends in its unit.
    pub const fn histogram(
        name: &'static str,
        labels: &'static [&'static str],
        meaning: &'static str,
    ) -> Self {
        Self { name, kind: Kind::Histogram, labels, meaning }
    }

    /// `tributary_<stage>_<what>_<unit>`, a counter's with `_total` behind it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Its labels' names; [`LABELS`] says what bounds their values.
    pub const fn labels(&self) -> &'static [&'static str] {
        self.labels
    }

    /// What it counts, in a sentence or two.
    pub const fn meaning(&self) -> &'static str {
        self.meaning.trim_ascii()
    }

    /// What it is measured in, by its name.
    pub fn unit(&self) -> &'static str {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        name.rsplit('_').next().unwrap_or(name)
    }
}

impl From<Metric> for SharedString {
    fn from(metric: Metric) -> Self {
        SharedString::const_str(metric.name)
    }
}

/// Every label that a metric may have, and what its values are. Never one that a caller, a tenant or a provider makes up:
/// no account, project, webhook or URL.
pub const LABELS: &[(&str, &str)] = &[
    ("client", "a Kafka client of the process, by its role: `tributary-poll`"),
    ("commit", "the commit that the binary was built from"),
    ("content", "what was found of a record: `hash`, `unread`"),
    ("event", "one of the catalogue's 60 events"),
    ("group", "a consumer group: `deliver`, `unify`"),
    ("kind", "a word of the metric's own closed set"),
    ("lane", "a lane of a unify process: `<instance>.<lane>`"),
    (
        "limit",
        "what a caller of the API has or asks too much of: `requests`, `made`, `accounts`, `webhooks`, `key_look_ups`",
    ),
    ("listener", "one of a process's listeners: `ingest`, `control`, `telemetry`"),
    ("method", "a method that the API's routes have"),
    ("mode", "how an event came: `native_automatic`, `native_manual`, `synthetic`"),
    ("note", "why unify was silent, of a closed set"),
    ("outcome", "how it ended, of the metric's own closed set"),
    ("phase", "a phase of a batch: `read`, `decide`, `commit`, `apply`"),
    ("provider", "a definition's name; `unknown` for what names none"),
    ("reason", "why, of the metric's own closed set"),
    ("route", "a route of the API with its placeholders, never a path"),
    ("stage", "`ingest`, `poll`, `unify`, `deliver`, `control`"),
    ("status", "an HTTP status or its class, `timeout`, `failed`"),
    ("topic", "a topic of `ops/topics.yaml`, by its full name"),
    ("twin", "an input of unify: `native`, `snapshots`"),
    ("version", "the release"),
];

/// Declares metrics: constants for `counter!`, `gauge!` and `histogram!`, and `ALL`. Their documentation is their meaning.
///
/// ```ignore
/// declare! {
///     /// Runs that ended, by how.
///     counter RUNS = "tributary_poll_runs_total" [provider, outcome];
///     /// Runs under way.
///     gauge RUNNING = "tributary_poll_in_flight_runs";
/// }
/// ```
macro_rules! declare {
    ($($(#[doc = $meaning:literal])+ $kind:ident $constant:ident = $name:literal $([$($label:ident),+])?;)+) => {
        $(
            $(#[doc = $meaning])+
            pub const $constant: $crate::telemetry::Metric =
                $crate::telemetry::Metric::$kind($name, &[$($(stringify!($label)),+)?], concat!($($meaning),+));
        )+
        /// All that are declared here.
        pub const ALL: &[$crate::telemetry::Metric] = &[$($constant),+];
    };
}
pub(crate) use declare;
