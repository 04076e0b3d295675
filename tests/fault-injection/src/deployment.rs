//! Three unify processes, each with its configuration and log, and what they must leave behind.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use tokio::process::Child;
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
use tributary_tests::{
    clock::Clock,
    unify::{Settings, Unify},
};

use crate::{
    PROCESSES,
    generator::{Made, PARTITIONS},
    network::Network,
    services::{Services, signal},
};

pub(crate) struct Deployment {
    unify: Unify,
    pub(crate) cluster: Cluster,
    store: StoreConfig,
    processes: BTreeMap<usize, Child>,
    networks: Vec<Network>,
    /// A clock for each process, where they can be set.
    clocks: Vec<Clock>,
}

impl Deployment {
    /// Makes the topics and the schema, and a network and a clock for each process.
    pub(crate) async fn new(services: &Services, binary: PathBuf) -> anyhow::Result<Self> {
        let unify = Unify::new(binary)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let (prefix, keyspace) = (format!("f_{now}."), format!("f_{now}"));
        let mut networks = Vec::new();
        for (process, (advertised, own)) in services.ways.iter().enumerate() {
            networks.push(Network::between(*advertised, *own).await?);
            let brokers = format!("127.0.0.1:{advertised}");
            let (prefix, cql, keyspace) = (prefix.as_str(), services.cql.as_str(), keyspace.as_str());
            unify.configure(process, &Settings { brokers: &brokers, prefix, cql, keyspace, metrics: 0 })?;
        }
        ensure!(networks.len() == PROCESSES, "ops/local/up --proxied {PROCESSES}");
        unify.prepare(PARTITIONS).await?;
        let brokers = services.kafka.clone();
        let cluster = Cluster::new(KafkaConfig { brokers, prefix, ..KafkaConfig::default() });
        let hosts = vec![services.cql.clone()];
        let store =
            StoreConfig::Cql(cql::Config { hosts, keyspace, replication: 1, ..cql::Config::default() });
        let mut clocks = Vec::new();
        if cfg!(target_os = "linux") {
            for _ in 0..PROCESSES {
                clocks.push(Clock::new().await?);
            }
        }
        Ok(Self { unify, cluster, store, processes: BTreeMap::new(), networks, clocks })
    }

    pub(crate) fn start(&mut self, process: usize) -> anyhow::Result<()> {
        self.processes.insert(process, self.unify.start(process, self.clocks.get(process))?);
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

    /// A process's clock, where it can be set.
    pub(crate) fn clock(&self, process: usize) -> Option<&Clock> {
        self.clocks.get(process)
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
        println!("logs and configurations: {}", self.unify.keep().display());
    }
}
