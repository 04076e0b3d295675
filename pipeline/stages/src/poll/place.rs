//! A run's place: how a run that must wait gives its worker back, and gets it again.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tributary_core::poll::scheduler::{Ticket, Wait, Whose};

/// A run that waits. It goes on when told to; when it never is, it is dropped.
#[derive(Debug)]
pub(super) struct Parked {
    pub(super) ticket: Ticket,
    pub(super) wait: Wait,
    pub(super) go_on: oneshot::Sender<()>,
}

/// What a run holds while it is under way.
#[derive(Debug, Clone)]
pub(super) struct Place {
    ticket: Ticket,
    parked: mpsc::UnboundedSender<Parked>,
}

impl Place {
    pub(super) fn new(ticket: Ticket, parked: mpsc::UnboundedSender<Parked>) -> Self {
        Self { ticket, parked }
    }

    /// Waits without a worker, for at least `span`; `held` is what the run keeps in memory meanwhile.
    pub(super) async fn wait(&self, span: Duration, whose: Whose, held: u64) {
        let (go_on, told) = oneshot::channel();
        let wait = Wait { span, whose, held };
        let sent = self.parked.send(Parked { ticket: self.ticket, wait, go_on });
        if sent.is_err() || told.await.is_err() {
            // Its place was given up: whoever did so drops this task.
            std::future::pending::<()>().await;
        }
    }
}
