//! `tributary sandbox`: the real stages on a stand-in broker and an embedded store, with a provider and a subscriber.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tributary_sandbox::{
    CANNOT_PROMISE,
    inbox::Inbox,
    provider::{Provider, TOKEN},
    relay,
};
use tributary_schemas::topic::Topics;
use tributary_stages::{
    config::Config,
    control::create_project,
    dial,
    entity::Writer,
    kafka::{self, Cluster, Mock, Publisher},
    secret::KeyRing,
    store::{self, Stores},
    telemetry::Readiness,
};

use crate::run::{Stage, finish, start, until_told};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// End with success after so many verified deliveries; with failure after 60 s without one.
    #[arg(long)]
    deliveries: Option<u64>,
}

const INGEST: SocketAddr = loopback(18080);
const CONTROL: SocketAddr = loopback(18081);
const INBOX: SocketAddr = loopback(18082);
const PROVIDER: SocketAddr = loopback(18083);
const KAFKA: SocketAddr = loopback(18084);
/// How long to wait for a delivery when a number is wanted.
const PATIENCE: Duration = Duration::from_secs(60);

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    println!("{CANNOT_PROMISE}\n");
    let folder = tempfile::tempdir().context("making a folder for the store")?;
    let broker = Mock::start(&Topics::default(), 4)?;
    let config = config(broker.brokers(), folder.path());
    let keys = Arc::new(KeyRing::parse(&KeyRing::generate())?);
    let stores = Stores::open(&config.store).await?;
    let shutdown = CancellationToken::new();
    let (provider, inbox) = (Provider::open(), Inbox::default());
    let mut world: JoinSet<anyhow::Result<()>> = JoinSet::new();
    world.spawn(provider.clone().serve(PROVIDER, shutdown.clone()));
    world.spawn(inbox.clone().serve(INBOX, shutdown.clone()));
    world.spawn(relay::serve(KAFKA, broker.brokers().to_owned(), shutdown.clone()));
    let cluster = Cluster::new(config.kafka.clone());
    let readiness = Readiness::default();
    let mut stages =
        start(&config, cluster.clone(), &Stage::ALL, stores.clone(), keys, &readiness, &shutdown)?;
    tokio::spawn(until_told(shutdown.clone()));
    println!("Kafka            {KAFKA}   (kcat -b {KAFKA} -t unified.hris_employees -C -f '%h\\n')");
    println!("control API      http://{CONTROL}");
    println!("native webhooks  http://{INGEST}");
    println!("demo provider    http://{PROVIDER}/employees");
    println!("inbox            http://{INBOX}/inbox\n");

    let writer =
        Writer::new(stores.control.clone(), Publisher::new(&cluster, "sandbox")?, cluster.topics().clone());
    let made = create_project(&writer, &*stores.control, "Sandbox").await?;
    println!("api key          {}", made.api_key);
    println!("                 curl -u {}: http://{CONTROL}/webhooks\n", made.api_key);
    let setting_up = set_up(&made.api_key, &provider, &inbox);
    if let Some(result) = shutdown.run_until_cancelled(setting_up).await {
        result?;
    }
    world.spawn(provider.live(Duration::from_millis(500), shutdown.clone()));

    let enough = wait(&inbox, arguments.deliveries, &shutdown, &mut stages, &mut world).await;
    shutdown.cancel();
    let stopped = finish(&mut stages, &shutdown).await;
    while world.join_next().await.is_some() {}
    let code = enough?;
    stopped?;
    Ok(code)
}

fn config(brokers: &str, folder: &std::path::Path) -> Config {
    let mut config = Config::default();
    let allow = vec![ipnet::IpNet::from(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))];
    let allowed = dial::Config { allow, ..dial::Config::default() };
    config.kafka = kafka::Config { brokers: brokers.to_owned(), ..kafka::Config::default() };
    config.store = store::Config::Embedded { path: folder.to_owned() };
    config.ingest.listen = INGEST;
    config.poll.dial = allowed.clone();
    config.poll.test_interval_ms = Some(1_000);
    config.poll.test_full_interval_ms = Some(3_000);
    config.deliver.dial = allowed.clone();
    config.control.listen = CONTROL;
    config.control.public_url = format!("http://{INGEST}");
    config.control.dial = allowed;
    config
}

/// What a person would do first: a webhook, an account, and the provider's own webhook.
async fn set_up(api_key: &str, provider: &Provider, inbox: &Inbox) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
    let call = async |method: reqwest::Method, path: &str, body: Option<Value>| {
        let url = format!("http://{CONTROL}{path}");
        let begun = tokio::time::Instant::now();
        loop {
            let mut request = client.request(method.clone(), &url).bearer_auth(api_key);
            if let Some(body) = &body {
                request = request.json(body);
            }
            match request.send().await {
                Ok(response) if response.status().is_success() => break Ok(response.json::<Value>().await?),
                Ok(response) => bail!("{method} {path}: {}", response.text().await?),
                // The API is not up yet.
                Err(error) if error.is_connect() && begun.elapsed() < Duration::from_secs(10) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => bail!("{method} {path}: {error}"),
            }
        }
    };
    let webhook = json!({ "url": format!("http://{INBOX}/inbox"), "name": "inbox", "events": ["*"] });
    let webhook = call(reqwest::Method::POST, "/webhooks", Some(webhook)).await?;
    inbox.learn(webhook["secret"].as_str().context("a webhook without a secret")?);
    let account = json!({
        "provider": "demo", "label": "Demo HR", "origin_owner_id": "customer-1",
        "setup": { "base_url": format!("http://{PROVIDER}"), "token": TOKEN },
    });
    let account = call(reqwest::Method::POST, "/accounts", Some(account)).await?;
    let id = account["id"].as_str().context("an account without an id")?;
    let native = call(reqwest::Method::GET, &format!("/accounts/{id}/native-webhook"), None).await?;
    provider
        .register(native["url"].as_str().unwrap_or_default(), native["secret"].as_str().unwrap_or_default());
    Ok(())
}

/// Until told to stop, or enough was delivered, or nothing was for too long, or something failed.
async fn wait(
    inbox: &Inbox,
    wanted: Option<u64>,
    shutdown: &CancellationToken,
    stages: &mut JoinSet<anyhow::Result<&'static str>>,
    world: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<ExitCode> {
    let mut verified = inbox.verified();
    loop {
        let count = *verified.borrow_and_update();
        if wanted.is_some_and(|wanted| count >= wanted) {
            println!("\n{count} deliveries verified");
            return Ok(ExitCode::SUCCESS);
        }
        let limit = if wanted.is_some() { PATIENCE } else { Duration::from_secs(365 * 86_400) };
        tokio::select! {
            // First: a stage that ends because it was told to is no failure.
            biased;
            () = shutdown.cancelled() => return Ok(ExitCode::SUCCESS),
            _ = verified.changed() => {}
            () = tokio::time::sleep(limit) => {
                eprintln!("error: no delivery for {} s", limit.as_secs());
                return Ok(ExitCode::FAILURE);
            }
            Some(ended) = stages.join_next() => {
                let stage = ended??;
                bail!("the stage {stage} ended");
            }
            Some(ended) = world.join_next() => ended??,
        }
    }
}
