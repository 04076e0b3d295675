//! What a step, an answer or a look changes in what we know. A result is taken only for the intent that asked for it: what an
//! older step brings back moves nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tributary_schemas::time::Timestamp;

use super::{
    actual::{
        ProviderEvent, Reason, Registration, RegistrationId, Seen, Stage, Standing, Subscription, Trouble,
    },
    fallback::Native,
    intent::{Intent, Nonce},
    plan::Act,
    terms::Terms,
};

/// What a provider answered to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It made one.
    Made {
        /// Its id.
        id: RegistrationId,
        /// How long it lives, by the provider's clock.
        life: Option<Duration>,
    },
    /// There is one already with this URL.
    Duplicate {
        /// Its id.
        id: RegistrationId,
        /// How long it lives, if it says so.
        life: Option<Duration>,
    },
    /// It renewed, resumed, updated or deleted one.
    Done {
        /// How long it lives now, if it says so.
        life: Option<Duration>,
    },
    /// There is none of that id.
    Gone,
    /// It did not do it.
    Refused {
        /// Why.
        reason: Reason,
        /// How long to wait, if it says so.
        wait: Option<Duration>,
    },
    /// Nobody knows: no answer, or one that says nothing (5xx).
    Lost,
}

/// What a look at the provider showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// When it was asked.
    pub asked_at: Timestamp,
    /// Whether it was a list of all: what it lacks is not there.
    pub whole: bool,
    /// What has this account's token in its URL.
    pub entries: Vec<Entry>,
    /// What was asked for by its id and is not there.
    pub gone: BTreeSet<RegistrationId>,
}

/// One that a look showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it tells.
    pub event: ProviderEvent,
    /// The nonce in its URL.
    pub nonce: Option<Nonce>,
    /// The beginning of its URL.
    pub base: Arc<str>,
    /// How it stands.
    pub seen: Seen,
}

/// How long one that can't be looked for is remembered.
const ORPHANED_FOR: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What is written before a step is done: the intent of a call, or all there is to the step. None: the row goes.
/// `registration` names a new one, `call` the call.
pub fn begin(
    before: Option<&Subscription>,
    act: &Act,
    (registration, call): (Nonce, Nonce),
    now: Timestamp,
) -> Option<Subscription> {
    let mut it = before.cloned().unwrap_or_else(|| Subscription::new(now));
    it.version += 1;
    let intent = Intent::new(call, now);
    match act {
        Act::Want => it.unwanted_since = None,
        Act::Linger => it.unwanted_since = Some(now),
        Act::Create { base, asks } => {
            it.created_at = Some(now);
            it.unwanted_since = None;
            let stage = Stage::Making { intent, seen: None };
            let (base, asks) = (base.clone(), asks.clone());
            it.registrations.insert(registration, Registration { base, asks, doubted: false, stage });
        }
        Act::Again(nonce) => {
            if let Some(of) = it.registrations.get_mut(nonce)
                && let Stage::Making { intent: before, .. } = &mut of.stage
            {
                *before = Intent { looks: before.looks.saturating_add(1), ..intent };
                of.doubted = true;
                it.created_at = Some(now);
            }
        }
        Act::Adopt(nonce) => {
            if let Some(stage) = it.stage_mut(*nonce)
                && let Stage::Making { seen: Some(seen), .. } = stage
            {
                let Seen { id, paused, life } = seen.clone();
                *stage =
                    Stage::Standing(Standing { id, since: now, life, paused, intent: None, trouble: None });
                it.sure_at = Some(now);
                it.trouble = None;
            }
        }
        Act::Renew(nonce) | Act::Resume(nonce) | Act::Update { registration: nonce, .. } => {
            if let Some(Stage::Standing(stands)) = it.stage_mut(*nonce) {
                stands.intent = Some(intent);
            }
        }
        Act::Delete(nonce) => {
            if let Some(stage) = it.stage_mut(*nonce) {
                end(stage, intent);
            }
        }
        Act::Orphan(nonce) => {
            if let Some(stage) = it.stage_mut(*nonce)
                && let Stage::Making { intent, .. } = stage
            {
                *stage = Stage::Orphan { intent: intent.clone(), until: now.plus(ORPHANED_FOR) };
            }
        }
        Act::Drop(nonce) => {
            it.registrations.remove(nonce);
        }
        Act::Break { since } => it.native = Native::Broken { since: *since },
        Act::FallBack => it.native = Native::Polling { since: it.native.unsure_since().unwrap_or(now) },
        Act::Refuse(reason) => it.trouble = Some(Trouble::after(it.trouble.as_ref(), *reason, None, now)),
        Act::Return { from, by, speaks } => {
            let since = it.native.unsure_since().or(it.sure_at).unwrap_or(now);
            it.native = Native::Returning { since, from: *from, by: *by, speaks: *speaks };
        }
        Act::Whole { by, speaks, gap } => {
            it.native = Native::Whole { by: *by, since: *speaks, gap: *gap };
        }
        Act::Forget => return None,
    }
    Some(it)
}

fn end(stage: &mut Stage, intent: Intent) {
    let (id, before) = match stage {
        Stage::Standing(Standing { id, .. }) | Stage::Making { seen: Some(Seen { id, .. }), .. } => {
            (id.clone(), None)
        }
        Stage::Ending { id, trouble, .. } => (id.clone(), trouble.take()),
        Stage::Making { seen: None, .. } | Stage::Orphan { .. } => return,
    };
    *stage = Stage::Ending { id, intent: Some(intent), trouble: before };
}

/// What an answer changes. None: nothing, its intent is not open any more.
pub fn settle(
    before: &Subscription,
    call: Nonce,
    act: &Act,
    answer: &Answer,
    now: Timestamp,
    terms: &Terms,
) -> Option<Subscription> {
    let mut it = before.clone();
    let (nonce, of) =
        it.registrations.iter_mut().find(|(_, of)| of.stage.intent().is_some_and(|it| it.nonce == call))?;
    let nonce = *nonce;
    let life = |span: Option<Duration>| span.map(|span| (now, now.plus(span)));
    let mut gone = false;
    match (&mut of.stage, answer) {
        (_, Answer::Lost) => return None,
        (Stage::Making { .. }, Answer::Made { id, life: span }) => {
            of.stage = stand(id, life(*span), now);
            it.sure_at = Some(now);
            it.trouble = None;
        }
        (Stage::Making { .. }, Answer::Duplicate { id, life: span }) => {
            if terms.knows_secret_of_found() {
                of.stage = stand(id, life(*span), now);
                it.sure_at = Some(now);
                it.trouble = None;
            } else {
                of.stage = Stage::Ending { id: id.clone(), intent: None, trouble: None };
            }
        }
        (Stage::Making { intent, .. }, Answer::Refused { reason, wait }) => {
            // A call before this one may have landed all the same.
            gone = intent.looks == 0;
            it.trouble = Some(Trouble::after(it.trouble.as_ref(), *reason, *wait, now));
        }
        (Stage::Making { .. }, Answer::Done { .. } | Answer::Gone) => return None,
        (Stage::Orphan { .. }, Answer::Made { id, .. } | Answer::Duplicate { id, .. }) => {
            of.stage = Stage::Ending { id: id.clone(), intent: None, trouble: None };
        }
        (Stage::Orphan { .. }, Answer::Refused { .. }) => gone = true,
        (Stage::Orphan { .. }, Answer::Done { .. } | Answer::Gone) => return None,
        (Stage::Standing(stands), Answer::Done { life: span }) => {
            let late = stands.life.is_some_and(|(_, ends)| ends <= now);
            if span.is_some() {
                stands.life = life(*span);
            }
            stands.intent = None;
            stands.trouble = None;
            match act {
                Act::Update { base, asks, .. } => {
                    of.base = base.clone();
                    of.asks = asks.clone();
                    stands.since = now;
                }
                Act::Resume(_) => {
                    stands.paused = false;
                    stands.since = now;
                }
                _ if late => stands.since = now,
                _ => {}
            }
        }
        (Stage::Standing(stands), Answer::Refused { reason, wait }) => {
            stands.intent = None;
            stands.trouble = Some(Trouble::after(stands.trouble.as_ref(), *reason, *wait, now));
        }
        (Stage::Standing(_), Answer::Gone) => gone = true,
        (Stage::Standing(_), Answer::Made { .. } | Answer::Duplicate { .. }) => return None,
        (Stage::Ending { .. }, Answer::Done { .. } | Answer::Gone) => gone = true,
        (Stage::Ending { intent, trouble, .. }, Answer::Refused { reason, wait }) => {
            *intent = None;
            *trouble = Some(Trouble::after(trouble.as_ref(), *reason, *wait, now));
        }
        (Stage::Ending { .. }, Answer::Made { .. } | Answer::Duplicate { .. }) => return None,
    }
    if gone {
        it.remove(nonce, Intent::new(call, now), now);
    }
    it.version += 1;
    Some(it)
}

fn stand(id: &RegistrationId, life: Option<(Timestamp, Timestamp)>, now: Timestamp) -> Stage {
    Stage::Standing(Standing { id: id.clone(), since: now, life, paused: false, intent: None, trouble: None })
}

/// What a look changes in a subscription, or the one that it shows where we know of none. None: nothing.
pub fn look(
    before: Option<&Subscription>,
    event: &ProviderEvent,
    sight: &Sight,
    now: Timestamp,
    terms: &Terms,
) -> Option<Subscription> {
    let entries: Vec<&Entry> = sight.entries.iter().filter(|it| it.event == *event).collect();
    let mut it = match before {
        Some(before) => before.clone(),
        None if entries.is_empty() => return None,
        None => Subscription { unwanted_since: Some(now), ..Subscription::new(now) },
    };
    let by_id: BTreeMap<&RegistrationId, &&Entry> = entries.iter().map(|it| (&it.seen.id, it)).collect();
    let mut known = BTreeSet::new();
    let mut lost = Vec::new();
    let mut sure = None;
    for (nonce, of) in &mut it.registrations {
        match &mut of.stage {
            Stage::Making { intent, seen } => {
                let found = entries.iter().find(|it| it.nonce == Some(*nonce));
                if let Some(found) = found {
                    known.insert(found.seen.id.clone());
                    *seen = Some(found.seen.clone());
                } else if sight.whole && intent.due(terms).is_some_and(|due| due <= sight.asked_at) {
                    intent.looks += 1;
                }
            }
            Stage::Standing(stands) => {
                known.insert(stands.id.clone());
                let settled = stands.since.plus(terms.settle) <= sight.asked_at;
                if let Some(found) = by_id.get(&stands.id) {
                    if settled {
                        // It was resumed, though nobody heard so: what it did not tell is a gap.
                        if stands.paused && !found.seen.paused {
                            stands.since = now;
                        }
                        stands.paused = found.seen.paused;
                        of.base = found.base.clone();
                    }
                    if !stands.paused {
                        sure = Some(sight.asked_at);
                    }
                } else if settled && (sight.whole || sight.gone.contains(&stands.id)) {
                    lost.push(*nonce);
                }
            }
            Stage::Ending { id, .. } => {
                known.insert(id.clone());
            }
            Stage::Orphan { .. } => {}
        }
    }
    for nonce in lost {
        it.remove(nonce, Intent::new(nonce, now), now);
    }
    // One of ours that nobody knows of goes.
    for (id, entry) in by_id {
        if !known.contains(id) {
            let stage = Stage::Ending { id: id.clone(), intent: None, trouble: None };
            let stray =
                Registration { base: entry.base.clone(), asks: BTreeSet::new(), doubted: false, stage };
            it.registrations.insert(nonce_of(id), stray);
        }
    }
    it.sure_at = it.sure_at.max(sure);
    it.looked_at = it.looked_at.max(sight.asked_at);
    it.version += 1;
    Some(it)
}

/// A name for what we did not name.
fn nonce_of(id: &RegistrationId) -> Nonce {
    let digest: [u8; 32] = Sha256::digest(id.0.as_bytes()).into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    Nonce(u64::from_be_bytes(first))
}

impl Subscription {
    /// It is not there any more; where another call for it may land yet, its URL is remembered.
    fn remove(&mut self, nonce: Nonce, intent: Intent, now: Timestamp) {
        match self.registrations.get_mut(&nonce) {
            Some(of) if of.doubted => of.stage = Stage::Orphan { intent, until: now.plus(ORPHANED_FOR) },
            _ => drop(self.registrations.remove(&nonce)),
        }
    }

    fn stage_mut(&mut self, nonce: Nonce) -> Option<&mut Stage> {
        self.registrations.get_mut(&nonce).map(|it| &mut it.stage)
    }
}

impl Stage {
    /// The call that is open.
    pub const fn intent(&self) -> Option<&Intent> {
        match self {
            Self::Making { intent, .. } | Self::Orphan { intent, .. } => Some(intent),
            Self::Standing(stands) => stands.intent.as_ref(),
            Self::Ending { intent, .. } => intent.as_ref(),
        }
    }
}
