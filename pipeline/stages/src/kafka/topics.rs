//! The topics as `ops/topics.yaml` wants them: creates what is missing, brings settings in line, refuses what would
//! lose data or order.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail};
use rdkafka::{
    admin::{
        AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
    },
    client::DefaultClientContext,
};
use serde::Deserialize;
use tributary_schemas::{
    resource::Resource,
    topic::{RETRY_DELAYS, Topics},
};

use super::Cluster;

/// The file that ships with this release.
pub const BUILT_IN: &str = include_str!("../../../../ops/topics.yaml");

/// How long the broker may take for an administrative request.
const LIMIT: Duration = Duration::from_secs(30);

/// A topic as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedTopic {
    /// Its full name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas.
    pub replication: i32,
    /// Whether its partition count may grow.
    pub growth: Growth,
    /// The broker's topic settings.
    pub config: BTreeMap<String, String>,
}

/// Whether a topic's partition count may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// It may.
    Free,
    /// It may not: state or order is kept per partition.
    Never,
}

/// What differs from the file, or was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The topic is not there.
    Missing {
        /// The topic.
        name: String,
        /// How many partitions it is to have.
        partitions: i32,
    },
    /// The topic has fewer partitions, and may grow.
    Grows {
        /// The topic.
        name: String,
        /// How many it has.
        from: i32,
        /// How many it is to have.
        to: i32,
    },
    /// A setting differs.
    Setting {
        /// The topic.
        name: String,
        /// The setting.
        key: String,
        /// What it is.
        from: Option<String>,
        /// What it is to be.
        to: String,
    },
    /// The partition count differs and can't be changed.
    Refused {
        /// The topic.
        name: String,
        /// How many partitions it has.
        has: i32,
        /// How many the file wants.
        wants: i32,
    },
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing { name, partitions } => write!(f, "{name}: create with {partitions} partitions"),
            Self::Grows { name, from, to } => write!(f, "{name}: grow from {from} to {to} partitions"),
            Self::Setting { name, key, from, to } => {
                write!(f, "{name}: set {key} to {to} (is {})", from.as_deref().unwrap_or("unset"))
            }
            Self::Refused { name, has, wants } => write!(
                f,
                "{name}: has {has} partitions, the file wants {wants}: refused, its partition count can't be changed"
            ),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    defaults: Defaults,
    topics: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Defaults {
    partitions: i32,
    replication: i32,
    config: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    partitions: Option<i32>,
    replication: Option<i32>,
    #[serde(default)]
    stateful: bool,
    #[serde(default)]
    config: BTreeMap<String, Value>,
}

/// A setting as YAML has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Value {
    Number(i64),
    Text(String),
}

impl Value {
    fn into_text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

/// What a deployment may set beside the file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides {
    /// Replicas of every topic: 1 on a single broker.
    pub replication: Option<i32>,
    /// Partitions of every topic: fewer on one machine.
    pub partitions: Option<i32>,
}

/// Reads the file, and checks that it names exactly the topics of the code.
///
/// # Errors
/// What is wrong with the file, and where.
pub fn read(text: &str, topics: &Topics, overrides: Overrides) -> anyhow::Result<Vec<WantedTopic>> {
    let file: File = serde_saphyr::from_str(text).context("topics.yaml")?;
    let mut wanted = Vec::new();
    for entry in file.topics {
        let replication = overrides.replication.or(entry.replication).unwrap_or(file.defaults.replication);
        let mut config: BTreeMap<String, String> =
            (file.defaults.config.clone().into_iter().chain(entry.config))
                .map(|(key, value)| (key, value.into_text()))
                .collect();
        if let Some(in_sync) = config.get_mut("min.insync.replicas")
            && in_sync.parse().is_ok_and(|least: i32| least > replication)
        {
            *in_sync = replication.to_string();
        }
        for name in expand(&entry.name) {
            wanted.push(WantedTopic {
                name: topics.named(name),
                partitions: overrides.partitions.or(entry.partitions).unwrap_or(file.defaults.partitions),
                replication,
                growth: if entry.stateful { Growth::Never } else { Growth::Free },
                config: config.clone(),
            });
        }
    }
    for name in topics.all() {
        if !wanted.iter().any(|topic| topic.name == name) {
            bail!("topics.yaml: `{name}` is missing");
        }
    }
    Ok(wanted)
}

fn expand(name: &str) -> Vec<String> {
    if name.contains("{resource}") {
        return Resource::ALL.map(|resource| name.replace("{resource}", resource.name())).into();
    }
    if name.contains("{delay}") {
        return RETRY_DELAYS.map(|delay| name.replace("{delay}", delay.name)).into();
    }
    vec![name.to_owned()]
}

/// Compares the cluster with the file.
///
/// # Errors
/// When the brokers can't be asked.
pub async fn check(cluster: &Cluster, wanted: &[WantedTopic]) -> anyhow::Result<Vec<Finding>> {
    let admin = admin(cluster)?;
    let metadata =
        tokio::task::block_in_place(|| admin.inner().fetch_metadata(None, LIMIT)).with_context(|| {
            format!("asking the brokers at `{}` for their topics: check kafka.brokers", cluster.brokers())
        })?;
    let found: BTreeMap<&str, i32> =
        metadata.topics().iter().map(|topic| (topic.name(), topic.partitions().len() as i32)).collect();
    let mut findings = Vec::new();
    let mut present = Vec::new();
    for topic in wanted {
        let name = topic.name.clone();
        match found.get(topic.name.as_str()) {
            None => findings.push(Finding::Missing { name, partitions: topic.partitions }),
            Some(&has) => {
                present.push(topic);
                let grows = has < topic.partitions && topic.growth == Growth::Free;
                if grows {
                    findings.push(Finding::Grows { name, from: has, to: topic.partitions });
                } else if has != topic.partitions {
                    findings.push(Finding::Refused { name, has, wants: topic.partitions });
                }
            }
        }
    }
    if present.is_empty() {
        return Ok(findings);
    }
    let resources: Vec<_> = present.iter().map(|topic| ResourceSpecifier::Topic(&topic.name)).collect();
    let described =
        admin.describe_configs(&resources, &AdminOptions::new().request_timeout(Some(LIMIT))).await?;
    for (topic, described) in present.iter().zip(described) {
        let described =
            described.map_err(|code| anyhow::anyhow!("reading the settings of `{}`: {code}", topic.name))?;
        for (key, to) in &topic.config {
            let from = described.get(key).and_then(|entry| entry.value.clone());
            if from.as_deref() != Some(to) {
                findings.push(Finding::Setting {
                    name: topic.name.clone(),
                    key: key.clone(),
                    from,
                    to: to.clone(),
                });
            }
        }
    }
    Ok(findings)
}

/// Makes the cluster as the file wants it, and says what was done. Nothing is done if anything is refused.
///
/// # Errors
/// When something is refused, or the brokers can't do it.
pub async fn apply(cluster: &Cluster, wanted: &[WantedTopic]) -> anyhow::Result<Vec<Finding>> {
    let findings = check(cluster, wanted).await?;
    if let Some(refused) = findings.iter().find(|finding| matches!(finding, Finding::Refused { .. })) {
        bail!("{refused}");
    }
    let admin = admin(cluster)?;
    let options = AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT));
    let named = |name: &str| wanted.iter().filter(move |topic| topic.name == name).collect::<Vec<_>>();
    let mut create = Vec::new();
    let mut grow = Vec::new();
    let mut configure: Vec<&WantedTopic> = Vec::new();
    for finding in &findings {
        match finding {
            Finding::Missing { name, .. } => create.extend(named(name)),
            Finding::Grows { name, to, .. } => grow.push(NewPartitions::new(name, *to as usize)),
            Finding::Setting { name, .. } => configure.extend(named(name)),
            Finding::Refused { .. } => {}
        }
    }
    let create: Vec<NewTopic<'_>> = create
        .into_iter()
        .map(|topic| {
            let new =
                NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replication));
            topic.config.iter().fold(new, |new, (key, value)| new.set(key, value))
        })
        .collect();
    configure.dedup();
    let configure: Vec<AlterConfig<'_>> = configure
        .into_iter()
        .map(|topic| {
            let alter = AlterConfig::new(ResourceSpecifier::Topic(&topic.name));
            topic.config.iter().fold(alter, |alter, (key, value)| alter.set(key, value))
        })
        .collect();
    if !create.is_empty() {
        for created in admin.create_topics(&create, &options).await? {
            created.map_err(|(topic, code)| anyhow::anyhow!("creating `{topic}`: {code}"))?;
        }
    }
    if !grow.is_empty() {
        for grown in admin.create_partitions(&grow, &options).await? {
            grown.map_err(|(topic, code)| anyhow::anyhow!("adding partitions to `{topic}`: {code}"))?;
        }
    }
    if !configure.is_empty() {
        for altered in admin.alter_configs(&configure, &options).await? {
            altered.map_err(|(topic, code)| anyhow::anyhow!("setting {topic:?}: {code}"))?;
        }
    }
    drop(admin);
    known_to_brokers(cluster, wanted).await?;
    Ok(findings)
}

/// Waits until the brokers tell of every topic: they hear of new ones a little after the controller has made them.
async fn known_to_brokers(cluster: &Cluster, wanted: &[WantedTopic]) -> anyhow::Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let findings = check(cluster, wanted).await?;
        let Some(finding) = findings.first() else { return Ok(()) };
        if begun.elapsed() > LIMIT {
            bail!("the brokers do not tell of what was applied: {finding}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn admin(cluster: &Cluster) -> anyhow::Result<AdminClient<DefaultClientContext>> {
    cluster.client("admin").create().context("making the admin client")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_ships_names_every_topic_of_the_code() {
        let topics = Topics::with_prefix("t-");
        let wanted = read(BUILT_IN, &topics, Overrides { replication: Some(1), partitions: None }).unwrap();
        let mut names: Vec<_> = wanted.iter().map(|topic| topic.name.clone()).collect();
        let mut all = topics.all();
        names.sort();
        all.sort();
        assert_eq!(names, all);
        let of = |name: &str| wanted.iter().find(|topic| topic.name == name).unwrap();
        assert_eq!(of("t-ingest.native").partitions, of("t-poll.snapshots").partitions);
        assert_eq!(
            of("t-ingest.native").config["min.insync.replicas"],
            "1",
            "no more than there are replicas"
        );
        assert_eq!(of("t-control.accounts").config["cleanup.policy"], "compact");
        assert_eq!(of("t-unify.wal").growth, Growth::Never);
    }

    #[test]
    fn a_malformed_file_names_the_place() {
        let error =
            read("defaults: {partitions: many}", &Topics::default(), Overrides::default()).unwrap_err();
        assert!(format!("{error:#}").contains("partitions"), "{error:#}");
    }
}
