//! What the Kafka clients of a process tell about themselves, and how far off its clock is.

use crate::telemetry::declare;

declare! {
    /// How far the clock is ahead of the broker's; more than 30 either way is not ready.
    gauge SKEW_SECONDS = "tributary_kafka_clock_skew_seconds";
    /// Messages of a topic that this process reads, and that its stage has not been given yet: consumer lag, summed over
    /// the partitions that it has.
    gauge UNREAD = "tributary_kafka_unread_messages" [group, topic];
    /// Messages that wait in a producer for the broker.
    gauge QUEUED = "tributary_kafka_queued_messages" [client];
    /// What they take.
    gauge QUEUED_BYTES = "tributary_kafka_queued_bytes" [client];
    /// What was fetched ahead and not read yet.
    gauge FETCHED_BYTES = "tributary_kafka_fetched_bytes" [client];
    /// Brokers that a client is connected to.
    gauge CONNECTED = "tributary_kafka_connected_brokers" [client];
    /// The slowest broker's round trip, 99th percentile of the last ten seconds.
    gauge ROUND_TRIP = "tributary_kafka_round_trip_seconds" [client];
    /// Requests that no broker answered in time.
    counter TIMEOUTS = "tributary_kafka_request_timeouts_total" [client];
    /// Requests that were sent again.
    counter RETRIES = "tributary_kafka_request_retries_total" [client];
    /// Connections to brokers that ended.
    counter DISCONNECTS = "tributary_kafka_disconnects_total" [client];
    /// Rebalances of a group that this process took part in.
    counter REBALANCES = "tributary_kafka_rebalances_total" [group];
}
