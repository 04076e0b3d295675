//! What goes into the next batch: partitions in turn, native traffic first, but every fourth batch takes scans if any wait.

use std::{collections::BTreeMap, time::Duration};

use tributary_schemas::wal::Twin;

use super::{inbox::Taken, memory::Memory, partition::Partition};

/// How large a batch may be, and how long it may gather.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// After the first message.
    pub linger: Duration,
    /// In, all messages together.
    pub bytes: usize,
    /// Messages.
    pub messages: usize,
    /// Out, all events together: what comes behind the message that reaches it waits for the next batch.
    pub events: usize,
}

/// A partition's share of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) partition: i32,
    pub(super) epoch: u64,
    pub(super) taken: Taken,
}

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turn {
    batches: u64,
    /// The partition that came first in the last batch.
    first: i32,
}

/// The uptime at which a batch is ready, if any message waits that may be decided.
pub(super) fn due(
    partitions: &BTreeMap<i32, Partition>,
    limits: &Limits,
    memory: &Memory,
) -> Option<Duration> {
    let ready = partitions.values().filter_map(Partition::reading).filter(|it| it.has_room(memory));
    let (mut since, mut bytes, mut messages) = (None::<Duration>, 0, 0);
    for reading in ready {
        since = since.into_iter().chain(reading.inbox.since()).min();
        bytes += reading.inbox.bytes();
        messages += reading.inbox.len();
    }
    let full = bytes >= limits.bytes || messages >= limits.messages;
    since.map(|since| if full { since } else { since + limits.linger })
}

/// Picks the next batch: at least one message if any waits that may be decided, and no more than the limits.
///
/// The partition after the one that came first in the last batch comes first. Each may take its part of the limits, then
/// what is left goes to whoever has more.
pub(super) fn pick(
    partitions: &BTreeMap<i32, Partition>,
    limits: &Limits,
    memory: &Memory,
    turn: &mut Turn,
) -> Vec<Share> {
    turn.batches += 1;
    let after = partitions.range(turn.first + 1..).chain(partitions.range(..=turn.first));
    let in_turn: Vec<_> = after
        .filter_map(|(number, partition)| Some((*number, partition.epoch, partition.reading()?)))
        .filter(|(_, _, reading)| reading.inbox.len() > 0 && reading.has_room(memory))
        .collect();
    let scans = in_turn.iter().any(|(_, _, reading)| reading.inbox.waiting(Twin::Snapshots) > 0);
    let (first, second) = if turn.batches.is_multiple_of(4) && scans {
        (Twin::Snapshots, Twin::Native)
    } else {
        (Twin::Native, Twin::Snapshots)
    };
    let mut shares: Vec<Share> = in_turn
        .iter()
        .map(|(partition, epoch, _)| Share {
            partition: *partition,
            epoch: *epoch,
            taken: Taken { first, native: 0, scans: 0 },
        })
        .collect();
    let (mut bytes, mut messages) = (0, 0);
    let part = |whole: usize| whole / in_turn.len().max(1);
    for twin in [first, second] {
        for (most_bytes, most_messages) in
            [(part(limits.bytes), part(limits.messages).max(1)), (limits.bytes, limits.messages)]
        {
            for (share, (_, _, reading)) in shares.iter_mut().zip(&in_turn) {
                let (mut its_bytes, mut its_messages) = (0, 0);
                let place = match twin {
                    Twin::Native => &mut share.taken.native,
                    Twin::Snapshots => &mut share.taken.scans,
                };
                while let Some(weight) = reading.inbox.weight(twin, *place) {
                    let full = bytes + weight > limits.bytes || messages >= limits.messages;
                    let its_part = its_bytes + weight > most_bytes || its_messages >= most_messages;
                    // One message larger than a batch goes alone; one larger than a part, in its turn.
                    if (full && messages > 0) || (its_part && its_messages > 0) {
                        break;
                    }
                    *place += 1;
                    bytes += weight;
                    messages += 1;
                    its_bytes += weight;
                    its_messages += 1;
                }
            }
        }
    }
    if let Some((partition, ..)) = in_turn.first() {
        turn.first = *partition;
    }
    shares.retain(|share| share.taken.native + share.taken.scans > 0);
    shares
}
