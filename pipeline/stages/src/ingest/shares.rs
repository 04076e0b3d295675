//! What one caller may take of ingest: requests and bytes a second, requests at a time and bytes held, each by account and
//! by project. What is over it is 429 for that account alone; 503, for all, is only what the process itself can't hold.
//! Who is not known yet has look-ups by address.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::HashMapStateStore,
};
use quick_cache::sync::Cache;
use tributary_schemas::id::{AccountId, ProjectId};

use super::{
    Config, metrics,
    refusal::{Refusal, Share},
};

type Keyed<K> = RateLimiter<K, HashMapStateStore<K>, DefaultClock>;

/// A project may take so many times what an account may.
const PROJECT: u32 = 5;
/// Keys that a limiter holds before it forgets who has not asked lately.
const KEYS: usize = 100_000;
/// Tokens that are remembered as unknown, and for how long: a new one has not been asked for before it was made.
const UNKNOWN_TOKENS: usize = 100_000;
const UNKNOWN_FOR: Duration = Duration::from_secs(10);
/// When what is let in is let in again, where no limiter says it.
const SOON: Duration = Duration::from_secs(1);

/// What callers may take, and have.
pub(super) struct Shares {
    account_requests: Keyed<AccountId>,
    account_bytes: Keyed<AccountId>,
    project_requests: Keyed<ProjectId>,
    project_bytes: Keyed<ProjectId>,
    look_ups: Keyed<IpAddr>,
    unknown: Cache<String, Instant>,
    clock: DefaultClock,
    held: Mutex<Held>,
    most: Most,
}

/// The most at a time.
#[derive(Debug, Clone, Copy)]
struct Most {
    requests: u32,
    account_bytes: usize,
    all_bytes: usize,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    requests: HashMap<ProjectId, u32>,
    accounts: HashMap<AccountId, (u32, usize)>,
}

impl Shares {
    pub(super) fn new(config: &Config) -> Self {
        let a_second = |number: u32| Quota::per_second(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN));
        let (requests, bytes) = (config.account_requests_per_second, config.account_bytes_per_second);
        Self {
            account_requests: RateLimiter::hashmap(a_second(requests)),
            account_bytes: RateLimiter::hashmap(a_second(bytes)),
            project_requests: RateLimiter::hashmap(a_second(requests.saturating_mul(PROJECT))),
            project_bytes: RateLimiter::hashmap(a_second(bytes.saturating_mul(PROJECT))),
            look_ups: RateLimiter::hashmap(a_second(config.address_look_ups_per_second)),
            unknown: Cache::new(UNKNOWN_TOKENS),
            clock: DefaultClock::default(),
            held: Mutex::default(),
            most: Most {
                requests: config.account_concurrency,
                account_bytes: (config.held_bytes / 8).max(config.body_bytes),
                all_bytes: config.held_bytes,
            },
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Lets a request of an account in, before its body is read. `bytes` is what it says its body has.
    pub(super) fn enter(
        self: &Arc<Self>,
        project: &ProjectId,
        account: &AccountId,
        bytes: u32,
    ) -> Result<Place, Refusal> {
        self.rate(Share::AccountRate, &self.account_requests, account, 1)?;
        self.rate(Share::ProjectRate, &self.project_requests, project, 1)?;
        let place = {
            let mut held = self.held();
            let of_account = held.accounts.get(account).map_or(0, |(requests, _)| *requests);
            let of_project = held.requests.get(project).copied().unwrap_or(0);
            if of_account >= self.most.requests || of_project >= self.most.requests.saturating_mul(PROJECT) {
                return Err(Share::AtATime.spent(SOON));
            }
            held.accounts.entry(account.clone()).or_default().0 += 1;
            *held.requests.entry(project.clone()).or_default() += 1;
            Place {
                shares: self.clone(),
                project: project.clone(),
                account: account.clone(),
                bytes: 0,
                charged: 0,
            }
        };
        place.charged(bytes)
    }

    fn rate<K: std::hash::Hash + Eq + Clone>(
        &self,
        share: Share,
        limiter: &Keyed<K>,
        key: &K,
        number: u32,
    ) -> Result<(), Refusal> {
        let Some(number) = NonZeroU32::new(number) else { return Ok(()) };
        if limiter.len() > KEYS {
            limiter.retain_recent();
        }
        match limiter.check_key_n(key, number) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(share.spent(until.wait_time_from(self.clock.now()))),
            // More than a second's worth in one: what is let in is let in by then.
            Err(_) => Err(share.spent(SOON)),
        }
    }

    /// Whether a token was unknown a moment ago.
    pub(super) fn is_unknown(&self, token: &str) -> bool {
        self.unknown.get(token).is_some_and(|since| since.elapsed() < UNKNOWN_FOR)
    }

    pub(super) fn note_unknown(&self, token: String) {
        self.unknown.insert(token, Instant::now());
    }

    /// Lets an address look a token up in the database.
    pub(super) fn look_up(&self, address: IpAddr) -> Result<(), Refusal> {
        // Who has a /64 has all of it.
        let address = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & (u128::MAX << 64)).into()),
        };
        self.rate(Share::AddressLookUps, &self.look_ups, &address, 1)
    }
}

/// A request that was let in, and what it holds. Dropped, it makes room.
pub(super) struct Place {
    shares: Arc<Shares>,
    project: ProjectId,
    account: AccountId,
    bytes: usize,
    charged: usize,
}

impl Place {
    fn charged(mut self, bytes: u32) -> Result<Self, Refusal> {
        self.charge(bytes)?;
        Ok(self)
    }

    fn charge(&mut self, bytes: u32) -> Result<(), Refusal> {
        self.shares.rate(Share::AccountRate, &self.shares.account_bytes, &self.account, bytes)?;
        self.shares.rate(Share::ProjectRate, &self.shares.project_bytes, &self.project, bytes)?;
        self.charged += bytes as usize;
        Ok(())
    }

    /// Takes so many more bytes into memory.
    pub(super) fn hold(&mut self, more: usize) -> Result<(), Refusal> {
        let uncharged = (self.bytes + more).saturating_sub(self.charged);
        self.charge(u32::try_from(uncharged).unwrap_or(u32::MAX))?;
        let mut held = self.shares.held();
        let most = self.shares.most;
        let of_account = held.accounts.get(&self.account).map_or(0, |(_, bytes)| *bytes);
        if of_account + more > most.account_bytes {
            return Err(Share::AccountHeld.spent(SOON));
        }
        if held.bytes + more > most.all_bytes {
            return Err(Refusal::Full);
        }
        held.bytes += more;
        held.accounts.entry(self.account.clone()).or_default().1 += more;
        self.bytes += more;
        ::metrics::gauge!(metrics::HELD_BYTES).set(held.bytes as f64);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        held.bytes -= self.bytes;
        ::metrics::gauge!(metrics::HELD_BYTES).set(held.bytes as f64);
        if let Some((requests, bytes)) = held.accounts.get_mut(&self.account) {
            *requests -= 1;
            *bytes -= self.bytes;
            if *requests == 0 {
                held.accounts.remove(&self.account);
            }
        }
        if let Some(requests) = held.requests.get_mut(&self.project) {
            *requests -= 1;
            if *requests == 0 {
                held.requests.remove(&self.project);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(config: Config) -> Arc<Shares> {
        Arc::new(Shares::new(&config))
    }

    #[test]
    fn an_account_over_its_rate_is_told_when_to_come_again_and_nobody_else_is() {
        let shares = shares(Config { account_requests_per_second: 5, ..Config::default() });
        let (p, a, b) = ("p".parse().unwrap(), "a".parse().unwrap(), "b".parse().unwrap());
        let mut places = Vec::new();
        for _ in 0..5 {
            places.push(shares.enter(&p, &a, 0).unwrap());
        }
        let refused = shares.enter(&p, &a, 0).err().unwrap();
        assert!(
            matches!(refused, Refusal::OverShare(Share::AccountRate, wait) if wait <= SOON),
            "{refused:?}"
        );
        shares.enter(&p, &b, 0).unwrap();
        // A project has five times as much, and its neighbour its own.
        for account in ["c", "d", "e", "f", "g"] {
            let account = account.parse().unwrap();
            places.extend((0..5).map_while(|_| shares.enter(&p, &account, 0).ok()));
        }
        assert_eq!(places.len(), 24, "with the one of b, 25 of the project");
        shares.enter(&"q".parse().unwrap(), &"h".parse().unwrap(), 0).unwrap();
    }

    #[test]
    fn bytes_are_refused_before_they_are_read() {
        let shares = shares(Config { account_bytes_per_second: 4 << 20, ..Config::default() });
        let (p, a, b) = ("p".parse().unwrap(), "a".parse().unwrap(), "b".parse().unwrap());
        for _ in 0..4 {
            shares.enter(&p, &a, 1 << 20).unwrap();
        }
        let refused = shares.enter(&p, &a, 1 << 20).err().unwrap();
        assert_eq!(refused.name(), "account_rate");
        shares.enter(&p, &b, 1 << 20).unwrap();
        // Without a length they are charged as they come.
        let mut place = shares.enter(&p, &b, 0).unwrap();
        assert_eq!((0..4).map_while(|_| place.hold(1 << 20).ok()).count(), 3);
    }

    #[test]
    fn one_account_holds_a_share_and_all_together_what_there_is() {
        let config = Config { held_bytes: 8 << 20, account_bytes_per_second: u32::MAX, ..Config::default() };
        let shares = shares(config);
        let p = "p".parse().unwrap();
        let mut places = Vec::new();
        for account in 0..8 {
            let account = format!("a{account}").parse().unwrap();
            let mut place = shares.enter(&p, &account, 0).unwrap();
            place.hold(1 << 20).unwrap();
            assert_eq!(place.hold(1).unwrap_err(), Share::AccountHeld.spent(SOON));
            places.push(place);
        }
        let mut late = shares.enter(&p, &"z".parse().unwrap(), 0).unwrap();
        assert_eq!(late.hold(1).unwrap_err(), Refusal::Full);
        places.pop();
        late.hold(1).unwrap();
        drop((late, places));
        let held = shares.held();
        assert!(held.bytes == 0 && held.accounts.is_empty() && held.requests.is_empty());
    }

    #[test]
    fn unknown_tokens_are_remembered_bounded_and_looked_up_by_address() {
        let shares = shares(Config { address_look_ups_per_second: 3, ..Config::default() });
        for token in 0..3 * UNKNOWN_TOKENS {
            shares.note_unknown(token.to_string());
        }
        assert!(shares.unknown.len() <= UNKNOWN_TOKENS);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for _ in 0..3 {
            shares.look_up(address("2001:db8::1")).unwrap();
        }
        let refused = shares.look_up(address("2001:db8::ffff")).unwrap_err();
        assert_eq!(refused.name(), "address_look_ups");
        shares.look_up(address("2001:db8:0:1::1")).unwrap();
        shares.look_up(address("192.0.2.1")).unwrap();
    }
}
