//! What a call's time goes into before its request is written: names and connections. A connection that is used again takes
//! neither.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tower::Service;

tokio::task_local! {
    static TIMING: Timing;
}

/// How long a call's name and connection took.
#[derive(Debug, Clone, Default)]
pub struct Timing {
    spans: Arc<[AtomicU64; 2]>,
}

const DNS: usize = 0;
const CONNECT: usize = 1;

impl Timing {
    /// Measures a call: the future is to be awaited where it is made.
    pub async fn measure<F: Future>(&self, call: F) -> F::Output {
        TIMING.scope(self.clone(), call).await
    }

    /// How long finding the addresses took.
    pub fn dns(&self) -> Option<Duration> {
        self.span(DNS)
    }

    /// How long everything before the request took: the addresses, the connection, TLS.
    pub fn connect(&self) -> Option<Duration> {
        self.span(CONNECT)
    }

    /// That of the call that is being made on this task, if one is measured.
    pub(super) fn of_this_call() -> Option<Self> {
        TIMING.try_with(Clone::clone).ok()
    }

    pub(super) fn found(&self, took: Duration) {
        self.spans[DNS].store(kept(took), Ordering::Relaxed);
    }

    fn span(&self, which: usize) -> Option<Duration> {
        match self.spans[which].load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        }
    }
}

/// In microseconds; 0 stands for none.
fn kept(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// A connector whose connections are timed.
#[derive(Clone)]
pub(super) struct Timed<S>(pub(super) S);

impl<S, R> Service<R> for Timed<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (timing, begun) = (Timing::of_this_call(), Instant::now());
        let connected = self.0.call(request);
        Box::pin(async move {
            let connected = connected.await;
            if let Some(timing) = timing {
                timing.spans[CONNECT].store(kept(begun.elapsed()), Ordering::Relaxed);
            }
            connected
        })
    }
}
