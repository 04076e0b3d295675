//! What a broker must be able to do, and be set to, for what Tributary promises. Asked by `tributary doctor`.

use std::time::Duration;

use anyhow::Context;
use rdkafka::{
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::{ClientContext, DefaultClientContext},
    message::{DeliveryResult, Message},
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};

use tributary_schemas::time::Timestamp;

use super::{Cluster, Skew};
use crate::clock::now;

/// How long the broker may take for one request.
const LIMIT: Duration = Duration::from_secs(10);
/// A record's greatest size on topics that carry bodies, ranges or the WAL.
const MESSAGE_BYTES: i64 = 8 * 1024 * 1024;
/// How long offsets must outlive their group: its quiet partitions have nothing newer.
const OFFSETS_MINUTES: i64 = 30 * 24 * 60;

/// A setting of the broker, and what it must be.
struct Rule {
    name: &'static str,
    wanted: Wanted,
    why: &'static str,
}

enum Wanted {
    AtLeast(i64),
    AtMost(i64),
    Is(&'static str),
}

const RULES: [Rule; 6] = [
    Rule {
        name: "message.max.bytes",
        wanted: Wanted::AtLeast(MESSAGE_BYTES),
        why: "a webhook of 1 MiB passes end to end",
    },
    Rule {
        name: "replica.fetch.max.bytes",
        wanted: Wanted::AtLeast(MESSAGE_BYTES),
        why: "what is written must be copied",
    },
    Rule {
        name: "offsets.retention.minutes",
        wanted: Wanted::AtLeast(OFFSETS_MINUTES),
        why: "offsets that expire while a deployment is stopped are a loss of position",
    },
    Rule {
        name: "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        wanted: Wanted::AtMost(2_000),
        why: "a process that died holds its partitions' readers up so much longer",
    },
    Rule {
        name: "unclean.leader.election.enable",
        wanted: Wanted::Is("false"),
        why: "an unclean leader forgets what was acknowledged",
    },
    Rule {
        name: "auto.create.topics.enable",
        wanted: Wanted::Is("false"),
        why: "a topic that nobody made has the wrong partitions",
    },
];

impl Rule {
    fn broken_by(&self, value: &str) -> Option<String> {
        let holds = match self.wanted {
            Wanted::AtLeast(least) => value.parse().is_ok_and(|value: i64| value >= least),
            Wanted::AtMost(most) => value.parse().is_ok_and(|value: i64| value <= most),
            Wanted::Is(wanted) => value == wanted,
        };
        let wanted = match self.wanted {
            Wanted::AtLeast(least) => format!("{least} or more"),
            Wanted::AtMost(most) => format!("{most} or less"),
            Wanted::Is(wanted) => wanted.to_owned(),
        };
        let (name, why) = (self.name, self.why);
        (!holds).then(|| format!("set {name} to {wanted} (is {value}): {why}"))
    }
}

/// The settings of each broker that are not as they must be, in words.
///
/// # Errors
/// When the brokers can't be asked.
pub async fn settings(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let admin: AdminClient<DefaultClientContext> = cluster.client("doctor").create()?;
    let metadata = tokio::task::block_in_place(|| admin.inner().fetch_metadata(None, LIMIT))
        .with_context(|| format!("asking the brokers at `{}`: check kafka.brokers", cluster.brokers()))?;
    let mut wrong = Vec::new();
    for broker in metadata.brokers() {
        let options = AdminOptions::new().request_timeout(Some(LIMIT));
        let described = admin.describe_configs(&[ResourceSpecifier::Broker(broker.id())], &options).await?;
        for described in described {
            let described = described.map_err(|code| anyhow::anyhow!("broker {}: {code}", broker.id()))?;
            let broken = RULES.iter().filter_map(|rule| {
                let value = described.get(rule.name)?.value.as_deref()?;
                rule.broken_by(value)
            });
            wrong.extend(broken.map(|said| format!("broker {}: {said}", broker.id())));
        }
    }
    Ok(wrong)
}

/// Makes a transaction of one record and aborts it; gives how far our clock is ahead of the broker's, in seconds. Readers of
/// committed records never see it.
///
/// # Errors
/// When the broker does not do transactions for us, or does not take it.
pub fn transact(cluster: &Cluster) -> anyhow::Result<f64> {
    let skew = Skew::default();
    let producer: BaseProducer<_> = cluster
        .producer("doctor")
        .set("transactional.id", cluster.named("doctor"))
        .create_with_context(Reports { skew: skew.clone(), sent: now() })?;
    producer
        .init_transactions(LIMIT)
        .context("beginning to do transactions: may this client use `doctor`?")?;
    producer.begin_transaction()?;
    let topic = cluster.topics().unify_wal();
    let sent = producer.send(BaseRecord::<[u8], [u8]>::to(&topic).partition(0).payload(&[]));
    sent.map_err(|(error, _)| error).context("writing to the WAL")?;
    producer.flush(LIMIT).context("writing to the WAL")?;
    producer.abort_transaction(LIMIT).context("aborting a transaction")?;
    Ok(skew.micros() as f64 / 1e6)
}

struct Reports {
    skew: Skew,
    sent: Timestamp,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Ok(record) = result {
            self.skew.saw(self.sent, record.timestamp(), now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_breaks_a_promise_is_named_with_what_it_should_be() {
        for (name, value, said) in [
            ("message.max.bytes", "1048588", "set message.max.bytes to 8388608 or more (is 1048588)"),
            ("message.max.bytes", "8388608", ""),
            ("offsets.retention.minutes", "10080", "set offsets.retention.minutes to 43200 or more"),
            ("unclean.leader.election.enable", "true", "to false (is true)"),
            ("auto.create.topics.enable", "false", ""),
            (
                "transaction.abort.timed.out.transaction.cleanup.interval.ms",
                "10000",
                "to 2000 or less (is 10000)",
            ),
        ] {
            let rule = RULES.iter().find(|rule| rule.name == name).unwrap();
            let broken = rule.broken_by(value).unwrap_or_default();
            assert!(
                broken.contains(said) && broken.is_empty() == said.is_empty(),
                "{name} {value}: {broken}"
            );
        }
    }
}
