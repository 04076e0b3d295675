//! Kafka and Cassandra as ops/local runs them: found by their pid files, killed, and started again by its script.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use tokio::process::Command;

pub(crate) struct Services {
    folder: PathBuf,
    pub(crate) kafka: String,
    pub(crate) cql: String,
    /// A way to Kafka of its own for each process: the port that Kafka advertises, and the one where it listens.
    pub(crate) ways: Vec<(u16, u16)>,
}

impl Services {
    pub(crate) fn new(folder: PathBuf) -> anyhow::Result<Self> {
        let env = std::fs::read_to_string(folder.join("env")).context("the services are not up")?;
        let value = |name: &str| {
            let line = env.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
            line.map(str::to_owned).with_context(|| format!("{name} in ops/local's env"))
        };
        let way = |pair: &str| -> anyhow::Result<(u16, u16)> {
            let (advertised, own) = pair.split_once(':').context("advertised:own")?;
            Ok((advertised.parse()?, own.parse()?))
        };
        let ways = value("TRIBUTARY_KAFKA_PROXIED")?.split(',').map(way).collect::<anyhow::Result<_>>()?;
        Ok(Self { kafka: value("TRIBUTARY_KAFKA")?, cql: value("TRIBUTARY_CQL")?, ways, folder })
    }

    /// kill -9, and up again after a while.
    pub(crate) async fn restart(&self, name: &str, away: Duration) -> anyhow::Result<()> {
        let pid = std::fs::read_to_string(self.folder.join(name).join("pid"))
            .with_context(|| format!("the pid of {name}"))?;
        signal("KILL", pid.split_whitespace().next().unwrap_or_default()).await?;
        tokio::time::sleep(away).await;
        let up = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ops/local/up");
        let status = Command::new(up)
            .env("TRIBUTARY_LOCAL", &self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await?;
        ensure!(status.success(), "{name} did not come back: see {}", self.folder.display());
        Ok(())
    }
}

/// Sends a signal to one process.
pub(crate) async fn signal(name: &str, pid: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid).status().await?;
    ensure!(status.success(), "kill -{name} {pid}");
    Ok(())
}
