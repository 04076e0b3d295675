//! Rules of one record, as tables and properties.
//!
//! A history is a list of steps. `s3a`: full scan 3 lists the record with content `a`; `d3a`: so does a delta; `b3a`: so
//! does a silent baseline, `r3a`: one that announces; `p3a`: a full scan of another projection. Instead of a content: `-`
//! it is not listed (of a delta: named as deleted), `~` it is not listed, doubtfully, `?` it could not be read.
//! `n3`: a native `updated`, `n3+` `created`, `n3-` `deleted`; `<1` at its end: at time 1 by the provider's clock.
//! Run 3 begins at time 3, and `n3` is received then; a time is ten minutes, `'` makes it a minute later, and `settle` is two minutes.

use std::time::Duration;

use proptest::prelude::*;
use tributary_schemas::{
    id::{RecordHash, RunId, Sequence},
    observation::Content,
    resource::Action,
    state::State,
    time::Timestamp,
};

use super::*;

const MINUTE: i64 = 60_000_000;

#[derive(Default)]
struct History {
    known: Option<Known>,
    last_full_run: Option<RunId>,
    changes: String,
}

impl History {
    fn of(steps: &str) -> Self {
        let mut history = Self::default();
        steps.split_whitespace().for_each(|step| history.step(step));
        history
    }

    fn step(&mut self, step: &str) {
        let (kind, rest) = step.split_at(1);
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (number, rest) = rest.split_at(digits);
        let number: i64 = number.parse().unwrap();
        let (minutes, rest) = match rest.strip_prefix('\'') {
            Some(rest) => (number * 10 + 1, rest),
            None => (number * 10, rest),
        };
        let told = match kind {
            "n" => Told::Native(news(minutes, rest)),
            kind => self.run(kind, number, minutes, rest),
        };
        self.observe(Timestamp::from_micros(minutes * MINUTE), told);
    }

    fn run(&mut self, kind: &str, number: i64, minutes: i64, rest: &str) -> Told {
        let run = RunId(number as u64);
        if kind != "d" {
            self.last_full_run = self.last_full_run.max(Some(run));
        }
        let pass = Pass {
            run,
            begun_at: Timestamp::from_micros(minutes * MINUTE),
            settle: Duration::from_secs(120),
            last_full_run: self.last_full_run,
            standing: match kind {
                "b" => Standing::Baseline(Announce::Nothing),
                "r" => Standing::Baseline(Announce::Created),
                _ => Standing::Compared,
            },
            hashes: if kind == "p" { Hashes::Incomparable } else { Hashes::Comparable },
        };
        let sight = match (kind, rest) {
            ("d", "-") => Sight::Deleted(None),
            (_, "-") => Sight::Unlisted(Doubt::Sure),
            (_, "~") => Sight::Unlisted(Doubt::Doubtful),
            (_, "?") => Sight::Listed(Content::Unread),
            (_, content) => Sight::Listed(Content::Hash(RecordHash([content.as_bytes()[0]; 16]))),
        };
        Told::Run(pass, sight)
    }

    fn observe(&mut self, now: Timestamp, told: Told) {
        let remote_id = RemoteId::new("42");
        let mut seen = observe(self.known.as_ref(), &Observation { remote_id: &remote_id, told });
        if let Some(action) = seen.change {
            let now_known = seen.now.as_mut().expect("an event changes what is known");
            now_known.sequence = Some(Sequence(now.as_micros()));
            self.changes.push_str(&action.name()[..1]);
        }
        self.known = seen.now.or(self.known.take());
    }

    fn state(&self) -> String {
        let letter = |hash: RecordHash| char::from(hash.0[0]);
        match self.known.as_ref().map(|known| known.state) {
            None => String::new(),
            Some(State::Live(hash)) => letter(hash).into(),
            Some(State::Missing { hash, .. }) => format!("{}~", hash.map_or('*', letter)),
            Some(State::Touched) => "*".into(),
            Some(State::Gone) => "-".into(),
        }
    }
}

fn news(minutes: i64, rest: &str) -> News {
    let (action, occurred) = rest.split_once('<').map_or((rest, None), |(action, at)| (action, Some(at)));
    News {
        action: match action {
            "+" => Action::Created,
            "-" => Action::Deleted,
            _ => Action::Updated,
        },
        received_at: Timestamp::from_micros(minutes * MINUTE),
        occurred_at: occurred.map(|at| Timestamp::from_micros(at.parse::<i64>().unwrap() * 10 * MINUTE)),
        settle: Duration::from_secs(120),
    }
}

/// The changes that a history announces.
fn changes(steps: &str) -> String {
    History::of(steps).changes
}

#[test]
fn a_record_speaks_only_when_it_changed() {
    for (rule, history, expected) in [
        ("first sight creates", "s1a", "c"),
        ("the same content is silent", "s1a s2a", "c"),
        ("other content updates", "s1a s2b", "cu"),
        ("a delta creates and updates too", "d1a d2b", "cu"),
        ("absence from its range deletes", "s1a s2-", "cd"),
        ("what was never there is not missed", "s1-", ""),
        ("a gone record that is listed again is created", "s1a s2- s3a", "cdc"),
        ("a gone record is not deleted again", "s1a s2- s3-", "cd"),
        ("a provider's feed deletes", "s1a d2-", "cd"),
        ("a record that can't be read is not new", "s1?", ""),
        ("nor is it changed", "s1a s2?", "c"),
        ("nor gone", "s1a s2? s3a", "c"),
    ] {
        assert_eq!(changes(history), expected, "{rule}");
    }
}

#[test]
fn a_run_says_nothing_about_what_was_learnt_after_it_began() {
    for (rule, history, expected) in [
        ("a late page cannot resurrect", "s1a s3- s2a", "cd"),
        ("a late page cannot overwrite", "s1a d3b s2c", "cu"),
        ("a late listing cannot delete", "s1a d3b s2-", "cu"),
        ("a late delta cannot resurrect", "s1a s3- d2a", "cd"),
        ("a page after a later full run's summary is stale, though nothing changed", "s1a s3a d2b", "c"),
        ("the same run speaks once of a record", "s1a d2b d2c", "cu"),
        ("a run that began before a native event is silent", "s1a n3 s2b s3-", "cu"),
        ("so is one that began within settle of it", "s1a n2- d2'a", "cd"),
        ("so is one that lists less than it told", "s1a n2+ n3 s3'-", "cu"),
        ("one that began after settle speaks", "s1a n2- s3a", "cdc"),
    ] {
        assert_eq!(changes(history), expected, "{rule}");
    }
}

#[test]
fn doubtful_absence_marks_and_the_next_full_run_decides() {
    for (rule, history, expected, state) in [
        ("a doubtful absence is only marked", "s1a s2~", "c", "a~"),
        ("the next full run that misses it too deletes it", "s1a s2~ s3~", "cd", "-"),
        ("one that lists it clears the mark", "s1a s2~ s3a s4~", "c", "a~"),
        ("one that lists it changed updates it", "s1a s2~ s3b", "cu", "b"),
        ("a delta that lists it clears the mark", "s1a s2~ d3a", "c", "a"),
        ("a record that can't be read is there", "s1a s2~ s3?", "c", "a"),
        ("the same run does not delete what it has marked", "s1a s2~ s2~", "c", "a~"),
        ("a native event touches a marked record", "s1a s2~ n3", "cu", "*"),
        ("a touched record can be marked", "s1a n2 s3~", "cu", "*~"),
        ("and is adopted when it is back", "s1a n2 s3~ s4b", "cu", "b"),
        ("a marked record that was deleted speaks", "s1a s2~ n3-", "cd", "-"),
    ] {
        let history = History::of(history);
        assert_eq!((&*history.changes, &*history.state()), (expected, state), "{rule}");
    }
}

#[test]
fn a_native_event_speaks_unless_it_was_told() {
    for (rule, history, expected, state) in [
        ("a native event is adopted, once", "s1a n2 s3b s4c", "cuu", "c"),
        ("created, then listed", "n1+ s2a s3a", "c", "a"),
        ("created of a record that a scan has told", "s1a n2+", "c", "a"),
        ("created of a record of a baseline", "b1a n2+", "", "a"),
        ("created twice", "n1+ n2+", "c", "*"),
        ("updated of an unknown record", "n1", "u", "*"),
        ("created after its updated", "n1 n2+", "uc", "*"),
        ("each updated speaks", "s1a n2 n3", "cuu", "*"),
        ("a thin updated that a scan has told is told again", "s1a s2b n2", "cuu", "*"),
        ("deleted", "s1a n2-", "cd", "-"),
        ("deleted of an unknown record", "n1-", "d", "-"),
        ("deleted twice", "n1+ n2- n3-", "cd", "-"),
        ("deleted after a scan has told it", "s1a s2- n3-", "cd", "-"),
        ("updated within settle of its delete", "n1+ n2- n2'", "cd", "-"),
        ("updated before its delete by the provider's clock", "n1+ n4- n5<3", "cd", "-"),
        ("updated after its delete", "n1+ n4- n6<5", "cdu", "*"),
        ("updated after its delete, when nobody knows", "n1+ n4- n5", "cdu", "*"),
        ("created within settle of its delete", "n2- n2'+", "d", "-"),
        ("created anew", "n1+ n2- n3+", "cdc", "*"),
        ("created anew after a scan has told its delete", "s1a s2- n5+", "cdc", "*"),
        ("an event that comes after a later one trusts no earlier run", "n3+ n2 s3-", "cu", "*"),
        ("updated within settle of a delete that a scan told", "s1a s2- n2'", "cd", "-"),
        ("created anew while the scan that missed it went on", "s1a s2- n3+", "cdc", "*"),
        ("a touched record that a scan misses is deleted", "n1+ s2-", "cd", "-"),
        ("a touched record that can't be read stays touched", "s1a n2 s3? s4b", "cu", "b"),
    ] {
        let history = History::of(history);
        assert_eq!((&*history.changes, &*history.state()), (expected, state), "{rule}");
    }
}

#[test]
fn a_baseline_is_taken_over_as_it_says() {
    for (rule, history, expected, state) in [
        ("in silence", "b1a", "", "a"),
        ("in silence, whatever was known", "s1a b2b", "c", "b"),
        ("what is not there any more goes in silence", "s1a b2-", "c", "-"),
        ("what is there again comes in silence", "s1a s2- b3a", "cd", "a"),
        ("a record that could not be read is no news later", "b1? s2a s3b", "u", "b"),
        ("a doubt marks, or what is there would be told as created again", "s1a b2~ s3a", "c", "a"),
        ("announced", "r1a", "c", "a"),
        ("announced again", "s1a r2a", "cc", "a"),
        ("announced, whatever was known", "s1a r2b", "cc", "b"),
        ("what is gone speaks when all is announced", "s1a r2-", "cd", "-"),
        ("or is marked", "s1a r2~", "c", "a~"),
        ("announced when a native event has just told of it", "s1a n2 r2a s3b", "cuc", "b"),
        ("but not when one has just deleted it", "s1a n2- r2a", "cd", "-"),
        ("announced when it is read", "r1? s2a", "c", "a"),
        ("announced though it can't be read", "s1a r2? s3b", "ccu", "b"),
    ] {
        let history = History::of(history);
        assert_eq!((&*history.changes, &*history.state()), (expected, state), "{rule}");
    }
}

#[test]
fn another_projection_is_adopted_in_silence() {
    for (rule, history, expected, state) in [
        ("other hashes are adopted", "s1a p2b", "c", "b"),
        ("created speaks", "p1a", "c", "a"),
        ("deleted speaks", "s1a p2-", "cd", "-"),
        ("a record that can't be read is adopted later", "s1a p2? s3b", "c", "b"),
        ("so is one that a later run has changed", "s1a d3b p2c s4d", "cu", "d"),
        ("so is one that is marked", "s1a p2~ s3b", "c", "b"),
        ("so is one that was marked before", "s1a s2~ p3b", "c", "b"),
    ] {
        let history = History::of(history);
        assert_eq!((&*history.changes, &*history.state()), (expected, state), "{rule}");
    }
}

/// Any step of the mini-language, with these kinds of runs and these native actions.
fn step(kinds: &'static str, actions: &'static str) -> impl Strategy<Value = String> {
    let runs = (kinds, 1..9u8, "[abc~?-]").prop_map(|(kind, number, sight)| match (&*kind, &*sight) {
        ("d", "~") => format!("d{number}-"),
        _ => format!("{kind}{number}{sight}"),
    });
    let natives = (1..9u8, "'?", actions, "(<[1-8])?")
        .prop_map(|(number, later, action, at)| format!("n{number}{later}{action}{at}"));
    prop_oneof![3 => runs, 2 => natives]
}

fn history() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(step("[sdbrp]", "[+-]?"), 0..12)
}

proptest! {
    #[test]
    fn the_same_observation_again_is_silent(history in history(), step in step("[sdb]", "[+-]")) {
        // An `updated` without a delivery id speaks each time; a range has its baseline or a new projection only once.
        let mut history = History::of(&history.join(" "));
        history.step(&step);
        let (known, changes) = (history.known.clone(), history.changes.clone());
        history.step(&step);
        prop_assert_eq!((history.known, history.changes), (known, changes));
    }

    #[test]
    fn a_stale_run_changes_nothing(history in history(), content in "[abc~?-]", kind in "[sdbr]") {
        let mut history = History::of(&format!("{} s9a", history.join(" ")));
        let (known, changes) = (history.known.clone(), history.changes.clone());
        for run in 1..9 {
            history.last_full_run = Some(RunId(9));
            history.step(&format!("{kind}{run}{content}"));
        }
        prop_assert_eq!((history.known, history.changes), (known, changes));
    }

    #[test]
    fn silence_keeps_what_native_events_were_told(history in history(), action in "[+-]?") {
        let mut history = History::of(&history.join(" "));
        let (known, changes) = (history.known.clone(), history.changes.clone());
        history.step(&format!("n9{action}"));
        prop_assert_eq!(history.changes == changes, history.known == known);
    }

    #[test]
    fn whatever_was_told_two_settled_scans_find_the_truth(history in history(), content in "[abc]") {
        let settled = format!("{} s50{content} s51{content}", history.join(" "));
        prop_assert_eq!(History::of(&settled).state(), content);
        let gone = format!("{} s50- s51-", history.join(" "));
        prop_assert!(["", "-"].contains(&&*History::of(&gone).state()));
    }
}
