//! What was asked of a slot, and has not been done yet. One of each at most.

use std::ops::BitOrAssign;

use tributary_schemas::observation::TriggerReason;

/// A set of [`Ask`]s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asks(u8);

/// Something that may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ask {
    /// Look what is due: time came, or something about the account changed.
    Look = 1,
    /// Poll now.
    Run = 2,
    /// List everything now.
    List = 4,
    /// Announce every record as created again.
    Resync = 8,
    /// Confirm doubtful absences.
    Release = 16,
    /// A provider's notification: run the change feed.
    Notified = 32,
}

impl Asks {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Whether nothing is asked.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this is asked.
    pub const fn has(self, ask: Ask) -> bool {
        self.0 & ask as u8 != 0
    }
}

impl From<Ask> for Asks {
    fn from(ask: Ask) -> Self {
        Self(ask as u8)
    }
}

impl BitOrAssign for Asks {
    fn bitor_assign(&mut self, more: Self) {
        self.0 |= more.0;
    }
}

impl Ask {
    /// Whether a person asked: it ends an account's own wait.
    pub const fn ends_a_wait(self) -> bool {
        match self {
            Self::Run | Self::List | Self::Resync | Self::Release => true,
            Self::Look | Self::Notified => false,
        }
    }
}

impl From<&TriggerReason> for Ask {
    fn from(reason: &TriggerReason) -> Self {
        match reason {
            TriggerReason::Notified(_) => Self::Notified,
            TriggerReason::RunNow => Self::Run,
            TriggerReason::ListNow => Self::List,
            TriggerReason::Resync => Self::Resync,
            TriggerReason::Release => Self::Release,
        }
    }
}
