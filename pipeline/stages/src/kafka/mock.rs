//! librdkafka's own mock cluster as a broker in the process: what the sandbox and the quick tests run on.
//!
//! It is a real listener that real clients talk to, but: nothing survives it, aborted records are visible, offsets
//! committed in transactions are not kept, topics hold 5 MB a partition and are never compacted, and there is no
//! admin API.

use std::{sync::mpsc, time::Duration};

use anyhow::Context;
use rdkafka::mocking::MockCluster;
use tributary_schemas::topic::Topics;

/// A broker in the process; it ends when this is dropped.
pub struct Mock {
    brokers: String,
    _running: mpsc::Sender<()>,
}

impl Mock {
    /// Starts one broker with all topics of a deployment, each with `partitions` partitions.
    ///
    /// # Errors
    /// When the cluster can't be made.
    pub fn start(topics: &Topics, partitions: i32) -> anyhow::Result<Self> {
        let topics = topics.all();
        let (started, outcome) = mpsc::channel();
        let (running, ended) = mpsc::channel::<()>();
        // The cluster can't move between threads, so it lives on one of its own.
        std::thread::Builder::new().name("mock broker".into()).spawn(move || {
            let cluster = match start(&topics, partitions) {
                Ok(cluster) => cluster,
                Err(error) => return drop(started.send(Err(error))),
            };
            drop(started.send(Ok(cluster.bootstrap_servers())));
            // Nothing is ever sent: this ends when the other side is dropped.
            let _ = ended.recv();
        })?;
        let brokers = outcome.recv().context("starting the mock cluster")??;
        Ok(Self { brokers, _running: running })
    }

    /// `host:port`.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }
}

fn start(
    topics: &[String],
    partitions: i32,
) -> anyhow::Result<MockCluster<'static, rdkafka::producer::DefaultProducerContext>> {
    let cluster = MockCluster::new(1).context("making the mock cluster")?;
    for topic in topics {
        // Its thread answers, then throws away what has woken it: a request that comes between the two is found only when
        // the thread wakes by itself, up to a second later.
        std::thread::sleep(Duration::from_millis(1));
        cluster.create_topic(topic, partitions, 1).with_context(|| format!("creating `{topic}`"))?;
    }
    Ok(cluster)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Cluster, Config, From, Group, GroupConfig, GroupEvent, Outgoing, Publisher, Table, View},
        *,
    };

    fn cluster(mock: &Mock) -> Cluster {
        Cluster::new(Config { brokers: mock.brokers().into(), ..Config::default() })
    }

    #[derive(Default)]
    struct Last(std::collections::BTreeMap<String, String>);
    impl Table for Last {
        fn take(&mut self, key: &str, value: Option<&[u8]>) -> anyhow::Result<()> {
            match value {
                Some(value) => self.0.insert(key.into(), String::from_utf8(value.to_vec())?),
                None => self.0.remove(key),
            };
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_is_acknowledged_is_read_by_views_and_groups() {
        let topics = Topics::default();
        let mock = Mock::start(&topics, 2).unwrap();
        let cluster = cluster(&mock);
        let publisher = Publisher::new(&cluster, "test").unwrap();
        let topic = topics.control_accounts();
        for (key, payload) in [("a", Some("1")), ("b", Some("1")), ("a", Some("2")), ("b", None)] {
            let payload = payload.map(|text| text.as_bytes().to_vec().into());
            let record = Outgoing {
                topic: topic.clone(),
                key: key.as_bytes().to_vec().into(),
                payload,
                ..Default::default()
            };
            publisher.send(record).await.unwrap();
        }
        let view = View::follow(&cluster, "test", topic.clone(), Last::default()).unwrap();
        view.ready().await;
        assert_eq!(view.read().0.iter().collect::<Vec<_>>(), [(&"a".to_string(), &"2".to_string())]);

        let config = GroupConfig {
            role: "test".into(),
            group: "test".into(),
            instance: None,
            topics: vec![topic],
            twin: None,
            from: From::Committed,
            queue: 2,
        };
        let (group, mut events) = Group::join(&cluster, config).unwrap();
        let mut read = 0;
        while read < 4 {
            match events.recv().await.unwrap() {
                GroupEvent::Record(record) => {
                    group.commit(&record.at, record.offset + 1).unwrap();
                    read += 1;
                }
                GroupEvent::Assigned(ours) => assert_eq!(ours.len(), 2),
                GroupEvent::Revoked(..) => unreachable!("there is one member"),
            }
        }
    }
}
