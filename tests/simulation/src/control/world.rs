//! The world: time, accounts, the store, and what people, providers and poll do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tributary_core::control::{
    actual::{Actual, ProviderEvent, RegistrationId, Stage, Subscription},
    errand::Expect,
    intent::Nonce,
    plan::Outcome,
    wanted::{Allowance, Need, Standing, Wanted},
};
use tributary_schemas::time::Timestamp;

use super::{owner::Owner, provider::Provider};
use crate::chance::Chance;

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
/// Faults and changes end here; what is left to do must come to an end by itself.
pub(super) const CALM: i64 = 5 * HOUR;
/// The world ends here.
pub(super) const END: i64 = CALM + 20 * HOUR;
/// Where the world begins, by everybody's clock: a moment after which no span reaches back before 1970.
const BEGINNING: i64 = 1_000_000 * HOUR;

pub(super) type Job = Box<dyn FnOnce(&mut World)>;

/// One account at its provider, and what the store holds of it.
pub(super) struct Account {
    pub(super) provider: Provider,
    pub(super) needs: BTreeMap<ProviderEvent, Need>,
    /// Since when each has been wanted without a break.
    pub(super) wanted_since: BTreeMap<ProviderEvent, i64>,
    pub(super) base: Arc<str>,
    pub(super) changed_at: i64,
    pub(super) leaving_since: Option<i64>,
    /// How it left, and when.
    pub(super) left: Option<(Outcome, i64)>,
    pub(super) rows: BTreeMap<ProviderEvent, Subscription>,
    pub(super) landed: BTreeMap<ProviderEvent, Timestamp>,
    /// The provider's ids whose secret has been written.
    pub(super) secrets: BTreeSet<RegistrationId>,
    /// What changed at the provider and has not been told yet.
    pub(super) untold: BTreeMap<ProviderEvent, BTreeSet<i64>>,
    /// Since when two speak for an event.
    pub(super) doubled: BTreeMap<ProviderEvent, i64>,
    /// When one was last asked for, where nothing tells.
    pub(super) asked: BTreeMap<ProviderEvent, i64>,
    pub(super) owner: usize,
    /// Who owned it before, and thinks so still, until then.
    pub(super) before: Option<(usize, i64)>,
}

pub(super) struct World {
    pub(super) now: i64,
    queue: BTreeMap<(i64, u64), Job>,
    queued: u64,
    pub(super) chance: Chance,
    pub(super) accounts: Vec<Account>,
    pub(super) owners: Vec<Owner>,
    /// How often a step of an owner is its last, in a thousand; how often a pause; how often something is lost.
    pub(super) mortality: i64,
    pub(super) drowsiness: i64,
    pub(super) losses: i64,
    nonces: u64,
    pub(super) trace: Option<Vec<String>>,
    pub(super) violation: Option<String>,
    pub(super) calls: u64,
    pub(super) longest_double: i64,
}

macro_rules! note {
    ($world:expr, $($text:tt)*) => {
        if let Some(trace) = &mut $world.trace {
            let seconds = $world.now as f64 / 1e6;
            trace.push(format!("{seconds:>12.3} s  {}", format!($($text)*)));
        }
    };
}
pub(super) use note;

pub(super) fn events() -> [ProviderEvent; 2] {
    ["joined", "left"].map(|it| ProviderEvent(it.into()))
}

impl World {
    pub(super) fn new(seed: u64, trace: bool) -> Self {
        let mut chance = Chance::new(seed);
        let mortality = [0, 5, 30, 80][chance.below(4)];
        let drowsiness = [0, 5, 30][chance.below(3)];
        let losses = [0, 20, 100, 250][chance.below(4)];
        Self {
            now: 0,
            queue: BTreeMap::new(),
            queued: 0,
            chance,
            accounts: Vec::new(),
            owners: Vec::new(),
            mortality,
            drowsiness,
            losses,
            nonces: 0,
            trace: trace.then(Vec::new),
            violation: None,
            calls: 0,
            longest_double: 0,
        }
    }

    pub(super) fn after(&mut self, span: i64, job: impl FnOnce(&mut World) + 'static) {
        self.queued += 1;
        self.queue.insert((self.now + span.max(1), self.queued), Box::new(job));
    }

    pub(super) fn run(&mut self) {
        while let Some(((at, _), job)) = self.queue.pop_first() {
            if at > END || self.violation.is_some() {
                return;
            }
            self.now = at;
            job(self);
        }
    }

    pub(super) fn stormy(&self) -> bool {
        self.now < CALM
    }

    pub(super) fn violated(&mut self, what: String) {
        note!(self, "VIOLATION: {what}");
        self.violation.get_or_insert(what);
    }

    pub(super) fn nonce(&mut self) -> Nonce {
        self.nonces += 1;
        // Far apart, as chance has them.
        Nonce(self.nonces.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn clock(&self, skew: i64) -> Timestamp {
        Timestamp::from_micros(BEGINNING + self.now + skew)
    }

    pub(super) fn moment(&self, of: Timestamp, skew: i64) -> i64 {
        of.as_micros() - BEGINNING - skew
    }

    pub(super) fn add_account(&mut self) {
        let provider = Provider::new(&mut self.chance);
        let owner = self.chance.below(self.owners.len());
        note!(self, "account {}: {:?}", self.accounts.len(), provider.terms);
        self.accounts.push(Account {
            provider,
            needs: BTreeMap::new(),
            wanted_since: BTreeMap::new(),
            base: "https://a.example".into(),
            changed_at: 0,
            leaving_since: None,
            left: None,
            rows: BTreeMap::new(),
            landed: BTreeMap::new(),
            secrets: BTreeSet::new(),
            untold: BTreeMap::new(),
            doubled: BTreeMap::new(),
            asked: BTreeMap::new(),
            owner,
            before: None,
        });
    }

    /// What the owner of an account reads before it plans.
    pub(super) fn read(&self, account: usize, skew: i64) -> (Wanted, Actual) {
        let it = &self.accounts[account];
        let now = self.clock(skew);
        let standing = match it.leaving_since {
            None => Standing::Usable,
            Some(since) => Standing::Leaving { since: Timestamp::from_micros(BEGINNING + since) },
        };
        let wanted = Wanted {
            standing,
            needs: it.needs.clone(),
            terms: it.provider.terms.clone(),
            base: it.base.clone(),
            changed_at: Timestamp::from_micros(BEGINNING + it.changed_at),
            allowance: Allowance { calls: 3, more_at: now.plus(Duration::from_secs(1)) },
        };
        let actual = Actual { subscriptions: it.rows.clone(), landed: it.landed.clone(), look_trouble: None };
        (wanted, actual)
    }

    /// Compare and set.
    pub(super) fn set(
        &mut self,
        account: usize,
        event: &ProviderEvent,
        expect: Expect,
        row: Option<Subscription>,
    ) -> bool {
        let it = &mut self.accounts[account];
        if it.left.is_some() {
            return false;
        }
        let version = it.rows.get(event).map(|it| it.version);
        let fits = match expect {
            Expect::Nothing => version.is_none(),
            Expect::Version(expected) => version == Some(expected),
            Expect::Anything => true,
        };
        if fits {
            match row {
                Some(row) => drop(it.rows.insert(event.clone(), row)),
                None => drop(it.rows.remove(event)),
            }
            super::oracle::watch(self, account);
        }
        fits
    }

    /// Someone wants an event of an account, or nobody does any more.
    pub(super) fn toggle(&mut self, account: usize, event: ProviderEvent, wanted: bool) {
        let now = self.now;
        let it = &mut self.accounts[account];
        if it.leaving_since.is_some() {
            return;
        }
        if wanted {
            let asks = BTreeSet::from([event.clone()]);
            it.needs.entry(event.clone()).or_insert(Need { asks, polls: true });
            it.wanted_since.entry(event.clone()).or_insert(now);
        } else {
            it.needs.remove(&event);
            it.wanted_since.remove(&event);
            it.untold.remove(&event);
        }
        note!(self, "account {account}: {event} is {}", if wanted { "wanted" } else { "unwanted" });
        self.wake(account);
    }

    pub(super) fn leave(&mut self, account: usize) {
        let it = &mut self.accounts[account];
        it.leaving_since.get_or_insert(self.now);
        it.needs.clear();
        it.wanted_since.clear();
        it.untold.clear();
        note!(self, "account {account} leaves");
        self.wake(account);
    }

    /// Its owner looks at it.
    pub(super) fn wake(&mut self, account: usize) {
        let owner = self.accounts[account].owner;
        let (span, generation) = (self.chance.span(SECOND), self.owners[owner].generation);
        self.after(span, move |world| super::owner::look(world, owner, generation, account));
    }

    /// A record of an account changes at its provider: who is subscribed is told.
    pub(super) fn change(&mut self, account: usize, event: ProviderEvent) {
        let now = self.now;
        let it = &mut self.accounts[account];
        if !it.wanted_since.contains_key(&event) {
            return;
        }
        it.untold.entry(event.clone()).or_default().insert(now);
        let telling: Vec<(RegistrationId, Nonce, Arc<str>)> = it
            .provider
            .kept
            .iter()
            .filter(|(_, of)| {
                of.is_there(now)
                    && !of.paused
                    && of.speaks_at <= now
                    && of.event == event
                    && of.asks.contains(&event)
            })
            .map(|(id, of)| (id.clone(), of.nonce, of.base.clone()))
            .collect();
        for (id, nonce, base) in telling {
            self.tell(account, event.clone(), now, (id, nonce, base), 20);
        }
    }

    /// A provider's webhook: it is told if we know its URL and can verify it; while an intent is open it is asked again.
    fn tell(
        &mut self,
        account: usize,
        event: ProviderEvent,
        change: i64,
        of: (RegistrationId, Nonce, Arc<str>),
        tries: u32,
    ) {
        let it = &mut self.accounts[account];
        if of.2 != it.base {
            return;
        }
        let known = it.rows.get(&event).and_then(|row| row.registrations.get(&of.1));
        match known.map(|known| &known.stage) {
            Some(Stage::Standing(_)) if it.secrets.contains(&of.0) => {
                if let Some(untold) = it.untold.get_mut(&event) {
                    untold.remove(&change);
                }
            }
            Some(Stage::Making { .. }) if tries > 0 => {
                self.after(MINUTE, move |world| world.tell(account, event, change, of, tries - 1));
            }
            _ => {}
        }
    }

    /// poll scans what is not told by webhooks.
    pub(super) fn scan(&mut self) {
        for account in 0..self.accounts.len() {
            let polled: Vec<ProviderEvent> = self.accounts[account]
                .rows
                .iter()
                .filter(|(_, row)| row.native.polls())
                .map(|(event, _)| event.clone())
                .collect();
            for event in polled {
                let (begun, lasts) = (self.now, self.chance.within(5 * SECOND, 2 * MINUTE));
                let lands = !self.stormy() || self.chance.permille(700);
                let clock = self.clock(self.chance_skew());
                if lands {
                    self.after(lasts, move |world| {
                        let it = &mut world.accounts[account];
                        if let Some(untold) = it.untold.get_mut(&event) {
                            untold.retain(|change| *change > begun);
                        }
                        let landed = it.landed.entry(event.clone()).or_insert(clock);
                        *landed = (*landed).max(clock);
                        note!(
                            world,
                            "account {account}: a scan of {event} begun at {} s has landed",
                            begun / SECOND
                        );
                        world.wake(account);
                    });
                }
            }
        }
        self.after(5 * MINUTE, World::scan);
    }

    fn chance_skew(&self) -> i64 {
        // poll's clock is one of the owners'.
        self.owners.first().map_or(0, |it| it.skew)
    }
}
