//! A fixed port in front of one that changes: librdkafka's mock cluster chooses its own.
//!
//! A Kafka client asks whoever it reaches first where the brokers are, so it needs this port to begin with only.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// Passes what comes to `listen` on to `to` (`host:port`), and back, until told to stop.
///
/// # Errors
/// When the port is taken.
pub async fn serve(listen: SocketAddr, to: String, shutdown: CancellationToken) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(listen).await.with_context(|| format!("{listen} can't be listened on"))?;
    let mut connections = JoinSet::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let (mut client, _) = accepted?;
        let to = to.clone();
        connections.spawn(async move {
            // Either side may go at any time: that is the client's affair.
            if let Ok(mut broker) = TcpStream::connect(to).await {
                let _ = copy_bidirectional(&mut client, &mut broker).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
    Ok(())
}
