//! What a direct reader can check by itself (contract §4): each event names the record's event before it, so a record's
//! events form a chain in which a gap, a repeat and a wrong order show.

use std::collections::{HashMap, HashSet};

use tributary_schemas::{
    event::{Subject, UnifiedEvent},
    id::{AccountId, EventId, RecordKey, RemoteId, Sequence},
    resource::Resource,
};

/// The chains seen so far. About 100 bytes a record, and 20 an event.
#[derive(Debug, Default)]
pub struct Chains {
    last: HashMap<(AccountId, Resource, RecordKey), Sequence>,
    seen: HashSet<EventId>,
}

/// How an event stands in its record's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It follows the event before it.
    Whole,
    /// It is the first that was seen of its record; what came before, if anything, is no longer kept.
    First,
    /// The very event was seen before. Account events may be told again; others never.
    Repeated,
    /// The event before it was not seen, though an earlier one was.
    Gap {
        /// The record's last event that was seen.
        seen: Sequence,
    },
    /// It is older than one that was seen.
    Disordered {
        /// The record's last event that was seen.
        seen: Sequence,
    },
}

impl Link {
    /// Whether the promise holds: exactly once and in order for records, at least once and in order for accounts.
    pub fn holds(self, resource: Resource) -> bool {
        match self {
            Self::Whole | Self::First => true,
            Self::Repeated => resource == Resource::Account,
            Self::Gap { .. } | Self::Disordered { .. } => false,
        }
    }
}

impl Chains {
    /// Takes the next event of a topic in, in the order of its partition.
    pub fn take(&mut self, event: &UnifiedEvent) -> Link {
        if !self.seen.insert(event.event_id) {
            return Link::Repeated;
        }
        let record = match &event.subject {
            Subject::Record { remote_id, .. } => remote_id.key(),
            Subject::Account(_) => RemoteId::new(event.account.as_str()).key(),
        };
        let key = (event.account.clone(), event.event.resource, record);
        let Some(last) = self.last.get_mut(&key) else {
            self.last.insert(key, event.sequence);
            return Link::First;
        };
        let seen = *last;
        *last = seen.max(event.sequence);
        match event.previous_sequence {
            _ if event.sequence <= seen => Link::Disordered { seen },
            Some(previous) if previous == seen => Link::Whole,
            Some(_) | None => Link::Gap { seen },
        }
    }

    /// How many records' chains were seen.
    pub fn records(&self) -> usize {
        self.last.len()
    }
}

#[cfg(test)]
mod tests {
    use tributary_schemas::{resource::Mode, time::Timestamp};

    use super::*;

    fn event(record: &str, sequence: i64, previous: Option<i64>) -> UnifiedEvent {
        UnifiedEvent {
            event_id: EventId::digest(&[record.as_bytes(), &sequence.to_be_bytes()]),
            sequence: Sequence(sequence),
            previous_sequence: previous.map(Sequence),
            project: "p".parse().unwrap(),
            account: "a".parse().unwrap(),
            provider: "tryton".parse().unwrap(),
            origin_owner_id: None,
            event: "hris_employees.updated".parse().unwrap(),
            event_date: Timestamp::from_micros(0),
            detected_at: Timestamp::from_micros(0),
            mode: Mode::Synthetic,
            subject: Subject::Record {
                record_id: record.into(),
                remote_id: RemoteId::new(record),
                raw_event: None,
                event_data: None,
            },
        }
    }

    #[test]
    fn a_chain_shows_what_is_wrong_with_it() {
        let seen = Sequence(5);
        for (said, next, expected) in [
            ("follows", event("x", 9, Some(5)), Link::Whole),
            ("another record", event("y", 3, None), Link::First),
            ("kept in part", event("z", 7, Some(4)), Link::First),
            ("the same again", event("x", 5, Some(1)), Link::Repeated),
            ("one is missing", event("x", 9, Some(7)), Link::Gap { seen }),
            ("says that it is the first", event("x", 9, None), Link::Gap { seen }),
            ("an older one", event("x", 4, Some(1)), Link::Disordered { seen }),
        ] {
            let mut chains = Chains::default();
            assert_eq!(chains.take(&event("x", 5, Some(1))), Link::First);
            assert_eq!(chains.take(&next), expected, "{said}");
        }
    }

    #[test]
    fn account_events_may_be_told_again_and_no_others() {
        assert!(Link::Repeated.holds(Resource::Account));
        assert!(!Link::Repeated.holds(Resource::HrisEmployees));
    }
}
