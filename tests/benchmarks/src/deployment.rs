//! Topics, tables and processes of one measurement.

use std::{
    net::TcpListener,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use tokio::process::{Child, Command};
use tributary_stages::kafka::{Cluster, Config};
use tributary_tests::unify::{Settings, Unify};

pub(crate) const PARTITIONS: i32 = 4;

pub(crate) struct Deployment {
    unify: Unify,
    pub(crate) cluster: Cluster,
    pub(crate) keyspace: String,
    ports: [u16; 2],
}

/// A process with the stage unify. Killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    port: u16,
}

impl Deployment {
    /// Makes topics and tables of its own by the command line.
    pub(crate) async fn new(kafka: &str, cql: &str, binary: &Path) -> anyhow::Result<Self> {
        let unify = Unify::new(binary.to_owned())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let (prefix, keyspace) = (format!("b_{now}."), format!("b_{now}"));
        let mut ports = [0; 2];
        for (process, port) in ports.iter_mut().enumerate() {
            *port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            let (prefix, keyspace) = (prefix.as_str(), keyspace.as_str());
            unify.configure(process, &Settings { brokers: kafka, prefix, cql, keyspace, metrics: *port })?;
        }
        unify.prepare(PARTITIONS).await?;
        let cluster = Cluster::new(Config { brokers: kafka.to_owned(), prefix, ..Config::default() });
        Ok(Self { unify, cluster, keyspace, ports })
    }

    pub(crate) fn start(&self, process: usize) -> anyhow::Result<Process> {
        Ok(Process { child: self.unify.start(process, None)?, port: self.ports[process] })
    }
}

impl Process {
    pub(crate) async fn metrics(&self) -> anyhow::Result<String> {
        Ok(reqwest::get(format!("http://127.0.0.1:{}/metrics", self.port)).await?.text().await?)
    }

    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("it has ended by itself")
    }

    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// SIGTERM, so that the group and its transactions end at once.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().context("it has ended by itself")?;
        let told = Command::new("kill").arg(pid.to_string()).status().await?;
        ensure!(told.success(), "kill {pid}");
        if tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await.is_err() {
            self.child.kill().await?;
        }
        Ok(())
    }
}
