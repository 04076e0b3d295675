//! In which order a step is done: the intent is written, then the provider is called, then what it answered is written to
//! what is known by then. Who does it has only to obey.

use std::time::Duration;

use tributary_schemas::time::Timestamp;

use super::{
    actual::{ProviderEvent, Subscription},
    guard::{Guard, holds},
    intent::Nonce,
    plan::Act,
    record::{self, Answer},
    terms::Terms,
};

/// A step on its way.
#[derive(Debug, Clone)]
#[must_use]
pub struct Errand {
    event: ProviderEvent,
    act: Act,
    registration: Nonce,
    call: Nonce,
    terms: Terms,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// The intent, or a step without a call, is being written.
    Meaning { calls: bool },
    /// The provider is being called.
    Calling { meant: Option<Subscription> },
    /// The answer is being written.
    Settling { answer: Answer },
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Do {
    /// Compare and set, then [`Errand::written`].
    Write {
        /// Which version must be there.
        expect: Expect,
        /// What is written; none: the row goes.
        subscription: Option<Subscription>,
    },
    /// Call the provider, unless `within` of the intent's writing has passed by a clock that never jumps; then
    /// [`Errand::answered`].
    Call {
        /// How long it may take, from the moment at which the write of the intent began.
        within: Duration,
    },
    /// Read the subscription again, then [`Errand::read`].
    Read,
    /// It is done, or another has moved: plan again.
    Over,
}

/// What must be there for a write to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Nothing,
    /// This version.
    Version(u64),
    /// Whatever.
    Anything,
}

/// What must be there for what was read to be written over.
pub fn expect(before: Option<&Subscription>) -> Expect {
    match before {
        _ if !holds(Guard::VersionFencesStep) => Expect::Anything,
        None => Expect::Nothing,
        Some(before) => Expect::Version(before.version),
    }
}

impl Errand {
    /// Sets out on a step, planned on what was read: `registration` and `call` are made by chance.
    pub fn start(
        event: ProviderEvent,
        act: Act,
        before: Option<&Subscription>,
        (registration, call): (Nonce, Nonce),
        terms: Terms,
        now: Timestamp,
    ) -> (Self, Do) {
        let registration = act.registration().unwrap_or(registration);
        let subscription = record::begin(before, &act, (registration, call), now);
        let calls = act.calls();
        let mut errand = Self { event, act, registration, call, terms, state: State::Meaning { calls } };
        if calls && !holds(Guard::IntentBeforeCall) {
            errand.state = State::Calling { meant: subscription };
            let within = errand.terms.deadline;
            return (errand, Do::Call { within });
        }
        (errand, Do::Write { expect: expect(before), subscription })
    }

    /// What a write came to: whether the version was the one expected.
    pub fn written(&mut self, done: bool) -> Do {
        match &self.state {
            State::Meaning { calls: true } if done => {
                self.state = State::Calling { meant: None };
                Do::Call { within: self.terms.deadline }
            }
            State::Meaning { .. } | State::Calling { .. } => Do::Over,
            State::Settling { .. } if done => Do::Over,
            State::Settling { .. } => Do::Read,
        }
    }

    /// What the provider answered.
    pub fn answered(&mut self, answer: Answer, now: Timestamp) -> Do {
        let meant = match &mut self.state {
            State::Calling { meant } => meant.take(),
            State::Meaning { .. } | State::Settling { .. } => None,
        };
        if let Some(meant) = meant {
            // Without its guard: what was meant and what came of it are written at once, and only now.
            let before = meant.version.checked_sub(1).filter(|it| *it > 0);
            let after =
                record::settle(&meant, self.call, &self.act, &answer, now, &self.terms).unwrap_or(meant);
            let expect = before.map_or(Expect::Nothing, Expect::Version);
            self.state = State::Meaning { calls: false };
            return Do::Write { expect, subscription: Some(after) };
        }
        self.state = State::Settling { answer };
        Do::Read
    }

    /// What is known by the time of the answer.
    pub fn read(&mut self, current: Option<&Subscription>, now: Timestamp) -> Do {
        let State::Settling { answer } = &self.state else { return Do::Over };
        let after = current.and_then(|it| record::settle(it, self.call, &self.act, answer, now, &self.terms));
        match after {
            Some(after) => Do::Write { expect: expect(current), subscription: Some(after) },
            None => Do::Over,
        }
    }

    /// Which subscription it is at.
    pub const fn event(&self) -> &ProviderEvent {
        &self.event
    }

    /// What it does.
    pub const fn act(&self) -> &Act {
        &self.act
    }

    /// The registration that the URL of its call names.
    pub const fn registration(&self) -> Nonce {
        self.registration
    }
}

impl Act {
    /// The registration that it is about, where that is there already.
    pub const fn registration(&self) -> Option<Nonce> {
        match self {
            Self::Again(it)
            | Self::Adopt(it)
            | Self::Renew(it)
            | Self::Resume(it)
            | Self::Update { registration: it, .. }
            | Self::Delete(it)
            | Self::Orphan(it)
            | Self::Drop(it) => Some(*it),
            Self::Want
            | Self::Linger
            | Self::Create { .. }
            | Self::Break { .. }
            | Self::FallBack
            | Self::Refuse(_)
            | Self::Return { .. }
            | Self::Whole { .. }
            | Self::Forget => None,
        }
    }
}
