//! Other people's clients, as processes that print one JSON line for each thing they got.

use std::process::Stdio;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{PATIENCE, env};

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
            // Packages are found beside the file or above it, so it runs beside them.
            let beside = format!("{}/../{file}", env("TRIBUTARY_TEST_NODE_MODULES"));
            std::fs::copy(&path, &beside).context("copying a client beside its packages")?;
            let mut node = Command::new("node");
            node.arg(beside);
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
        let mut command = Command::new(env("TRIBUTARY_TEST_PYTHON"));
        command.arg(format!("{}/read_unified.py", env("TRIBUTARY_TEST_CLIENTS")));
        command.args([
            &env("TRIBUTARY_TEST_KAFKA"),
            registry,
            topic,
            "--from-start",
            "--count",
            &count.to_string(),
        ]);
        Self::start(command)
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
