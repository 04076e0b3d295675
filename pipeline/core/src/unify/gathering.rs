//! What goes into the next batch: native traffic first, but every fourth batch takes scans if any wait.

use std::{collections::VecDeque, time::Duration};

use tributary_schemas::wal::{InputPosition, Twin};

/// A message that was read and waits for its batch.
#[derive(Debug, Clone)]
pub struct Received<T> {
    /// Where it stood.
    pub position: InputPosition,
    /// The assignment that it was read under; an older one's messages are dropped.
    pub epoch: u64,
    /// Its size.
    pub bytes: usize,
    /// The message.
    pub message: T,
}

/// Messages that are decided together.
pub(super) type Batch<T> = Vec<Received<T>>;

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

/// Whether a batch is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing is there.
    ForInput,
    /// The first message waits until this uptime for others.
    Until(Duration),
    /// It is.
    Ready,
}

/// The messages of a lane that wait.
#[derive(Debug)]
pub struct Gathering<T> {
    native: VecDeque<Received<T>>,
    scans: VecDeque<Received<T>>,
    since: Option<Duration>,
    bytes: usize,
    batches: u64,
    limits: Limits,
}

impl<T> Gathering<T> {
    /// Nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self { native: VecDeque::new(), scans: VecDeque::new(), since: None, bytes: 0, batches: 0, limits }
    }

    /// Takes a message in.
    pub fn push(&mut self, received: Received<T>, now: Duration) {
        self.since.get_or_insert(now);
        self.bytes += received.bytes;
        self.queue(received.position.twin).push_back(received);
    }

    /// Puts an undecided batch back, in its order.
    pub fn put_back(&mut self, batch: Batch<T>, now: Duration) {
        self.since.get_or_insert(now);
        for received in batch.into_iter().rev() {
            self.bytes += received.bytes;
            self.queue(received.position.twin).push_front(received);
        }
    }

    /// How large a batch may be.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.native.len() + self.scans.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The uptime at which a batch is ready, if any message waits.
    pub fn due(&self) -> Option<Duration> {
        let since = self.since.filter(|_| !self.is_empty())?;
        let full = self.bytes >= self.limits.bytes || self.len() >= self.limits.messages;
        Some(if full { since } else { since + self.limits.linger })
    }

    /// Whether a batch is ready.
    pub fn waiting(&self, now: Duration) -> Waiting {
        match self.due() {
            None => Waiting::ForInput,
            Some(due) if due <= now => Waiting::Ready,
            Some(due) => Waiting::Until(due),
        }
    }

    /// Takes the next batch: at least one message if any waits, and no more than the limits.
    pub fn take(&mut self, now: Duration) -> Batch<T> {
        self.batches += 1;
        let scans_turn = self.batches.is_multiple_of(4) && !self.scans.is_empty();
        let first = if scans_turn || self.native.is_empty() { Twin::Snapshots } else { Twin::Native };
        let second = match first {
            Twin::Native => Twin::Snapshots,
            Twin::Snapshots => Twin::Native,
        };
        let Limits { bytes: most_bytes, messages: most_messages, .. } = self.limits;
        let mut batch = Vec::new();
        let mut bytes = 0;
        for twin in [first, second] {
            while let Some(next) = self.queue(twin).front() {
                let full = bytes + next.bytes > most_bytes || batch.len() >= most_messages;
                if full && !batch.is_empty() {
                    break;
                }
                bytes += next.bytes;
                batch.extend(self.queue(twin).pop_front());
            }
        }
        self.bytes -= bytes;
        self.since = (!self.is_empty()).then_some(now);
        batch
    }

    /// Drops the messages of a partition, which is not ours any more; says how many.
    pub fn forget(&mut self, partition: i32) -> usize {
        let before = self.len();
        for queue in [&mut self.native, &mut self.scans] {
            queue.retain(|received| received.position.partition != partition);
        }
        self.bytes = self.native.iter().chain(&self.scans).map(|received| received.bytes).sum();
        before - self.len()
    }

    fn queue(&mut self, twin: Twin) -> &mut VecDeque<Received<T>> {
        match twin {
            Twin::Native => &mut self.native,
            Twin::Snapshots => &mut self.scans,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { linger: Duration::from_millis(5), bytes: 100, messages: 10, events: 10 };

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn message(twin: Twin, partition: i32, offset: i64, bytes: usize) -> Received<()> {
        Received { position: InputPosition { twin, partition, offset }, epoch: 1, bytes, message: () }
    }

    fn offsets(batch: &[Received<()>]) -> Vec<(Twin, i64)> {
        batch.iter().map(|it| (it.position.twin, it.position.offset)).collect()
    }

    #[test]
    fn a_batch_is_ready_after_the_linger_or_when_it_is_large() {
        let mut gathering = Gathering::new(LIMITS);
        assert_eq!(gathering.waiting(at(0)), Waiting::ForInput);
        gathering.push(message(Twin::Native, 0, 1, 10), at(0));
        assert_eq!(gathering.waiting(at(4)), Waiting::Until(at(5)));
        assert_eq!(gathering.waiting(at(5)), Waiting::Ready);
        gathering.push(message(Twin::Native, 0, 2, 90), at(1));
        assert_eq!(gathering.waiting(at(1)), Waiting::Ready);
    }

    #[test]
    fn native_goes_first_but_every_fourth_batch_takes_scans() {
        let mut gathering = Gathering::new(LIMITS);
        for offset in 0..6 {
            gathering.push(message(Twin::Native, 0, offset, 100), at(0));
            gathering.push(message(Twin::Snapshots, 0, offset, 100), at(0));
        }
        let taken: Vec<_> = (0..5).flat_map(|_| offsets(&gathering.take(at(0)))).collect();
        let (native, scan) = (Twin::Native, Twin::Snapshots);
        assert_eq!(taken, [(native, 0), (native, 1), (native, 2), (scan, 0), (native, 3)]);
    }

    #[test]
    fn what_is_put_back_comes_again_first_and_what_is_forgotten_never() {
        let mut gathering = Gathering::new(LIMITS);
        for (partition, offset) in [(0, 1), (1, 7), (0, 2), (0, 3)] {
            gathering.push(message(Twin::Native, partition, offset, 40), at(0));
        }
        let batch = gathering.take(at(0));
        assert_eq!(batch.len(), 2);
        gathering.put_back(batch, at(0));
        assert_eq!(gathering.forget(1), 1);
        assert_eq!(offsets(&gathering.take(at(0))), [(Twin::Native, 1), (Twin::Native, 2)]);
        assert_eq!(offsets(&gathering.take(at(0))), [(Twin::Native, 3)]);
        assert!(gathering.is_empty());
    }

    #[test]
    fn one_message_larger_than_a_batch_goes_alone() {
        let mut gathering = Gathering::new(LIMITS);
        gathering.push(message(Twin::Native, 0, 1, 500), at(0));
        gathering.push(message(Twin::Native, 0, 2, 10), at(0));
        assert_eq!(offsets(&gathering.take(at(0))), [(Twin::Native, 1)]);
    }
}
