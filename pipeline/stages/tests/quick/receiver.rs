//! A receiver that is bytes on a socket: what no server library would send.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// What a receiver does once it has the whole request.
#[derive(Debug, Clone)]
pub(crate) enum Does {
    /// Says this, and closes.
    Says(Vec<u8>),
    /// Says this, and keeps the connection open without a word more.
    Holds(Vec<u8>),
    /// Says this, then a byte each 50 ms.
    Drips(Vec<u8>),
    /// Says this, then as much as is taken.
    Floods(Vec<u8>),
}

/// A receiver on loopback; tells of each request.
pub(crate) async fn receiver(does: Does) -> (u16, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, does.clone(), sender.clone()));
        }
    });
    (port, asked)
}

async fn answer(mut stream: TcpStream, does: Does, asked: mpsc::UnboundedSender<()>) -> std::io::Result<()> {
    read_request(&mut stream).await?;
    let _ = asked.send(());
    match does {
        Does::Says(bytes) => stream.write_all(&bytes).await,
        Does::Holds(bytes) => {
            stream.write_all(&bytes).await?;
            stream.read(&mut [0; 1]).await.map(drop)
        }
        Does::Drips(bytes) => {
            stream.write_all(&bytes).await?;
            loop {
                stream.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Does::Floods(bytes) => {
            stream.write_all(&bytes).await?;
            loop {
                stream.write_all(&[b'x'; 65_536]).await?;
            }
        }
    }
}

/// Reads a request to the end of its body.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some(head) = text.find("\r\n\r\n") {
            let length = text[..head].lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|it| it.trim().parse().ok()).unwrap_or(0);
            if request.len() >= head + 4 + length {
                return Ok(());
            }
        }
        if stream.read_buf(&mut request).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
