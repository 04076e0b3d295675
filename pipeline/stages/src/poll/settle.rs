//! How a run ended: noted in the poll state, counted, and told where it is the account's.

use tributary_core::poll::{
    cadence::{Landed, PollState, watermark},
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
            // What is wrong with the broker or the store is for the operator's eyes.
            Err(Failed::Ours(error)) => {
                tracing::warn!(error = format!("{error:#}"), "a run failed, and it is ours");
                Err(super::listing::Broken::new(Outcome::Ours, "trouble on our side"))
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
                    let overlap = job.polled.delta_overlap().unwrap_or_default();
                    let since = watermark(landed.begun_at, found.provider_clock, overlap);
                    state.landed(job.kind, landed, found.doubted, since);
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
