//! Which addresses may be dialled: global ones only, unless a deployment allows more (SSRF, design §7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

/// What a deployment allows beside global addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Networks that may be dialled although they are not global, and without TLS.
    pub networks: Vec<IpNet>,
    /// Beginnings of URLs that are our own: what is sent there would come back to us.
    pub own: Vec<Url>,
}

/// Why an address or URL is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No URL.
    #[error("url: expected an absolute https URL")]
    NotAUrl,
    /// Not https.
    #[error("url: expected https")]
    NotHttps,
    /// Credentials in it.
    #[error("url: credentials in a URL are not allowed")]
    Credentials,
    /// Our own ingest.
    #[error("url: this is where providers reach us: deliveries can't be sent there")]
    Own,
    /// Not global.
    #[error("url: {0} is not a global address")]
    NotGlobal(IpAddr),
}

impl Allowed {
    /// Whether an address may be dialled.
    ///
    /// # Errors
    /// [`Refused::NotGlobal`].
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        if is_global(address) || self.lists(address) { Ok(()) } else { Err(Refused::NotGlobal(address)) }
    }

    fn lists(&self, address: IpAddr) -> bool {
        let plain = match address {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
            IpAddr::V4(_) => address,
        };
        self.networks.iter().any(|network| network.contains(&plain))
    }

    /// Whether a URL may be called, as far as it can be told without resolving its name. Plain http is for listed
    /// addresses only.
    ///
    /// # Errors
    /// [`Refused`] says what is wrong with it.
    pub fn check_url(&self, url: &str) -> Result<Url, Refused> {
        let url = Url::parse(url).map_err(|_| Refused::NotAUrl)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Credentials);
        }
        let literal = match url.host() {
            Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
            Some(Host::Domain(_)) => None,
            None => return Err(Refused::NotAUrl),
        };
        let listed = literal.is_some_and(|address| self.lists(address)) || self.lists_localhost(&url);
        match url.scheme() {
            "https" => {}
            "http" if listed => {}
            "http" => return Err(Refused::NotHttps),
            _ => return Err(Refused::NotAUrl),
        }
        if let Some(address) = literal {
            self.check(address)?;
        }
        // A path can be written in many ways: the whole host and port are ours.
        let same = |own: &Url| {
            own.host() == url.host() && own.port_or_known_default() == url.port_or_known_default()
        };
        if self.own.iter().any(same) {
            return Err(Refused::Own);
        }
        Ok(url)
    }

    fn lists_localhost(&self, url: &Url) -> bool {
        url.host_str() == Some("localhost") && self.lists(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

/// Whether an address is global: not in any block of IANA's special-purpose registries that is not globally reachable.
/// Addresses that carry another one inside (v4-mapped, NAT64, 6to4, Teredo) are refused, whatever is inside.
pub fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_global_v4(v4),
        IpAddr::V6(v6) => is_global_v6(v6),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127, ..) => true,
        (100, 64..=127, _) => true,
        (169, 254, _) => true,
        (172, 16..=31, _) => true,
        (192, 0, 0) => !matches!(d, 9 | 10),
        (192, 0, 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113) => true,
        (192, 168, _) => true,
        (198, 18 | 19, _) => true,
        (224.., ..) => true,
        _ => false,
    };
    !special
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // Only 2000::/3 is handed out; within it these are not reachable, or carry a v4 address.
    let unicast = segments[0] & 0xe000 == 0x2000;
    let special = match segments {
        // 2001::/23: Teredo, ORCHID, benchmarking and others.
        [0x2001, second, ..] if second < 0x200 => true,
        [0x2001, 0xdb8, ..] => true,
        [0x2002, ..] => true,
        [0x3fff, second, ..] if second < 0x1000 => true,
        _ => false,
    };
    unicast && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_global_addresses_are_global() {
        for (address, global) in [
            ("8.8.8.8", true),
            ("93.184.216.34", true),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("172.15.0.1", true),
            ("172.31.255.255", false),
            ("192.0.0.8", false),
            ("192.0.2.1", false),
            ("192.168.1.1", false),
            ("198.18.0.1", false),
            ("203.0.113.9", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700::1111", true),
            ("::", false),
            ("::1", false),
            ("::ffff:8.8.8.8", false),
            ("64:ff9b::808:808", false),
            ("64:ff9b:1::1", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("2002:808:808::1", false),
            ("3fff::1", false),
            ("fc00::1", false),
            ("fe80::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_global(address.parse().unwrap()), global, "{address}");
        }
    }

    #[test]
    fn a_url_is_https_to_a_global_address_unless_listed() {
        let nothing = Allowed::default();
        let own = vec![Url::parse("https://in.example.com/tributary").unwrap()];
        let loopback = Allowed { networks: vec!["127.0.0.0/8".parse().unwrap()], own: own.clone() };
        let nothing = Allowed { own, ..nothing };
        for (url, bare, listed) in [
            ("https://hooks.example.com/x", true, true),
            ("http://hooks.example.com/x", false, false),
            ("https://user:pass@hooks.example.com/", false, false),
            ("https://127.0.0.1:8080/", false, true),
            ("http://127.0.0.1:8080/", false, true),
            ("http://localhost:8080/", false, true),
            ("https://2130706433/", false, true),
            ("https://0x7f.1/", false, true),
            ("https://[::ffff:127.0.0.1]/", false, true),
            ("https://169.254.169.254/latest", false, false),
            ("https://in.example.com/native/demo/token", false, false),
            ("https://IN.example.com:443/%6eative/demo/token", false, false),
            ("https://in.example.com:8443/other", true, true),
            ("https://out.example.com/", true, true),
            ("ftp://example.com/", false, false),
            ("not a url", false, false),
        ] {
            assert_eq!(nothing.check_url(url).is_ok(), bare, "{url}");
            assert_eq!(loopback.check_url(url).is_ok(), listed, "{url} with loopback listed");
        }
    }
}
