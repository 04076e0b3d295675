//! Calling out: one HTTP client that dials checked addresses only (SSRF, design §7), follows no redirects and asks no
//! proxy.

mod names;
mod timing;

pub use self::timing::Timing;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use reqwest::{
    Client, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use serde::{Deserialize, Serialize};
use tributary_core::address::{Allowed, Refused};
use url::Url;

use self::{names::Names, timing::Timed};

/// What may be dialled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Networks that may be dialled although they are not global, and without TLS: `10.0.0.0/8` for a private
    /// deployment. Empty: global addresses by https only.
    pub allow: Vec<IpNet>,
    /// Where providers reach us: what is sent there would come back. `control.public_url` is one by itself.
    pub own: Vec<Url>,
    /// Name servers, as `address:port`. Empty: the system's.
    pub name_servers: Vec<SocketAddr>,
}

impl Config {
    /// What may be dialled, as core checks it.
    pub fn allowed(&self) -> Allowed {
        Allowed { networks: self.allow.clone(), own: self.own.clone() }
    }
}

/// A client that checks where it dials.
#[derive(Clone)]
pub struct Dialer {
    client: Client,
    allowed: Arc<Allowed>,
}

/// A call that did not get an answer.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The URL or its address is not allowed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection, TLS or the answer failed.
    #[error("the call failed: {0}")]
    Failed(String),
}

impl Dialer {
    /// Makes the client; `deadline` is over everything from the name's resolution to the end of the body.
    ///
    /// # Errors
    /// When the TLS set-up fails.
    pub fn new(config: &Config, deadline: Duration) -> anyhow::Result<Self> {
        let allowed = Arc::new(config.allowed());
        let names = Arc::new(Names::new(&config.name_servers)?);
        let client = Client::builder()
            .dns_resolver(Arc::new(Checked { allowed: allowed.clone(), names }))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(deadline)
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(IDLE_MOST)
            .connector_layer(tower::layer::layer_fn(Timed))
            .build()?;
        Ok(Self { client, allowed })
    }

    /// Whether a URL may be called, as far as it can be told without resolving its name.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, url: &str) -> Result<Url, Refused> {
        self.allowed.check_url(url)
    }

    /// A request to a checked URL, to be filled and then [`send`](Self::send).
    ///
    /// # Errors
    /// When the URL is not allowed.
    pub fn request(&self, method: reqwest::Method, url: &str) -> Result<reqwest::RequestBuilder, Refused> {
        Ok(self.client.request(method, self.check(url)?))
    }

    /// Sends a request, and reads at most `limit` bytes of the answer's body.
    ///
    /// # Errors
    /// [`DialError`] says whether it was refused, late or failed.
    pub async fn send(
        &self,
        request: reqwest::RequestBuilder,
        limit: usize,
    ) -> Result<(http::response::Parts, Vec<u8>), DialError> {
        let response = request.send().await.map_err(failed)?;
        read(response, limit).await
    }

    /// Sends a request whose answer's head is all that counts. The body is read on beside, for a moment, so that the
    /// connection can be used again; however that ends, it changes nothing.
    ///
    /// # Errors
    /// [`DialError`] says whether it was refused, late or failed.
    pub async fn head(&self, request: reqwest::RequestBuilder) -> Result<http::response::Parts, DialError> {
        let mut response = request.send().await.map_err(failed)?;
        let parts = head_of(&mut response);
        tokio::spawn(tokio::time::timeout(DRAIN, drain(response)));
        Ok(parts)
    }
}

/// Connections that are kept to a host for the next request.
const IDLE_MOST: usize = 32;

/// How long, and how many bytes of it, a body is read that nobody asks for.
const DRAIN: Duration = Duration::from_secs(1);
const DRAIN_MOST: usize = 64 << 10;

async fn drain(mut response: Response) {
    let mut drained = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        drained += chunk.len();
        if drained > DRAIN_MOST {
            return;
        }
    }
}

fn head_of(response: &mut Response) -> http::response::Parts {
    let mut parts = http::Response::new(()).into_parts().0;
    parts.status = response.status();
    parts.headers = std::mem::take(response.headers_mut());
    parts
}

async fn read(mut response: Response, limit: usize) -> Result<(http::response::Parts, Vec<u8>), DialError> {
    let parts = head_of(&mut response);
    let mut body = Vec::new();
    while body.len() < limit {
        let Some(chunk) = response.chunk().await.map_err(failed)? else { break };
        let room = limit - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok((parts, body))
}

fn failed(error: reqwest::Error) -> DialError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return DialError::Refused(refused.clone());
        }
        source = cause.source();
    }
    if error.is_timeout() {
        return DialError::Timeout;
    }
    // The URL may hold a token: it does not go into messages.
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    DialError::Failed(text)
}

/// The addresses of a name, if all are allowed. `localhost` is this machine by whichever of its addresses: the listed ones
/// are dialled, though systems name `::1` first.
fn permitted(name: &Name, found: Vec<SocketAddr>, allowed: &Allowed) -> Result<Vec<SocketAddr>, Refused> {
    let listed = |address: &&SocketAddr| allowed.check(address.ip()).is_ok();
    if name.as_str() == "localhost" && found.iter().any(|address| listed(&address)) {
        return Ok(found.into_iter().filter(|address| listed(&address)).collect());
    }
    found.iter().try_for_each(|address| allowed.check(address.ip()))?;
    Ok(found)
}

/// Resolves names, and refuses a name if *any* of its addresses is not allowed. What it gives is what is dialled.
struct Checked {
    allowed: Arc<Allowed>,
    names: Arc<Names>,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (allowed, names) = (self.allowed.clone(), self.names.clone());
        let (timing, begun) = (Timing::of_this_call(), Instant::now());
        Box::pin(async move {
            let found = names.addresses(name.as_str()).await?;
            let found: Vec<SocketAddr> = found.into_iter().map(|it| SocketAddr::new(it, 0)).collect();
            if let Some(timing) = timing {
                timing.found(begun.elapsed());
            }
            let found = permitted(&name, found, &allowed)?;
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_dialled_by_what_is_listed_and_any_other_name_by_all_or_nothing() {
        let both: Vec<SocketAddr> = vec!["[::1]:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
        let allowed = Allowed { networks: vec!["127.0.0.0/8".parse().unwrap()], ..Allowed::default() };
        let name = |text: &str| text.parse::<Name>().unwrap();
        assert_eq!(permitted(&name("localhost"), both.clone(), &allowed).unwrap(), both[1..]);
        assert!(permitted(&name("hooks.example.com"), both.clone(), &allowed).is_err());
        assert!(permitted(&name("localhost"), both, &Allowed::default()).is_err());
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_at_the_dial() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dialer = Dialer::new(&Config::default(), Duration::from_secs(5)).unwrap();
        let request = dialer.request(reqwest::Method::GET, "https://localhost:1/").unwrap();
        let error = dialer.send(request, 10).await.unwrap_err();
        assert!(matches!(error, DialError::Refused(Refused::NotGlobal(_))), "{error}");
        assert!(dialer.request(reqwest::Method::GET, "https://127.0.0.1:1/").is_err());
    }
}
