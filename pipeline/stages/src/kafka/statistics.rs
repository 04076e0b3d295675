//! What librdkafka tells of a client every ten seconds, as metrics: how much of a topic is unread, what waits for the
//! brokers, and how they answer.

use std::sync::{Mutex, PoisonError};

use rdkafka::{
    ClientConfig, Statistics,
    statistics::{Broker, Partition},
};

use super::{Cluster, metrics};

/// Takes in what a client tells: its context has one, and hands its `stats` on.
pub(super) struct Watch {
    /// The group of a reader, or `<name>-writer`.
    client: String,
    group: Option<String>,
    /// What the deployment puts before its topics' names.
    prefix: String,
    before: Mutex<Totals>,
}

/// What librdkafka counts since the client was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Totals {
    timeouts: u64,
    retries: u64,
    disconnects: u64,
    rebalances: u64,
}

impl Watch {
    /// Of a member of a group.
    pub(super) fn group(cluster: &Cluster, group: &str) -> Self {
        Self::of(cluster, group.to_owned(), Some(group.to_owned()))
    }

    /// Of a producer.
    pub(super) fn writer(cluster: &Cluster, name: &str) -> Self {
        Self::of(cluster, format!("{name}-writer"), None)
    }

    fn of(cluster: &Cluster, client: String, group: Option<String>) -> Self {
        Self { client, group, prefix: cluster.named(""), before: Mutex::default() }
    }

    /// Asks the client to tell.
    pub(super) fn on(settings: &mut ClientConfig) {
        if settings.get("statistics.interval.ms").is_none() {
            settings.set("statistics.interval.ms", "10000");
        }
    }

    /// Takes in what it told.
    pub(super) fn saw(&self, told: &Statistics) {
        let client = || self.client.clone();
        // Brokers that were only heard of, or are another name of one that is there, have no number.
        let brokers: Vec<&Broker> = told.brokers.values().filter(|broker| broker.nodeid >= 0).collect();
        let up = brokers.iter().filter(|broker| broker.state == "UP").count();
        let slowest = brokers.iter().filter_map(|broker| broker.rtt.as_ref()).map(|rtt| rtt.p99).max();
        ::metrics::gauge!(metrics::CONNECTED, "client" => client()).set(up as f64);
        ::metrics::gauge!(metrics::ROUND_TRIP, "client" => client()).set(slowest.unwrap_or(0) as f64 / 1e6);
        match &self.group {
            Some(group) => self.saw_reader(told, group),
            None => {
                ::metrics::gauge!(metrics::QUEUED, "client" => client()).set(told.msg_cnt as f64);
                ::metrics::gauge!(metrics::QUEUED_BYTES, "client" => client()).set(told.msg_size as f64);
            }
        }
        let totals = Totals {
            timeouts: brokers.iter().map(|broker| broker.req_timeouts).sum(),
            retries: brokers.iter().map(|broker| broker.txretries).sum(),
            disconnects: brokers.iter().filter_map(|broker| broker.disconnects).sum::<i64>().unsigned_abs(),
            rebalances: told.cgrp.as_ref().map_or(0, |group| group.rebalance_cnt.unsigned_abs()),
        };
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let grown = totals.since(std::mem::replace(&mut before, totals));
        drop(before);
        ::metrics::counter!(metrics::TIMEOUTS, "client" => client()).increment(grown.timeouts);
        ::metrics::counter!(metrics::RETRIES, "client" => client()).increment(grown.retries);
        ::metrics::counter!(metrics::DISCONNECTS, "client" => client()).increment(grown.disconnects);
        if let Some(group) = self.group.clone() {
            ::metrics::counter!(metrics::REBALANCES, "group" => group).increment(grown.rebalances);
        }
    }

    fn saw_reader(&self, told: &Statistics, group: &str) {
        let mut fetched = 0;
        for (topic, partitions) in &told.topics {
            let ours = || partitions.partitions.values().filter(|it| it.desired && it.partition >= 0);
            fetched += ours().map(|partition| partition.fetchq_size).sum::<u64>();
            let topic = topic.strip_prefix(&self.prefix).unwrap_or(topic).to_owned();
            let unread: i64 = ours().map(unread).sum();
            ::metrics::gauge!(metrics::UNREAD, "group" => group.to_owned(), "topic" => topic)
                .set(unread as f64);
        }
        ::metrics::gauge!(metrics::FETCHED_BYTES, "client" => self.client.clone()).set(fetched as f64);
    }
}

/// How many offsets of a partition the application has not been given. Markers of transactions have offsets too: when
/// the client has fetched to the end and holds nothing, nothing is unread.
fn unread(partition: &Partition) -> i64 {
    let end = if partition.ls_offset >= 0 { partition.ls_offset } else { partition.hi_offset };
    let given = [partition.app_offset, partition.committed_offset, partition.next_offset]
        .into_iter()
        .find(|offset| *offset >= 0);
    match given {
        _ if partition.fetchq_cnt == 0 && partition.next_offset >= end => 0,
        Some(given) => (end - given).max(0),
        None => 0,
    }
}

impl Totals {
    /// What came since; a client that began anew counts from 0.
    fn since(self, before: Self) -> Self {
        let grown = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self {
            timeouts: grown(self.timeouts, before.timeouts),
            retries: grown(self.retries, before.retries),
            disconnects: grown(self.disconnects, before.disconnects),
            rebalances: grown(self.rebalances, before.rebalances),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unread_is_what_the_application_has_not_been_given() {
        // `fetchq_cnt` is of the group's queue, which all partitions share.
        for (given, fetched_to, queued, committed, stable, end, unread, case) in [
            (10, 10, 0, -1001, 10, 10, 0, "all of it was read"),
            (4, 10, 6, 4, 10, 10, 6, "fetched, and not given"),
            (4, 6, 2, 4, 10, 12, 6, "what is not stable does not count"),
            (9, 11, 0, 9, 11, 11, 0, "only a marker is left"),
            (-1001, -1001, 0, 3, 10, 10, 7, "nothing was given yet since the assignment"),
            (-1001, -1001, 0, -1001, 10, 10, 0, "nobody knows yet where it begins"),
            (4, 4, 0, 4, -1, 10, 6, "a reader of everything"),
        ] {
            let partition = Partition {
                app_offset: given,
                next_offset: fetched_to,
                fetchq_cnt: queued,
                committed_offset: committed,
                ls_offset: stable,
                hi_offset: end,
                ..Partition::default()
            };
            assert_eq!(super::unread(&partition), unread, "{case}");
        }
    }

    #[test]
    fn totals_of_a_client_are_told_once() {
        let totals = |timeouts| Totals { timeouts, ..Totals::default() };
        assert_eq!(totals(5).since(totals(3)), totals(2));
        assert_eq!(totals(2).since(totals(3)), totals(2), "it began anew");
    }
}
