//! What is believed of a listing (design §5): whether it goes on, has ended, or never will; and what an empty one means.
//!
//! It knows pages by what they said: how many records, how many of them were new, and the cursor of the next.

use std::{collections::HashSet, time::Duration};

use tributary_schemas::{
    id::{RecordKey, RemoteId},
    observation::Absence,
    state::RangeRow,
};

use super::cadence::Release;

/// How far a listing may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Pages of one run (`poll.pages`).
    pub pages: u64,
    /// How long one run may take, waits and all (`poll.run_seconds`).
    pub lasts: Duration,
}

/// Pages in a row that hold records, all seen before, after which a listing is going round.
const STALE_PAGES: u32 = 10;

/// A listing under way.
#[derive(Debug)]
pub struct Listing {
    bounds: Bounds,
    cursors: HashSet<RecordKey>,
    pages: u64,
    stale: u32,
    nameless: u64,
}

/// What a page said.
#[derive(Debug, Clone, Copy)]
pub struct PageFacts<'a> {
    /// Where the next page begins; `None`: the listing has ended properly.
    pub next: Option<&'a str>,
    /// Records on it.
    pub records: usize,
    /// Those of them that this run had not seen.
    pub fresh: usize,
    /// Records that can't be named: without an id, or behind a parent or a `where` that failed.
    pub nameless: usize,
}

/// What to do after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belief {
    /// Ask for the next.
    GoOn,
    /// It has ended properly.
    Ended(Whole),
    /// It never will.
    Endless(Endless),
}

/// Whether a listing that ended named all that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// It did.
    Yes,
    /// Some records could not be named: nothing is taken for absent.
    No,
}

/// Why a listing is thought to have no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Endless {
    /// The chain of cursors came back to where it was.
    #[error("the listing came back to a cursor that it had given before")]
    Cursor,
    /// `poll.pages`.
    #[error("the listing has more pages than a run may read (poll.pages)")]
    Pages,
    /// Nothing new for too long.
    #[error("ten pages in a row held only records that this run had seen before")]
    Repeats,
    /// `poll.run_seconds`.
    #[error("the listing takes longer than a run may (poll.run_seconds)")]
    Time,
}

impl Listing {
    /// One that has read nothing.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, cursors: HashSet::new(), pages: 0, stale: 0, nameless: 0 }
    }

    /// Takes in a page. `lasted` is how long the run has taken so far, by uptime.
    pub fn page(&mut self, page: PageFacts<'_>, lasted: Duration) -> Belief {
        self.pages += 1;
        self.nameless += page.nameless as u64;
        let Some(next) = page.next else {
            return Belief::Ended(if self.nameless == 0 { Whole::Yes } else { Whole::No });
        };
        // An empty page with a next cursor is legal: it neither counts as stale nor as progress.
        if page.records > 0 {
            self.stale = if page.fresh == 0 { self.stale + 1 } else { 0 };
        }
        if !self.cursors.insert(RemoteId::new(next).key()) {
            Belief::Endless(Endless::Cursor)
        } else if self.pages >= self.bounds.pages {
            Belief::Endless(Endless::Pages)
        } else if self.stale >= STALE_PAGES {
            Belief::Endless(Endless::Repeats)
        } else if lasted >= self.bounds.lasts {
            Belief::Endless(Endless::Time)
        } else {
            Belief::GoOn
        }
    }

    /// Records that could not be named so far.
    pub fn nameless(&self) -> u64 {
        self.nameless
    }
}

/// Whether the definition's `check` passed after an empty listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// It did: the account can be read, so that there is nothing may be true.
    Passed,
    /// It did not, or the definition has none.
    No,
}

/// What is taken for absent after a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// What its ranges say.
    pub absence: Absence,
    /// Nothing was listed where something was.
    pub emptied: bool,
}

/// Judges what a full listing that ended says of the records that it did not name.
///
/// `usual` is the listing's kind: sure where it is keyed, else doubtful. `emptied_before`: the last full scan was empty,
/// where something was, and nothing has been listed since.
pub fn judge<'a>(
    (listed, whole): (u64, Whole),
    rows: impl IntoIterator<Item = &'a RangeRow>,
    usual: Absence,
    release: Release,
    (emptied_before, checked): (bool, Checked),
) -> Judged {
    let (mut known, mut marked) = (0_u64, 0_u64);
    for row in rows {
        known += u64::from(row.live) + u64::from(row.missing) + u64::from(row.touched);
        marked += u64::from(row.missing);
    }
    let emptied = listed == 0 && known > 0;
    let absence = match (release, whole, emptied) {
        (Release::Yes, Whole::Yes, _) => Absence::Released,
        (_, Whole::No, _) => Absence::Partial,
        (Release::No, Whole::Yes, false) => usual,
        // The first empty one marks, unless marks are there that it would turn into deletions.
        (Release::No, Whole::Yes, true) if !emptied_before && marked == 0 => Absence::Doubtful,
        (Release::No, Whole::Yes, true) if emptied_before && checked == Checked::Passed => Absence::Doubtful,
        (Release::No, Whole::Yes, true) => Absence::Partial,
    };
    Judged { absence, emptied: emptied && absence != Absence::Released }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { pages: 1_000, lasts: Duration::from_secs(3_600) };

    fn page(next: Option<&str>, records: usize, fresh: usize) -> PageFacts<'_> {
        PageFacts { next, records, fresh, nameless: 0 }
    }

    /// Reads pages until the listing stops, at most 5 000.
    fn read(pages: impl Fn(u64) -> (Option<String>, usize, usize)) -> (u64, Belief) {
        let mut listing = Listing::new(BOUNDS);
        for number in 1..=5_000 {
            let (next, records, fresh) = pages(number);
            let belief = listing.page(page(next.as_deref(), records, fresh), Duration::from_secs(number));
            if belief != Belief::GoOn {
                return (number, belief);
            }
        }
        panic!("it was read for ever");
    }

    #[test]
    fn a_listing_that_lies_is_caught() {
        let cursor = |text: u64| Some(format!("c{text}"));
        let endless = |why| Belief::Endless(why);
        let whole = Belief::Ended(Whole::Yes);
        assert_eq!(read(|n| ((n < 7).then(|| n.to_string()), 10, 10)), (7, whole), "it ends");
        assert_eq!(read(|n| (cursor(n % 2), 10, 0)), (3, endless(Endless::Cursor)), "a, b, a, b");
        assert_eq!(read(|_| (cursor(1), 10, 10)), (2, endless(Endless::Cursor)), "a, a");
        assert_eq!(read(|n| (cursor(n), 10, 10)), (1_000, endless(Endless::Pages)), "new cursors for ever");
        assert_eq!(
            read(|n| (cursor(n), 10, usize::from(n == 1))),
            (11, endless(Endless::Repeats)),
            "one page again and again"
        );
        assert_eq!(read(|n| ((n < 50).then(|| n.to_string()), 0, 0)), (50, whole), "empty pages are legal");
        let nine = |n: u64| ((n < 90).then(|| n.to_string()), 10, usize::from(n.is_multiple_of(10)));
        assert_eq!(read(nine), (90, whole), "nine stale pages in a row are not ten");
        let mut listing = Listing::new(BOUNDS);
        assert_eq!(listing.page(page(Some("a"), 1, 1), Duration::from_secs(3_600)), endless(Endless::Time));
    }

    proptest! {
        #[test]
        fn no_listing_goes_on_for_more_pages_than_a_run_may_read(
            cursors in prop::collection::vec("[a-z]{1,3}", 1..300),
            counts in prop::collection::vec((0..5_usize, 0..5_usize), 1..300),
        ) {
            let next = |n: u64| Some(cursors[n as usize % cursors.len()].clone());
            let count = |n: u64| counts[n as usize % counts.len()];
            let (pages, belief) = read(|n| (next(n), count(n).0, count(n).1.min(count(n).0)));
            prop_assert!(pages <= cursors.len() as u64 + 1 && matches!(belief, Belief::Endless(_)));
        }
    }

    #[test]
    fn a_record_without_a_name_makes_the_listing_partial() {
        let mut listing = Listing::new(BOUNDS);
        let nameless = PageFacts { nameless: 1, ..page(Some("a"), 10, 9) };
        assert_eq!(listing.page(nameless, Duration::ZERO), Belief::GoOn);
        assert_eq!(listing.page(page(None, 10, 10), Duration::ZERO), Belief::Ended(Whole::No));
    }

    #[test]
    fn nothing_where_something_was_is_never_sure() {
        let row = |live, missing| RangeRow { live, missing, ..RangeRow::EMPTY };
        let (eight, marked, none) = (vec![row(8, 0)], vec![row(0, 8)], vec![RangeRow::EMPTY]);
        let (no, yes) = (Release::No, Release::Yes);
        let (first, again) = ((false, Checked::No), (true, Checked::No));
        let confirmed = (true, Checked::Passed);
        let all = Whole::Yes;
        for (rule, listed, rows, release, before, absence, emptied) in [
            ("as usual", (8, all), &eight, no, first, Absence::Sure, false),
            ("an account that had nothing has nothing", (0, all), &none, no, first, Absence::Sure, false),
            ("the first empty scan marks", (0, all), &eight, no, first, Absence::Doubtful, true),
            ("but does not delete what is marked", (0, all), &marked, no, first, Absence::Partial, true),
            ("the next one waits for a check", (0, all), &marked, no, again, Absence::Partial, true),
            ("that passes", (0, all), &marked, no, confirmed, Absence::Doubtful, true),
            (
                "a check alone confirms nothing",
                (0, all),
                &marked,
                no,
                (false, Checked::Passed),
                Absence::Partial,
                true,
            ),
            ("a person does", (0, all), &marked, yes, again, Absence::Released, false),
            (
                "what has no name holds up deletions",
                (5, Whole::No),
                &eight,
                no,
                first,
                Absence::Partial,
                false,
            ),
            ("even a person's", (5, Whole::No), &eight, yes, first, Absence::Partial, false),
        ] {
            let judged = judge(listed, rows, Absence::Sure, release, before);
            assert_eq!(judged, Judged { absence, emptied }, "{rule}");
        }
    }
}
