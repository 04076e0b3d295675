//! A deployment of a test's own on the shared services: the real binary, with a prefix and a keyspace of its own.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::PathBuf,
    process::{Output, Stdio},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::{PATIENCE, binary, clock::Clock, env, http, tryton::Tryton};

/// A deployment: its configuration, and the process that runs it.
pub struct Deployment {
    folder: tempfile::TempDir,
    keys: String,
    prefix: String,
    control: String,
    ingest: String,
    admin: String,
    http: Client,
    clock: Option<Clock>,
    process: Option<Child>,
    /// Stages that run in a process of their own.
    apart: BTreeMap<&'static str, Child>,
    /// Their admin ports: each stage keeps its own.
    admins: BTreeMap<&'static str, u16>,
}

/// The operator's key of every deployment of the tests.
pub const OPERATOR_KEY: &str = "operator-key-of-the-tests";

/// A project of a deployment.
#[derive(Clone)]
pub struct Project {
    control: String,
    http: Client,
    /// Its API key.
    pub api_key: String,
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

impl Deployment {
    /// Makes the topics and the schema by the command line, and starts all stages in one process.
    ///
    /// # Errors
    /// When a step fails, with what the command said.
    pub async fn start(name: &str) -> anyhow::Result<Self> {
        let mut deployment = Self::prepare(name, "").await?;
        deployment.run().await?;
        Ok(deployment)
    }

    /// Makes the topics and the schema by the command line, and starts nothing yet. `settings` are added to its own.
    ///
    /// # Errors
    /// When a step fails, with what the command said.
    pub async fn prepare(name: &str, settings: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let prefix = format!("e_{name}_{now}.");
        let (control, ingest, admin) = (free_port()?, free_port()?, free_port()?);
        let config = format!(
            r#"
[kafka]
brokers = "{kafka}"
prefix = "{prefix}"
[store.cql]
hosts = ["{cql}"]
keyspace = "e_{name}_{now}"
replication = 1
[telemetry]
listen = "127.0.0.1:{admin}"
[ingest]
listen = "127.0.0.1:{ingest}"
[poll]
test_interval_ms = 1000
test_full_interval_ms = 4000
[poll.dial]
allow = ["127.0.0.0/8"]
[deliver]
test_retry_scale = 0.1
[deliver.dial]
allow = ["127.0.0.0/8"]
[control]
listen = "127.0.0.1:{control}"
public_url = "http://127.0.0.1:{ingest}"
requests_per_minute = 60000
[control.dial]
allow = ["127.0.0.0/8"]
{settings}
"#,
            kafka = env("TRIBUTARY_TEST_KAFKA"),
            cql = env("TRIBUTARY_TEST_CQL"),
        );
        std::fs::write(folder.path().join("tributary.toml"), config)?;
        let mut deployment = Self {
            folder,
            keys: String::new(),
            prefix,
            control: format!("http://127.0.0.1:{control}"),
            ingest: format!("http://127.0.0.1:{ingest}"),
            admin: format!("http://127.0.0.1:{admin}"),
            http: http()?,
            clock: None,
            process: None,
            apart: BTreeMap::new(),
            admins: BTreeMap::new(),
        };
        let keys = deployment.command(&["keys", "generate"]).await?;
        deployment.keys = keys.trim().split_once('=').context("TRIBUTARY_KEYS=…")?.1.to_owned();
        deployment.command(&["topics", "apply", "--replication", "1", "--partitions", "2"]).await?;
        deployment.command(&["schema", "apply"]).await?;
        Ok(deployment)
    }

    /// Starts the process, and waits until the API answers.
    ///
    /// # Errors
    /// When it ends instead.
    pub async fn run(&mut self) -> anyhow::Result<()> {
        let mut command = self.tributary(&["run"]);
        let log = std::fs::File::options().create(true).append(true).open(self.log())?;
        command.stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        self.process = Some(command.spawn().context("starting tributary")?);
        self.answers().await
    }

    /// Waits until the API answers.
    ///
    /// # Errors
    /// When it does not, or the process has ended.
    pub async fn answers(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.http.get(format!("{}/subjects", self.control)).send().await.is_err() {
            if let Some(process) = &mut self.process
                && let Some(status) = process.try_wait()?
            {
                bail!("tributary run ended with {status}: {}", std::fs::read_to_string(self.log())?);
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "the API does not answer");
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Has the processes that are started from now on go by a clock of the test's.
    pub fn go_by(&mut self, clock: Clock) {
        self.clock = Some(clock);
    }

    /// The clock that they go by, if it is the test's.
    pub fn clock(&self) -> Option<&Clock> {
        self.clock.as_ref()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// A folder of its own, which is gone with it.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What the process measures.
    ///
    /// # Errors
    /// When it can't be asked.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        Ok(self.http.get(format!("{}/metrics", self.admin)).send().await?.text().await?)
    }

    /// What the process has logged so far.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// kill -9.
    ///
    /// # Errors
    /// When there is no process.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("no process")?.kill().await?;
        Ok(())
    }

    /// Lets each stage run in a process of its own from now on.
    ///
    /// # Errors
    /// When a process does not end well, or not start.
    pub async fn part(&mut self) -> anyhow::Result<()> {
        let together = self.process.take().context("no process")?;
        self.end(together).await?;
        ["ingest", "poll", "unify", "deliver", "control"]
            .into_iter()
            .try_for_each(|stage| self.start_stage(stage))
    }

    /// Starts a stage in a process of its own.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start_stage(&mut self, stage: &'static str) -> anyhow::Result<()> {
        let mut command = self.tributary(&["run", "--stages", stage]);
        let admin = match self.admins.get(stage) {
            Some(port) => *port,
            None => free_port()?,
        };
        self.admins.insert(stage, admin);
        command.env("TRIBUTARY__TELEMETRY__LISTEN", format!("127.0.0.1:{admin}"));
        let log = std::fs::File::options().create(true).append(true).open(self.log())?;
        command.stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        self.apart.insert(stage, command.spawn().context("starting a stage")?);
        Ok(())
    }

    /// The admin port of each stage that has had a process of its own.
    pub fn admins(&self) -> &BTreeMap<&'static str, u16> {
        &self.admins
    }

    /// kill -9 of a stage's process.
    ///
    /// # Errors
    /// When it has none.
    pub async fn kill_stage(&mut self, stage: &str) -> anyhow::Result<()> {
        Ok(self.apart.remove(stage).context("no such process")?.kill().await?)
    }

    /// Asks all processes to end, and waits until they have, with success.
    ///
    /// # Errors
    /// When one ends badly.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.halt().await
    }

    /// The same, and what is kept can still be looked at, or a stage started again.
    ///
    /// # Errors
    /// When one ends badly.
    pub async fn halt(&mut self) -> anyhow::Result<()> {
        for process in std::mem::take(&mut self.apart).into_values().chain(self.process.take()) {
            self.end(process).await?;
        }
        Ok(())
    }

    async fn end(&self, mut process: Child) -> anyhow::Result<()> {
        let pid = process.id().context("it has ended")?.to_string();
        Command::new("kill").args(["-TERM", &pid]).status().await?;
        let status = tokio::time::timeout(PATIENCE, process.wait()).await.context("it does not end")??;
        anyhow::ensure!(status.success(), "it ended with {status}: {}", self.logged());
        Ok(())
    }

    /// Runs a command of the binary; gives what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub async fn command(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let Output { status, stdout, stderr } = self.tributary(arguments).output().await?;
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        anyhow::ensure!(status.success(), "tributary {}: {status}\n{stdout}{stderr}", arguments.join(" "));
        Ok(stdout.into_owned())
    }

    fn tributary(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("--config").arg(self.folder.path().join("tributary.toml")).args(arguments);
        command.env("TRIBUTARY_KEYS", &self.keys).env("TRIBUTARY_OPERATOR_KEY", OPERATOR_KEY);
        command.stdin(Stdio::null());
        if let Some(clock) = &self.clock {
            clock.give(&mut command);
        }
        command
    }

    /// A topic's full name.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Where control answers: also the registry's read calls.
    pub fn control(&self) -> &str {
        &self.control
    }

    /// What `/readyz` says.
    ///
    /// # Errors
    /// When it can't be asked.
    pub async fn readiness(&self) -> anyhow::Result<(StatusCode, String)> {
        let answer = self.http.get(format!("{}/readyz", self.admin)).send().await?;
        Ok((answer.status(), answer.text().await?))
    }

    /// Where providers' webhooks come in.
    pub fn ingest(&self) -> &str {
        &self.ingest
    }

    /// Makes a project.
    ///
    /// # Errors
    /// When it can't be made.
    pub async fn project(&self, name: &str) -> anyhow::Result<Project> {
        let printed = self.command(&["project", "create", "--name", name]).await?;
        let key =
            printed.split_whitespace().find(|word| word.starts_with("tr_live_")).context("an API key")?;
        Ok(Project { control: self.control.clone(), http: self.http.clone(), api_key: key.to_owned() })
    }

    /// POSTs raw bytes, as a provider does.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<StatusCode> {
        let mut request = self.http.post(url).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.send().await?.status())
    }
}

impl Project {
    /// Wishes for employees' events, links a Tryton, and waits until its employees were scanned.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn employees_of(&self, tryton: &Tryton) -> anyhow::Result<()> {
        let wishes = json!({"topics": [{"events": ["hris_employees.*"]}]});
        self.done(Method::PUT, "/topics", Some(wishes)).await?;
        let account = json!({"provider": "tryton", "setup": tryton.setup()});
        let account = self.done(Method::POST, "/accounts", Some(account)).await?;
        self.scanned(account["id"].as_str().context("an account's id")?, "hris_employees").await
    }

    /// Waits until the account's resource was scanned from end to end.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn scanned(&self, account: &str, resource: &str) -> anyhow::Result<()> {
        let schedule = format!("/accounts/{account}/schedules/{resource}");
        while self.done(Method::GET, &schedule, None).await?["last_full_scan_at"].is_null() {}
        Ok(())
    }

    /// Calls the API; gives the status and the body.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let (status, _, answer) = self.answer(method, path, body).await?;
        Ok((status, answer))
    }

    /// The status, the seconds to wait that came with it, and the body.
    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, Option<u64>, Value)> {
        let mut request =
            self.http.request(method, format!("{}{path}", self.control)).bearer_auth(&self.api_key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await?;
        let status = response.status();
        let wait = response.headers().get("retry-after").and_then(|it| it.to_str().ok()?.parse().ok());
        let text = response.text().await?;
        Ok((status, wait, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Calls the API and expects success; waits as long as it is told to where it asks too often.
    ///
    /// # Errors
    /// When the answer is an error, with what it says.
    pub async fn done(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        loop {
            let (status, wait, answer) = self.answer(method.clone(), path, body.clone()).await?;
            match wait {
                Some(wait) if status == StatusCode::TOO_MANY_REQUESTS => {
                    tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
                }
                _ if status.is_success() => return Ok(answer),
                _ => anyhow::bail!("{method} {path}: {status} {answer}"),
            }
        }
    }
}
