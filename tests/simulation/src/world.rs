//! The world: time, and what is to happen in it. Everything else is in the rooms beside this one.

use std::collections::BTreeMap;

use crate::{broker::Broker, chance::Chance, process::Process, source::Provider, store::Store};

/// A millisecond, in the world's microseconds.
pub(crate) const MILLI: i64 = 1_000;
/// A second.
pub(crate) const SECOND: i64 = 1_000 * MILLI;
pub(crate) const HOUR: i64 = 3_600 * SECOND;
/// Faults and changes end here; what is left to do must come to an end by itself.
pub(crate) const CALM: i64 = 60 * SECOND;
/// The world ends here.
pub(crate) const END: i64 = 260 * SECOND;
/// Partitions of every topic.
pub(crate) const PARTITIONS: i32 = 2;

pub(crate) type Job = Box<dyn FnOnce(&mut World)>;

pub(crate) struct World {
    pub(crate) now: i64,
    queue: BTreeMap<(i64, u64), Job>,
    queued: u64,
    pub(crate) chance: Chance,
    pub(crate) broker: Broker,
    pub(crate) store: Store,
    pub(crate) processes: Vec<Process>,
    pub(crate) providers: Vec<Provider>,
    /// How often a step of a process is its last, in a thousand; and a pause.
    pub(crate) mortality: i64,
    pub(crate) drowsiness: i64,
    /// How often a request or its answer is lost, or late, in a thousand.
    pub(crate) losses: i64,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) faults: u64,
    /// What must never happen, and did.
    pub(crate) violation: Option<String>,
}

/// Notes something, if anyone wants to read it.
macro_rules! note {
    ($world:expr, $($text:tt)*) => {
        if let Some(trace) = &mut $world.trace {
            trace.push(format!("{:>10.3} ms  {}", $world.now as f64 / 1_000.0, format!($($text)*)));
        }
    };
}
pub(crate) use note;

impl World {
    pub(crate) fn new(seed: u64, trace: bool) -> Self {
        let mut chance = Chance::new(seed);
        let mortality = [0, 2, 6, 15][chance.below(4)];
        let drowsiness = [0, 1, 4][chance.below(3)];
        let losses = [0, 5, 20][chance.below(3)];
        Self {
            now: 0,
            queue: BTreeMap::new(),
            queued: 0,
            chance,
            broker: Broker::new(),
            store: Store::default(),
            processes: Vec::new(),
            providers: Vec::new(),
            mortality,
            drowsiness,
            losses,
            trace: trace.then(Vec::new),
            faults: 0,
            violation: None,
        }
    }

    /// Something happens later, whoever lives then.
    pub(crate) fn after(&mut self, span: i64, job: impl FnOnce(&mut World) + 'static) {
        self.queued += 1;
        self.queue.insert((self.now + span.max(1), self.queued), Box::new(job));
    }

    /// Lets everything happen.
    pub(crate) fn run(&mut self) {
        while let Some(((at, _), job)) = self.queue.pop_first() {
            if at > END || self.violation.is_some() {
                return;
            }
            self.now = at;
            job(self);
        }
    }

    pub(crate) fn stormy(&self) -> bool {
        self.now < CALM
    }

    pub(crate) fn violated(&mut self, what: String) {
        note!(self, "VIOLATION: {what}");
        self.violation.get_or_insert(what);
    }
}
