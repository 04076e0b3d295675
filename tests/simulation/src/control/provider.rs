//! A provider: what it keeps, and what becomes of a call that reaches it. It shares nothing with the planner.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tributary_core::control::{
    actual::{ProviderEvent, Reason, RegistrationId, Seen},
    intent::Nonce,
    record::{Answer, Entry, Sight},
    terms::{Finds, Renewal, SecretOf, Terms},
};
use tributary_schemas::time::Timestamp;

use super::world::{HOUR, MINUTE, SECOND};
use crate::chance::Chance;

/// A registration at the provider.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) event: ProviderEvent,
    pub(super) nonce: Nonce,
    pub(super) base: Arc<str>,
    pub(super) asks: BTreeSet<ProviderEvent>,
    pub(super) made_at: i64,
    /// From then on it tells what changes.
    pub(super) speaks_at: i64,
    pub(super) ends_at: Option<i64>,
    pub(super) paused: bool,
    /// When it was deleted.
    pub(super) gone_at: Option<i64>,
}

impl Kept {
    pub(super) fn is_there(&self, now: i64) -> bool {
        self.gone_at.is_none() && self.ends_at.is_none_or(|ends| now < ends)
    }
}

/// What a call asks.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Make { event: ProviderEvent, nonce: Nonce, base: Arc<str>, asks: BTreeSet<ProviderEvent> },
    Renew(RegistrationId),
    Resume(RegistrationId),
    Update { id: RegistrationId, base: Arc<str>, asks: BTreeSet<ProviderEvent> },
    Delete(RegistrationId),
}

pub(super) struct Provider {
    pub(super) terms: Terms,
    pub(super) kept: BTreeMap<RegistrationId, Kept>,
    numbered: u64,
    /// Until when nothing is answered well.
    pub(super) away_until: i64,
    /// Until when nothing may be made.
    pub(super) forbids_until: i64,
    /// Whether the account's credentials are there.
    pub(super) credentials: bool,
}

impl Provider {
    pub(super) fn new(chance: &mut Chance) -> Self {
        let finds = [Finds::List, Finds::List, Finds::Look, Finds::Nothing][chance.below(4)];
        let terms = Terms {
            finds,
            refuses_duplicates: chance.permille(400),
            secret: [SecretOf::Ours, SecretOf::Readable, SecretOf::InTheAnswer][chance.below(3)],
            renewal: [Renewal::Endless, Renewal::Call, Renewal::Again][chance.below(3)],
            resumes: chance.permille(500),
            updates: chance.permille(400),
            limit: None,
            deadline: Duration::from_secs(15),
            settle: Duration::from_secs(60),
        };
        Self { terms, kept: BTreeMap::new(), numbered: 0, away_until: 0, forbids_until: 0, credentials: true }
    }

    fn life(&self) -> Option<i64> {
        match self.terms.renewal {
            Renewal::Endless => None,
            Renewal::Call | Renewal::Again => Some(6 * HOUR),
        }
    }

    /// What a request does when it lands, and what it is answered.
    pub(super) fn land(&mut self, ask: &Ask, now: i64, chance: &mut Chance) -> Answer {
        if !self.credentials {
            return Answer::Refused { reason: Reason::CredentialsRefused, wait: None };
        }
        if now < self.away_until {
            // It may have done it, and then fallen over.
            if chance.permille(300) {
                self.done(ask, now, chance);
                return Answer::Lost;
            }
            return match ask {
                Ask::Make { .. } => Answer::Lost,
                _ => Answer::Refused { reason: Reason::ProviderError, wait: None },
            };
        }
        self.done(ask, now, chance)
    }

    fn done(&mut self, ask: &Ask, now: i64, chance: &mut Chance) -> Answer {
        let life = self.life();
        let told = life.map(|life| Duration::from_micros(life as u64));
        match ask {
            Ask::Make { event, nonce, base, asks } => {
                if now < self.forbids_until {
                    return Answer::Refused { reason: Reason::MissingScope, wait: None };
                }
                if self.terms.refuses_duplicates {
                    let same = |it: &Kept| it.is_there(now) && it.nonce == *nonce && it.base == *base;
                    if let Some((id, kept)) = self.kept.iter().find(|(_, it)| same(it)) {
                        let left = kept.ends_at.map(|ends| Duration::from_micros((ends - now) as u64));
                        return Answer::Duplicate { id: id.clone(), life: left };
                    }
                }
                self.numbered += 1;
                let id = RegistrationId(format!("{}", self.numbered).into());
                let kept = Kept {
                    event: event.clone(),
                    nonce: *nonce,
                    base: base.clone(),
                    asks: asks.clone(),
                    made_at: now,
                    speaks_at: now + chance.within(0, 40 * SECOND),
                    ends_at: life.map(|life| now + life),
                    paused: false,
                    gone_at: None,
                };
                self.kept.insert(id.clone(), kept);
                Answer::Made { id, life: told }
            }
            Ask::Renew(id) => self.at(id, now, |it| it.ends_at = life.map(|life| now + life), told),
            Ask::Resume(id) => {
                let speaks_at = now + chance.within(0, 40 * SECOND);
                let change = |it: &mut Kept| {
                    // What changes nothing silences nothing: a repeat may land late.
                    if it.paused {
                        it.speaks_at = speaks_at;
                    }
                    it.paused = false;
                };
                self.at(id, now, change, None)
            }
            Ask::Update { id, base, asks } => {
                let speaks_at = now + chance.within(0, 40 * SECOND);
                let change = |it: &mut Kept| {
                    if it.base != *base || it.asks != *asks {
                        it.speaks_at = speaks_at;
                    }
                    it.base = base.clone();
                    it.asks = asks.clone();
                };
                self.at(id, now, change, None)
            }
            Ask::Delete(id) => self.at(id, now, |it| it.gone_at = Some(now), None),
        }
    }

    fn at(
        &mut self,
        id: &RegistrationId,
        now: i64,
        change: impl FnOnce(&mut Kept),
        life: Option<Duration>,
    ) -> Answer {
        match self.kept.get_mut(id).filter(|it| it.is_there(now)) {
            Some(it) => {
                change(it);
                Answer::Done { life }
            }
            None => Answer::Gone,
        }
    }

    /// What a list, or looks at these ids, show: a moment late.
    pub(super) fn show(
        &self,
        ids: &[RegistrationId],
        asked_at: Timestamp,
        now: i64,
        chance: &mut Chance,
    ) -> Option<Sight> {
        if now < self.away_until || !self.credentials {
            return None;
        }
        let whole = self.terms.finds == Finds::List;
        let late = if chance.permille(500) { 0 } else { chance.within(0, 45 * SECOND) };
        let then = now - late;
        let listed = |it: &Kept| {
            it.made_at <= then
                && it.gone_at.is_none_or(|gone| gone > then)
                && it.ends_at.is_none_or(|ends| ends > then)
        };
        let entry = |(id, it): (&RegistrationId, &Kept)| Entry {
            event: it.event.clone(),
            nonce: Some(it.nonce),
            base: it.base.clone(),
            seen: Seen {
                id: id.clone(),
                paused: it.paused,
                life: it.ends_at.map(|ends| {
                    let left = Duration::from_micros((ends - now).max(0) as u64);
                    (asked_at, asked_at.plus(left))
                }),
            },
        };
        let shown = |id: &RegistrationId| whole || ids.contains(id);
        let entries: Vec<Entry> =
            self.kept.iter().filter(|(id, it)| shown(id) && listed(it)).map(entry).collect();
        let gone = ids.iter().filter(|id| !self.kept.get(id).is_some_and(listed)).cloned().collect();
        Some(Sight { asked_at, whole, entries, gone })
    }

    /// What a provider does of itself: it pauses one, or loses it.
    pub(super) fn misbehave(&mut self, now: i64, chance: &mut Chance) {
        let there: Vec<RegistrationId> =
            self.kept.iter().filter(|(_, it)| it.is_there(now)).map(|(id, _)| id.clone()).collect();
        if there.is_empty() {
            return;
        }
        let which = &there[chance.below(there.len())];
        if let Some(it) = self.kept.get_mut(which) {
            match chance.below(5) {
                // What nobody can see is not held against anyone.
                0..=2 if self.terms.finds != Finds::Nothing => it.paused = true,
                3 if self.terms.finds != Finds::Nothing => it.gone_at = Some(now),
                _ => self.away_until = self.away_until.max(now + chance.within(MINUTE / 6, 10 * MINUTE)),
            }
        }
    }
}
