//! The messages of a partition that were read and are not decided yet. A batch takes none of them out: it looks at the first
//! few, and what was decided is dropped when it is committed. So what was aborted is still here, and dropping the inbox is
//! all that a revocation has to do.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use tributary_schemas::wal::{InputPosition, Twin};

use super::{
    memory::Permit,
    message::{Dead, Message},
};

/// A message that was read and waits for its batch.
#[derive(Debug)]
pub struct Received {
    /// Where it stood.
    pub position: InputPosition,
    /// The assignment that it was read under; an older one's messages are dropped.
    pub epoch: u64,
    /// What it weighs in a batch.
    pub bytes: usize,
    /// Holds its bytes.
    pub permit: Permit,
    /// The message.
    pub message: Message,
}

/// The messages of a partition that wait.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    native: VecDeque<Received>,
    scans: VecDeque<Received>,
    bytes: usize,
    /// Since when the first of them has waited.
    since: Option<Duration>,
}

/// How many messages of each twin a batch takes of a partition, from the first on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) first: Twin,
    pub(super) native: usize,
    pub(super) scans: usize,
}

impl Inbox {
    /// Takes a message in.
    pub(super) fn push(&mut self, received: Received, now: Duration) {
        self.since.get_or_insert(now);
        self.bytes += received.bytes;
        self.queue(received.position.twin).push_back(received);
    }

    /// How many wait of a twin.
    pub(super) fn waiting(&self, twin: Twin) -> usize {
        match twin {
            Twin::Native => self.native.len(),
            Twin::Snapshots => self.scans.len(),
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.native.len() + self.scans.len()
    }

    /// What they weigh.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Since when the first has waited.
    pub(super) fn since(&self) -> Option<Duration> {
        self.since
    }

    /// What a twin's message weighs, by its place.
    pub(super) fn weight(&self, twin: Twin, place: usize) -> Option<usize> {
        let queue = match twin {
            Twin::Native => &self.native,
            Twin::Snapshots => &self.scans,
        };
        queue.get(place).map(|received| received.bytes)
    }

    /// What a batch takes, in its order.
    pub(super) fn taken(&self, taken: Taken) -> impl Iterator<Item = &Received> {
        let (native, scans) = (self.native.iter().take(taken.native), self.scans.iter().take(taken.scans));
        let (native_first, scans_first) = match taken.first {
            Twin::Native => (Some(native), None),
            Twin::Snapshots => (None, Some(native)),
        };
        native_first.into_iter().flatten().chain(scans).chain(scans_first.into_iter().flatten())
    }

    /// Drops what lies below the next offsets of `ingest.native` and `poll.snapshots`: it is decided.
    pub(super) fn settle(&mut self, (native, scans): (i64, i64), now: Duration) {
        for (queue, next) in [(&mut self.native, native), (&mut self.scans, scans)] {
            while let Some(received) = queue.pop_front_if(|first| first.position.offset < next) {
                self.bytes -= received.bytes;
            }
        }
        self.since = (self.len() > 0).then_some(now);
    }

    /// A message is to be set aside: what it makes can't be written. If it had been before, it is the message itself that
    /// can't: then only what is wrong with it is told.
    pub(super) fn set_aside(&mut self, position: InputPosition, dead: &Dead) {
        let found = self.queue(position.twin).iter_mut().find(|received| received.position == position);
        if let Some(received) = found {
            if received.message.input.is_err() {
                received.message.payload = Bytes::new();
            }
            received.message.input = Err(dead.clone());
        }
    }

    fn queue(&mut self, twin: Twin) -> &mut VecDeque<Received> {
        match twin {
            Twin::Native => &mut self.native,
            Twin::Snapshots => &mut self.scans,
        }
    }
}
