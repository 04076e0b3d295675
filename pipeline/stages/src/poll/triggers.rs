//! `poll.triggers`: what is asked is noted in the poll state, then told to the scheduler, then committed. What can't be
//! carried out is set aside and counted; it stops nobody else.

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tributary_core::poll::{asks, cadence::Taken, scheduler::Slot};
use tributary_schemas::{
    codec,
    entity::Account,
    observation::{Ask, Trigger},
};

use super::{attend::Runner, metrics};
use crate::{
    kafka::{Assignment, Incoming},
    store::StoreError,
};

/// How long after a failure of the store the same trigger is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What came of a trigger.
pub(super) struct Noted {
    pub(super) at: Assignment,
    pub(super) offset: i64,
    pub(super) asked: Vec<(Slot, asks::Ask)>,
}

/// Takes triggers in one after the other, until there are no more.
pub(super) async fn note(
    runner: Arc<Runner>,
    mut triggers: mpsc::Receiver<Incoming>,
    noted: mpsc::Sender<Noted>,
) {
    while let Some(record) = triggers.recv().await {
        let (mut asked, mut tried) = (Vec::new(), 0_u64);
        let outcome = loop {
            match carry_out(&runner, &record, &mut asked).await {
                Ok(outcome) => break outcome,
                // The store is everybody's: wait for it.
                Err(error) if error.chain().any(|cause| cause.is::<StoreError>()) => {
                    tried += 1;
                    if tried.is_power_of_two() {
                        tracing::warn!(tried, error = format!("{error:#}"), "noting a trigger");
                    }
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => {
                    tracing::warn!(
                        offset = record.offset,
                        error = format!("{error:#}"),
                        "a trigger is set aside"
                    );
                    break "set_aside";
                }
            }
        };
        ::metrics::counter!(metrics::TRIGGERS, "outcome" => outcome).increment(1);
        if noted.send(Noted { at: record.at, offset: record.offset, asked }).await.is_err() {
            return;
        }
    }
}

/// Says what became of it: `noted`, `pending`, `too_soon`, or why it is set aside.
async fn carry_out(
    runner: &Runner,
    record: &Incoming,
    asked: &mut Vec<(Slot, asks::Ask)>,
) -> anyhow::Result<&'static str> {
    asked.clear();
    let trigger: Trigger = codec::decode(record.payload.as_deref().unwrap_or_default())?;
    let (resources, reason) = match trigger.ask {
        Ask::Run { resources, reason } => (resources, reason),
        Ask::Fetch(_) => return Ok("fetch"),
    };
    let source = trigger.source;
    let found: Option<Account> = runner.writer.get(&source.project, source.account.as_str()).await?;
    let Some(account) = found else { return Ok("no_account") };
    let polled = runner.resources(&account);
    let wanted = |it: &tributary_schemas::resource::Resource| resources.is_empty() || resources.contains(it);
    let ask = asks::Ask::from(&reason);
    let mut outcome = "not_polled";
    for resource in polled.into_iter().filter(wanted) {
        let slot = Slot { account: account.id.clone(), resource };
        outcome = match runner.ask(&account.id, resource, ask).await? {
            Taken::Noted => "noted",
            Taken::Pending => "pending",
            Taken::TooSoon => {
                outcome = "too_soon";
                continue;
            }
        };
        asked.push((slot, ask));
    }
    Ok(outcome)
}
