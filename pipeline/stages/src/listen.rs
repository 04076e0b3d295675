//! One HTTP listener for every port: so many connections at a time, heads of so many bytes, and so long for a head to
//! arrive, be it the first of a connection or the next. Who opens connections and says nothing holds none for long.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use crate::telemetry::declare;

/// What a listener bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Which listener it is, as a label.
    pub listener: &'static str,
    /// Connections at a time; further ones wait to be taken.
    pub connections: usize,
    /// How long a request's head may take to arrive; a connection without requests is closed after it.
    pub head: Duration,
    /// The most that a head may hold, in bytes: more is 431.
    pub head_bytes: usize,
    /// How long requests under way may take when told to stop.
    pub drain: Duration,
}

declare! {
    /// Connections that are open now.
    gauge CONNECTIONS = "tributary_process_open_connections" [listener];
    /// Connections that a listener bears.
    gauge MOST_CONNECTIONS = "tributary_process_most_connections" [listener];
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            listener: "unnamed",
            connections: 4_096,
            head: Duration::from_secs(10),
            head_bytes: 64 << 10,
            drain: Duration::from_secs(20),
        }
    }
}

/// Who is at the other end of the connection: an extension of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Serves until told to stop; then no connection is taken, and what was begun is finished.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: CancellationToken) {
    let open = metrics::gauge!(CONNECTIONS, "listener" => limits.listener);
    metrics::gauge!(MOST_CONNECTIONS, "listener" => limits.listener).set(limits.connections as f64);
    let permits = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_header_size(limits.head_bytes);
    let accepting = async {
        loop {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or a peer that has gone: the next one may do.
                    tracing::debug!(%error, "accepting a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let router = router.clone();
            let service = tower_service(router, peer);
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
            let place = Open::new(open.clone(), permit);
            tokio::spawn(async move {
                // A connection that breaks off is its client's matter.
                let _ = connection.await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown.cancelled() => {}
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way at the end");
    }
}

/// A connection's place, counted while it is held.
struct Open {
    count: metrics::Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(count: metrics::Gauge, permit: OwnedSemaphorePermit) -> Self {
        count.increment(1.0);
        Self { count, _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.decrement(1.0);
    }
}

fn tower_service(
    router: Router,
    peer: SocketAddr,
) -> TowerToHyperService<
    impl tower::Service<
        http::Request<hyper::body::Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone
    + Send,
> {
    TowerToHyperService::new(tower::ServiceExt::map_request(
        router,
        move |mut request: http::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            request.map(axum::body::Body::new)
        },
    ))
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    async fn listening(limits: Limits) -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let router = Router::new().route("/", get(|| async { "here" }));
        tokio::spawn(serve(listener, router, limits, stop.clone()));
        (address, stop)
    }

    async fn said(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut text)).await.unwrap();
        String::from_utf8_lossy(&text).into_owned()
    }

    #[tokio::test]
    async fn who_says_nothing_or_too_much_is_let_go_and_makes_room() {
        let limits = Limits { connections: 2, head: Duration::from_millis(200), ..Limits::default() };
        let (address, stop) = listening(limits).await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-").await.unwrap();
        // Both places are taken: this one waits, and is served once they are let go.
        let mut third = TcpStream::connect(address).await.unwrap();
        third.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        assert!(said(&mut third).await.ends_with("here"));
        assert!(!said(&mut silent).await.contains("200"));
        assert!(!said(&mut slow).await.contains("200"));
        // An idle connection that was used is let go, too.
        let mut kept = TcpStream::connect(address).await.unwrap();
        kept.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(said(&mut kept).await.ends_with("here"));
        let mut large = TcpStream::connect(address).await.unwrap();
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx-a: {}\r\n\r\n", "a".repeat(100 << 10));
        let _ = large.write_all(head.as_bytes()).await;
        assert!(!said(&mut large).await.contains("200"));
        stop.cancel();
    }
}
