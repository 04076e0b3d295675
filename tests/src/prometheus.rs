//! A real Prometheus beside a deployment, with the rules of `ops/` on a faster clock: an hour of a rule is some seconds here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use reqwest::Client;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::{PATIENCE, http, operations};

/// How much faster rules go here.
const HASTE: f64 = 150.0;
/// How often processes are scraped and rules evaluated.
const EVERY: &str = "400ms";
/// The shortest window or wait that is left of one: a few scrapes.
const SHORTEST: Duration = Duration::from_secs(2);

/// A Prometheus; it ends when this is dropped.
pub struct Prometheus {
    _process: Child,
    _folder: tempfile::TempDir,
    api: String,
    http: Client,
}

impl Prometheus {
    /// Starts one that scrapes these admin ports, by stage.
    ///
    /// # Errors
    /// When it does not start, or a rule can't be evaluated.
    pub async fn start(admins: &BTreeMap<&'static str, u16>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let rules = folder.path().join("rules");
        std::fs::create_dir(&rules)?;
        for (file, text) in operations::files("prometheus/rules", ".yml")? {
            std::fs::write(rules.join(file), hastened(&text)?)?;
        }
        let targets: Vec<String> = admins
            .iter()
            .map(|(stage, port)| {
                format!("{{ targets: ['127.0.0.1:{port}'], labels: {{ instance: {stage} }} }}")
            })
            .collect();
        let configuration = format!(
            "global: {{ scrape_interval: {EVERY}, scrape_timeout: {EVERY}, evaluation_interval: {EVERY} }}\n\
             rule_files: [rules/*.yml]\n\
             scrape_configs: [{{ job_name: tributary, static_configs: [{}] }}]\n",
            targets.join(", ")
        );
        std::fs::write(folder.path().join("prometheus.yml"), configuration)?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--log.level=error"])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let process = command.spawn().context("starting prometheus: is it installed?")?;
        let api = format!("http://127.0.0.1:{port}");
        let this = Self { _process: process, _folder: folder, api, http: http()? };
        let begun = Instant::now();
        while !this
            .http
            .get(format!("{}/-/ready", this.api))
            .send()
            .await
            .is_ok_and(|it| it.status().is_success())
        {
            ensure!(begun.elapsed() < PATIENCE, "Prometheus does not get ready");
            tokio::task::yield_now().await;
        }
        Ok(this)
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let answer = self.http.get(format!("{}{path}", self.api)).query(query).send().await?;
        let answer: Value = answer.json().await?;
        ensure!(answer["status"] == "success", "{path} {query:?}: {answer}");
        Ok(answer["data"].clone())
    }

    /// The rules that could not be evaluated, and why.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn sick_rules(&self) -> anyhow::Result<Vec<String>> {
        let data = self.ask("/api/v1/rules", &[]).await?;
        let groups = data["groups"].as_array().context("groups")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        Ok(rules.filter(|rule| rule["health"] == "err").map(ToString::to_string).collect())
    }

    /// What a query gives now.
    ///
    /// # Errors
    /// When it is none.
    pub async fn query(&self, expr: &str) -> anyhow::Result<Vec<Value>> {
        let data = self.ask("/api/v1/query", &[("query", expr)]).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// The alerts that fire now, by name.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn firing(&self) -> anyhow::Result<BTreeSet<String>> {
        let data = self.ask("/api/v1/alerts", &[]).await?;
        let alerts = data["alerts"].as_array().context("alerts")?.iter();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        Ok(firing.filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned)).collect())
    }

    /// Waits until just these alerts fire.
    ///
    /// # Errors
    /// When another one does meanwhile, but for those that `may` still fire, or it takes too long.
    pub async fn until(&self, expected: &[&str], may: &[&str]) -> anyhow::Result<()> {
        let wanted: BTreeSet<String> = expected.iter().map(|it| (*it).to_owned()).collect();
        let begun = Instant::now();
        loop {
            let firing = self.firing().await?;
            let foreign: Vec<&String> =
                firing.iter().filter(|it| !wanted.contains(*it) && !may.contains(&it.as_str())).collect();
            ensure!(foreign.is_empty(), "expected {wanted:?} only, and {foreign:?} fires too");
            if firing == wanted {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "expected {wanted:?}, and {firing:?} fires");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Rules with every window and wait shortened. Without the slow burn, whose windows are of days.
fn hastened(text: &str) -> anyhow::Result<String> {
    let mut read = operations::yaml(text)?;
    for group in read["groups"].as_array_mut().into_iter().flatten() {
        let Some(rules) = group["rules"].as_array_mut() else { continue };
        rules.retain(|rule| rule["labels"]["burn"] != "slow");
        for rule in rules {
            if let Some(wait) = rule["for"].as_str() {
                rule["for"] = shortened(wait).context("a wait")?.into();
            }
            let expr = rule["expr"].as_str().context("a rule's expr")?;
            rule["expr"] = windows_shortened(expr).into();
        }
    }
    // JSON is YAML.
    Ok(read.to_string())
}

fn windows_shortened(expr: &str) -> String {
    let mut written = String::new();
    let mut rest = expr;
    while let Some(at) = rest.find(['[', 'o']) {
        let begin = at + if rest[at..].starts_with("offset ") { "offset ".len() } else { 1 };
        written.push_str(&rest[..begin]);
        rest = &rest[begin..];
        let end = rest.find(|it: char| !it.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let opens = written.ends_with('[') || written.ends_with("offset ");
        if let Some(shorter) = shortened(&rest[..end]).filter(|_| opens) {
            written.push_str(&shorter);
            rest = &rest[end..];
        }
    }
    written + rest
}

fn shortened(duration: &str) -> Option<String> {
    let (number, unit) = duration.split_at(duration.len().checked_sub(1)?);
    let seconds = number.parse::<f64>().ok()?
        * f64::from(match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        });
    let shorter = Duration::from_secs_f64(seconds / HASTE).max(SHORTEST);
    Some(format!("{}ms", shorter.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_offsets_are_shortened_and_nothing_else() {
        assert_eq!(
            windows_shortened("a:rate1h{o=\"5m\"} > rate(tot_total[1h]) unless tot offset 1d"),
            "a:rate1h{o=\"5m\"} > rate(tot_total[24000ms]) unless tot offset 576000ms"
        );
        assert_eq!(shortened("1m"), Some("2000ms".into()));
        assert_eq!(shortened("m"), None);
    }
}
