//! What there is at a provider, as far as we know: what we made, corrected by what the provider lists.
//!
//! A subscription is of an (account, event of the provider). Its registrations are what was asked for at the provider, most
//! of the time one: while it is replaced, or while nobody knows what became of a call, more. All of it is one value under
//! one version, so that whoever plans on an older one writes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tributary_schemas::time::Timestamp;

use super::{
    fallback::Native,
    intent::{Intent, Nonce},
};

/// The provider's name of what it tells; `*` where there is one subscription for all events of an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProviderEvent(pub Arc<str>);

/// The provider's id of a registration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RegistrationId(pub Arc<str>);

/// What we know of an account at its provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actual {
    /// Its subscriptions.
    pub subscriptions: BTreeMap<ProviderEvent, Subscription>,
    /// When the last scan that landed began, for each event by its resource. What poll says.
    pub landed: BTreeMap<ProviderEvent, Timestamp>,
    /// What stood in the way of looking at the provider; not kept.
    pub look_trouble: Option<Trouble>,
}

/// What we keep at a provider for one event of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Grows by one with each write.
    pub version: u64,
    /// Whether its changes are told by webhooks.
    pub native: Native,
    /// Since when nobody wants it.
    pub unwanted_since: Option<Timestamp>,
    /// When the last call to make one was meant.
    pub created_at: Option<Timestamp>,
    /// When we last looked at the provider, or began.
    pub looked_at: Timestamp,
    /// When we last knew that it speaks.
    pub sure_at: Option<Timestamp>,
    /// Why there is none.
    pub trouble: Option<Trouble>,
    /// What was asked for at the provider, by the nonce in the URL.
    pub registrations: BTreeMap<Nonce, Registration>,
}

/// One call to make one, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The beginning of the URL that it calls.
    pub base: Arc<str>,
    /// What it asks for.
    pub asks: BTreeSet<ProviderEvent>,
    /// Whether it was asked for more than once: a call that nobody answered may land once the one that stands is gone.
    pub doubted: bool,
    /// How it stands.
    pub stage: Stage,
}

/// The life of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It was asked for, and nobody knows yet whether it is there.
    Making {
        /// The call.
        intent: Intent,
        /// What a look found.
        seen: Option<Seen>,
    },
    /// It is there.
    Standing(Standing),
    /// It is being deleted; it never comes back.
    Ending {
        /// Which, at the provider.
        id: RegistrationId,
        /// The call that deletes it.
        intent: Option<Intent>,
        /// What stood in the way.
        trouble: Option<Trouble>,
    },
    /// It is over for us, and nobody can tell whether it is there, or may be yet. Calls to its URL get 410 until then.
    Orphan {
        /// The call that may have made it.
        intent: Intent,
        /// When it is forgotten.
        until: Timestamp,
    },
}

/// A registration that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The provider's id.
    pub id: RegistrationId,
    /// Since when it speaks without a gap: made, resumed, renewed too late, pointed elsewhere.
    pub since: Timestamp,
    /// When its present life began, and when it ends, by our clock.
    pub life: Option<(Timestamp, Timestamp)>,
    /// Whether the provider has paused it.
    pub paused: bool,
    /// A call to renew, resume or update it.
    pub intent: Option<Intent>,
    /// What stood in the way of that.
    pub trouble: Option<Trouble>,
}

/// What a look at the provider showed of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The provider's id.
    pub id: RegistrationId,
    /// Whether the provider has paused it.
    pub paused: bool,
    /// When its life began, as far as we know, and when it ends, by our clock.
    pub life: Option<(Timestamp, Timestamp)>,
}

/// Why something is not as it should be, and when it is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The kind.
    pub reason: Reason,
    /// Since when.
    pub since: Timestamp,
    /// How often in a row.
    pub times: u32,
    /// When it was last tried.
    pub last_at: Timestamp,
    /// When it is tried again.
    pub again_at: Timestamp,
}

/// Why a provider refuses (contract §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the contract's (§5)")]
pub enum Reason {
    MissingScope,
    CredentialsRefused,
    NotFound,
    Quota,
    ProviderError,
    HandshakeFailed,
}

/// After the first failure; twice as long after each further one, up to an hour.
const BACK_OFF: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3_600);

impl Trouble {
    /// One more failure after what went before. The provider's own wait counts where it is longer, up to a day.
    pub fn after(before: Option<&Self>, reason: Reason, wait: Option<Duration>, now: Timestamp) -> Self {
        let times = before.map_or(1, |it| it.times.saturating_add(1));
        let backed_off = if reason.needs_somebody() {
            LONGEST
        } else {
            BACK_OFF.saturating_mul(1 << (times - 1).min(6)).min(LONGEST)
        };
        let asked = wait.unwrap_or_default().min(LONGEST * 24);
        Self {
            reason,
            since: before.map_or(now, |it| it.since),
            times,
            last_at: now,
            again_at: now.plus(backed_off.max(asked)),
        }
    }

    /// Until when it stands in the way: a change of the account ends it at once.
    pub fn until(&self, changed_at: Timestamp) -> Timestamp {
        if self.last_at < changed_at { changed_at } else { self.again_at }
    }
}

impl Reason {
    /// Whether waiting mends nothing: somebody must grant, reconnect or pay.
    pub const fn needs_somebody(self) -> bool {
        match self {
            Self::MissingScope | Self::CredentialsRefused | Self::NotFound | Self::Quota => true,
            Self::ProviderError | Self::HandshakeFailed => false,
        }
    }
}

impl Subscription {
    /// One of which nothing is known, broken since `now`.
    pub const fn new(now: Timestamp) -> Self {
        Self {
            version: 0,
            native: Native::Broken { since: now },
            unwanted_since: None,
            created_at: None,
            looked_at: now,
            sure_at: None,
            trouble: None,
            registrations: BTreeMap::new(),
        }
    }
}

impl fmt::Display for ProviderEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
