//! `tests/bench mapping`: a page of records read, mapped and hashed, on one core, and in the same run the floor: parse
//! it with serde_json, serialise each record, SHA-256. Medians of pairs.

#![allow(clippy::print_stdout)]

mod records;

use std::{hint::black_box, time::Instant};

use anyhow::{Context, anyhow, ensure};
use sha2::{Digest, Sha256};
use tributary_connectors::{
    definition::{Written, keys::Named},
    engine::{
        expression::{Expression, Helpers},
        map::{Mapping, Parts},
        names::{Names, Scope},
        projection::Keyed,
        read::{self, Bounds},
    },
};
use tributary_schemas::resource::Resource;

use crate::records::{Records, employees, tryton};

/// Records of a page.
const RECORDS: usize = 500;
/// Pages of a run.
const PAGES: usize = 100;

fn main() -> anyhow::Result<()> {
    let runs = match std::env::args().nth(1).as_deref() {
        None => 7,
        Some(runs) => runs.parse().context("expected how many runs")?,
    };
    ensure!(runs >= 5, "at least 5 runs");
    println!(
        "| records | bytes each | mapped and hashed | floor | ratio (of {runs} pairs) |\n|---|---|---|---|---|"
    );
    for records in [employees(RECORDS), tryton(RECORDS), records::jq(RECORDS)] {
        measure(&records, runs)?;
    }
    Ok(())
}

fn measure(records: &Records, runs: usize) -> anyhow::Result<()> {
    let written = Written::read("records", records.definition).map_err(|error| anyhow!("{error}"))?;
    let resource = written.definition.resources.get("hris_employees").context("the resource")?;
    let (scope, helpers) = (Scope::default(), Helpers::default());
    let nothing = Named::default();
    let parts = Parts {
        resource: Resource::HrisEmployees,
        map: resource.map.as_ref().context("a map")?,
        maps: &nothing,
        dates: resource.dates.as_ref(),
        label: &resource.label,
        volatile: &resource.volatile,
        sets: &resource.sets,
        decode: &resource.decode,
    };
    let mapping = Mapping::compile(parts, &scope, &helpers).map_err(|problem| anyhow!("{problem}"))?;
    let list = resource.list.as_ref().and_then(|list| list.records.as_ref()).context("records")?;
    let list = Expression::compile(list, &scope, &helpers).map_err(|problem| anyhow!("{problem}"))?;
    let id = Expression::read(".id", &scope, &helpers).map_err(|problem| anyhow!("{problem}"))?;
    let (names, key) = (Names::new(), Keyed::new(&[7; 32]));

    let ours = || -> anyhow::Result<f64> {
        let begun = Instant::now();
        for _ in 0..PAGES {
            let format = tributary_connectors::definition::request::Format::Json;
            let bounds = Bounds::whole(1 << 26);
            let page = read::page(format, false, black_box(&records.page), &list, &names, bounds)?;
            for record in page.records.context("records")? {
                let id = id.one(&record, &names)?;
                black_box((id.as_text(), mapping.hash(&record, &names, &[], &key)?));
            }
        }
        Ok((PAGES * RECORDS) as f64 / begun.elapsed().as_secs_f64())
    };
    let floor = || -> anyhow::Result<f64> {
        let begun = Instant::now();
        for _ in 0..PAGES {
            let page: serde_json::Value = serde_json::from_slice(black_box(&records.page))?;
            for record in page["data"].as_array().context("records")? {
                black_box(Sha256::digest(serde_json::to_vec(record)?));
            }
        }
        Ok((PAGES * RECORDS) as f64 / begun.elapsed().as_secs_f64())
    };
    // The first of each warms up.
    ours()?;
    floor()?;
    let pairs: Vec<(f64, f64)> = (0..runs).map(|_| Ok((ours()?, floor()?))).collect::<anyhow::Result<_>>()?;
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut sorted: Vec<f64> = pairs.iter().map(of).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    println!(
        "| {} | {} | {:.0}/s | {:.0}/s | {:.2} |",
        records.name,
        records.page.len() / RECORDS,
        median(|(ours, _)| *ours),
        median(|(_, floor)| *floor),
        median(|(ours, floor)| ours / floor)
    );
    Ok(())
}
