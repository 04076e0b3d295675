//! How runs end: a closed set, each with what to do next (design §5).

use serde::{Deserialize, Serialize};
use tributary_schemas::time::Timestamp;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All that was listed is compared.
    Landed,
    /// What was listed is compared; nothing is taken for absent.
    Partial,
    /// Nothing was listed where something was: nothing is taken for absent before it is confirmed.
    Emptied,
    /// The provider refuses the account's credentials.
    Unauthorized,
    /// The provider refuses this resource.
    Forbidden,
    /// The provider asks us to wait, for longer than a run keeps its place.
    Limited,
    /// No answer, or one that says that the provider is in trouble.
    Unreachable,
    /// An answer that the definition can't read.
    BadAnswer,
    /// The listing does not end, or does not move.
    Endless,
    /// Most records change at every look, or their ids do: it landed, and is polled daily from now on.
    Churning,
    /// More than a page, a scan or a project may hold.
    TooLarge,
    /// The account was deleted, or its partition went to another process while it waited.
    Cancelled,
    /// The broker, the store or a fault of ours.
    Ours,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Landed,
        Self::Partial,
        Self::Emptied,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Limited,
        Self::Unreachable,
        Self::BadAnswer,
        Self::Endless,
        Self::Churning,
        Self::TooLarge,
        Self::Cancelled,
        Self::Ours,
    ];

    /// Its name in the API and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Landed => "landed",
            Self::Partial => "partial",
            Self::Emptied => "emptied",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Limited => "limited",
            Self::Unreachable => "unreachable",
            Self::BadAnswer => "bad_answer",
            Self::Endless => "endless",
            Self::Churning => "churning",
            Self::TooLarge => "too_large",
            Self::Cancelled => "cancelled",
            Self::Ours => "ours",
        }
    }

    /// What whoever looks at the schedule should do; `None`: nothing.
    pub const fn next_step(self) -> Option<&'static str> {
        match self {
            Self::Landed | Self::Cancelled => None,
            Self::Partial => Some(
                "some records could not be read: see the counts of unread and nameless records; deletions wait until a listing is whole",
            ),
            Self::Emptied => Some(
                "the provider listed nothing where records were known: look there; if they are gone, POST …/release confirms it",
            ),
            Self::Unauthorized => Some("give the account new credentials (PATCH /accounts/{id})"),
            Self::Forbidden => Some(
                "grant the scope or permission for this resource at the provider; it is asked again within the hour",
            ),
            Self::Limited => Some(
                "the provider limits us: it is asked again when it said; POST …/run asks at once, or poll less often",
            ),
            Self::Unreachable => {
                Some("look whether the provider is up, and whether the account's set-up names the right host")
            }
            Self::BadAnswer => Some(
                "the provider answers in a form that the definition does not know: check the set-up, or report it",
            ),
            Self::Endless => Some(
                "the provider's listing does not end or repeats itself: check its paging in the definition, or report it",
            ),
            Self::Churning => Some(
                "most records change at every look: name the noisy fields in the project's ignored fields; until then it is polled daily",
            ),
            Self::TooLarge => Some("narrow what is listed, or ask the operator for a larger limit"),
            Self::Ours => Some("the trouble is on our side: it is tried again by itself"),
        }
    }

    /// Whether what was listed counts.
    pub const fn has_landed(self) -> bool {
        matches!(self, Self::Landed | Self::Partial | Self::Emptied | Self::Churning)
    }
}

/// The last outcome, since when, and how often in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// How the last run ended.
    pub outcome: Outcome,
    /// When runs began to end so.
    pub since: Timestamp,
    /// How many in a row have.
    pub times: u32,
    /// The provider's words, or ours: cut, and without any value of a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
}

/// The most characters of [`Standing::words`].
const WORDS_MOST: usize = 200;

impl Standing {
    /// The standing after a run that ended `at`.
    pub fn after(before: Option<&Self>, outcome: Outcome, at: Timestamp, words: Option<&str>) -> Self {
        let words = words.map(|words| {
            words.chars().map(|it| if it.is_control() { ' ' } else { it }).take(WORDS_MOST).collect()
        });
        match before {
            Some(before) if before.outcome == outcome => {
                Self { outcome, since: before.since, times: before.times.saturating_add(1), words }
            }
            Some(_) | None => Self { outcome, since: at, times: 1, words },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_but_the_good_ones_says_what_to_do() {
        for outcome in Outcome::ALL {
            let told = outcome.next_step().is_some();
            assert_eq!(told, !matches!(outcome, Outcome::Landed | Outcome::Cancelled), "{outcome:?}");
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }

    #[test]
    fn a_standing_counts_what_repeats_and_begins_anew_with_what_differs() {
        let at = Timestamp::from_micros;
        let words = "x\n".repeat(500);
        let first = Standing::after(None, Outcome::Limited, at(1), Some(&words));
        let second = Standing::after(Some(&first), Outcome::Limited, at(2), None);
        assert_eq!((second.since, second.times), (at(1), 2));
        let other = Standing::after(Some(&second), Outcome::Landed, at(3), None);
        assert_eq!((other.since, other.times), (at(3), 1));
        let words = first.words.unwrap();
        assert!(words.chars().count() == 200 && !words.contains('\n'));
    }
}
