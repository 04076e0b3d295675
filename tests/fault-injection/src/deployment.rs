//! Three unify processes, each with its configuration and log, and what they must leave behind.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use tokio::process::{Child, Command};
use tributary_core::cells::{CellValue, Want};
use tributary_schemas::{
    id::Bits,
    resource::Resource,
    state::{Bucket, State},
};
use tributary_stages::{
    kafka::{Cluster, Config as KafkaConfig, LogReader},
    store::{Config as StoreConfig, Stores, cql},
};

use crate::{
    PROCESSES,
    generator::{Made, PARTITIONS},
    network::Network,
    services::{Services, signal},
};

pub(crate) struct Deployment {
    folder: tempfile::TempDir,
    binary: PathBuf,
    pub(crate) cluster: Cluster,
    store: StoreConfig,
    processes: BTreeMap<usize, Child>,
    networks: Vec<Network>,
}

impl Deployment {
    /// Makes the topics and the schema by the command line.
    pub(crate) async fn new(services: &Services, binary: PathBuf) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let (prefix, keyspace) = (format!("f_{now}."), format!("f_{now}"));
        let mut networks = Vec::new();
        for (process, (advertised, own)) in services.ways.iter().enumerate() {
            networks.push(Network::between(*advertised, *own).await?);
            let config = format!(
                "[kafka]\nbrokers = \"127.0.0.1:{advertised}\"\nprefix = \"{prefix}\"\n[store.cql]\nhosts = [\"{}\"]\nkeyspace = \"{keyspace}\"\nreplication = 1\n[telemetry]\nlisten = \"127.0.0.1:0\"\n[unify]\ninstance = {process}\n",
                services.cql
            );
            std::fs::write(folder.path().join(format!("{process}.toml")), config)?;
        }
        let brokers = services.kafka.clone();
        let cluster = Cluster::new(KafkaConfig { brokers, prefix, ..KafkaConfig::default() });
        let hosts = vec![services.cql.clone()];
        let store =
            StoreConfig::Cql(cql::Config { hosts, keyspace, replication: 1, ..cql::Config::default() });
        ensure!(networks.len() == PROCESSES, "ops/local/up --proxied {PROCESSES}");
        let deployment = Self { folder, binary, cluster, store, processes: BTreeMap::new(), networks };
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

    pub(crate) fn start(&mut self, process: usize) -> anyhow::Result<()> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join(format!("{process}.log")))?;
        let mut command = self.tributary(process, &["run", "--stages", "unify"]);
        command.stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        self.processes.insert(process, command.spawn().context("starting tributary")?);
        Ok(())
    }

    pub(crate) async fn kill(&mut self, process: usize) -> anyhow::Result<()> {
        if let Some(mut child) = self.processes.remove(&process) {
            child.kill().await?;
        }
        Ok(())
    }

    /// SIGTERM; a process that does not end in half a minute is killed.
    pub(crate) async fn terminate(&mut self, process: usize) -> anyhow::Result<()> {
        let Some(mut child) = self.processes.remove(&process) else { return Ok(()) };
        if let Some(pid) = child.id() {
            signal("TERM", &pid.to_string()).await?;
            if tokio::time::timeout(Duration::from_secs(30), child.wait()).await.is_err() {
                child.kill().await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn pause(&mut self, process: usize, span: Duration) -> anyhow::Result<()> {
        let Some(pid) = self.processes.get(&process).and_then(Child::id) else { return Ok(()) };
        signal("STOP", &pid.to_string()).await?;
        tokio::time::sleep(span).await;
        signal("CONT", &pid.to_string()).await
    }

    /// A process's way to the broker.
    pub(crate) fn network(&self, process: usize) -> &Network {
        &self.networks[process]
    }

    /// Starts what has ended by itself, as a supervisor would.
    pub(crate) fn revive(&mut self) -> anyhow::Result<()> {
        for process in 0..PROCESSES {
            let ended = match self.processes.get_mut(&process) {
                Some(child) => child.try_wait()?.is_some(),
                None => true,
            };
            if ended {
                println!("           process {process} had ended: starting it again");
                self.start(process)?;
            }
        }
        Ok(())
    }

    pub(crate) async fn stop(&mut self) -> anyhow::Result<()> {
        for process in 0..PROCESSES {
            self.terminate(process).await?;
        }
        Ok(())
    }

    /// The state table holds what was last observed, and no transaction is open.
    pub(crate) async fn check(&self, made: &Made) -> anyhow::Result<()> {
        let stores = Stores::open(&self.store).await?;
        let bits = Bits::new(0).context("0 bits")?;
        for (account, records) in &made.truth {
            let bucket =
                Bucket { account: account.clone(), resource: Resource::HrisEmployees, bits, range: 0 };
            let mut live: BTreeMap<String, State> = BTreeMap::new();
            for cell in stores.state.read(&[Want::Slice(bucket)]).await? {
                if let Some(CellValue::Record(known)) = cell.value
                    && known.state != State::Gone
                {
                    live.insert(known.remote_id.as_str().to_owned(), known.state);
                }
            }
            let expected: BTreeMap<String, State> =
                records.iter().map(|(id, hash)| (id.to_string(), State::Live(*hash))).collect();
            ensure!(live == expected, "state of {account:?}: {live:?}, not {expected:?}");
        }
        let topics = self.cluster.topics();
        let written = [
            topics.unify_wal(),
            topics.unified_shared(Resource::HrisEmployees),
            topics.unified_shared(Resource::HrisEmployments),
        ];
        for topic in written {
            let log = LogReader::new(&self.cluster, "faults", topic.clone())?;
            for partition in 0..PARTITIONS {
                let (_, end) = log.bounds(partition)?;
                let stable = log.stable_end(partition)?;
                ensure!(stable == end, "{topic} [{partition}]: a transaction is open: {stable} of {end}");
            }
        }
        Ok(())
    }

    /// Keeps the processes' logs for whoever looks into a failure.
    pub(crate) fn keep_logs(self) {
        println!("logs and configurations: {}", self.folder.keep().display());
    }
}
