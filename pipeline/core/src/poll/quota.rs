//! What a project may have known and told: records of all its resources, and events a day. Counted in what poll is about to
//! send, so that volatile fields or fresh ids at every look can't fill the broker's disk (design §5).
//!
//! Each process counts for the resources that it polls: a quota holds to within what its processes have between them. Nothing
//! here reads a clock: the day comes in as a number.

use std::collections::HashMap;

use tributary_schemas::id::ProjectId;

use super::scheduler::Slot;

/// What each project may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Records known, of all its resources together.
    pub records: u64,
    /// Events in a day.
    pub events: u64,
}

impl Default for Quota {
    fn default() -> Self {
        Self { records: 10_000_000, events: 5_000_000 }
    }
}

/// What a run is about to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// Records that its listing named; `None` for a delta, which lists none.
    pub records: Option<u64>,
    /// Records that differ from what is known.
    pub changed: u64,
}

/// What a run would take its project over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Its records: the run is `too_large`.
    Records,
    /// The day's events: it is `churning`, and lands on another day.
    Events,
}

/// What projects have, and have sent today.
#[derive(Debug)]
pub struct Quotas {
    most: Quota,
    projects: HashMap<ProjectId, Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    slots: HashMap<Slot, u64>,
    records: u64,
    day: u64,
    events: u64,
}

impl Quotas {
    /// Nobody has sent anything yet.
    pub fn new(most: Quota) -> Self {
        Self { most, projects: HashMap::new() }
    }

    /// Lets a run send, and counts it; or says what it is over, and counts nothing. A scan counts in the place of the one
    /// before; one that makes its project smaller may always land.
    ///
    /// # Errors
    /// What the project would have too much of.
    pub fn send(&mut self, project: &ProjectId, slot: &Slot, sending: Sending, day: u64) -> Result<(), Over> {
        let spent = self.projects.entry(project.clone()).or_default();
        if spent.day != day {
            (spent.day, spent.events) = (day, 0);
        }
        let before = spent.slots.get(slot).copied().unwrap_or(0);
        let after = sending.records.unwrap_or(before);
        let records = (spent.records - before).saturating_add(after);
        if after > before && records > self.most.records {
            return Err(Over::Records);
        }
        let events = spent.events.saturating_add(sending.changed);
        if sending.changed > 0 && events > self.most.events {
            return Err(Over::Events);
        }
        (spent.records, spent.events) = (records, events);
        match after {
            0 => spent.slots.remove(slot),
            after => spent.slots.insert(slot.clone(), after),
        };
        Ok(())
    }

    /// A resource is not ours any more: its account was deleted, or its partition moved.
    pub fn forget(&mut self, project: &ProjectId, slot: &Slot) {
        let Some(spent) = self.projects.get_mut(project) else { return };
        if let Some(records) = spent.slots.remove(slot) {
            spent.records -= records;
        }
        // Its events of today stay counted: who links and deletes all day has a day's worth.
    }

    /// Forgets projects that have no records, and sent nothing on this day.
    pub fn tidy(&mut self, day: u64) {
        self.projects.retain(|_, spent| !spent.slots.is_empty() || (spent.day == day && spent.events > 0));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_schemas::resource::Resource;

    use super::*;

    fn slot(number: u8) -> Slot {
        Slot { account: format!("a{number}").parse().unwrap(), resource: Resource::HrisEmployees }
    }

    fn project(number: u8) -> ProjectId {
        format!("p{number}").parse().unwrap()
    }

    #[test]
    fn a_project_is_stopped_at_its_own_quota_and_its_neighbour_is_not() {
        let mut quotas = Quotas::new(Quota { records: 100, events: 10 });
        let scan = |records, changed| Sending { records: Some(records), changed };
        let delta = |changed| Sending { records: None, changed };
        for (what, of, slot_of, sending, day, expected) in [
            ("a scan counts its records", 0, 1, scan(60, 0), 1, Ok(())),
            ("and so does another's", 0, 2, scan(41, 0), 1, Err(Over::Records)),
            ("what was refused is not counted", 0, 2, scan(40, 0), 1, Ok(())),
            ("a scan takes the place of the one before", 0, 1, scan(59, 0), 1, Ok(())),
            ("a delta lists nothing", 0, 1, delta(8), 1, Ok(())),
            ("events are the day's", 0, 2, delta(3), 1, Err(Over::Events)),
            ("a quiet run always lands", 0, 2, delta(0), 1, Ok(())),
            ("the neighbour has its own", 1, 3, scan(100, 10), 1, Ok(())),
            ("the next day is another", 0, 2, delta(10), 2, Ok(())),
        ] {
            assert_eq!(quotas.send(&project(of), &slot(slot_of), sending, day), expected, "{what}");
        }
        // Who is over it, because it was lowered, may become smaller.
        quotas.most.records = 10;
        assert_eq!(quotas.send(&project(0), &slot(1), scan(50, 0), 3), Ok(()));
        assert_eq!(quotas.send(&project(0), &slot(1), scan(51, 0), 3), Err(Over::Records));
        quotas.forget(&project(0), &slot(1));
        quotas.forget(&project(0), &slot(2));
        assert_eq!(quotas.send(&project(0), &slot(1), scan(10, 0), 3), Ok(()));
    }

    proptest! {
        /// Against a model that adds everything up anew.
        #[test]
        fn what_is_counted_is_what_was_let_through(
            ops in proptest::collection::vec((0..3_u8, 0..4_u8, proptest::option::of(0..60_u64), 0..6_u64, 0..3_u64, 0..8_u8), 0..60)
        ) {
            let most = Quota { records: 100, events: 20 };
            let mut quotas = Quotas::new(most);
            let (mut known, mut told, mut today) = (HashMap::<(u8, u8), u64>::new(), HashMap::<(u8, u64), u64>::new(), 0);
            for (of, slot_of, records, changed, later, kind) in ops {
                today += u64::from(later == 2);
                if kind == 0 {
                    quotas.forget(&project(of), &slot(slot_of));
                    known.remove(&(of, slot_of));
                } else if kind == 1 {
                    quotas.tidy(today);
                } else {
                    let sent = quotas.send(&project(of), &slot(slot_of), Sending { records, changed }, today);
                    let mut after = known.clone();
                    if let Some(records) = records {
                        after.insert((of, slot_of), records);
                    }
                    let sum = |known: &HashMap<(u8, u8), u64>| -> u64 {
                        known.iter().filter(|((project, _), _)| *project == of).map(|(_, it)| it).sum()
                    };
                    let events = told.get(&(of, today)).copied().unwrap_or(0) + changed;
                    let expected = if sum(&after) > most.records && sum(&after) > sum(&known) {
                        Err(Over::Records)
                    } else if changed > 0 && events > most.events {
                        Err(Over::Events)
                    } else {
                        known = after;
                        told.insert((of, today), events);
                        Ok(())
                    };
                    prop_assert_eq!(sent, expected);
                }
            }
        }
    }
}
