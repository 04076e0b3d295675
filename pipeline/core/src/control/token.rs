//! An account's tokens, used by many stages at once (design §8): who refreshes claims it first, calls, writes, and only then
//! uses; the others wait. One value under one version.
//!
//! A claim that lapsed without a result may have been answered all the same: with rotating tokens the old one is then worth
//! nothing, or a sign of theft. So it is tried once, at once, and by one alone; a refusal then means that the refresh is lost,
//! and a person must connect again. Where a provider gives no grace, a kill between its answer and our write can't be mended.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tributary_schemas::time::Timestamp;

use super::intent::Nonce;

/// The tokens of an account, as kept. What they are is sealed beside it; this is who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Grows by one with each write.
    pub version: u64,
    /// When the access token ends; none: never, or it was not said.
    pub expires_at: Option<Timestamp>,
    /// When the tokens were last refreshed.
    pub refreshed_at: Timestamp,
    /// Who refreshes.
    pub state: State,
}

/// Who refreshes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Nobody.
    Fresh,
    /// Someone, until then.
    Claimed {
        /// Names the claim: a result is taken for it alone.
        by: Nonce,
        /// When others may think that it died.
        until: Timestamp,
        /// Whether it follows one that lapsed: the old token's one more try.
        after_lapse: bool,
    },
    /// The provider said that it will not now, or two may have used one token.
    Resting {
        /// Until when it is left alone.
        until: Timestamp,
        /// Whether a claim had lapsed before.
        after_lapse: bool,
    },
    /// Nobody can: a person must connect again.
    Expired(Lost),
}

/// Why tokens can't be refreshed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// The provider refused them, and nobody had lost an answer.
    CredentialsRefused,
    /// An answer was lost, and the old token is worth nothing.
    RefreshLost,
}

/// How tokens behave at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenTerms {
    /// The longest that a refresh may take: the call's deadline and the write after it. A claim lasts so long.
    pub claim: Duration,
    /// How long before its end an access token is not used any more.
    pub margin: Duration,
    /// They are refreshed at least so often, used or not.
    pub idle: Option<Duration>,
}

/// What to do with tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Use the access token that was read.
    Use,
    /// Write this if the version is still the one that was read; once written, call with the refresh token that was read, within the
    /// claim. If another wrote, read again.
    Claim(Tokens),
    /// Another refreshes: read again then.
    Wait(Timestamp),
    /// Nothing helps: `expired`, and why.
    Expired(Lost),
}

/// What the provider answered to a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// New tokens: they are written, sealed, with this.
    New {
        /// How long the access token lives.
        life: Option<Duration>,
    },
    /// `invalid_grant`: the refresh token is worth nothing.
    InvalidGrant,
    /// Not now: the provider is away, or limits us, and said so before it did anything.
    NotNow,
}

/// Why tokens are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A request is to be made.
    Request,
    /// The access token that was read was refused (401), though it is not over.
    Refused,
    /// Nobody asks: they may have been idle for too long.
    Idle,
}

/// How long one that could not be had now is left alone.
const NOT_NOW: Duration = Duration::from_secs(5);

impl Tokens {
    /// As they came from a consent or a login.
    pub fn new(life: Option<Duration>, now: Timestamp) -> Self {
        Self {
            version: 1,
            expires_at: life.map(|life| now.plus(life)),
            refreshed_at: now,
            state: State::Fresh,
        }
    }

    /// What to do. `by` names a claim that is made of it, by chance.
    pub fn next(&self, need: Need, by: Nonce, terms: &TokenTerms, now: Timestamp) -> Next {
        match &self.state {
            State::Expired(lost) => Next::Expired(*lost),
            State::Claimed { until, .. } | State::Resting { until, .. } if now < *until => {
                if need == Need::Request && self.is_good(terms, now) { Next::Use } else { Next::Wait(*until) }
            }
            State::Claimed { .. } => Next::Claim(self.claimed(by, true, terms, now)),
            State::Fresh | State::Resting { .. } => {
                let wanted = match need {
                    Need::Request => !self.is_good(terms, now),
                    Need::Refused => true,
                    Need::Idle => terms.idle.is_some_and(|idle| self.refreshed_at.plus(idle) <= now),
                };
                let after_lapse = matches!(self.state, State::Resting { after_lapse: true, .. });
                if wanted { Next::Claim(self.claimed(by, after_lapse, terms, now)) } else { Next::Use }
            }
        }
    }

    /// What an answer to the call of a claim changes in what is read by then. None: another has moved since, and it is worth
    /// nothing. A call without an answer has none: its claim lapses.
    pub fn refreshed(&self, claim: Nonce, answer: Refreshed, now: Timestamp) -> Option<Self> {
        let (by, after_lapse) = match &self.state {
            State::Claimed { by, after_lapse, .. } => (by, after_lapse),
            State::Expired(Lost::RefreshLost) => return self.late(answer, now),
            State::Fresh | State::Resting { .. } | State::Expired(Lost::CredentialsRefused) => return None,
        };
        if *by != claim {
            return self.late(answer, now);
        }
        let version = self.version + 1;
        Some(match answer {
            Refreshed::New { life } => Self { version, ..Self::new(life, now) },
            Refreshed::InvalidGrant => {
                let lost = if *after_lapse { Lost::RefreshLost } else { Lost::CredentialsRefused };
                Self { version, state: State::Expired(lost), ..self.clone() }
            }
            // What lapsed before is still in doubt.
            Refreshed::NotNow => {
                let state = State::Resting { until: now.plus(NOT_NOW), after_lapse: *after_lapse };
                Self { version, state, ..self.clone() }
            }
        })
    }

    /// New tokens are never thrown away: what a claim that had lapsed brings back is better than what the next one has.
    fn late(&self, answer: Refreshed, now: Timestamp) -> Option<Self> {
        match answer {
            // The one that claimed since may yet use the old one, and end the new one with it.
            Refreshed::New { life } => {
                let state = State::Resting { until: now, after_lapse: true };
                Some(Self { version: self.version + 1, state, ..Self::new(life, now) })
            }
            Refreshed::InvalidGrant | Refreshed::NotNow => None,
        }
    }

    fn claimed(&self, by: Nonce, after_lapse: bool, terms: &TokenTerms, now: Timestamp) -> Self {
        let state = State::Claimed { by, until: now.plus(terms.claim), after_lapse };
        Self { version: self.version + 1, state, ..self.clone() }
    }

    fn is_good(&self, terms: &TokenTerms, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|ends| now.plus(terms.margin) < ends)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn terms() -> TokenTerms {
        TokenTerms {
            claim: Duration::from_secs(20),
            margin: Duration::from_secs(60),
            idle: Some(Duration::from_secs(86_400)),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(0).plus(Duration::from_secs(seconds))
    }

    const LIFE: Duration = Duration::from_secs(3_600);

    #[test]
    fn who_needs_tokens_uses_claims_waits_or_is_told() {
        let fresh = Tokens::new(Some(LIFE), at(0));
        let next = |it: &Tokens, need, seconds| it.next(need, Nonce(7), &terms(), at(seconds));
        assert_eq!(next(&fresh, Need::Request, 10), Next::Use);
        assert_eq!(next(&fresh, Need::Idle, 86_399), Next::Use);
        let Next::Claim(claimed) = next(&fresh, Need::Request, 3_541) else { panic!("within the margin") };
        assert!(matches!(next(&fresh, Need::Refused, 10), Next::Claim(_)), "the provider says 401");
        assert!(matches!(next(&fresh, Need::Idle, 86_400), Next::Claim(_)), "idle for too long");
        assert_eq!(next(&claimed, Need::Request, 3_550), Next::Wait(at(3_561)));
        let Next::Claim(early) = next(&fresh, Need::Refused, 10) else { panic!("refused") };
        assert_eq!(
            next(&early, Need::Request, 11),
            Next::Use,
            "what is good is used while another refreshes"
        );
        let Next::Claim(lapsed) = next(&claimed, Need::Request, 3_561) else { panic!("a lapsed claim") };
        assert!(matches!(lapsed.state, State::Claimed { after_lapse: true, .. }));

        let lost = lapsed.refreshed(Nonce(7), Refreshed::InvalidGrant, at(3_562)).unwrap();
        assert_eq!(next(&lost, Need::Request, 3_563), Next::Expired(Lost::RefreshLost));
        let refused = claimed.refreshed(Nonce(7), Refreshed::InvalidGrant, at(3_545)).unwrap();
        assert_eq!(next(&refused, Need::Request, 3_546), Next::Expired(Lost::CredentialsRefused));
        let resting = lapsed.refreshed(Nonce(7), Refreshed::NotNow, at(3_562)).unwrap();
        assert_eq!(next(&resting, Need::Request, 3_563), Next::Wait(at(3_567)));
        let Next::Claim(again) = next(&resting, Need::Request, 3_567) else { panic!("rested") };
        assert!(matches!(again.state, State::Claimed { after_lapse: true, .. }), "the doubt stays");
        assert_eq!(claimed.refreshed(Nonce(8), Refreshed::InvalidGrant, at(3_545)), None, "not its claim");
    }

    /// The store: tokens, and the refresh token beside them.
    #[derive(Debug, Clone)]
    struct Row {
        tokens: Tokens,
        refresh: u32,
    }

    /// A provider that rotates refresh tokens, with or without a grace for the one before.
    struct Provider {
        current: u32,
        grace: bool,
        revoked: bool,
    }

    impl Provider {
        fn refresh(&mut self, with: u32) -> (Refreshed, u32) {
            if self.revoked {
                return (Refreshed::InvalidGrant, 0);
            }
            if with == self.current {
                self.current += 1;
            } else if !(self.grace && with + 1 == self.current) {
                // Used twice: the family is revoked.
                self.revoked = true;
                return (Refreshed::InvalidGrant, 0);
            }
            (Refreshed::New { life: Some(LIFE) }, self.current)
        }
    }

    /// A stage that refreshes, between two of its steps.
    #[derive(Debug, Clone)]
    enum Stage {
        Idle,
        Read(Row),
        Claimed { by: Nonce, refresh: u32, since: Timestamp },
        Answered { by: Nonce, answer: (Refreshed, u32) },
    }

    struct World {
        row: Row,
        provider: Provider,
        stages: [Stage; 3],
        now: Timestamp,
        chance: u64,
        /// Whether a call was ever answered, and its answer lost or late.
        lost: bool,
    }

    impl World {
        fn new(grace: bool) -> Self {
            Self {
                row: Row { tokens: Tokens::new(Some(LIFE), at(0)), refresh: 0 },
                provider: Provider { current: 0, grace, revoked: false },
                stages: [Stage::Idle, Stage::Idle, Stage::Idle],
                now: at(3_600),
                chance: 0,
                lost: false,
            }
        }

        fn step(&mut self, which: usize) {
            self.stages[which] = match self.stages[which].clone() {
                Stage::Idle => Stage::Read(self.row.clone()),
                Stage::Read(read) => {
                    self.chance += 1;
                    let by = Nonce(self.chance);
                    match read.tokens.next(Need::Request, by, &terms(), self.now) {
                        Next::Claim(claimed) if self.row.tokens.version == read.tokens.version => {
                            self.row.tokens = claimed;
                            // A claim that lapsed while its answer was being written.
                            self.lost |= self.stages.iter().any(|it| matches!(it, Stage::Answered { .. }));
                            Stage::Claimed { by, refresh: read.refresh, since: self.now }
                        }
                        Next::Claim(_) | Next::Use | Next::Wait(_) | Next::Expired(_) => Stage::Idle,
                    }
                }
                // The call is made within its claim or not at all.
                Stage::Claimed { since, .. } if self.now.since(since) >= terms().claim => Stage::Idle,
                Stage::Claimed { by, refresh, .. } => {
                    Stage::Answered { by, answer: self.provider.refresh(refresh) }
                }
                Stage::Answered { by, answer: (answer, refresh) } => {
                    let ours = matches!(&self.row.tokens.state, State::Claimed { by: it, .. } if *it == by);
                    self.lost |= !ours;
                    if let Some(after) = self.row.tokens.refreshed(by, answer, self.now) {
                        self.row.tokens = after;
                        if matches!(answer, Refreshed::New { .. }) {
                            self.row.refresh = refresh;
                        }
                    }
                    Stage::Idle
                }
            };
        }

        fn kill(&mut self, which: usize) {
            self.lost |= matches!(self.stages[which], Stage::Answered { .. });
            self.stages[which] = Stage::Idle;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        /// Three stages at once, killed anywhere, while time passes.
        #[test]
        fn tokens_are_lost_only_where_an_answer_was(
            grace: bool,
            happens in prop::collection::vec((0..3_usize, 0..20_u8), 1..80),
        ) {
            let mut world = World::new(grace);
            for (which, what) in happens {
                match what {
                    0 => world.kill(which),
                    1 => world.now = world.now.plus(Duration::from_secs(21)),
                    2 => world.now = world.now.plus(LIFE),
                    _ => world.step(which),
                }
                if let State::Expired(lost) = &world.row.tokens.state {
                    prop_assert_eq!(*lost, Lost::RefreshLost, "nobody had revoked it");
                    prop_assert!(world.lost, "expired though no answer was lost");
                }
                prop_assert!(!world.provider.revoked || world.lost, "a token was used twice though no answer was lost");
            }
            // In peace, what can be had is had.
            let lost = world.lost;
            for round in 0..60 {
                world.now = world.now.plus(Duration::from_secs(if round % 4 == 0 { 21 } else { 1 }));
                world.step(round % 3);
            }
            let good = world.row.tokens.next(Need::Request, Nonce(0), &terms(), world.now) == Next::Use;
            prop_assert!(good || lost);
        }
    }

    /// A kill between the provider's answer and our write.
    #[test]
    fn a_lost_answer_is_mended_where_the_provider_gives_grace() {
        for (grace, expected) in [(true, Next::Use), (false, Next::Expired(Lost::RefreshLost))] {
            let mut world = World::new(grace);
            for _ in 0..3 {
                world.step(0);
            }
            world.kill(0);
            world.now = world.now.plus(terms().claim);
            for _ in 0..4 {
                world.step(1);
            }
            assert_eq!(world.row.tokens.next(Need::Request, Nonce(9), &terms(), world.now), expected);
        }
    }
}
