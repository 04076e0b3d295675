//! When a resource of an account is polled next, and how (design §5, cadence).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tributary_schemas::{
    entity::{Sealed, Version},
    id::{ProjectionVersion, RunId},
    observation::{Announce, Baseline},
    state::Head,
    time::Timestamp,
};

use super::{asks::Ask, outcome::Standing};
use crate::retry_after;

/// What poll keeps of an (account, resource) between runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollState {
    /// The last run that was claimed; 0 before the first.
    pub claimed: RunId,
    /// Which runs are the first that count, and how the first is told.
    pub baseline: Baseline,
    /// Whether somebody wanted the resource when it was last looked at.
    pub interest: Interest,
    /// Where deltas go on.
    #[serde(default)]
    pub position: Option<Position>,
    /// Deltas in a row of which something could not be read: the position stayed.
    #[serde(default)]
    pub held: u8,
    /// Positions that the provider did not keep, since the last delta that landed.
    #[serde(default)]
    pub expired: u32,
    /// The last full scan that landed.
    pub full: Option<Landed>,
    /// The last run of either kind that landed.
    pub last: Option<Landed>,
    /// Some absence was doubted: the next full scan should come soon.
    #[serde(default)]
    pub doubted: Doubted,
    /// What was asked for and is not done yet.
    #[serde(default, rename = "pending")]
    pub asked: Asked,
    /// How the last run ended, since when, and how often.
    #[serde(default)]
    pub standing: Option<Standing>,
    /// Runs that failed since the last one that landed.
    #[serde(default)]
    pub failures: u32,
    /// When it failed.
    #[serde(default)]
    pub failed_at: Option<Timestamp>,
    /// The account's version when it failed: a change of the account ends the wait.
    #[serde(default)]
    pub failed_version: Version,
    /// The provider asked us to wait until then.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
}

/// Where deltas go on: what the connector keeps of the last landed run, sealed. Another projection's, or one from before the
/// baseline, is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The connector's own.
    pub sealed: Sealed,
    /// Whose it is.
    pub of_run: RunId,
    /// What made that run's hashes.
    pub projection: ProjectionVersion,
}

/// What becomes of the position when a run has landed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Deltas go on from there.
    To(Sealed),
    /// There are no deltas.
    Nowhere,
    /// Something of a delta could not be read: it is asked for again.
    Stay,
}

/// Runs that were asked for, one of each at most, and when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// Poll now.
    pub run: Option<Timestamp>,
    /// List everything now.
    pub list: Option<Timestamp>,
    /// Announce every record as created again.
    pub resync: Option<Timestamp>,
    /// Confirm doubtful absences.
    pub release: Option<Timestamp>,
    /// A provider's notification.
    pub notified: Option<Timestamp>,
    /// The last `resync` that was taken: there is one an hour at most.
    pub resynced: Option<Timestamp>,
}

/// What becomes of something that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It will be done.
    Noted,
    /// The same is pending already: it will be done once.
    Pending,
    /// It is set aside: the last one was less than an hour ago.
    TooSoon,
}

/// Whether a resource is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interest {
    /// By a webhook or a topic wish.
    Wanted,
    /// By nobody: it is not polled, and wanting it anew begins a new baseline.
    Unwanted,
}

/// Whether a scan left doubtful absences behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubted {
    /// It did not.
    #[default]
    Nothing,
    /// It may have: as many may have gone as have come, or more. Only unify, which knew them by name, can say.
    Perhaps,
    /// It did: the next full scan decides.
    Absences,
}

/// A run that landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landed {
    /// Its number.
    pub run: RunId,
    /// When it began.
    pub begun_at: Timestamp,
    /// When it had landed.
    pub ended_at: Timestamp,
    /// Records listed (full), or changed (delta).
    pub records: u64,
    /// What made its hashes.
    pub projection: ProjectionVersion,
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// Between two runs.
    pub interval: Duration,
    /// Between two full scans; `None`: 1 h up to 10 000 records, 24 h above.
    pub full_interval: Option<Duration>,
    /// Whether the provider can list what changed.
    pub delta: Delta,
}

/// Whether the provider can list what changed since a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delta {
    /// It can.
    Possible,
    /// It can't: every run is a full scan.
    Impossible,
}

/// A kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A complete listing. `Released`: doubtful absences count as sure.
    Full(Release),
    /// What changed since the position.
    Delta,
}

/// Whether a person confirmed doubtful absences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Nobody did.
    No,
    /// Somebody did.
    Yes,
}

/// What to do about an (account, resource) now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing before then.
    At(Timestamp),
    /// Run.
    Run(Kind),
}

/// The longest interval that counts (contract §5), whatever was stored: it bounds every timer.
pub const LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Deltas in a row that may hold what can't be read, before everything is listed instead.
const HELD_MOST: u8 = 3;
/// Positions in a row that the provider did not keep, after which everything is listed by its own interval alone.
const EXPIRED_MOST: u32 = 2;
/// Records up to which a full scan is made every hour.
const SMALL: u64 = 10_000;
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// The first wait after a failure; it doubles with each, up to the interval.
const BACKOFF: Duration = Duration::from_secs(30);

impl PollState {
    /// An (account, resource) that was never polled, wanted from now on.
    pub fn new() -> Self {
        Self {
            claimed: RunId(0),
            baseline: Baseline { from: RunId(1), announce: Announce::Nothing },
            interest: Interest::Wanted,
            position: None,
            held: 0,
            expired: 0,
            full: None,
            last: None,
            doubted: Doubted::Nothing,
            asked: Asked::default(),
            standing: None,
            failures: 0,
            failed_at: None,
            failed_version: 0,
            not_before: None,
        }
    }

    /// Claims the next run.
    pub fn claim(&mut self) -> RunId {
        self.claimed = RunId(self.claimed.0 + 1);
        self.claimed
    }

    /// Begins a new baseline with the next run: the resource is wanted anew, or `resync`.
    pub fn rebase(&mut self, announce: Announce) {
        self.baseline = Baseline { from: RunId(self.claimed.0 + 1), announce };
        self.position = None;
    }

    /// Notes whether the resource is wanted; wanting it anew begins a new baseline. Says whether anything changed.
    pub fn want(&mut self, interest: Interest) -> Changed {
        match (self.interest, interest) {
            (Interest::Wanted, Interest::Wanted) | (Interest::Unwanted, Interest::Unwanted) => {
                return Changed::No;
            }
            (Interest::Unwanted, Interest::Wanted) => self.rebase(Announce::Nothing),
            (Interest::Wanted, Interest::Unwanted) => {}
        }
        self.interest = interest;
        Changed::Yes
    }

    /// Notes that something was asked `at`. What a person asks ends any wait of the account's own.
    pub fn ask(&mut self, ask: Ask, at: Timestamp) -> Taken {
        if ask.ends_a_wait() {
            (self.failed_at, self.not_before) = (None, None);
        }
        let pending = match ask {
            Ask::Look => return Taken::Noted,
            Ask::Run => &mut self.asked.run,
            Ask::List => &mut self.asked.list,
            Ask::Resync => &mut self.asked.resync,
            Ask::Release => &mut self.asked.release,
            Ask::Notified => &mut self.asked.notified,
        };
        // A run that has begun may have passed what is asked for now: the later time stands.
        if pending.replace(at).is_some() {
            return Taken::Pending;
        }
        if ask == Ask::Resync {
            if self.asked.resynced.is_some_and(|last| at.since(last) < HOUR) {
                self.asked.resync = None;
                return Taken::TooSoon;
            }
            self.asked.resynced = Some(at);
            self.rebase(Announce::Created);
        }
        Taken::Noted
    }

    /// Notes that a run landed, and where deltas go on from it.
    pub fn landed(&mut self, kind: Kind, landed: Landed, doubted: Doubted, to: Move) {
        self.last = Some(landed);
        match kind {
            Kind::Full(_) => {
                self.full = Some(landed);
                self.doubted = doubted;
            }
            Kind::Delta => {}
        }
        self.asked.done(kind, landed.begun_at);
        match to {
            Move::To(sealed) => {
                let (of_run, projection) = (landed.run, landed.projection);
                self.position = Some(Position { sealed, of_run, projection });
                self.held = 0;
                if kind == Kind::Delta {
                    self.expired = 0;
                }
            }
            Move::Nowhere => (self.position, self.held) = (None, 0),
            Move::Stay => {
                self.held += 1;
                if self.held >= HELD_MOST {
                    (self.asked.list, self.held) = (Some(landed.ended_at), 0);
                }
            }
        }
        self.failures = 0;
        self.failed_at = None;
        self.not_before = None;
    }

    /// Notes that the provider does not keep the position any more: everything is listed at once, without a back-off. Where it
    /// never keeps one, everything is listed by its own interval.
    pub fn expired(&mut self, at: Timestamp) {
        self.position = None;
        self.expired = self.expired.saturating_add(1);
        if self.expired < EXPIRED_MOST {
            self.asked.list = Some(at);
        }
    }

    /// Notes what unify made of the last full scan, if that was not known: whether it marked records as missing. Until it has
    /// seen the scan, nobody can say.
    pub fn looked(&mut self, head: Option<Head>, missing: u64) -> Changed {
        let seen = head.and_then(|head| head.last_full_run) >= self.full.map(|full| full.run);
        if self.doubted != Doubted::Perhaps || !seen {
            return Changed::No;
        }
        self.doubted = if missing > 0 { Doubted::Absences } else { Doubted::Nothing };
        Changed::Yes
    }

    /// Notes that a run failed, and how long the provider asked us to wait, if it did.
    pub fn failed(&mut self, at: Timestamp, not_before: Option<Timestamp>, version: Version) {
        self.failed_version = version;
        self.failures = self.failures.saturating_add(1);
        self.failed_at = Some(at);
        self.not_before = not_before.map(|until| until.min(at.plus(retry_after::MOST)));
    }
}

impl Asked {
    /// Forgets what a run that began then has done.
    fn done(&mut self, kind: Kind, begun_at: Timestamp) {
        let forget = |asked: &mut Option<Timestamp>| {
            if asked.is_some_and(|at| at <= begun_at) {
                *asked = None;
            }
        };
        forget(&mut self.run);
        forget(&mut self.notified);
        if let Kind::Full(release) = kind {
            forget(&mut self.list);
            forget(&mut self.resync);
            if release == Release::Yes {
                forget(&mut self.release);
            }
        }
    }
}

impl Default for PollState {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It did.
    Yes,
    /// It did not.
    No,
}

/// Decides what to do now. `jitter` in 0..1 spreads accounts over a tenth of their interval. What is stored may be absurd:
/// intervals are cut to [`LONGEST`], and so is how far ahead the next look is.
pub fn next(
    state: &PollState,
    cadence: &Cadence,
    projection: ProjectionVersion,
    now: Timestamp,
    jitter: f64,
) -> Next {
    let cadence = Cadence {
        interval: cadence.interval.min(LONGEST),
        full_interval: cadence.full_interval.map(|interval| interval.min(LONGEST)),
        delta: cadence.delta,
    };
    match due(state, &cadence, projection, now, jitter) {
        Next::At(at) => Next::At(at.min(now.plus(LONGEST))),
        run @ Next::Run(_) => run,
    }
}

fn due(
    state: &PollState,
    cadence: &Cadence,
    projection: ProjectionVersion,
    now: Timestamp,
    jitter: f64,
) -> Next {
    let until = backing_off(state, cadence, jitter).max(state.not_before);
    if let Some(until) = until.filter(|until| *until > now) {
        return Next::At(until);
    }
    match state.asked {
        Asked { release: Some(_), .. } => return Next::Run(Kind::Full(Release::Yes)),
        Asked { list: Some(_), .. } | Asked { resync: Some(_), .. } => {
            return Next::Run(Kind::Full(Release::No));
        }
        Asked { run: Some(_), .. } | Asked { notified: Some(_), .. } => {
            return Next::Run(delta_or_full(state, cadence, projection));
        }
        Asked { .. } => {}
    }
    let Some(full) =
        state.full.filter(|full| full.run >= state.baseline.from && full.projection == projection)
    else {
        return Next::Run(Kind::Full(Release::No));
    };
    let spread = cadence.interval.mul_f64(jitter.clamp(0.0, 1.0) / 10.0);
    let full_due = full.begun_at.plus(full_interval(state, cadence, full)).plus(spread);
    if full_due <= now {
        return Next::Run(Kind::Full(Release::No));
    }
    if cadence.delta == Delta::Possible && state.position.is_none() && state.expired >= EXPIRED_MOST {
        return Next::At(full_due);
    }
    let last = state.last.unwrap_or(full);
    let due = last.begun_at.plus(cadence.interval).plus(spread);
    if due <= now {
        return Next::Run(delta_or_full(state, cadence, projection));
    }
    Next::At(due.min(full_due))
}

fn delta_or_full(state: &PollState, cadence: &Cadence, projection: ProjectionVersion) -> Kind {
    let from = state.baseline.from;
    let based = state.full.is_some_and(|full| full.run >= from);
    let stands = |at: &Position| at.of_run >= from && at.projection == projection;
    match (cadence.delta, &state.position) {
        (Delta::Possible, Some(position)) if based && stands(position) => Kind::Delta,
        (Delta::Possible | Delta::Impossible, _) => Kind::Full(Release::No),
    }
}

fn full_interval(state: &PollState, cadence: &Cadence, full: Landed) -> Duration {
    let usual = cadence.full_interval.unwrap_or(if full.records <= SMALL { HOUR } else { DAY });
    match state.doubted {
        Doubted::Nothing => usual,
        Doubted::Absences | Doubted::Perhaps => usual.min(HOUR),
    }
}

fn backing_off(state: &PollState, cadence: &Cadence, jitter: f64) -> Option<Timestamp> {
    let failed_at = state.failed_at?;
    let doubled = BACKOFF.saturating_mul(1 << state.failures.saturating_sub(1).min(16));
    let wait = doubled.min(cadence.interval).min(HOUR);
    Some(failed_at.plus(wait.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tributary_schemas::id::ProjectionDigest;

    use super::*;

    const V1: ProjectionVersion = version(1);
    const V2: ProjectionVersion = version(2);

    const fn version(content: u8) -> ProjectionVersion {
        ProjectionVersion { identity: ProjectionDigest([1; 8]), content: ProjectionDigest([content; 8]) }
    }

    const FULL: Next = Next::Run(Kind::Full(Release::No));

    proptest! {
        #[test]
        fn no_look_is_further_ahead_than_the_longest_interval(
            (interval, full_interval) in (any::<u64>(), any::<Option<u64>>()),
            (failed_at, not_before, begun_at, now) in (any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>()),
            failures in any::<u32>(),
            jitter in 0.0..1.0,
        ) {
            let cadence = Cadence {
                interval: Duration::from_secs(interval),
                full_interval: full_interval.map(Duration::from_secs),
                delta: Delta::Impossible,
            };
            let at = Timestamp::from_micros;
            let landed = Landed {
                run: RunId(1), begun_at: at(begun_at), ended_at: at(begun_at), records: 9, projection: V1,
            };
            let mut state = scanned(9);
            (state.full, state.last) = (Some(landed), Some(landed));
            (state.failures, state.failed_at, state.not_before) =
                (failures, Some(at(failed_at)), Some(at(not_before)));
            if let Next::At(look) = next(&state, &cadence, V1, at(now), jitter) {
                prop_assert!(look.since(at(now)) <= LONGEST);
            }
        }
    }

    #[test]
    fn what_is_asked_is_done_once_and_what_is_asked_meanwhile_is_not_lost() {
        let mut state = scanned(9);
        assert_eq!(state.ask(Ask::Run, minute(2)), Taken::Noted);
        assert_eq!(state.ask(Ask::Run, minute(3)), Taken::Pending);
        let run = state.claim();
        let landed = Landed { run, begun_at: minute(4), ended_at: minute(6), records: 9, projection: V1 };
        // While it runs, somebody asks again, and somebody for a release.
        assert_eq!(state.ask(Ask::Run, minute(5)), Taken::Pending);
        assert_eq!(state.ask(Ask::Release, minute(5)), Taken::Noted);
        state.landed(Kind::Full(Release::No), landed, Doubted::Nothing, to());
        let can = cadence(Delta::Possible);
        assert_eq!(next(&state, &can, V1, minute(6), 0.0), Next::Run(Kind::Full(Release::Yes)));
        let run = state.claim();
        let landed = Landed { run, begun_at: minute(7), ended_at: minute(8), ..landed };
        state.landed(Kind::Full(Release::Yes), landed, Doubted::Nothing, to());
        assert!(matches!(next(&state, &can, V1, minute(8), 0.0), Next::At(_)), "all of it is done");
    }

    #[test]
    fn a_resync_is_taken_once_an_hour() {
        let mut state = scanned(9);
        for (at, taken, baseline) in
            [(1, Taken::Noted, 2), (2, Taken::Pending, 2), (59, Taken::TooSoon, 2), (61, Taken::Noted, 3)]
        {
            assert_eq!(state.ask(Ask::Resync, minute(at)), taken, "minute {at}");
            assert_eq!(state.baseline.from, RunId(baseline), "minute {at}");
            if at == 2 {
                let run = state.claim();
                let landed =
                    Landed { run, begun_at: minute(3), ended_at: minute(3), records: 9, projection: V1 };
                state.landed(Kind::Full(Release::No), landed, Doubted::Nothing, to());
            }
        }
    }

    #[test]
    fn a_person_who_asks_ends_a_wait() {
        let can = cadence(Delta::Possible);
        for (ask, ends) in [(Ask::Run, true), (Ask::List, true), (Ask::Notified, false)] {
            let mut state = scanned(9);
            state.failed(minute(1), Some(minute(600)), 1);
            state.ask(ask, minute(2));
            let runs = matches!(next(&state, &can, V1, minute(2), 0.0), Next::Run(_));
            assert_eq!(runs, ends, "{ask:?}");
        }
    }

    #[test]
    fn a_wait_of_a_month_is_cut_to_a_day() {
        let mut state = scanned(9);
        state.failed(minute(10), Some(minute(10 + 30 * 24 * 60)), 1);
        let look = next(&state, &cadence(Delta::Possible), V1, minute(10), 0.5);
        assert_eq!(look, Next::At(minute(10 + 24 * 60)));
    }

    fn to() -> Move {
        Move::To(Sealed("v1.k.x".into()))
    }

    #[test]
    fn a_delta_that_could_not_be_read_whole_is_asked_for_again_and_then_everything_is() {
        let (mut state, can) = (scanned(9), cadence(Delta::Possible));
        let position = state.position.clone();
        for (at, expected) in [(5, Kind::Delta), (10, Kind::Delta), (15, Kind::Full(Release::No))] {
            let run = state.claim();
            let landed =
                Landed { run, begun_at: minute(at), ended_at: minute(at), records: 1, projection: V1 };
            state.landed(Kind::Delta, landed, Doubted::Nothing, Move::Stay);
            assert_eq!(state.position, position, "it stays");
            assert_eq!(next(&state, &can, V1, minute(at + 5), 0.0), Next::Run(expected), "{at}");
        }
        let landed = Landed { run: state.claim(), ..state.last.unwrap() };
        state.landed(Kind::Full(Release::No), landed, Doubted::Nothing, to());
        assert_eq!((state.held, state.position.unwrap().of_run), (0, landed.run));
    }

    #[test]
    fn a_position_that_is_not_kept_brings_a_full_run_at_once_and_one_that_never_is_does_not() {
        let (mut state, can) = (scanned(9), cadence(Delta::Possible));
        state.expired(minute(5));
        assert_eq!(next(&state, &can, V1, minute(5), 0.0), FULL, "at once");
        let landed =
            |run, at| Landed { run, begun_at: minute(at), ended_at: minute(at), records: 9, projection: V1 };
        let run = state.claim();
        state.landed(Kind::Full(Release::No), landed(run, 6), Doubted::Nothing, to());
        assert_eq!(next(&state, &can, V1, minute(11), 0.0), Next::Run(Kind::Delta));
        state.expired(minute(11));
        assert_eq!(next(&state, &can, V1, minute(12), 0.0), Next::At(minute(66)), "by its own interval");
        let run = state.claim();
        state.landed(Kind::Full(Release::No), landed(run, 66), Doubted::Nothing, to());
        let run = state.claim();
        state.landed(Kind::Delta, landed(run, 71), Doubted::Nothing, to());
        assert_eq!(state.expired, 0, "one is kept after all");
    }

    #[test]
    fn a_position_of_before_the_baseline_or_of_another_projection_is_ignored() {
        let can = cadence(Delta::Possible);
        let mut state = scanned(9);
        state.position.as_mut().unwrap().projection = V2;
        assert_eq!(next(&state, &can, V1, minute(5), 0.0), FULL);
        let mut state = scanned(9);
        state.position.as_mut().unwrap().of_run = RunId(0);
        assert_eq!(next(&state, &can, V1, minute(5), 0.0), FULL);
    }

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_micros(minute * 60_000_000)
    }

    fn cadence(delta: Delta) -> Cadence {
        Cadence { interval: Duration::from_secs(300), full_interval: None, delta }
    }

    /// A first full scan of `records` that ran at minute 0.
    fn scanned(records: u64) -> PollState {
        let mut state = PollState::new();
        let run = state.claim();
        let landed = Landed { run, begun_at: minute(0), ended_at: minute(1), records, projection: V1 };
        state.landed(Kind::Full(Release::No), landed, Doubted::Nothing, to());
        state
    }

    #[test]
    fn the_first_run_is_a_full_scan_and_deltas_follow_between_full_scans() {
        let delta = Next::Run(Kind::Delta);
        let (can, cannot) = (cadence(Delta::Possible), cadence(Delta::Impossible));
        assert_eq!(next(&PollState::new(), &can, V1, minute(0), 0.0), FULL);
        for (rule, state, cadence, at, expected) in [
            ("not yet", scanned(9), can, 4, Next::At(minute(5))),
            ("a delta by its interval", scanned(9), can, 5, delta),
            ("without a time filter every run is full", scanned(9), cannot, 5, FULL),
            ("a small account's full scan by the hour", scanned(10_000), can, 60, FULL),
            ("a large one's by the day", scanned(10_001), can, 60, delta),
            ("a large one's by the day", scanned(10_001), can, 24 * 60, FULL),
        ] {
            assert_eq!(next(&state, &cadence, V1, minute(at), 0.0), expected, "{rule}");
        }
    }

    #[test]
    fn what_invalidates_the_last_full_scan_brings_the_next_at_once() {
        let can = cadence(Delta::Possible);
        assert_eq!(next(&scanned(9), &can, V2, minute(1), 0.0), FULL, "another projection");
        let mut resynced = scanned(9);
        resynced.rebase(Announce::Created);
        assert_eq!(next(&resynced, &can, V1, minute(1), 0.0), FULL, "a new baseline");
        assert_eq!(resynced.baseline, Baseline { from: RunId(2), announce: Announce::Created });
        let mut released = scanned(9);
        assert_eq!(released.ask(Ask::Release, minute(1)), Taken::Noted);
        assert_eq!(
            next(&released, &can, V1, minute(1), 0.0),
            Next::Run(Kind::Full(Release::Yes)),
            "a release"
        );
    }

    #[test]
    fn a_doubt_brings_the_next_full_scan_forward_to_an_hour() {
        let mut state = scanned(1_000_000);
        state.doubted = Doubted::Absences;
        assert_eq!(next(&state, &cadence(Delta::Possible), V1, minute(60), 0.0), FULL);
    }

    #[test]
    fn what_unify_marked_decides_where_the_numbers_could_not_say() {
        let head = |run| {
            let bits = tributary_schemas::id::Bits::NATIVE;
            Some(Head { last_full_run: Some(RunId(run)), bits, bits_before: None, moved: 0 })
        };
        let can = cadence(Delta::Possible);
        for (rule, head, missing, doubted, after_an_hour) in [
            ("it has not seen the scan", None, 0, Doubted::Perhaps, true),
            ("it has seen the one before", head(0), 9, Doubted::Perhaps, true),
            ("it marked none", head(1), 0, Doubted::Nothing, false),
            ("it marked one", head(1), 1, Doubted::Absences, true),
            ("a later one has been seen", head(2), 0, Doubted::Nothing, false),
        ] {
            let mut state = scanned(1_000_000);
            state.doubted = Doubted::Perhaps;
            let changed = state.looked(head, missing);
            assert_eq!(
                (state.doubted, changed == Changed::Yes),
                (doubted, doubted != Doubted::Perhaps),
                "{rule}"
            );
            assert_eq!(next(&state, &can, V1, minute(60), 0.0) == FULL, after_an_hour, "{rule}");
        }
        let mut sure = scanned(1_000_000);
        sure.doubted = Doubted::Absences;
        assert_eq!((sure.looked(head(1), 0), sure.doubted), (Changed::No, Doubted::Absences));
    }

    #[test]
    fn wanting_anew_begins_a_baseline_but_going_on_wanting_does_not() {
        let mut state = scanned(9);
        assert_eq!(state.want(Interest::Wanted), Changed::No);
        assert_eq!(state.want(Interest::Unwanted), Changed::Yes);
        assert_eq!(state.baseline.from, RunId(1));
        assert_eq!(state.want(Interest::Wanted), Changed::Yes);
        assert_eq!(state.baseline.from, RunId(2));
    }

    #[test]
    fn a_failing_run_backs_off_up_to_the_interval() {
        let mut state = scanned(9);
        let mut waits = Vec::new();
        for _ in 0..6 {
            state.failed(minute(10), None, 1);
            let Next::At(at) = next(&state, &cadence(Delta::Possible), V1, minute(10), 0.5) else {
                panic!("it backs off");
            };
            waits.push(at.since(minute(10)).as_secs());
        }
        assert_eq!(waits, [30, 60, 120, 240, 300, 300]);
        state.failed(minute(10), Some(minute(70)), 1);
        let next = next(&state, &cadence(Delta::Possible), V1, minute(10), 0.5);
        assert_eq!(next, Next::At(minute(70)), "what the provider asks for counts");
    }
}
