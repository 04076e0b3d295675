//! The two lists: what is offered and nobody asked for, and what was asked for and is not offered.

use crate::{provider::Route, world::World};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What was asked of a provider.
#[derive(Default)]
pub(crate) struct Asked {
    /// By `METHOD path` of the route.
    routes: BTreeMap<String, u64>,
    /// Query parameters and body fields, by route.
    parts: BTreeMap<String, BTreeSet<String>>,
    /// What is not offered, and how often.
    unknown: BTreeMap<String, u64>,
}

/// `METHOD path`, and what tells it from others with that path.
pub(crate) fn label(route: &Route) -> String {
    let when = route.when.map(|(name, value)| format!("?{name}={value}")).unwrap_or_default();
    format!("{} {}{when}", route.method, route.path)
}

impl Asked {
    pub(crate) fn note(&mut self, route: &Route, parts: impl Iterator<Item = String>) {
        let label = label(route);
        self.parts.entry(label.clone()).or_default().extend(parts);
        *self.routes.entry(label).or_default() += 1;
    }

    pub(crate) fn not_offered(&mut self, what: String) {
        *self.unknown.entry(what).or_default() += 1;
    }
}

/// Of the providers that have tenants; of all that were asked.
pub(crate) fn report(world: &World) -> Value {
    let mut unasked = Vec::new();
    let mut unknown: Vec<Value> =
        world.strangers.iter().map(|(what, times)| json!({"request": what, "times": times})).collect();
    let mut faults = Vec::new();
    for side in world.sides.values() {
        let name = side.provider.name;
        for (what, times) in &side.asked.unknown {
            unknown.push(json!({"provider": name, "request": what, "times": times}));
        }
        if side.tenants.is_empty() {
            continue;
        }
        for route in &side.provider.routes {
            let label = label(route);
            let Some(parts) = side.asked.parts.get(&label) else {
                unasked.push(json!({"provider": name, "offer": label}));
                continue;
            };
            let declared = route.query.iter().chain(route.body).filter(|d| !d.ends_with('*'));
            for part in declared.filter(|d| !parts.contains(**d)) {
                unasked.push(json!({"provider": name, "offer": label, "part": part}));
            }
        }
        for (tenant, fault) in side.tenants.values().flat_map(|t| t.faults.iter().map(|f| (&t.name, f))) {
            if fault.bitten == 0 {
                faults.push(json!({"provider": name, "tenant": tenant, "fault": fault}));
            }
        }
    }
    json!({"offered_and_not_asked_for": unasked, "asked_for_and_not_offered": unknown, "faults_that_never_bit": faults})
}
