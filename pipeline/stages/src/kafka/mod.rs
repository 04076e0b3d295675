//! Kafka: the only user of rdkafka.
