//! Doing it: the five stages, over Kafka, a CQL store and HTTP.
