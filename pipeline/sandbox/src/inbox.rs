//! A subscriber: verifies each delivery by an implementation of its own, and prints a line for it.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
};

use anyhow::Context;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A subscriber.
#[derive(Clone)]
pub struct Inbox {
    shared: Arc<Shared>,
}

struct Shared {
    secret: OnceLock<String>,
    seen: Mutex<HashSet<String>>,
    verified: watch::Sender<u64>,
}

impl Default for Inbox {
    fn default() -> Self {
        let (verified, _) = watch::channel(0);
        Self { shared: Arc::new(Shared { secret: OnceLock::new(), seen: Mutex::default(), verified }) }
    }
}

impl Inbox {
    /// Tells it the webhook's secret, which was shown once.
    pub fn learn(&self, secret: &str) {
        let _ = self.shared.secret.set(secret.to_owned());
    }

    /// How many different deliveries were verified.
    pub fn verified(&self) -> watch::Receiver<u64> {
        self.shared.verified.subscribe()
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    /// When the address is taken.
    pub async fn serve(self, listen: SocketAddr, shutdown: CancellationToken) -> anyhow::Result<()> {
        let listener = tokio::net::TcpListener::bind(listen)
            .await
            .with_context(|| format!("the inbox's port {listen} is taken"))?;
        let router = Router::new().route("/inbox", post(receive)).with_state(self);
        axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await?;
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "its lines are what people came to see")]
async fn receive(State(inbox): State<Inbox>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let Some(secret) = inbox.shared.secret.get() else { return StatusCode::SERVICE_UNAVAILABLE };
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let key = secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    let message = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &body].concat();
    let standard = format!("v1,{}", STANDARD.encode(mac(&key, &message)));
    let compat = URL_SAFE_NO_PAD.encode(mac(secret.as_bytes(), &body));
    let good = header("webhook-signature").split(' ').any(|given| given == standard)
        && header("x-stackone-signature") == compat;
    if !good {
        println!("a delivery that does NOT verify: {id}");
        return StatusCode::UNAUTHORIZED;
    }
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| told[name].as_str().unwrap_or("-").to_owned();
    println!(
        "{}  {:<26} account {}  record {:<20} verified",
        text("sent_at"),
        text("event"),
        text("account_id"),
        text("record_id")
    );
    let new = inbox.shared.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(id);
    if new {
        inbox.shared.verified.send_modify(|count| *count += 1);
    }
    StatusCode::OK
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}
