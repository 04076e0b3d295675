//! The process's requests in flight (design §7, bulkheads): slots for the quick, and a quarter as many for the slow, given
//! in turn by project, then webhook. Whoever is found slow while its request is under way stands among the slow from then on, so
//! that a slot of the quick is taken for a second at the most.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tributary_schemas::id::{ProjectId, WebhookId};

/// How quick a webhook answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// Within a second.
    Quick,
    /// Later.
    Slow,
}

/// The slots of one kind of attempts.
#[derive(Debug)]
pub struct Slots {
    quick: Lane,
    slow: Lane,
    /// Requests in flight to slow webhooks, by project.
    slow_of: BTreeMap<ProjectId, usize>,
}

#[derive(Debug)]
struct Lane {
    most: usize,
    taken: usize,
    /// Projects with webhooks that have something to send, in turn.
    turn: VecDeque<ProjectId>,
    waiting: BTreeMap<ProjectId, Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    turn: VecDeque<WebhookId>,
    all: BTreeSet<WebhookId>,
}

impl Slots {
    /// So many in all, of which a quarter at the most are the slow's.
    pub fn new(all: usize) -> Self {
        let slow = (all / 4).max(1);
        let lane = |most| Lane { most, taken: 0, turn: VecDeque::new(), waiting: BTreeMap::new() };
        Self { quick: lane(all.saturating_sub(slow).max(1)), slow: lane(slow), slow_of: BTreeMap::new() }
    }

    /// The webhook has something to send. It stands in line once.
    pub fn wait(&mut self, pace: Pace, project: &ProjectId, webhook: &WebhookId) {
        let lane = self.lane(pace);
        let waiting = lane.waiting.entry(project.clone()).or_insert_with(|| {
            lane.turn.push_back(project.clone());
            Waiting::default()
        });
        if waiting.all.insert(webhook.clone()) {
            waiting.turn.push_back(webhook.clone());
        }
    }

    /// Whose turn it is, if there is a slot. It stands in line no more.
    pub fn next(&mut self, pace: Pace) -> Option<(ProjectId, WebhookId)> {
        let share = match pace {
            Pace::Quick => usize::MAX,
            Pace::Slow => (self.slow.most / self.slow.turn.len().max(1)).max(1),
        };
        let slow_of = &self.slow_of;
        let lane = match pace {
            Pace::Quick => &mut self.quick,
            Pace::Slow => &mut self.slow,
        };
        if lane.taken >= lane.most {
            return None;
        }
        for _ in 0..lane.turn.len() {
            let project = lane.turn.pop_front()?;
            let Some(waiting) = lane.waiting.get_mut(&project) else { continue };
            if pace == Pace::Slow && slow_of.get(&project).is_some_and(|taken| *taken >= share) {
                lane.turn.push_back(project);
                continue;
            }
            let webhook = waiting.turn.pop_front();
            if let Some(webhook) = &webhook {
                waiting.all.remove(webhook);
            }
            if waiting.turn.is_empty() {
                lane.waiting.remove(&project);
            } else {
                lane.turn.push_back(project.clone());
            }
            if let Some(webhook) = webhook {
                return Some((project, webhook));
            }
        }
        None
    }

    /// A request begins.
    pub fn take(&mut self, pace: Pace, project: &ProjectId) {
        self.lane(pace).taken += 1;
        if pace == Pace::Slow {
            *self.slow_of.entry(project.clone()).or_default() += 1;
        }
    }

    /// A request has ended.
    pub fn give(&mut self, pace: Pace, project: &ProjectId) {
        let lane = self.lane(pace);
        lane.taken = lane.taken.saturating_sub(1);
        if pace == Pace::Slow
            && let Some(taken) = self.slow_of.get_mut(project)
        {
            *taken -= 1;
            if *taken == 0 {
                self.slow_of.remove(project);
            }
        }
    }

    /// A request that is under way is slow: what it took of the quick is free.
    pub fn turned_slow(&mut self, project: &ProjectId) {
        self.give(Pace::Quick, project);
        self.take(Pace::Slow, project);
    }

    /// Requests in flight.
    pub fn taken(&self, pace: Pace) -> usize {
        match pace {
            Pace::Quick => self.quick.taken,
            Pace::Slow => self.slow.taken,
        }
    }

    fn lane(&mut self, pace: Pace) -> &mut Lane {
        match pace {
            Pace::Quick => &mut self.quick,
            Pace::Slow => &mut self.slow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(slots: &mut Slots, pace: Pace) -> Vec<String> {
        let mut turns = Vec::new();
        while let Some((project, webhook)) = slots.next(pace) {
            slots.take(pace, &project);
            turns.push(format!("{project}{webhook}"));
        }
        turns
    }

    #[test]
    fn turns_go_by_project_then_webhook_and_each_stands_in_line_once() {
        let mut slots = Slots::new(40);
        for (project, webhook) in [("p", "1"), ("p", "2"), ("p", "3"), ("q", "4"), ("p", "1"), ("r", "5")] {
            slots.wait(Pace::Quick, &project.parse().unwrap(), &webhook.parse().unwrap());
        }
        assert_eq!(turns(&mut slots, Pace::Quick), ["p1", "q4", "r5", "p2", "p3"]);
    }

    #[test]
    fn the_slow_have_a_quarter_and_no_project_has_all_of_it() {
        let mut slots = Slots::new(16);
        for webhook in 0..20 {
            slots.wait(Pace::Slow, &"p".parse().unwrap(), &format!("a{webhook}").parse().unwrap());
        }
        slots.wait(Pace::Slow, &"q".parse().unwrap(), &"b".parse().unwrap());
        assert_eq!(turns(&mut slots, Pace::Slow), ["pa0", "qb", "pa1", "pa2"]);
        slots.wait(Pace::Quick, &"r".parse().unwrap(), &"c".parse().unwrap());
        assert_eq!(turns(&mut slots, Pace::Quick), ["rc"], "the quick have their own");
    }

    #[test]
    fn who_is_found_slow_frees_the_slot_of_the_quick() {
        let mut slots = Slots::new(4);
        let project: ProjectId = "p".parse().unwrap();
        (0..3).for_each(|_| slots.take(Pace::Quick, &project));
        slots.wait(Pace::Quick, &project, &"w".parse().unwrap());
        assert_eq!(slots.next(Pace::Quick), None);
        slots.turned_slow(&project);
        assert!(slots.next(Pace::Quick).is_some());
        assert_eq!((slots.taken(Pace::Quick), slots.taken(Pace::Slow)), (2, 1));
        slots.give(Pace::Slow, &project);
        assert_eq!(slots.taken(Pace::Slow), 0);
    }
}
