//! Other people's clients, as processes that print one JSON line for each thing they got.

use std::process::Stdio;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{PATIENCE, env};

/// Whose client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// confluent-kafka and its Avro deserialiser.
    Python,
    /// kafkajs and @kafkajs/confluent-schema-registry.
    Node,
    /// kafka-clients and org.apache.avro.
    Java,
}

/// A running client; it ends when this is dropped.
pub struct Client {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(mut command: Command) -> anyhow::Result<Self> {
        command.stdout(Stdio::piped()).stdin(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().context("starting a client")?;
        let stdout = child.stdout.take().context("a client's output")?;
        Ok(Self { _child: child, lines: BufReader::new(stdout).lines() })
    }

    /// A receiver of webhooks (`tests/clients/<file>`) on a free port, which is given too.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn receiver(file: &str, secret: &str) -> anyhow::Result<(Self, u16)> {
        let path = format!("{}/{file}", env("TRIBUTARY_TEST_CLIENTS"));
        let mut command = if file.ends_with(".py") {
            Command::new(env("TRIBUTARY_TEST_PYTHON"))
        } else {
            let mut node = Command::new("node");
            node.arg(beside_its_packages(file)?);
            node
        };
        if file.ends_with(".py") {
            command.arg(&path);
        }
        command.args(["0", secret]);
        let mut client = Self::start(command)?;
        let line = client.line().await?;
        let port = line.strip_prefix("listening ").context("expected `listening <port>`")?.parse()?;
        Ok((client, port))
    }

    /// The stock Avro reader of a unified topic, from its beginning, `count` events.
    ///
    /// # Errors
    /// When it does not start.
    pub fn avro_reader(registry: &str, topic: &str, count: usize) -> anyhow::Result<Self> {
        Self::reader(Reader::Python, registry, &[topic.to_owned()], count)
    }

    /// A reader of unified topics, by another client, from their beginning, `count` events.
    ///
    /// # Errors
    /// When it does not start.
    pub fn reader(by: Reader, registry: &str, topics: &[String], count: usize) -> anyhow::Result<Self> {
        let (kafka, topics, count) = (env("TRIBUTARY_TEST_KAFKA"), topics.join(","), count.to_string());
        let mut command = match by {
            Reader::Python => {
                let mut python = Command::new(env("TRIBUTARY_TEST_PYTHON"));
                python.arg(format!("{}/read_unified.py", env("TRIBUTARY_TEST_CLIENTS")));
                python.args([&kafka, registry, &topics, "--from-start", "--count", &count]);
                return Self::start(python);
            }
            Reader::Node => {
                let mut node = Command::new("node");
                node.arg(beside_its_packages("read_unified.mjs")?);
                node
            }
            Reader::Java => java("ReadUnified"),
        };
        command.args([&kafka, registry, &topics, &count]);
        Self::start(command)
    }

    /// The Kafka Streams application that keeps a table of current employees, and prints it after each change.
    ///
    /// # Errors
    /// When it does not start.
    pub fn current_employees(registry: &str, topic: &str) -> anyhow::Result<Self> {
        let mut command = java("CurrentEmployees");
        command.args([&env("TRIBUTARY_TEST_KAFKA"), registry, topic, &format!("{topic}-current"), "1"]);
        Self::start(command)
    }

    /// A schema registry in memory that is not ours, and its address; `None` where no Go could build it.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn registry() -> anyhow::Result<Option<(Self, String)>> {
        let Some(program) = std::env::var_os("TRIBUTARY_TEST_REGISTRY").filter(|it| !it.is_empty()) else {
            return Ok(None);
        };
        let mut registry = Self::start(Command::new(program))?;
        let line = registry.line().await?;
        let url = line.strip_prefix("listening ").context("expected `listening <url>`")?.to_owned();
        Ok(Some((registry, url)))
    }

    /// The next line.
    ///
    /// # Errors
    /// When none comes.
    pub async fn line(&mut self) -> anyhow::Result<String> {
        match tokio::time::timeout(PATIENCE, self.lines.next_line()).await {
            Ok(line) => line?.context("the client ended"),
            Err(_) => bail!("the client got nothing for {} s", PATIENCE.as_secs()),
        }
    }

    /// The next line, as JSON.
    ///
    /// # Errors
    /// When none comes, or it is none.
    pub async fn json(&mut self) -> anyhow::Result<Value> {
        let line = self.line().await?;
        serde_json::from_str(&line).with_context(|| format!("a line that is no JSON: {line}"))
    }

    /// The next webhook that was verified; its body.
    ///
    /// # Errors
    /// When none comes, or one does not verify.
    pub async fn verified(&mut self) -> anyhow::Result<Value> {
        let line = self.json().await?;
        anyhow::ensure!(line["verified"] == true, "not verified: {line}");
        Ok(line["body"].clone())
    }

    /// The next verified webhook of an event that begins so; others are passed over.
    ///
    /// # Errors
    /// When none comes.
    pub async fn told(&mut self, event: &str) -> anyhow::Result<Value> {
        loop {
            let body = self.verified().await?;
            if body["event"].as_str().is_some_and(|it| it.starts_with(event)) {
                return Ok(body);
            }
        }
    }
}

/// Node finds packages beside a file or above it, so the client runs beside them.
fn beside_its_packages(file: &str) -> anyhow::Result<String> {
    let beside = format!("{}/../{file}", env("TRIBUTARY_TEST_NODE_MODULES"));
    std::fs::copy(format!("{}/{file}", env("TRIBUTARY_TEST_CLIENTS")), &beside)
        .context("copying a client beside its packages")?;
    Ok(beside)
}

fn java(main: &str) -> Command {
    let mut java = Command::new("java");
    let folder = env("TRIBUTARY_TEST_JAVA");
    java.args(["-Xmx256m", "-cp", &format!("{folder}/classes:{folder}/libs/*"), main]);
    java
}

/// TypeScript's compiler, and a judge of JSON Schemas, that have read a deployment's `/openapi.json`.
pub struct Types {
    judge: Client,
    bodies: ChildStdin,
}

impl Types {
    /// Makes types of the document and compiles a consumer by them.
    ///
    /// # Errors
    /// What does not compile.
    pub async fn start(control: &str) -> anyhow::Result<Self> {
        let mut node = Command::new("node");
        node.arg(beside_its_packages("types.mjs")?).arg(format!("{control}/openapi.json"));
        node.arg(format!("{}/consumer.ts", env("TRIBUTARY_TEST_CLIENTS"))).stdin(Stdio::piped());
        node.stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = node.spawn().context("starting node")?;
        let bodies = child.stdin.take().context("its input")?;
        let lines = BufReader::new(child.stdout.take().context("its output")?).lines();
        let mut judge = Client { _child: child, lines };
        let compiled = judge.line().await?;
        anyhow::ensure!(compiled == "compiled", "the consumer does not compile: {compiled}");
        Ok(Self { judge, bodies })
    }

    /// Checks a webhook's body against what the document says of its event.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn check(&mut self, body: &Value) -> anyhow::Result<()> {
        self.bodies.write_all(format!("{body}\n").as_bytes()).await?;
        let said = self.judge.json().await?;
        anyhow::ensure!(said["valid"] == true, "{said}: {body}");
        Ok(())
    }
}

/// Writes a record by a client that is not ours.
///
/// # Errors
/// When it is not acknowledged.
pub async fn produce(topic: &str, value: &[u8]) -> anyhow::Result<()> {
    const PROGRAM: &str = "import sys, confluent_kafka as k; p = k.Producer({'bootstrap.servers': sys.argv[1]}); \
         p.produce(sys.argv[2], bytes.fromhex(sys.argv[3]), b'anybody'); sys.exit(p.flush(30))";
    let mut python = Command::new(env("TRIBUTARY_TEST_PYTHON"));
    python.args(["-c", PROGRAM, &env("TRIBUTARY_TEST_KAFKA"), topic, &hex::encode(value)]);
    anyhow::ensure!(python.status().await?.success(), "{topic}: the record was not taken");
    Ok(())
}
