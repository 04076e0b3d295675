//! What is believed of a full listing that ended (design §5): what is taken for absent, and what an empty one means.

use tributary_schemas::{observation::Absence, state::RangeRow};

use super::cadence::Release;

/// Whether a listing that ended named all that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// It did.
    Yes,
    /// Some records could not be named: nothing is taken for absent.
    No,
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
    use super::*;

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
