//! The executor: it reads, plans, and runs errands; it dies, sleeps, loses answers, and goes on though another owns the account.

use tributary_core::control::{
    actual::{ProviderEvent, Reason, RegistrationId, Stage, Subscription, Trouble},
    check::check,
    errand::{Do, Errand},
    plan::{Act, Step, plan},
    record::{self, Answer},
    terms::SecretOf,
};

use super::{
    provider::Ask,
    world::{MINUTE, SECOND, World, note},
};

/// A process that owns accounts.
pub(super) struct Owner {
    /// Goes up when it dies: what it was doing is over.
    pub(super) generation: u32,
    pub(super) skew: i64,
    /// Which subscriptions it is at, by account.
    busy: Vec<(usize, ProviderEvent)>,
    looking: Vec<usize>,
    look_trouble: Vec<(usize, Trouble)>,
}

impl Owner {
    pub(super) const fn new(skew: i64) -> Self {
        Self { generation: 0, skew, busy: Vec::new(), looking: Vec::new(), look_trouble: Vec::new() }
    }
}

/// Dies, and begins anew.
pub(super) fn kill(world: &mut World, owner: usize) {
    let generation = world.owners[owner].generation + 1;
    let skew = world.owners[owner].skew;
    world.owners[owner] = Owner { generation, ..Owner::new(skew) };
    note!(world, "owner {owner} dies and is back");
    let own: Vec<usize> = (0..world.accounts.len()).filter(|it| world.accounts[*it].owner == owner).collect();
    for account in own {
        world.wake(account);
    }
}

/// Another owns the account; the one before believes it owns it for a while.
pub(super) fn hand_over(world: &mut World, account: usize) {
    let to = world.chance.below(world.owners.len());
    let believes = world.now + world.chance.span(3 * MINUTE);
    let it = &mut world.accounts[account];
    it.before = Some((it.owner, believes));
    it.owner = to;
    note!(world, "account {account} is owned by {to}");
    world.wake(account);
    let (owner, _) = world.accounts[account].before.unwrap_or((to, 0));
    let generation = world.owners[owner].generation;
    world.after(1, move |world| look(world, owner, generation, account));
}

fn owns(world: &World, owner: usize, generation: u32, account: usize) -> bool {
    let it = &world.accounts[account];
    let believes = it.before.is_some_and(|(before, until)| before == owner && world.now < until);
    world.owners[owner].generation == generation && (it.owner == owner || believes)
}

/// Whether an owner lives on; it may die here, or sleep.
fn lives(world: &mut World, owner: usize, generation: u32) -> bool {
    if world.owners[owner].generation != generation {
        return false;
    }
    if world.stormy() && world.chance.permille(world.mortality) {
        kill(world, owner);
        return false;
    }
    true
}

/// How long a step takes: some sleep in it.
fn pause(world: &mut World) -> i64 {
    if world.stormy() && world.chance.permille(world.drowsiness) {
        world.chance.span(20 * MINUTE)
    } else {
        world.chance.span(SECOND / 2)
    }
}

/// Reads, plans, and sets out.
pub(super) fn look(world: &mut World, owner: usize, generation: u32, account: usize) {
    if !owns(world, owner, generation, account) || world.accounts[account].left.is_some() {
        return;
    }
    let skew = world.owners[owner].skew;
    let (wanted, mut actual) = world.read(account, skew);
    let trouble = world.owners[owner].look_trouble.iter().find(|(of, _)| *of == account);
    actual.look_trouble = trouble.map(|(_, it)| it.clone());
    // Time passes between reading and acting on it.
    let span = pause(world);
    world.after(span, move |world| {
        if !owns(world, owner, generation, account) || !lives(world, owner, generation) {
            return;
        }
        let now = world.clock(skew);
        let made = plan(&wanted, &actual, now);
        if let Err(wrong) = check(&wanted, &actual, now, &made)
            && super::guarded()
        {
            world.violated(format!("account {account}: {wrong}: {made:?}"));
            return;
        }
        if let Some(wake) = made.wake {
            let span = (world.moment(wake, skew) - world.now).max(SECOND / 10);
            world.after(span, move |world| look(world, owner, generation, account));
        }
        for step in made.steps {
            match step {
                Step::At { event, act, .. } => {
                    let busy = (account, event.clone());
                    if world.owners[owner].busy.contains(&busy) {
                        continue;
                    }
                    world.owners[owner].busy.push(busy);
                    let nonces = (world.nonce(), world.nonce());
                    let before = actual.subscriptions.get(&event);
                    note!(world, "owner {owner}, account {account}, {event}: {act:?}");
                    let terms = wanted.terms.clone();
                    let (errand, next) = Errand::start(event.clone(), act, before, nonces, terms, now);
                    let begun = world.now;
                    Walk { owner, generation, account, begun, errand, made: None }.go(world, next);
                }
                Step::Verify => verify(world, owner, generation, account),
                Step::Wipe(outcome) => {
                    note!(world, "account {account} has left: {outcome:?}");
                    let now = world.now;
                    let it = &mut world.accounts[account];
                    it.left = Some((outcome, now));
                    it.provider.credentials = false;
                    it.rows.clear();
                }
            }
        }
    });
}

/// An errand on its way, and who runs it.
struct Walk {
    owner: usize,
    generation: u32,
    account: usize,
    begun: i64,
    errand: Errand,
    /// What the answer made, whose secret is written with it.
    made: Option<RegistrationId>,
}

impl Walk {
    fn go(mut self, world: &mut World, next: Do) {
        let span = pause(world);
        let (owner, generation) = (self.owner, self.generation);
        match next {
            Do::Over => self.over(world),
            Do::Write { expect, subscription } => world.after(span, move |world| {
                if !lives(world, owner, generation) {
                    return;
                }
                let lost = world.stormy() && world.chance.permille(world.losses / 4);
                if lost && world.chance.permille(500) {
                    return self.over(world);
                }
                let event = self.errand.event().clone();
                let done = world.set(self.account, &event, expect, subscription);
                if done && let Some(made) = self.made.take() {
                    world.accounts[self.account].secrets.insert(made);
                }
                if lost {
                    return self.over(world);
                }
                let next = self.errand.written(done);
                self.go(world, next);
            }),
            Do::Read => world.after(span, move |world| {
                if !lives(world, owner, generation) {
                    return;
                }
                let row = world.accounts[self.account].rows.get(self.errand.event()).cloned();
                let now = world.clock(world.owners[owner].skew);
                let next = self.errand.read(row.as_ref(), now);
                self.go(world, next);
            }),
            Do::Call { within } => world.after(span, move |world| {
                if !lives(world, owner, generation) {
                    return;
                }
                self.call(world, i64::try_from(within.as_micros()).unwrap_or(i64::MAX));
            }),
        }
    }

    fn call(self, world: &mut World, within: i64) {
        let gives_up = self.begun + within;
        let row = world.accounts[self.account].rows.get(self.errand.event());
        let ask = asked(self.errand.act(), self.errand.registration(), self.errand.event(), row);
        let Some(ask) = ask.filter(|_| world.now < gives_up) else {
            return self.answered(world, Answer::Lost);
        };
        world.calls += 1;
        super::oracle::asked(world, self.account, &ask);
        let lost = world.stormy() && world.chance.permille(world.losses);
        let account = self.account;
        let left = gives_up - world.now;
        match if lost { world.chance.below(4) } else { 4 } {
            // It never lands.
            0 => world.after(left, move |world| self.answered(world, Answer::Lost)),
            // It lands, and the answer is lost; or it lands after it was given up, now and then much later.
            kind @ 1..=3 => {
                let lands = match kind {
                    1 => world.chance.span(left),
                    2 => left + world.chance.within(0, MINUTE / 2),
                    _ => left + world.chance.within(MINUTE / 2, 20 * MINUTE),
                };
                world.after(lands, move |world| {
                    let now = world.now;
                    let answer = world.accounts[account].provider.land(&ask, now, &mut world.chance);
                    note!(world, "account {account}: {ask:?} lands unheard: {answer:?}");
                    super::oracle::watch(world, account);
                });
                world.after(left, move |world| self.answered(world, Answer::Lost));
            }
            _ => {
                let lands = world.chance.span(2 * SECOND).min(left);
                world.after(lands, move |world| {
                    let now = world.now;
                    let answer = world.accounts[account].provider.land(&ask, now, &mut world.chance);
                    note!(world, "account {account}: {ask:?}: {answer:?}");
                    super::oracle::watch(world, account);
                    self.answered(world, answer);
                });
            }
        }
    }

    fn answered(mut self, world: &mut World, answer: Answer) {
        if world.owners[self.owner].generation != self.generation {
            return;
        }
        let readable = world.accounts[self.account].provider.terms.secret != SecretOf::InTheAnswer;
        self.made = match &answer {
            Answer::Made { id, .. } => Some(id.clone()),
            Answer::Duplicate { id, .. } if readable => Some(id.clone()),
            _ => None,
        };
        let now = world.clock(world.owners[self.owner].skew);
        let next = self.errand.answered(answer, now);
        self.go(world, next);
    }

    /// What is adopted is ours or readable: then its secret is known.
    fn over(self, world: &mut World) {
        let Self { owner, generation, account, errand, .. } = self;
        if world.owners[owner].generation != generation {
            return;
        }
        let of = (account, errand.event().clone());
        world.owners[owner].busy.retain(|it| *it != of);
        world.after(SECOND / 10, move |world| look(world, owner, generation, account));
    }
}

fn asked(
    act: &Act,
    registration: tributary_core::control::intent::Nonce,
    event: &ProviderEvent,
    row: Option<&Subscription>,
) -> Option<Ask> {
    let of = |nonce| row.and_then(|row| row.registrations.get(nonce));
    let id = |nonce| match &of(nonce)?.stage {
        Stage::Standing(stands) => Some(stands.id.clone()),
        Stage::Ending { id, .. } => Some(id.clone()),
        Stage::Making { seen, .. } => seen.as_ref().map(|it| it.id.clone()),
        Stage::Orphan { .. } => None,
    };
    let make = |base: &std::sync::Arc<str>, asks: &std::collections::BTreeSet<ProviderEvent>| Ask::Make {
        event: event.clone(),
        nonce: registration,
        base: base.clone(),
        asks: asks.clone(),
    };
    match act {
        Act::Create { base, asks } => Some(make(base, asks)),
        Act::Again(nonce) => of(nonce).map(|it| make(&it.base, &it.asks)),
        Act::Renew(nonce) => id(nonce).map(Ask::Renew),
        Act::Resume(nonce) => id(nonce).map(Ask::Resume),
        Act::Update { registration, base, asks } => {
            id(registration).map(|id| Ask::Update { id, base: base.clone(), asks: asks.clone() })
        }
        Act::Delete(nonce) => id(nonce).map(Ask::Delete),
        _ => None,
    }
}

/// Lists what there is, and writes what that changes.
fn verify(world: &mut World, owner: usize, generation: u32, account: usize) {
    if world.owners[owner].looking.contains(&account) {
        return;
    }
    world.owners[owner].looking.push(account);
    world.calls += 1;
    let skew = world.owners[owner].skew;
    let asked_at = world.clock(skew);
    let ids: Vec<RegistrationId> = world.accounts[account]
        .rows
        .values()
        .flat_map(|it| it.standing().map(|(.., stands)| stands.id.clone()).collect::<Vec<_>>())
        .collect();
    let span = world.chance.span(2 * SECOND);
    world.after(span, move |world| {
        if !lives(world, owner, generation) {
            return;
        }
        let now = world.now;
        let lost = world.stormy() && world.chance.permille(world.losses);
        let shown = world.accounts[account].provider.show(&ids, asked_at, now, &mut world.chance);
        let span = pause(world);
        world.after(span, move |world| {
            if !lives(world, owner, generation) {
                return;
            }
            world.owners[owner].looking.retain(|it| *it != account);
            let clock = world.clock(skew);
            let before = world.owners[owner].look_trouble.iter().position(|(of, _)| *of == account);
            let before = before.map(|at| world.owners[owner].look_trouble.remove(at).1);
            match shown.filter(|_| !lost) {
                None => {
                    let trouble = Trouble::after(before.as_ref(), Reason::ProviderError, None, clock);
                    world.owners[owner].look_trouble.push((account, trouble));
                }
                Some(sight) => {
                    note!(
                        world,
                        "account {account}: a look shows {:?}",
                        sight
                            .entries
                            .iter()
                            .map(|it| (&it.event, &it.seen.id, it.nonce, it.seen.paused))
                            .collect::<Vec<_>>()
                    );
                    let terms = world.accounts[account].provider.terms.clone();
                    if terms.secret != SecretOf::InTheAnswer {
                        // What is shown can be verified: the secret is in our row, or can be read.
                        let shown = sight.entries.iter().map(|it| it.seen.id.clone());
                        world.accounts[account].secrets.extend(shown);
                    }
                    for event in super::world::events() {
                        let row = world.accounts[account].rows.get(&event).cloned();
                        let after = record::look(row.as_ref(), &event, &sight, clock, &terms);
                        if let Some(after) = after {
                            let expect = tributary_core::control::errand::expect(row.as_ref());
                            world.set(account, &event, expect, Some(after));
                        }
                    }
                }
            }
            world.after(SECOND / 10, move |world| look(world, owner, generation, account));
        });
    });
}
