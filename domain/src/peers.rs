//! Who is at the other end of a connection: the caller's own address and way, also behind proxies, and whether credentials may come that way.

use std::{
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, de};

/// Who sent a request, and how it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The caller's own address, as far as it is known.
    pub address: IpAddr,
    /// Whether it came over TLS, to us or to a proxy whose word is taken.
    pub https: bool,
    /// Whether credentials may come this way: nobody in between can read them, or the operator vouches for it.
    pub is_private: bool,
}

impl Peer {
    /// The one at the other end of a plain connection, of whom nothing else is known.
    pub fn of_connection(address: Option<IpAddr>) -> Self {
        let address = address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        Trust::default().peer(&Hop { address, tls: false, forwarded_for: &[], forwarded_proto: None })
    }
}

/// What a connection tells of a request: who is at its other end, and what that one says of who is behind it.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// The address at the other end of the connection.
    pub address: IpAddr,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// The values of `X-Forwarded-For`, in the order of the lines.
    pub forwarded_for: &'a [&'a str],
    /// The last value of `X-Forwarded-Proto`.
    pub forwarded_proto: Option<&'a str>,
}

/// Whether credentials are taken over plain HTTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlainHttp {
    /// From this machine alone.
    #[default]
    Loopback,
    /// From everywhere: something in front ends TLS, or the network is trusted.
    Allow,
}

/// What is believed of whom.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The proxies whose word is taken.
    pub proxies: Networks,
    /// Whether credentials are taken over plain HTTP.
    pub plain_http: PlainHttp,
}

impl Trust {
    /// Who sent a request. What a header says counts only from a trusted proxy: the caller is the rightmost address that is not one itself.
    pub fn peer(&self, hop: &Hop) -> Peer {
        let hop_address = hop.address.to_canonical();
        if !self.proxies.contain(hop_address) {
            return self.judge(hop_address, hop.tls, hop_address.is_loopback());
        }
        let caller = self.caller(hop.forwarded_for);
        let https = match hop.forwarded_proto.and_then(|protos| protos.rsplit(',').next()) {
            Some(proto) => matches!(proto.trim().to_ascii_lowercase().as_str(), "https" | "wss"),
            // It passes on what it gets, and speaks for itself.
            None => hop.tls,
        };
        // What forwards nothing speaks for itself. A proxy that does not say for whom may have been called from anywhere.
        let is_itself = hop.forwarded_for.is_empty() && hop.forwarded_proto.is_none();
        let local = if is_itself { Some(hop_address) } else { caller };
        self.judge(caller.unwrap_or(hop_address), https, local.is_some_and(|address| address.is_loopback()))
    }

    fn judge(&self, address: IpAddr, https: bool, is_local: bool) -> Peer {
        Peer { address, https, is_private: https || is_local || self.plain_http == PlainHttp::Allow }
    }

    /// From the right: each address was written by the hop to the right of it. What is no address ends the search at what was found before.
    fn caller(&self, forwarded_for: &[&str]) -> Option<IpAddr> {
        let mut found = None;
        for text in forwarded_for.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Some(address) = address(text.trim()) else { break };
            found = Some(address);
            if !self.proxies.contain(address) {
                break;
            }
        }
        found
    }
}

/// An address as proxies write it: alone, with a port, or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    let alone = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None if text.matches(':').count() == 1 => text.split(':').next()?,
        None => text,
    };
    alone.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// A list of addresses and networks, as `127.0.0.1, 10.0.0.0/8, fd00::/8`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

/// An item that is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address, as 10.0.0.7, nor a network, as 10.0.0.0/8")]
pub struct BadNetwork(String);

impl Networks {
    /// Whether an address is one of these.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address.to_canonical()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differs = ours.to_bits() ^ theirs.to_bits();
                differs.checked_shr(32 - self.prefix).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differs = ours.to_bits() ^ theirs.to_bits();
                differs.checked_shr(128 - self.prefix).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u32 = match prefix {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse().map_err(|_| bad())?,
            Some(_) => return Err(bad()),
            None => whole,
        };
        if prefix > whole {
            return Err(bad());
        }
        match (address, address.to_canonical()) {
            // A network of IPv4 addresses that is written as one of IPv6.
            (IpAddr::V6(_), canonical @ IpAddr::V4(_)) => {
                Ok(Self { address: canonical, prefix: prefix.checked_sub(96).ok_or_else(bad)? })
            }
            _ => Ok(Self { address, prefix }),
        }
    }
}

impl FromStr for Networks {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust(proxies: &str) -> Trust {
        Trust { proxies: proxies.parse().unwrap(), plain_http: PlainHttp::Loopback }
    }

    fn came(trust: &Trust, from: &str, forwarded_for: &[&str], proto: Option<&str>) -> (String, bool, bool) {
        let hop = Hop { address: from.parse().unwrap(), tls: false, forwarded_for, forwarded_proto: proto };
        let peer = trust.peer(&hop);
        (peer.address.to_string(), peer.https, peer.is_private)
    }

    fn expect(address: &str, https: bool, is_private: bool) -> (String, bool, bool) {
        (address.to_owned(), https, is_private)
    }

    #[test]
    fn what_a_stranger_forwards_is_not_believed() {
        for trust in [trust(""), trust("10.0.0.0/8")] {
            let peer = came(&trust, "192.0.2.1", &["127.0.0.1"], Some("https"));
            assert_eq!(peer, expect("192.0.2.1", false, false));
            assert_eq!(came(&trust, "127.0.0.1", &["192.0.2.9"], Some("https")), expect("127.0.0.1", false, true));
            assert_eq!(came(&trust, "::ffff:127.0.0.1", &[], None), expect("127.0.0.1", false, true));
        }
    }

    #[test]
    fn the_caller_is_the_rightmost_address_that_is_no_trusted_proxy() {
        let trust = trust("127.0.0.1, 10.0.0.0/8,fd00::/8");
        for (forwarded, caller) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["127.0.0.1, 198.51.100.7, 192.0.2.1, 10.1.2.3"], "192.0.2.1"),
            (&["198.51.100.7", "192.0.2.1", "10.1.2.3,fd00::5"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["[2001:db8::1]:80"], "2001:db8::1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1, unknown, 10.1.2.3"], "10.1.2.3"),
            (&["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
        ] {
            assert_eq!(
                came(&trust, "127.0.0.1", forwarded, Some("https")),
                expect(caller, true, true),
                "{forwarded:?}"
            );
        }
    }

    #[test]
    fn plain_http_behind_a_proxy_is_not_private_and_one_that_hides_its_caller_vouches_for_nobody() {
        let trust = trust("127.0.0.1");
        assert_eq!(came(&trust, "127.0.0.1", &["192.0.2.1"], Some("http")), expect("192.0.2.1", false, false));
        assert_eq!(came(&trust, "127.0.0.1", &["192.0.2.1"], None), expect("192.0.2.1", false, false));
        assert_eq!(came(&trust, "127.0.0.1", &[], None), expect("127.0.0.1", false, true));
        assert_eq!(came(&trust, "127.0.0.1", &[], Some("http")), expect("127.0.0.1", false, false));
        assert_eq!(came(&trust, "127.0.0.1", &["nonsense"], Some("http")), expect("127.0.0.1", false, false));
        assert_eq!(came(&trust, "127.0.0.1", &["127.0.0.1"], Some("http")), expect("127.0.0.1", false, true));
        assert_eq!(came(&trust, "127.0.0.1", &["192.0.2.1"], Some("https, http")), expect("192.0.2.1", false, false));
        let allowing = Trust { plain_http: PlainHttp::Allow, ..trust };
        assert_eq!(came(&allowing, "198.51.100.1", &[], None), expect("198.51.100.1", false, true));
    }

    #[test]
    fn networks_are_read_with_and_without_a_length() {
        let networks: Networks = "10.0.0.0/8, 192.0.2.7, 2001:db8::/32, ::ffff:198.51.100.0/120".parse().unwrap();
        for inside in ["10.255.0.1", "192.0.2.7", "2001:db8:ffff::1", "198.51.100.200", "::ffff:10.0.0.1"] {
            assert!(networks.contain(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "198.51.101.1", "::1"] {
            assert!(!networks.contain(outside.parse().unwrap()), "{outside}");
        }
        assert!("0.0.0.0/0".parse::<Networks>().unwrap().contain("203.0.113.1".parse().unwrap()));
        assert!("::/0".parse::<Networks>().unwrap().contain("2001:db8::1".parse().unwrap()));
        assert!("".parse::<Networks>().unwrap().is_empty());
        for bad in ["10.0.0.0/33", "10.0.0.0/x", "10.0.0.0/+8", "localhost", "10.0.0", "::/129", "10.0.0.0/8/8"] {
            assert!(bad.parse::<Networks>().is_err(), "{bad}");
        }
    }
}
