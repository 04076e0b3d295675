//! Planner and checker over random histories; and that the checker is not blind.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use proptest::prelude::*;
use tributary_schemas::time::Timestamp;

use super::{
    actual::{Actual, ProviderEvent, Reason, RegistrationId, Seen, Stage},
    check::{Violation, check},
    errand::{Do, Errand},
    intent::Nonce,
    plan::{Act, Impossible, Outcome, Plan, Step, plan},
    record::{self, Answer, Entry, Sight},
    terms::{Finds, Renewal, SecretOf, Terms},
    wanted::{Allowance, Need, Standing, Wanted},
};

const EVENTS: [&str; 3] = ["created", "updated", "deleted"];

fn event(at: usize) -> ProviderEvent {
    ProviderEvent(EVENTS[at % EVENTS.len()].into())
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn terms() -> impl Strategy<Value = Terms> {
    (
        prop::sample::select(vec![Finds::List, Finds::Look, Finds::Nothing]),
        any::<[bool; 3]>(),
        prop::sample::select(vec![SecretOf::Ours, SecretOf::Readable, SecretOf::InTheAnswer]),
        prop::sample::select(vec![Renewal::Endless, Renewal::Call, Renewal::Again]),
        prop::option::of(1_u32..4),
    )
        .prop_map(|(finds, [refuses_duplicates, resumes, updates], secret, renewal, limit)| Terms {
            finds,
            refuses_duplicates,
            secret,
            renewal,
            resumes,
            updates,
            limit,
            deadline: seconds(15),
            settle: seconds(60),
        })
}

/// What happens to an account.
#[derive(Debug, Clone)]
enum Happens {
    Wanted(usize),
    Unwanted(usize),
    Passes(u64),
    /// The n-th step of the plan is done, with this answer.
    Done(usize, u8),
    Seen(Vec<(usize, bool, bool)>),
    Landed(usize),
    Moved,
    Unusable(bool),
    Changed,
    Poor(u32),
    Leaves,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (0..3_usize).prop_map(Happens::Wanted),
        1 => (0..3_usize).prop_map(Happens::Unwanted),
        4 => prop::sample::select(vec![1, 20, 80, 700, 4_000, 30_000, 200_000]).prop_map(Happens::Passes),
        12 => (0..3_usize, 0..12_u8).prop_map(|(step, answer)| Happens::Done(step, answer)),
        3 => prop::collection::vec((0..3_usize, any::<bool>(), any::<bool>()), 0..4).prop_map(Happens::Seen),
        2 => (0..3_usize).prop_map(Happens::Landed),
        1 => Just(Happens::Moved),
        1 => any::<bool>().prop_map(Happens::Unusable),
        1 => Just(Happens::Changed),
        1 => (0..4_u32).prop_map(Happens::Poor),
        1 => prop::bool::weighted(0.2).prop_filter_map("seldom", |it| it.then_some(Happens::Leaves)),
    ]
}

struct History {
    wanted: Wanted,
    actual: Actual,
    now: Timestamp,
    chance: u64,
}

impl History {
    fn new(terms: Terms) -> Self {
        let now = Timestamp::from_micros(1_000_000_000);
        let allowance = Allowance { calls: 10, more_at: now };
        Self {
            wanted: Wanted {
                standing: Standing::Usable,
                needs: Default::default(),
                terms,
                base: "https://one.example".into(),
                changed_at: Timestamp::from_micros(0),
                allowance,
            },
            actual: Actual::default(),
            now,
            chance: 0,
        }
    }

    fn nonce(&mut self) -> Nonce {
        self.chance += 1;
        Nonce(self.chance.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn plan(&mut self) -> Plan {
        self.wanted.allowance.more_at = self.now.plus(seconds(1));
        let made = plan(&self.wanted, &self.actual, self.now);
        check(&self.wanted, &self.actual, self.now, &made)
            .unwrap_or_else(|it| panic!("{it}: {made:?}\n{:#?}", self.actual));
        made
    }

    fn happen(&mut self, it: &Happens) {
        match it {
            Happens::Wanted(at) => {
                let asks = BTreeSet::from([event(*at)]);
                self.wanted.needs.insert(event(*at), Need { asks, polls: at % 2 == 0 });
            }
            Happens::Unwanted(at) => drop(self.wanted.needs.remove(&event(*at))),
            Happens::Passes(time) => self.now = self.now.plus(seconds(*time)),
            Happens::Done(at, answer) => {
                let steps = self.plan().steps;
                if let Some(Step::At { event, act, .. }) = steps.get(at % steps.len().max(1)) {
                    self.run(event, act, *answer);
                }
            }
            Happens::Seen(entries) => self.see(entries),
            Happens::Landed(at) => drop(self.actual.landed.insert(event(*at), self.now)),
            Happens::Moved => self.wanted.base = Arc::from(format!("https://{}.example", self.chance)),
            Happens::Unusable(yes) => {
                if !matches!(self.wanted.standing, Standing::Leaving { .. }) {
                    self.wanted.standing = if *yes { Standing::Unusable } else { Standing::Usable };
                }
            }
            Happens::Changed => self.wanted.changed_at = self.now,
            Happens::Poor(calls) => self.wanted.allowance.calls = *calls,
            Happens::Leaves => self.wanted.standing = Standing::Leaving { since: self.now },
        }
    }

    fn run(&mut self, event: &ProviderEvent, act: &Act, answer: u8) {
        let nonces = (self.nonce(), self.nonce());
        let before = self.actual.subscriptions.get(event).cloned();
        let terms = self.wanted.terms.clone();
        let (mut errand, mut next) =
            Errand::start(event.clone(), act.clone(), before.as_ref(), nonces, terms, self.now);
        loop {
            next = match next {
                Do::Write { subscription, .. } => {
                    match subscription {
                        Some(it) => drop(self.actual.subscriptions.insert(event.clone(), it)),
                        None => drop(self.actual.subscriptions.remove(event)),
                    }
                    errand.written(true)
                }
                Do::Call { .. } => {
                    let answer = self.answer(act, answer);
                    errand.answered(answer, self.now)
                }
                Do::Read => errand.read(self.actual.subscriptions.get(event), self.now),
                Do::Over => return,
            };
        }
    }

    fn answer(&mut self, act: &Act, answer: u8) -> Answer {
        let life = (self.wanted.terms.renewal != Renewal::Endless).then(|| seconds(86_400));
        let refused = |reason| Answer::Refused { reason, wait: None };
        match (answer, act) {
            (0, _) => Answer::Lost,
            (1, _) => refused(Reason::MissingScope),
            (2, _) => refused(Reason::ProviderError),
            (3, Act::Renew(_) | Act::Resume(_) | Act::Update { .. } | Act::Delete(_)) => Answer::Gone,
            (3 | 4, Act::Again(_)) => {
                Answer::Duplicate { id: RegistrationId(format!("d{}", self.nonce().0).into()), life }
            }
            (_, Act::Create { .. } | Act::Again(_)) => {
                Answer::Made { id: RegistrationId(format!("r{}", self.nonce().0).into()), life }
            }
            _ => Answer::Done { life },
        }
    }

    /// Lists what stands, pauses some, hides some, finds what was being made, or a stray.
    fn see(&mut self, which: &[(usize, bool, bool)]) {
        let mut entries = Vec::new();
        for (at, paused, stray) in which {
            let of = event(*at);
            let base = self.wanted.base.clone();
            let nonce = self.nonce();
            let seen = |id| Seen { id, paused: *paused, life: None };
            if *stray {
                let id = RegistrationId(format!("s{}", nonce.0).into());
                entries.push(Entry { event: of, nonce: Some(nonce), base, seen: seen(id) });
                continue;
            }
            for (nonce, it) in self.actual.subscriptions.get(&of).iter().flat_map(|it| &it.registrations) {
                let id = match &it.stage {
                    Stage::Standing(stands) => stands.id.clone(),
                    Stage::Making { .. } => RegistrationId(format!("f{}", nonce.0).into()),
                    Stage::Ending { id, .. } => id.clone(),
                    Stage::Orphan { .. } => continue,
                };
                entries.push(Entry {
                    event: of.clone(),
                    nonce: Some(*nonce),
                    base: it.base.clone(),
                    seen: seen(id),
                });
            }
        }
        let whole = self.wanted.terms.finds == Finds::List;
        let sight = Sight { asked_at: self.now, whole, entries, gone: BTreeSet::new() };
        for at in 0..EVENTS.len() {
            let of = event(at);
            let after =
                record::look(self.actual.subscriptions.get(&of), &of, &sight, self.now, &self.wanted.terms);
            if let Some(after) = after {
                self.actual.subscriptions.insert(of, after);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_plan_of_every_history_is_right(terms in terms(), happened in prop::collection::vec(happens(), 1..60)) {
        let mut history = History::new(terms);
        for it in &happened {
            history.happen(it);
            history.plan();
        }
    }

    /// Whatever happened, once everything answers as it should what is wanted stands, once, and what is not is gone.
    #[test]
    fn what_is_wanted_stands_in_the_end(terms in terms(), happened in prop::collection::vec(happens(), 1..40)) {
        let mut history = History::new(Terms { limit: None, ..terms });
        for it in &happened {
            history.happen(it);
        }
        history.wanted.allowance.calls = 10;
        if history.wanted.standing == Standing::Unusable {
            history.wanted.standing = Standing::Usable;
        }
        for _ in 0..400 {
            let made = history.plan();
            match made.steps.first() {
                Some(Step::Wipe(_)) => return Ok(()),
                Some(Step::At { event, act, .. }) => history.run(&event.clone(), &act.clone(), 9),
                Some(Step::Verify) => history.see(&[(0, false, false), (1, false, false), (2, false, false)]),
                None => {
                    let wake = made.wake.unwrap_or(history.now).max(history.now.plus(seconds(1)));
                    history.now = wake;
                }
            }
            for at in 0..EVENTS.len() {
                history.happen(&Happens::Landed(at));
            }
            // What lives a day is renewed for ever; it has stood long enough by then.
            if made.steps.is_empty() && settled(&history) {
                return Ok(());
            }
        }
        prop_assert!(settled(&history), "{:#?}", history.actual);
    }
}

fn settled(history: &History) -> bool {
    let stand = |of: &ProviderEvent| {
        let it = history.actual.subscriptions.get(of);
        it.map_or(0, |it| it.standing().filter(|(.., it)| !it.paused).count())
    };
    let open = history.actual.subscriptions.values().flat_map(|it| it.registrations.values());
    let open = open.filter(|it| matches!(it.stage, Stage::Making { .. } | Stage::Ending { .. })).count();
    open == 0
        && (0..EVENTS.len()).all(|at| {
            let of = event(at);
            stand(&of) == usize::from(history.wanted.needs.contains_key(&of))
        })
}

/// Each kind of wrong plan is told.
#[test]
fn a_wrong_plan_is_told() {
    let all = Terms {
        finds: Finds::List,
        refuses_duplicates: false,
        secret: SecretOf::InTheAnswer,
        renewal: Renewal::Endless,
        resumes: false,
        updates: false,
        limit: Some(1),
        deadline: seconds(15),
        settle: seconds(60),
    };
    let mut history = History::new(all);
    let of = event(0);
    history.happen(&Happens::Wanted(0));
    let step = |version, act| Step::At { event: event(0), version, act };
    let judge = |history: &History, steps: Vec<Step>| {
        check(&history.wanted, &history.actual, history.now, &Plan { steps, wake: None })
    };
    let create = history.plan().steps;
    assert_eq!(judge(&history, create.clone()), Ok(()));
    assert_eq!(judge(&history, vec![]), Err(Violation::LeftOut(of.clone())));
    assert_eq!(
        judge(&history, [create.clone(), create.clone()].concat()),
        Err(Violation::TwoSteps(of.clone()))
    );
    let Step::At { act, .. } = &create[0] else { panic!("a create") };
    assert_eq!(judge(&history, vec![step(7, act.clone())]), Err(Violation::OtherVersion(of.clone())));
    assert_eq!(judge(&history, vec![Step::Wipe(Outcome::Confirmed)]), Err(Violation::WipedEarly));

    // Lost: it may be there.
    history.run(&of, act, 0);
    let nonce = *history.actual.subscriptions[&of].registrations.keys().next().unwrap();
    history.wanted.terms.limit = None;
    assert_eq!(judge(&history, vec![step(1, act.clone())]), Err(Violation::Twice(of.clone())));
    assert_eq!(judge(&history, vec![step(1, Act::Drop(nonce))]), Err(Violation::GivenUp(of.clone())));
    assert_eq!(judge(&history, vec![step(1, Act::Orphan(nonce))]), Err(Violation::GivenUp(of.clone())));
    assert_eq!(judge(&history, vec![step(1, Act::Again(nonce))]), Err(Violation::LookedEarly));
    assert_eq!(judge(&history, vec![step(1, Act::Adopt(nonce))]), Err(Violation::AdoptedForeign(of.clone())));
    assert_eq!(judge(&history, vec![step(1, Act::Adopt(Nonce(1)))]), Err(Violation::NoSuch(of.clone())));
    history.happen(&Happens::Passes(80));
    history.see(&[]);
    history.wanted.terms.limit = Some(1);
    assert_eq!(judge(&history, vec![step(2, act.clone())]), Err(Violation::OverLimit));
    history.wanted.terms.limit = None;
    assert_eq!(judge(&history, vec![step(2, act.clone())]), Ok(()));
    history.wanted.allowance.calls = 0;
    assert_eq!(judge(&history, vec![step(2, act.clone())]), Err(Violation::TooManyCalls));
    history.wanted.allowance.calls = 9;
    history.happen(&Happens::Unusable(true));
    assert_eq!(judge(&history, vec![step(2, act.clone())]), Err(Violation::CallsUnusable));
    history.happen(&Happens::Unusable(false));

    // Stands.
    history.run(&of, act, 9);
    let by = history.actual.subscriptions[&of].standing().next().unwrap().0;
    let version = history.actual.subscriptions[&of].version;
    let speaks = history.now;
    assert_eq!(
        judge(&history, vec![step(version, Act::Delete(by))]),
        Err(Violation::DeletedWanted(of.clone()))
    );
    let whole = Act::Whole { by, speaks, gap: None };
    assert_eq!(judge(&history, vec![step(version, whole)]), Err(Violation::NotCaughtUp(of.clone())));
    assert_eq!(judge(&history, vec![step(version, Act::Forget)]), Err(Violation::ForgottenEarly(of.clone())));
    history.happen(&Happens::Unwanted(0));
    assert_eq!(
        judge(&history, vec![step(version, Act::Delete(by))]),
        Err(Violation::DeletedEarly(of.clone()))
    );
    assert_eq!(judge(&history, vec![step(version, act.clone())]), Err(Violation::MadeUnwanted(of.clone())));
    assert_eq!(judge(&history, vec![]), Err(Violation::Stays(of.clone())));
    let awake = Plan { steps: vec![], wake: Some(history.now) };
    let judged = check(&history.wanted, &history.actual, history.now, &awake);
    assert_eq!(judged, Err(Violation::WakesInThePast));
    history.happen(&Happens::Leaves);
    assert_eq!(judge(&history, vec![step(version, Act::Delete(by))]), Ok(()));
    history.happen(&Happens::Passes(72 * 3_600));
    let wiped = Step::Wipe(Outcome::Impossible(Impossible::Unreachable));
    assert_eq!(judge(&history, vec![wiped]), Ok(()));

    // Where nothing tells, one create in ten minutes.
    let blind = Terms { finds: Finds::Nothing, ..history.wanted.terms.clone() };
    let mut history = History::new(blind);
    history.happen(&Happens::Wanted(0));
    history.run(&of, act, 0);
    history.happen(&Happens::Passes(80));
    assert_eq!(judge(&history, vec![step(1, act.clone())]), Err(Violation::BlindTooSoon(of)));
}
