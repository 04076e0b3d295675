//! How a run ended: noted in the poll state, counted, and told where it is the account's.

use tributary_core::poll::{
    cadence::{Landed, PollState},
    outcome::{Outcome, Standing},
};
use tributary_schemas::entity::{Account, AccountStatus};

use super::{
    attend::Runner,
    run::{Failed, Found, Job},
};
use crate::{clock::now, entity::WriteError, store::Cas};

/// What an account's status says when the provider refuses it (contract §5).
const REFUSED: &str = "credentials_refused";

impl Runner {
    /// Notes how a run ended; gives the state as it is then, or nothing if a newer run decides, or the account is gone.
    pub(super) async fn settle(
        &self,
        job: &Job<'_>,
        ended: Result<Found, Failed>,
    ) -> anyhow::Result<Option<PollState>> {
        job.count(&ended);
        let ended = match ended {
            Ok(found) => Ok(found),
            Err(Failed::Theirs(broken)) => Err(broken),
            Err(Failed::Expired(words)) => return self.expired(job, &words).await,
            // What is wrong with the broker or the store is for the operator's eyes.
            Err(Failed::Ours(error)) => {
                tracing::warn!(error = format!("{error:#}"), "a run failed, and it is ours");
                Err(super::ask::Broken::new(Outcome::Ours, "trouble on our side"))
            }
        };
        let (account, resource) = (&job.account.id, job.run.resource);
        let outcome = ended.as_ref().map_or_else(|broken| broken.outcome, |found| found.outcome);
        if outcome == Outcome::Unauthorized {
            self.refuse(job.account).await?;
        }
        loop {
            let (mut state, version) = self.state(account, resource).await?;
            if state.claimed != job.run.run {
                return Ok(None);
            }
            let words = match &ended {
                Ok(found) => {
                    let landed = Landed {
                        run: job.run.run,
                        begun_at: job.run.begun_at,
                        ended_at: now(),
                        records: found.records,
                        projection: job.run.projection,
                    };
                    state.landed(job.kind, landed, found.doubted, found.to.clone());
                    found.words.as_deref()
                }
                Err(broken) => {
                    state.failed(now(), broken.wait.map(|wait| now().plus(wait)), job.account.version);
                    Some(broken.words.as_str())
                }
            };
            let standing = Standing::after(state.standing.as_ref(), outcome, now(), words);
            if !outcome.has_landed() && standing.times.is_power_of_two() {
                let (account, times) = (account.as_str(), standing.times);
                tracing::warn!(account, %resource, outcome = outcome.name(), times, words, "a run failed");
            }
            state.standing = Some(standing);
            if self.save(account, resource, &state, version).await? == Cas::Done {
                return Ok(Some(state));
            }
        }
    }

    /// The provider does not keep the position any more: everything is listed, at once.
    async fn expired(&self, job: &Job<'_>, words: &str) -> anyhow::Result<Option<PollState>> {
        let (account, resource) = (&job.account.id, job.run.resource);
        loop {
            let (mut state, version) = self.state(account, resource).await?;
            if state.claimed != job.run.run {
                return Ok(None);
            }
            state.expired(now());
            tracing::info!(account = account.as_str(), %resource, times = state.expired, words, "a position is gone");
            if self.save(account, resource, &state, version).await? == Cas::Done {
                return Ok(Some(state));
            }
        }
    }

    /// 401: the account can't be used until its credentials are changed; unless they have been already.
    async fn refuse(&self, refused: &Account) -> anyhow::Result<()> {
        let refuse = |account: &mut Account| {
            let same = account.credentials == refused.credentials && account.setup == refused.setup;
            if same && account.status == AccountStatus::Active {
                account.status = AccountStatus::Error;
                account.status_reasons = vec![REFUSED.into()];
            }
            Ok::<_, WriteError>(())
        };
        match self.writer.update(&refused.project, refused.id.as_str(), refuse).await {
            Ok(_) | Err(WriteError::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
