//! A transaction as Kafka records: events, dead letters, WAL records, and the offsets of both twins.

use tributary_core::unify::{Part, Step, Transaction};
use tributary_schemas::{
    codec,
    dead::DeadLetter,
    framing,
    topic::Topics,
    wal::{InputPosition, Twin},
};

use super::{Shared, metrics};
use crate::kafka::{NextOffset, Outgoing};

/// A transaction as Kafka records.
#[derive(Default)]
pub(super) struct Encoded {
    pub(super) records: Vec<Outgoing>,
    /// The message that each record is of.
    pub(super) positions: Vec<InputPosition>,
    /// Which of the records are WAL records.
    pub(super) wal: Vec<usize>,
    pub(super) offsets: Vec<NextOffset>,
}

/// Encodes a transaction.
pub(super) fn encode(shared: &Shared, transaction: &Transaction) -> Encoded {
    let topics = shared.cluster.topics();
    let mut encoded = Encoded::default();
    for Part { partition, plan, offsets, .. } in &transaction.parts {
        for step in &plan.steps {
            for event in &step.events {
                encoded.push(
                    step,
                    Outgoing {
                        topic: topics.unified(event.event.resource, &event.project),
                        key: event.account.as_str().as_bytes().to_vec().into(),
                        payload: Some(framing::encode(event, shared.schemas).into()),
                        headers: framing::headers(event),
                        ..Outgoing::default()
                    },
                );
            }
            if let Some(letter) = dead_letter(topics, step) {
                encoded.push(step, letter);
            }
            encoded.wal.push(encoded.records.len());
            encoded.push(
                step,
                Outgoing {
                    topic: topics.unify_wal(),
                    partition: Some(*partition),
                    payload: Some(codec::encode(&*step.wal).into()),
                    ..Outgoing::default()
                },
            );
        }
        encoded.offsets.extend(offsets.iter().map(|(twin, offset)| NextOffset {
            topic: topic(topics, *twin),
            partition: *partition,
            offset: *offset,
            metadata: plan.metadata.to_text(),
        }));
    }
    encoded
}

impl Encoded {
    fn push(&mut self, step: &Step, record: Outgoing) {
        self.positions.push(step.wal.input);
        self.records.push(record);
    }
}

fn dead_letter(topics: &Topics, step: &Step) -> Option<Outgoing> {
    let dead = step.dead.as_ref()?;
    let InputPosition { twin, partition, offset } = step.wal.input;
    let (topic, reason, detail) = (topic(topics, twin), dead.reason.to_owned(), dead.detail.clone());
    tracing::warn!(topic, partition, offset, reason, detail, "message set aside");
    let letter = DeadLetter { topic, partition, offset, reason, detail, at: crate::clock::now() };
    Some(Outgoing {
        topic: topics.unify_dead(),
        key: step.key.clone().into(),
        payload: Some(step.payload.clone()),
        headers: letter.to_headers(),
        ..Outgoing::default()
    })
}

fn topic(topics: &Topics, twin: Twin) -> String {
    match twin {
        Twin::Native => topics.ingest_native(),
        Twin::Snapshots => topics.poll_snapshots(),
    }
}

/// Counts what was committed.
pub(super) fn count(transaction: &Transaction) {
    let steps = transaction.parts.iter().flat_map(|part| &part.plan.steps);
    let mut messages = 0_u32;
    for step in steps {
        messages += 1;
        let twin = match step.wal.input.twin {
            Twin::Native => "native",
            Twin::Snapshots => "snapshots",
        };
        ::metrics::counter!(metrics::INPUTS, "twin" => twin).increment(1);
        for event in &step.events {
            ::metrics::counter!(metrics::EVENTS, "event" => event.event.to_string()).increment(1);
        }
        for note in &step.notes {
            ::metrics::counter!(metrics::NOTES, "note" => note.name()).increment(1);
        }
        if let Some(dead) = &step.dead {
            ::metrics::counter!(metrics::REJECTIONS, "reason" => dead.reason).increment(1);
        }
    }
    ::metrics::histogram!(metrics::BATCH).record(messages);
    let now = crate::clock::now();
    for received_at in transaction.received() {
        ::metrics::histogram!(metrics::NATIVE_SECONDS).record(now.since(received_at).as_secs_f64());
    }
}
