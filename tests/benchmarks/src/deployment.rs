//! Topics, tables and processes of one measurement.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use tokio::process::{Child, Command};
use tributary_stages::kafka::{Cluster, Config};

pub(crate) const PARTITIONS: i32 = 4;

pub(crate) struct Deployment {
    folder: tempfile::TempDir,
    binary: PathBuf,
    pub(crate) cluster: Cluster,
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
        let folder = tempfile::tempdir()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let prefix = format!("b_{now}.");
        let mut ports = [0; 2];
        for (process, port) in ports.iter_mut().enumerate() {
            *port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            let config = format!(
                "[kafka]\nbrokers = \"{kafka}\"\nprefix = \"{prefix}\"\n[store.cql]\nhosts = [\"{cql}\"]\nkeyspace = \"b_{now}\"\nreplication = 1\n[telemetry]\nlisten = \"127.0.0.1:{port}\"\n[unify]\ninstance = {process}\n"
            );
            std::fs::write(folder.path().join(format!("{process}.toml")), config)?;
        }
        let cluster = Cluster::new(Config { brokers: kafka.to_owned(), prefix, ..Config::default() });
        let deployment = Self { folder, binary: binary.to_owned(), cluster, ports };
        let partitions = PARTITIONS.to_string();
        for command in [
            vec!["topics", "apply", "--replication", "1", "--partitions", &partitions],
            vec!["schema", "apply"],
        ] {
            let output = deployment.tributary(0, &command).output().await?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "tributary {}: {said}", command.join(" "));
        }
        Ok(deployment)
    }

    fn tributary(&self, process: usize, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(self.folder.path().join(format!("{process}.toml"))).args(arguments);
        // Any key will do: unify holds no secret.
        command.env("TRIBUTARY_KEYS", format!("k1:{}", "A".repeat(43) + "=")).stdin(Stdio::null());
        command
    }

    pub(crate) fn start(&self, process: usize) -> anyhow::Result<Process> {
        let log = std::fs::File::create(self.folder.path().join(format!("{process}.log")))?;
        let mut command = self.tributary(process, &["run", "--stages", "unify"]);
        command.stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        Ok(Process { child: command.spawn().context("starting tributary")?, port: self.ports[process] })
    }
}

impl Process {
    pub(crate) async fn metrics(&self) -> anyhow::Result<String> {
        Ok(reqwest::get(format!("http://127.0.0.1:{}/metrics", self.port)).await?.text().await?)
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
