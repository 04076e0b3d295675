//! The process's recorder: what is recorded is declared, with its kind and just its labels. So `ops/metrics.md` tells
//! the truth, and no label comes in by the way.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;

use super::metric::{Kind, Metric};

/// Records what is declared. What is not is refused and logged once; in a debug build it panics, so that tests see it.
pub(super) struct Declared {
    inner: PrometheusRecorder,
    metrics: HashMap<&'static str, Metric>,
    refused: Mutex<HashSet<String>>,
}

impl Declared {
    pub(super) fn new(inner: PrometheusRecorder, metrics: impl IntoIterator<Item = Metric>) -> Self {
        let metrics: HashMap<_, _> = metrics.into_iter().map(|metric| (metric.name(), metric)).collect();
        for metric in metrics.values() {
            let (name, meaning) = (KeyName::from_const_str(metric.name()), metric.meaning().into());
            match metric.kind() {
                Kind::Counter => inner.describe_counter(name, None, meaning),
                Kind::Gauge => inner.describe_gauge(name, None, meaning),
                Kind::Histogram => inner.describe_histogram(name, None, meaning),
            }
        }
        Self { inner, metrics, refused: Mutex::default() }
    }

    fn takes(&self, key: &Key, kind: Kind) -> bool {
        let declared = self.metrics.get(key.name()).is_some_and(|metric| {
            let labels = key.labels().len() == metric.labels().len()
                && key.labels().all(|label| metric.labels().contains(&label.key()));
            labels && metric.kind() == kind
        });
        if !declared {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            if refused.insert(key.name().to_owned()) {
                let labels: Vec<&str> = key.labels().map(metrics::Label::key).collect();
                tracing::error!(
                    name = key.name(),
                    kind = kind.name(),
                    ?labels,
                    "a metric that is not declared so"
                );
            }
            debug_assert!(false, "the {} {} is not declared with these labels", kind.name(), key.name());
        }
        declared
    }
}

impl Recorder for Declared {
    // Everything is described at the start.
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        if self.takes(key, Kind::Counter) {
            self.inner.register_counter(key, metadata)
        } else {
            Counter::noop()
        }
    }
    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        if self.takes(key, Kind::Gauge) { self.inner.register_gauge(key, metadata) } else { Gauge::noop() }
    }
    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        if self.takes(key, Kind::Histogram) {
            self.inner.register_histogram(key, metadata)
        } else {
            Histogram::noop()
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn recorder() -> Declared {
        let inner = PrometheusBuilder::new().build_recorder();
        Declared::new(inner, [Metric::counter("tributary_test_things_total", &["outcome"], "Things")])
    }

    #[test]
    fn what_is_declared_is_recorded_with_its_meaning() {
        let recorder = recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("tributary_test_things_total", "outcome" => "good").increment(2);
        });
        let text = recorder.inner.handle().render();
        assert!(text.contains("# HELP tributary_test_things_total Things"), "{text}");
        assert!(text.contains(r#"tributary_test_things_total{outcome="good"} 2"#), "{text}");
    }

    #[test]
    #[should_panic(expected = "is not declared with these labels")]
    fn a_label_too_many_is_refused() {
        let recorder = recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::counter!("tributary_test_things_total", "outcome" => "good", "account" => "a1")
                .increment(1);
        });
    }

    #[test]
    #[should_panic(expected = "is not declared with these labels")]
    fn a_metric_of_another_kind_is_refused() {
        let recorder = recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::gauge!("tributary_test_things_total", "outcome" => "good").set(1);
        });
    }
}
