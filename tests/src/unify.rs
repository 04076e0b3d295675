//! `tributary run --stages unify` processes that share topics and tables, each with a configuration and a log of its own.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context, ensure};
use tokio::process::{Child, Command};

use crate::clock::Clock;

/// The processes' folder and binary.
pub struct Unify {
    folder: tempfile::TempDir,
    binary: PathBuf,
}

/// What a process's configuration says.
pub struct Settings<'a> {
    /// Kafka, as this process reaches it.
    pub brokers: &'a str,
    /// The topics' prefix.
    pub prefix: &'a str,
    /// The database.
    pub cql: &'a str,
    /// The keyspace.
    pub keyspace: &'a str,
    /// The port of `/metrics`; 0 for any.
    pub metrics: u16,
}

impl Unify {
    /// Processes of this binary. None is configured yet.
    ///
    /// # Errors
    /// When there is no room for a folder.
    pub fn new(binary: PathBuf) -> anyhow::Result<Self> {
        Ok(Self { folder: tempfile::tempdir()?, binary })
    }

    /// Writes the configuration of a process: its number is its instance.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn configure(&self, process: usize, settings: &Settings<'_>) -> anyhow::Result<()> {
        let Settings { brokers, prefix, cql, keyspace, metrics } = settings;
        let config = format!(
            r#"
[kafka]
brokers = "{brokers}"
prefix = "{prefix}"
[store.cql]
hosts = ["{cql}"]
keyspace = "{keyspace}"
replication = 1
[telemetry]
listen = "127.0.0.1:{metrics}"
[unify]
instance = {process}
"#
        );
        Ok(std::fs::write(self.folder.path().join(format!("{process}.toml")), config)?)
    }

    /// Makes topics and tables by the command line, as process 0 is configured.
    ///
    /// # Errors
    /// When a command fails, with what it said.
    pub async fn prepare(&self, partitions: i32) -> anyhow::Result<()> {
        let partitions = partitions.to_string();
        for arguments in [
            vec!["topics", "apply", "--replication", "1", "--partitions", &partitions],
            vec!["schema", "apply"],
        ] {
            let output = self.command(0, &arguments).output().await?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "tributary {}: {said}", arguments.join(" "));
        }
        Ok(())
    }

    /// Starts a process, by a clock of its own or the machine's; it is killed when it is dropped.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(&self, process: usize, clock: Option<&Clock>) -> anyhow::Result<Child> {
        let log = self.folder.path().join(format!("{process}.log"));
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let mut command = self.command(process, &["run", "--stages", "unify"]);
        command.stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        if let Some(clock) = clock {
            clock.give(&mut command);
        }
        command.spawn().context("starting tributary")
    }

    /// Keeps configurations and logs; says where.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    fn command(&self, process: usize, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(self.folder.path().join(format!("{process}.toml"))).args(arguments);
        // Any key will do: unify holds no secret.
        command.env("TRIBUTARY_KEYS", format!("k1:{}", "A".repeat(43) + "=")).stdin(Stdio::null());
        command
    }
}
