//! Reads a body at a least pace, under permits for each byte that is held.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, header::CONTENT_LENGTH};
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::{refusal::Refusal, shares::Place};

/// How a body must arrive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The most bytes.
    pub(super) most: usize,
    /// The longest time.
    pub(super) longest: Duration,
    /// The least bytes a second, once it had a moment to begin.
    pub(super) least: u32,
}

/// The moment to begin.
const BEGINNING: Duration = Duration::from_secs(2);

/// What a request says its body has; 0 when it does not say.
pub(super) fn declared(headers: &HeaderMap) -> u64 {
    headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()).and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// Reads a body whole.
///
/// # Errors
/// 413 when it is too long, 429 when its account holds or sends too much, 503 when it is too slow: the provider tries again.
pub(super) async fn read(mut body: Body, pace: Pace, place: &mut Place) -> Result<Vec<u8>, Refusal> {
    let begun = Instant::now();
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        // By when the next bytes must be here: for each that has come there is so much more time.
        let earned = Duration::from_secs_f64(bytes.len() as f64 / f64::from(pace.least.max(1)));
        let until = begun + pace.longest.min(BEGINNING + earned);
        let frame = match tokio::time::timeout_at(until, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) | Err(_) => return Err(Refusal::Slow),
            Ok(None) => return Ok(bytes),
        };
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > pace.most {
            return Err(Refusal::TooLarge);
        }
        place.hold(data.len())?;
        bytes.extend_from_slice(&data);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::Bytes;
    use futures::{StreamExt, stream};

    use super::{
        super::{Config, shares::Shares},
        *,
    };

    fn place() -> Place {
        let shares = Arc::new(Shares::new(&Config::default()));
        shares.enter(&"p".parse().unwrap(), &"a".parse().unwrap(), 0).unwrap()
    }

    fn body(chunk: usize, count: usize, every: Duration) -> Body {
        let chunks = stream::iter(0..count).then(move |_| async move {
            tokio::time::sleep(every).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; chunk]))
        });
        Body::from_stream(chunks)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_too_slowly_is_let_go_and_one_that_comes_steadily_is_read() {
        let pace = Pace { most: 1 << 20, longest: Duration::from_secs(15), least: 4_096 };
        for (what, chunk, count, every, expected) in [
            ("a byte a second", 1, 100, 1_000, Err("slow")),
            ("nothing at all", 1, 1, 60_000, Err("slow")),
            ("just the pace", 4_096, 10, 1_000, Ok(40_960)),
            ("under the pace", 2_048, 20, 1_000, Err("slow")),
            ("at once", 1_000, 1_000, 0, Ok(1_000_000)),
            ("too long for the limit of time", 8_192, 20, 1_000, Err("slow")),
            ("too large", 1 << 18, 5, 0, Err("too_large")),
        ] {
            let read = read(body(chunk, count, Duration::from_millis(every)), pace, &mut place()).await;
            assert_eq!(read.map(|bytes| bytes.len()).map_err(|refusal| refusal.name()), expected, "{what}");
        }
    }
}
