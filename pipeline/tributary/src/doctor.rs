//! `tributary doctor`: whether everything around Tributary is as it must be.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args;
use tributary_stages::{
    config::Config,
    kafka::{
        Cluster, broker,
        skew::SKEW_MOST,
        topics::{self, Overrides},
    },
    registry,
    secret::KeyRing,
    store::Stores,
};

/// How long the public address may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The topics as they should be; without it the ones that ship (ops/topics.yaml).
    #[arg(long, value_name = "FILE")]
    topics: Option<PathBuf>,
    /// Partitions that every topic was made with, where it was not the file's.
    #[arg(long)]
    partitions: Option<i32>,
    /// Replicas that every topic was made with, where it was not the file's.
    #[arg(long)]
    replication: Option<i32>,
    /// Do not ask whether public_url reaches ingest: before the first start it can't.
    #[arg(long)]
    before_start: bool,
}

/// What is wrong, each with what to change; nothing, if all is well.
type Findings = anyhow::Result<Vec<String>>;

pub(crate) async fn run(config: &Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::new(config.kafka.clone());
    let mut wrong = 0;
    let mut say = |what: &str, findings: Findings| {
        let findings = findings.unwrap_or_else(|error| vec![format!("{error:#}")]);
        wrong += findings.len();
        if findings.is_empty() {
            println!("ok     {what}");
        }
        findings.iter().for_each(|finding| println!("WRONG  {what}: {finding}"));
    };
    say("keys", KeyRing::from_env().map(|_| Vec::new()));
    say("brokers", broker::settings(&cluster).await);
    say("topics", topics_differ(&cluster, &arguments).await);
    say("transactions and clock", tokio::task::block_in_place(|| clock(&cluster)));
    say(
        "schema registry",
        registry::schema_ids(&config.registry, cluster.topics()).await.map(|_| Vec::new()),
    );
    say("database", Stores::open(&config.store).await.map(|_| Vec::new()));
    if !arguments.before_start {
        say("public_url", reaches_ingest(&config.control.public_url).await);
    }
    println!("{}", if wrong == 0 { "all is well".to_owned() } else { format!("{wrong} to change") });
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn topics_differ(cluster: &Cluster, arguments: &Arguments) -> Findings {
    let overrides = Overrides { replication: arguments.replication, partitions: arguments.partitions };
    let wanted = crate::apply::wanted(cluster, arguments.topics.as_deref(), overrides)?;
    let findings = topics::check(cluster, &wanted).await?;
    Ok(findings.iter().map(|finding| format!("{finding}; `tributary topics apply` does it")).collect())
}

/// A transaction, and how far our clock is from the broker's.
fn clock(cluster: &Cluster) -> Findings {
    let seconds = broker::transact(cluster)?;
    let far = seconds.abs() > SKEW_MOST.as_secs_f64();
    let said = || format!("this machine's clock is {seconds:.1} s ahead of the broker's: let NTP set both");
    Ok(far.then(said).into_iter().collect())
}

/// Whether providers' webhooks would reach ingest: an unknown token is 404 there, in our form.
async fn reaches_ingest(public_url: &str) -> Findings {
    let mut findings = Vec::new();
    if !public_url.starts_with("https://") {
        findings.push(format!("`{public_url}` is not https: most providers refuse it (control.public_url)"));
    }
    let url = format!("{}/native/doctor/unknown", public_url.trim_end_matches('/'));
    let http = reqwest::Client::builder().timeout(ANSWER_LIMIT).build()?;
    let answer = http.post(&url).body("{}").send().await;
    let answer = answer.with_context(|| {
        format!("`{url}` does not answer: is ingest running, and control.public_url right?")
    })?;
    let status = answer.status();
    let ours = answer.json::<serde_json::Value>().await.is_ok_and(|said| said.get("errorCode").is_some());
    if status != reqwest::StatusCode::NOT_FOUND || !ours {
        findings.push(format!(
            "`{url}` answered {status}, not as ingest does: control.public_url leads elsewhere"
        ));
    }
    Ok(findings)
}
