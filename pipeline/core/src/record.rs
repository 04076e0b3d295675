//! What an observation changes of what is known of one record (design §6, "What a record can be").
//!
//! What must stay true: an event is never without a change of what is known; the same observation again is silent; a run
//! says nothing about what was learnt after it began.

mod native;
mod note;
mod pass;
mod run;
mod seen;
#[cfg(test)]
mod tests;

use tributary_schemas::{id::RemoteId, observation::Announce, state::Known};

use self::seen::Record;
pub use self::{
    native::News,
    note::Note,
    pass::{Doubt, Hashes, Pass, Sight, Standing},
    seen::Seen,
};

/// What a scan, delta or webhook told us of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation<'a> {
    /// The provider's name for the record.
    pub remote_id: &'a RemoteId,
    /// What was told, and by whom.
    pub told: Told,
}

/// What was told, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A run saw the record, or did not see it.
    Run(Pass, Sight),
    /// A native event told of it.
    Native(News),
}

/// Returns what is known now, and the change to announce, if any.
///
/// A run that began before what we know says nothing: a stale page neither resurrects nor overwrites.
pub fn observe(before: Option<&Known>, seen: &Observation<'_>) -> Seen {
    let record = Record { before, remote_id: seen.remote_id };
    match &seen.told {
        Told::Native(news) => native::hear(record, news),
        Told::Run(pass, _) if pass.overtaken() => Seen::silent(Note::StaleRun),
        Told::Run(pass, sight) => match (pass.bar(before), pass.standing) {
            (Some(bar), _) => run::barred(record, pass, *sight, bar),
            (None, Standing::Compared) => run::compare(record, pass, *sight),
            (None, Standing::Baseline(Announce::Nothing)) => run::take_over(record, pass, *sight),
            (None, Standing::Baseline(Announce::Created)) => run::announce(record, pass, *sight),
            (None, Standing::Rebased) => run::rebase(record, pass, *sight),
        },
    }
}
