//! The network between one process and the broker: a proxy in front of a listener of Kafka's that only this process
//! knows.

use std::time::Duration;

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything passes.
    Clear,
    /// Connections are closed, and new ones too.
    Cut,
    /// Connections stay, and nothing passes; it comes later, as TCP sends it again.
    Silent,
    /// Everything passes, so much later.
    Slow(Duration),
    /// Requests pass and their answers are lost, with the connection: nobody knows what was done.
    Deaf,
}

/// A process's way to the broker.
pub(crate) struct Network {
    weather: watch::Sender<Weather>,
}

impl Network {
    /// Listens where Kafka says that it does, and passes on to where it is.
    pub(crate) async fn between(advertised: u16, own: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", advertised)).await.context("the proxy's port")?;
        let (weather, seen) = watch::channel(Weather::Clear);
        tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                tokio::spawn(connection(client, own, seen.clone()));
            }
        });
        Ok(Self { weather })
    }

    /// Bad weather for a while.
    pub(crate) async fn suffer(&self, weather: Weather, span: Duration) {
        self.weather.send_replace(weather);
        tokio::time::sleep(span).await;
        self.weather.send_replace(Weather::Clear);
    }
}

async fn connection(client: TcpStream, own: u16, mut weather: watch::Receiver<Weather>) {
    if *weather.borrow_and_update() == Weather::Cut {
        return;
    }
    // The broker may be away: then the client hears of it as it would without us.
    let Ok(broker) = TcpStream::connect(("127.0.0.1", own)).await else { return };
    if client.set_nodelay(true).and(broker.set_nodelay(true)).is_err() {
        return;
    }
    let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
    // Whichever ends first ends both.
    tokio::select! {
        () = pass(from_client, to_broker, weather.clone(), Side::Request) => {}
        () = pass(from_broker, to_client, weather, Side::Answer) => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Answer,
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    side: Side,
) {
    let mut buffer = vec![0; 1 << 16];
    let mut lost = false;
    loop {
        let length = tokio::select! {
            read = from.read(&mut buffer) => match read {
                Ok(length) if length > 0 => length,
                Ok(_) | Err(_) => return,
            },
            changed = weather.changed() => {
                // An answer is missing: what comes after it can't be told apart.
                if changed.is_err() || *weather.borrow_and_update() == Weather::Cut || lost {
                    return;
                }
                continue;
            }
        };
        if weather.wait_for(|now| *now != Weather::Silent).await.is_err() {
            return;
        }
        let now = *weather.borrow();
        match now {
            Weather::Cut => return,
            Weather::Deaf if side == Side::Answer => {
                lost = true;
                continue;
            }
            Weather::Slow(by) => tokio::time::sleep(by).await,
            Weather::Clear | Weather::Deaf | Weather::Silent => {}
        }
        if lost || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
