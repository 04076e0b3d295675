//! `plan(wanted, actual, now) -> Plan`: what to do at an account's provider, as data that leaves the executor nothing to
//! choose but a nonce.
//!
//! A plan has at most one step for each subscription; whoever has done it plans again. To *replace* is to create while
//! another stands: once the new one stands the old one is surplus and goes.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tributary_schemas::time::Timestamp;

use super::{
    actual::{Actual, ProviderEvent, Reason, Registration, Stage, Standing, Subscription},
    guard::{Guard, holds},
    intent::Nonce,
    terms::{Finds, Renewal, Terms},
    wanted::{Need, Standing as AccountStanding, Wanted},
};

mod native;

/// What to do, and when to plan again at the latest though nothing happens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do. The order is that of urgency.
    pub steps: Vec<Step>,
    /// When something is due that is not due yet.
    pub wake: Option<Timestamp>,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// At one subscription.
    At {
        /// Which.
        event: ProviderEvent,
        /// The version that it was planned on, 0 if there is none: on another the step moves nothing.
        version: u64,
        /// What.
        act: Act,
    },
    /// Asks the provider what there is, for the whole account.
    Verify,
    /// The last step of an account that leaves: credentials and key are wiped.
    Wipe(Outcome),
}

/// What is done at a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Writes that it is wanted (again).
    Want,
    /// Writes that nobody wants it, from now.
    Linger,
    /// Makes a registration.
    Create {
        /// The beginning of its URL.
        base: Arc<str>,
        /// What it asks for.
        asks: BTreeSet<ProviderEvent>,
    },
    /// Makes the same again, with what was chosen: the provider refuses a second one and names the first.
    Again(Nonce),
    /// Takes over what a look found.
    Adopt(Nonce),
    /// Makes one live longer.
    Renew(Nonce),
    /// Makes one speak that was paused.
    Resume(Nonce),
    /// Changes what one asks for and where it calls.
    Update {
        /// Which.
        registration: Nonce,
        /// The beginning of its URL.
        base: Arc<str>,
        /// What it asks for.
        asks: BTreeSet<ProviderEvent>,
    },
    /// Deletes one.
    Delete(Nonce),
    /// Writes that nobody can tell whether it is there, and that another has its place.
    Orphan(Nonce),
    /// Writes that it was never made, or is over.
    Drop(Nonce),
    /// Writes that webhooks tell nothing.
    Break {
        /// Since when.
        since: Timestamp,
    },
    /// Writes that polling takes over.
    FallBack,
    /// Writes why none can be made, where we know it before the provider says it.
    Refuse(Reason),
    /// Writes that webhooks tell again, and what a scan must see.
    Return {
        /// A scan begun then or later.
        from: Timestamp,
        /// The registration that speaks.
        by: Nonce,
        /// Since when.
        speaks: Timestamp,
    },
    /// Writes that webhooks tell everything.
    Whole {
        /// The registration that speaks.
        by: Nonce,
        /// Since when.
        speaks: Timestamp,
        /// Since when changes can't be told, where nothing polls.
        gap: Option<(Timestamp, Timestamp)>,
    },
    /// Removes the row: nothing is left.
    Forget,
}

impl Act {
    /// Whether a provider is called.
    pub const fn calls(&self) -> bool {
        match self {
            Self::Create { .. }
            | Self::Again(_)
            | Self::Renew(_)
            | Self::Resume(_)
            | Self::Update { .. }
            | Self::Delete(_) => true,
            Self::Want
            | Self::Linger
            | Self::Adopt(_)
            | Self::Orphan(_)
            | Self::Drop(_)
            | Self::Break { .. }
            | Self::FallBack
            | Self::Refuse(_)
            | Self::Return { .. }
            | Self::Whole { .. }
            | Self::Forget => false,
        }
    }

    /// The lower, the sooner: what would be lost by waiting goes first, what only tidies up last.
    const fn urgency(&self) -> u8 {
        match self {
            Self::Renew(_) => 0,
            Self::Resume(_) | Self::Update { .. } => 1,
            Self::Again(_) => 2,
            Self::Create { .. } => 3,
            Self::Delete(_) => 4,
            _ => 5,
        }
    }
}

/// How the clean-up at a provider ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The provider confirmed that nothing is left.
    Confirmed,
    /// Something may be left.
    Impossible(Impossible),
}

/// Why a clean-up was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Impossible {
    /// The provider refuses our credentials.
    Refused(Reason),
    /// A call without an answer can't be looked for at this provider.
    Unfindable,
    /// It did not answer for 72 hours.
    Unreachable,
}

/// How long an unwanted subscription is kept: to delete a webhook and make it again is not 20 000 calls.
pub const LINGER: Duration = Duration::from_secs(600);
/// Between two creates where nothing tells whether the first one landed.
pub const BLIND_PAUSE: Duration = Duration::from_secs(600);
/// Between two looks at what stands.
pub const LOOK_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// How long an account that leaves waits for its provider.
pub const LEAVES_WITHIN: Duration = Duration::from_secs(72 * 3_600);

/// What to do at an account's provider.
pub fn plan(wanted: &Wanted, actual: &Actual, now: Timestamp) -> Plan {
    if let AccountStanding::Leaving { since } = wanted.standing
        && let Some(outcome) = left(actual, since, now)
    {
        return Plan { steps: vec![Step::Wipe(outcome)], wake: None };
    }
    let mut planner = Planner { wanted, now, taken: taken(actual), wake: None };
    let events: BTreeSet<&ProviderEvent> = actual.subscriptions.keys().chain(wanted.needs.keys()).collect();
    let mut acts = Vec::new();
    let mut verify = false;
    for event in events {
        let subscription = actual.subscriptions.get(event);
        let need = if planner.leaving() { None } else { wanted.needs.get(event) };
        verify |= subscription.is_some_and(|it| planner.must_look(it));
        let act = match (need, subscription) {
            (None, None) => None,
            (Some(need), None) => Some(planner.begin(need)),
            (need, Some(subscription)) => planner.next(need, subscription, actual.landed.get(event).copied()),
        };
        if let Some(act) = act {
            acts.push((event, subscription.map_or(0, |it| it.version), act));
        }
    }
    acts.sort_by_key(|(.., act)| act.urgency());
    let mut left = wanted.allowance.calls;
    let mut steps = Vec::new();
    if let Some(trouble) = &actual.look_trouble {
        verify = verify && planner.is_due(trouble.until(wanted.changed_at));
    }
    if verify && planner.may_call() {
        if left > 0 {
            left -= 1;
            steps.push(Step::Verify);
        } else {
            planner.at(wanted.allowance.more_at);
        }
    }
    for (event, version, act) in acts {
        if act.calls() {
            if left == 0 {
                planner.at(wanted.allowance.more_at);
                continue;
            }
            left -= 1;
        }
        steps.push(Step::At { event: event.clone(), version, act });
    }
    Plan { steps, wake: planner.wake }
}

/// Whether an account that leaves has left.
fn left(actual: &Actual, since: Timestamp, now: Timestamp) -> Option<Outcome> {
    if !holds(Guard::CredentialsLast) {
        return Some(Outcome::Confirmed);
    }
    let stages =
        || actual.subscriptions.values().flat_map(|it| it.registrations.values()).map(|it| &it.stage);
    let mut refused = None;
    let mut open = false;
    for stage in stages() {
        match stage {
            Stage::Orphan { .. } => {}
            Stage::Ending { trouble: Some(trouble), .. }
                if matches!(trouble.reason, Reason::CredentialsRefused | Reason::MissingScope) =>
            {
                refused = Some(trouble.reason);
            }
            Stage::Making { .. } | Stage::Standing(_) | Stage::Ending { .. } => open = true,
        }
    }
    let orphans = stages().any(|it| matches!(it, Stage::Orphan { .. }));
    match (open, refused) {
        (true, _) if now >= since.plus(LEAVES_WITHIN) => Some(Outcome::Impossible(Impossible::Unreachable)),
        (true, _) => None,
        (false, Some(reason)) => Some(Outcome::Impossible(Impossible::Refused(reason))),
        (false, None) if orphans => Some(Outcome::Impossible(Impossible::Unfindable)),
        (false, None) => Some(Outcome::Confirmed),
    }
}

/// How many registrations count against the provider's limit.
fn taken(actual: &Actual) -> u32 {
    let stages = actual.subscriptions.values().flat_map(|it| it.registrations.values()).map(|it| &it.stage);
    let taken = stages.filter(|it| !matches!(it, Stage::Orphan { .. })).count();
    u32::try_from(taken).unwrap_or(u32::MAX)
}

struct Planner<'a> {
    wanted: &'a Wanted,
    now: Timestamp,
    taken: u32,
    wake: Option<Timestamp>,
}

impl Planner<'_> {
    fn terms(&self) -> &Terms {
        &self.wanted.terms
    }

    fn leaving(&self) -> bool {
        matches!(self.wanted.standing, AccountStanding::Leaving { .. })
    }

    fn may_call(&self) -> bool {
        self.wanted.standing != AccountStanding::Unusable
    }

    /// Notes when to plan again.
    fn at(&mut self, moment: Timestamp) {
        let moment = moment.max(self.now.plus(Duration::from_micros(1)));
        self.wake = Some(self.wake.map_or(moment, |it| it.min(moment)));
    }

    /// Whether a moment has come; else it is noted.
    fn is_due(&mut self, moment: Timestamp) -> bool {
        let due = moment <= self.now;
        if !due {
            self.at(moment);
        }
        due
    }

    /// Whether the provider must be asked what there is.
    fn must_look(&mut self, it: &Subscription) -> bool {
        if self.terms().finds == Finds::Nothing {
            return false;
        }
        let mut due = self.is_due(it.looked_at.plus(LOOK_EVERY));
        if self.terms().finds == Finds::List {
            for registration in it.registrations.values() {
                if let Stage::Making { intent, seen: None } = &registration.stage
                    && let Some(moment) = intent.due(self.terms())
                    && self.is_due(moment)
                {
                    due = true;
                }
            }
        }
        due
    }

    fn begin(&mut self, need: &Need) -> Act {
        if self.may_call() && self.has_room() { self.create(need) } else { Act::Want }
    }

    fn has_room(&self) -> bool {
        self.terms().limit.is_none_or(|limit| self.taken < limit)
    }

    fn create(&mut self, need: &Need) -> Act {
        self.taken += 1;
        Act::Create { base: self.wanted.base.clone(), asks: need.asks.clone() }
    }

    fn next(&mut self, need: Option<&Need>, it: &Subscription, landed: Option<Timestamp>) -> Option<Act> {
        match (need, it.unwanted_since) {
            (Some(_), Some(_)) => return Some(Act::Want),
            (None, None) => return Some(Act::Linger),
            (Some(_), None) | (None, Some(_)) => {}
        }
        if let Some(act) = self.found(it) {
            return Some(act);
        }
        let Some(need) = need else { return self.end(it) };
        let chosen = it
            .standing()
            .filter(|(nonce, of, stands)| self.is_good(need, *nonce, of, stands))
            .max_by_key(latest);
        self.keep(need, it, chosen.map(|(nonce, ..)| nonce))
            .or_else(|| native::next(self, need, it, landed))
            .or_else(|| self.doubts(it, chosen.is_some()))
            .or_else(|| self.make(need, it, chosen.is_some()))
            .or_else(|| self.tidy(it, chosen.map(|(nonce, ..)| nonce)))
    }

    /// What a look found is taken over if what it sends can be verified; else it goes, and another is made.
    fn found(&self, it: &Subscription) -> Option<Act> {
        it.registrations.iter().find_map(|(nonce, of)| match &of.stage {
            Stage::Making { seen: Some(_), .. } => {
                let ours = self.terms().knows_secret_of_found() || !holds(Guard::AdoptOnlyOurs);
                match (ours, self.may_call()) {
                    (true, _) => Some(Act::Adopt(*nonce)),
                    (false, true) => Some(Act::Delete(*nonce)),
                    (false, false) => None,
                }
            }
            _ => None,
        })
    }

    /// Renews, resumes and updates what stands.
    fn keep(&mut self, need: &Need, it: &Subscription, chosen: Option<Nonce>) -> Option<Act> {
        if !self.may_call() {
            return None;
        }
        let kept = match chosen {
            Some(chosen) => it.standing().find(|(nonce, ..)| *nonce == chosen),
            None => it.standing().filter(|(.., stands)| stands.is_alive(self.now)).max_by_key(latest),
        };
        let (nonce, of, stands) = kept?;
        let act = if stands.paused {
            self.terms().resumes.then_some(Act::Resume(nonce))
        } else if !self.fits(need, of) {
            self.terms().updates.then(|| Act::Update {
                registration: nonce,
                base: self.wanted.base.clone(),
                asks: need.asks.clone(),
            })
        } else if let Some(due) = renewal_of(nonce, stands)
            && self.terms().renewal == Renewal::Call
            && self.is_due(due)
        {
            Some(Act::Renew(nonce))
        } else {
            None
        };
        act.filter(|_| self.is_free(stands))
    }

    /// Whether nothing is on its way for what stands, and nothing in its way.
    fn is_free(&mut self, stands: &Standing) -> bool {
        let changed_at = self.wanted.changed_at;
        let deadline = self.terms().deadline;
        let over = stands.intent.as_ref().is_none_or(|it| self.is_due(it.written_at.plus(deadline)));
        over && stands.trouble.as_ref().is_none_or(|it| self.is_due(it.until(changed_at)))
    }

    fn fits(&self, need: &Need, of: &Registration) -> bool {
        of.base == self.wanted.base && of.asks == need.asks
    }

    /// Whether this one will do: it speaks of what is wanted, to where we are, and is not about to be followed by another.
    fn is_good(&self, need: &Need, nonce: Nonce, of: &Registration, stands: &Standing) -> bool {
        let fades = self.terms().renewal == Renewal::Again
            && renewal_of(nonce, stands).is_some_and(|due| due <= self.now);
        stands.is_alive(self.now) && !stands.paused && self.fits(need, of) && !fades
    }

    /// What becomes of calls without an answer.
    fn doubts(&mut self, it: &Subscription, has_another: bool) -> Option<Act> {
        let terms = self.terms().clone();
        for (nonce, of) in &it.registrations {
            match &of.stage {
                Stage::Making { intent, seen: None } => {
                    if terms.finds == Finds::List {
                        if intent.due(&terms).is_none() {
                            return Some(Act::Drop(*nonce));
                        }
                    } else if terms.refuses_duplicates {
                        let hourly = || intent.written_at.plus(terms.landed_by()).plus(LOOK_HOURLY);
                        if self.is_due(intent.due(&terms).unwrap_or_else(hourly)) && self.may_call() {
                            return Some(Act::Again(*nonce));
                        }
                    } else if self.is_due(intent.written_at.plus(terms.landed_by())) && has_another {
                        return Some(Act::Orphan(*nonce));
                    }
                }
                Stage::Orphan { until, .. } if self.is_due(*until) => return Some(Act::Drop(*nonce)),
                Stage::Making { .. } | Stage::Standing(_) | Stage::Ending { .. } | Stage::Orphan { .. } => {}
            }
        }
        None
    }

    /// Makes one where none will do and none may be on its way.
    fn make(&mut self, need: &Need, it: &Subscription, has_one: bool) -> Option<Act> {
        if has_one || !self.may_call() {
            return None;
        }
        let terms = self.terms().clone();
        for of in it.registrations.values() {
            if let Stage::Making { intent, .. } = &of.stage {
                let looked_for = match terms.finds {
                    Finds::List => intent.looks > 0,
                    Finds::Look | Finds::Nothing if terms.refuses_duplicates => false,
                    Finds::Look | Finds::Nothing => self.is_due(intent.written_at.plus(terms.landed_by())),
                };
                if !looked_for {
                    return None;
                }
            }
        }
        // One that is paused and can be resumed is mended where it stands.
        let mending = it.standing().any(|(_, of, stands)| {
            stands.is_alive(self.now)
                && ((stands.paused && terms.resumes)
                    || (!stands.paused && !self.fits(need, of) && terms.updates))
                && stands.trouble.is_none()
        });
        if mending {
            return None;
        }
        if let Some(trouble) = &it.trouble
            && !self.is_due(trouble.until(self.wanted.changed_at))
        {
            return None;
        }
        if terms.is_blind()
            && let Some(before) = it.created_at
            && !self.is_due(before.plus(BLIND_PAUSE))
        {
            return None;
        }
        if self.has_room() {
            return Some(self.create(need));
        }
        // No room for the new one beside the old one.
        let old = it.standing().map(|(nonce, ..)| Act::Delete(nonce)).next();
        old.or(Some(Act::Refuse(Reason::Quota)))
    }

    /// Deletes what another has replaced, what has ended, and what is being deleted.
    fn tidy(&mut self, it: &Subscription, chosen: Option<Nonce>) -> Option<Act> {
        let now = self.now;
        for (nonce, of) in &it.registrations {
            let over = match &of.stage {
                Stage::Standing(stands) => {
                    let replaced = chosen.is_some_and(|chosen| chosen != *nonce);
                    (replaced || !stands.is_alive(now)) && self.is_free(stands)
                }
                Stage::Ending { .. } | Stage::Making { .. } | Stage::Orphan { .. } => false,
            };
            if (over || self.is_ending(of)) && self.may_call() {
                return Some(Act::Delete(*nonce));
            }
            if let Stage::Standing(stands) = &of.stage
                && let (Some((_, ends)), Some(renewal)) = (stands.life, renewal_of(*nonce, stands))
            {
                self.is_due(ends);
                self.is_due(renewal);
            }
        }
        None
    }

    /// Whether a deletion is to be tried (again).
    fn is_ending(&mut self, of: &Registration) -> bool {
        let changed_at = self.wanted.changed_at;
        let deadline = self.terms().deadline;
        match &of.stage {
            Stage::Ending { intent, trouble, .. } => {
                intent.as_ref().is_none_or(|it| self.is_due(it.written_at.plus(deadline)))
                    && trouble.as_ref().is_none_or(|it| self.is_due(it.until(changed_at)))
            }
            Stage::Making { .. } | Stage::Standing(_) | Stage::Orphan { .. } => false,
        }
    }

    /// What nobody wants goes, once it has lingered.
    fn end(&mut self, it: &Subscription) -> Option<Act> {
        let lingered = it.unwanted_since.map_or(self.now, |since| since.plus(LINGER));
        if !self.leaving() && !self.is_due(lingered) {
            return None;
        }
        if it.registrations.is_empty() {
            return Some(Act::Forget);
        }
        if let Some(act) = self.doubts(it, true) {
            return Some(act);
        }
        for (nonce, of) in &it.registrations {
            let over = match &of.stage {
                Stage::Standing(stands) => {
                    // What may not be renewed or resumed may yet be deleted: only a call on its way is waited for.
                    let deadline = self.terms().deadline;
                    stands.intent.as_ref().is_none_or(|it| self.is_due(it.written_at.plus(deadline)))
                }
                Stage::Making { .. } | Stage::Ending { .. } | Stage::Orphan { .. } => self.is_ending(of),
            };
            if over && self.may_call() {
                return Some(Act::Delete(*nonce));
            }
        }
        None
    }
}

/// How often a call that nobody answered is made again at a provider that refuses a second one.
const LOOK_HOURLY: Duration = Duration::from_secs(3_600);

/// The one that speaks since the latest moment; of two, the one with the greater nonce.
fn latest(it: &(Nonce, &Registration, &Standing)) -> (Timestamp, Nonce) {
    (it.2.since, it.0)
}

/// When it is renewed: at 2/3 of its life, ±10 % by its nonce, so that what was made together is not renewed together.
pub fn renewal_of(nonce: Nonce, stands: &Standing) -> Option<Timestamp> {
    let (began, ends) = stands.life?;
    let life = ends.since(began);
    let permille = 600 + u32::try_from(nonce.0 % 134).unwrap_or(0);
    Some(began.plus(life.saturating_mul(permille) / 1_000))
}

impl Subscription {
    /// What stands.
    pub fn standing(&self) -> impl Iterator<Item = (Nonce, &Registration, &Standing)> {
        self.registrations.iter().filter_map(|(nonce, of)| match &of.stage {
            Stage::Standing(stands) => Some((*nonce, of, stands)),
            Stage::Making { .. } | Stage::Ending { .. } | Stage::Orphan { .. } => None,
        })
    }
}

impl Standing {
    /// Whether its life has not ended.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.life.is_none_or(|(_, ends)| now < ends)
    }
}
