//! librdkafka's traps: each transactional call, with each class of error that a broker may answer it with, on
//! librdkafka's mock cluster.

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey as Call, RDKafkaRespErr as Answer},
};

use super::{super::Config, *};

const TOPIC: &str = "written";

struct Rig {
    mock: MockCluster<'static, DefaultProducerContext>,
    cluster: Cluster,
    consumer: BaseConsumer,
}

/// What [`Transactional::run`] said, without the cause.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Committed,
    Aborted,
    Unknown,
}
use Said::{Aborted, Committed, Unknown};

impl Rig {
    fn new() -> Self {
        let mock = MockCluster::new(1).unwrap();
        for topic in [TOPIC, "read"] {
            mock.create_topic(topic, 1, 1).unwrap();
        }
        let brokers = mock.bootstrap_servers();
        let cluster = Cluster::new(Config { brokers, ..Config::default() });
        let consumer = cluster.consumer("test", "group").create().unwrap();
        Self { mock, cluster, consumer }
    }

    fn producer(&self) -> Transactional {
        Transactional::new(&self.cluster, "lane").unwrap()
    }

    fn run(&self, producer: &Transactional) -> Said {
        let records: Vec<Outgoing> = (0..3)
            .map(|number| Outgoing {
                topic: TOPIC.into(),
                partition: Some(0),
                key: vec![number].into(),
                payload: Some(vec![number].into()),
                ..Outgoing::default()
            })
            .collect();
        let offsets = [NextOffset { topic: "read".into(), partition: 0, offset: 1, metadata: String::new() }];
        match producer.run(&records, &offsets, &self.consumer.group_metadata().unwrap()) {
            Ok(written) => {
                assert!(
                    written.is_sorted_by(|a, b| a + 1 == *b),
                    "three records, one after another: {written:?}"
                );
                Committed
            }
            // Both are clean; what is slow is decided again in smaller batches.
            Err(TransactionError::Aborted(_) | TransactionError::TooSlow(_)) => Aborted,
            Err(TransactionError::Unknown(_)) => Unknown,
            Err(error @ TransactionError::Refused { .. }) => panic!("{error}"),
        }
    }

    /// The transaction after a good one meets an error; what is to be done then works.
    fn meets(&self, call: Call, answers: &[Answer], expected: Said) {
        let producer = self.producer();
        assert_eq!(self.run(&producer), Committed);
        self.mock.request_errors(call, answers);
        assert_eq!(self.run(&producer), expected, "{call:?} answered with {answers:?}");
        self.mock.clear_request_errors(call);
        match expected {
            Committed | Aborted => assert_eq!(self.run(&producer), Committed, "after {call:?}: {answers:?}"),
            Unknown => {
                // Beside the old one, as a lane does it.
                let next = self.producer();
                assert_eq!(self.run(&next), Committed, "with a new producer after {call:?}: {answers:?}");
            }
        }
    }
}

/// A table's test.
macro_rules! meets {
    ($($name:ident: $call:ident, [$($answer:ident),+] => $expected:ident;)+) => {$(
        #[test]
        fn $name() {
            Rig::new().meets(Call::$call, &[$(Answer::$answer),+], $expected);
        }
    )+};
}

meets! {
    // What a broker that has just started says: asked again by librdkafka itself.
    partitions_added_to_a_loading_coordinator:
        AddPartitionsToTxn, [RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS] => Committed;
    partitions_added_to_another_coordinator: AddPartitionsToTxn, [RD_KAFKA_RESP_ERR_NOT_COORDINATOR] => Committed;
    a_leader_that_moved: Produce, [RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION] => Committed;
    a_connection_lost_while_producing: Produce, [RD_KAFKA_RESP_ERR__TRANSPORT] => Committed;
    offsets_added_to_a_loading_coordinator: AddOffsetsToTxn, [RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS] => Committed;
    offsets_sent_to_a_loading_coordinator: TxnOffsetCommit, [RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS] => Committed;
    a_commit_at_a_loading_coordinator: EndTxn, [RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS] => Committed;
    a_commit_at_another_coordinator: EndTxn, [RD_KAFKA_RESP_ERR_NOT_COORDINATOR] => Committed;
    // The answer is lost, not the commit: the client asks again.
    a_connection_lost_while_committing: EndTxn, [RD_KAFKA_RESP_ERR__TRANSPORT] => Committed;

    // Nothing was asked to be committed yet: aborted, and the same producer goes on.
    a_topic_that_may_not_be_written: AddPartitionsToTxn, [RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED] => Aborted;
    a_producer_that_the_coordinator_forgot:
        AddPartitionsToTxn, [RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING] => Aborted;
    a_group_that_may_not_be_written: AddOffsetsToTxn, [RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED] => Aborted;
    an_old_generation: TxnOffsetCommit, [RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION] => Aborted;
    a_member_that_was_thrown_out: TxnOffsetCommit, [RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID] => Aborted;
    a_member_with_a_namesake: TxnOffsetCommit, [RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID] => Aborted;

    // Fenced, or refused for good: this producer does nothing any more.
    fenced_while_adding_partitions: AddPartitionsToTxn, [RD_KAFKA_RESP_ERR_PRODUCER_FENCED] => Unknown;
    refused_while_adding_partitions: AddPartitionsToTxn, [RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED] => Unknown;
    a_record_out_of_sequence: Produce, [RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER] => Unknown;
    fenced_while_adding_offsets: AddOffsetsToTxn, [RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH] => Unknown;
    fenced_while_sending_offsets: TxnOffsetCommit, [RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH] => Unknown;
    fenced_while_committing: EndTxn, [RD_KAFKA_RESP_ERR_PRODUCER_FENCED] => Unknown;
    too_late_while_committing: EndTxn, [RD_KAFKA_RESP_ERR_INVALID_TXN_STATE] => Unknown;

    // librdkafka offers to abort after these, and says that it did: but the commit may have been carried out.
    a_commit_of_a_producer_that_the_coordinator_forgot:
        EndTxn, [RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING] => Unknown;
    a_commit_of_an_unknown_producer: EndTxn, [RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID] => Unknown;
    a_commit_with_an_answer_that_nobody_expects: EndTxn, [RD_KAFKA_RESP_ERR_UNKNOWN] => Unknown;
}

/// The broker puts a call off for ever, and the transaction ends by its own time.
macro_rules! never_answered {
    ($($name:ident: $call:ident => $expected:ident;)+) => {$(
        #[test]
        #[cfg_attr(not(feature = "services"), ignore = "takes half a minute: tests/run runs it")]
        fn $name() {
            let loading = vec![Answer::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS; 200_000];
            Rig::new().meets(Call::$call, &loading, $expected);
        }
    )+};
}

never_answered! {
    partitions_are_never_added: AddPartitionsToTxn => Aborted;
    offsets_are_never_added: AddOffsetsToTxn => Aborted;
    offsets_are_never_taken: TxnOffsetCommit => Aborted;
    a_commit_is_never_answered: EndTxn => Unknown;
}

/// No broker any more: the call ends by itself, and the next producer waits for the broker.
#[test]
#[cfg_attr(not(feature = "services"), ignore = "takes half a minute: tests/run runs it")]
fn a_broker_that_is_gone() {
    let rig = Rig::new();
    let producer = rig.producer();
    assert_eq!(rig.run(&producer), Committed);
    rig.mock.broker_down(1).unwrap();
    assert_eq!(rig.run(&producer), Unknown);
    assert!(matches!(Transactional::new(&rig.cluster, "lane"), Err(TransactionError::Unknown(_))));
    rig.mock.broker_up(1).unwrap();
    assert_eq!(rig.run(&rig.producer()), Committed);
}

/// An error of one transaction says nothing of the next.
#[test]
fn a_record_that_is_too_large_is_named() {
    let rig = Rig::new();
    let producer = rig.producer();
    let record = |size: usize| Outgoing {
        topic: TOPIC.into(),
        partition: Some(0),
        key: vec![0].into(),
        payload: Some(vec![0; size].into()),
        ..Outgoing::default()
    };
    let member = rig.consumer.group_metadata().unwrap();
    let said = producer.run(&[record(1), record(10 << 20), record(1)], &[], &member);
    let Err(TransactionError::Refused { records, .. }) = &said else { panic!("{said:?}") };
    assert_eq!(records, &[1]);
    assert_eq!(rig.run(&producer), Committed);
}
