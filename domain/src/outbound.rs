//! Outbound calls: which URLs and addresses that tenants name may be called at all.
//!
//! A URL is checked when it is stored, an address each time when it is about to be connected to, since names resolve to others later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// The longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;

/// Why a URL or an address is not called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCalled {
    /// It is no URL, or one of another kind.
    #[error("{0}")]
    Url(&'static str),
    /// The address is not one of the public internet.
    #[error("the address is {0}, which is not called from here")]
    Address(&'static str),
}

/// What may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboundPolicy {
    /// The public internet, by https.
    Public,
    /// Also this machine and private networks, and by http: for development.
    AllowPrivate,
}

impl OutboundPolicy {
    /// Reads a URL that a tenant gives, if it may be called as far as can be told without resolving its name.
    pub fn check_url(self, text: &str) -> Result<Url, NotCalled> {
        if text.len() > MAX_URL_BYTES {
            return Err(NotCalled::Url("the URL has more than 2,048 bytes"));
        }
        let url = Url::parse(text).map_err(|_| NotCalled::Url("it is no URL"))?;
        match (url.scheme(), self) {
            ("https", _) | ("http", Self::AllowPrivate) => {}
            _ => return Err(NotCalled::Url("only https:// is called")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NotCalled::Url("a URL with a user or a password is not called")); // It would stand in logs and lists.
        }
        if url.fragment().is_some() {
            return Err(NotCalled::Url("a URL with a fragment is not called"));
        }
        match url.host() {
            None => return Err(NotCalled::Url("the URL names no host")),
            Some(Host::Ipv4(address)) => self.check_address(address.into())?,
            Some(Host::Ipv6(address)) => self.check_address(address.into())?,
            Some(Host::Domain(name)) => self.check_name(name)?,
        }
        if url.port() == Some(0) {
            return Err(NotCalled::Url("port 0 is nowhere"));
        }
        Ok(url)
    }

    /// Refuses names that mean this machine wherever they are resolved.
    fn check_name(self, name: &str) -> Result<(), NotCalled> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if self == Self::Public && (name == "localhost" || name.ends_with(".localhost")) {
            return Err(NotCalled::Address("this machine"));
        }
        Ok(())
    }

    /// Refuses an address that may not be connected to.
    pub fn check_address(self, address: IpAddr) -> Result<(), NotCalled> {
        match (kind(address), self) {
            (Kind::Public, _) | (Kind::Private(_), Self::AllowPrivate) => Ok(()),
            (Kind::Private(what) | Kind::Nowhere(what), _) => Err(NotCalled::Address(what)),
        }
    }
}

/// What an address is.
enum Kind {
    /// Of the public internet.
    Public,
    /// This machine, or a network of somebody's own.
    Private(&'static str),
    /// No one host, or none at all.
    Nowhere(&'static str),
}

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

/// By the registry of special-purpose IPv4 addresses (RFC 6890).
fn kind_v4(address: Ipv4Addr) -> Kind {
    match address.octets() {
        [0, ..] => Kind::Nowhere("in 0.0.0.0/8"),
        [127, ..] => Kind::Private("this machine"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Kind::Private("private"),
        [169, 254, ..] => Kind::Private("link-local"),
        [100, 64..=127, ..] => Kind::Private("shared by carriers (100.64.0.0/10)"),
        [198, 18..=19, ..] => Kind::Private("for benchmarks (198.18.0.0/15)"),
        [192, 0, 0, _] => Kind::Nowhere("of protocols (192.0.0.0/24)"),
        [192, 88, 99, _] => Kind::Nowhere("a relay of 6to4"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Kind::Nowhere("for documentation"),
        [224..=239, ..] => Kind::Nowhere("multicast"),
        [240..=255, ..] => Kind::Nowhere("reserved"),
        _ => Kind::Public,
    }
}

/// Only 2000::/3 is given out; of it, what carries an IPv4 address or belongs to protocols is refused, and so is every other form that
/// hides an IPv4 address.
fn kind_v6(address: Ipv6Addr) -> Kind {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Kind::Nowhere("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Kind::Private("this machine"),
        [0, 0, 0, 0, 0, 0xffff, ..] => Kind::Nowhere("an IPv4 address in an IPv6 one"),
        [0, 0, 0, 0, 0, 0, ..] => Kind::Nowhere("an IPv4 address in an IPv6 one"),
        [0x64, 0xff9b, ..] => Kind::Nowhere("translated to IPv4 (NAT64)"),
        [0xfe80..=0xfebf, ..] => Kind::Private("link-local"),
        [0xfec0..=0xfeff, ..] => Kind::Private("site-local"),
        [0xfc00..=0xfdff, ..] => Kind::Private("private (fc00::/7)"),
        [0xff00..=0xffff, ..] => Kind::Nowhere("multicast"),
        [0x2001, 0x0..=0x1ff, ..] => Kind::Nowhere("of protocols (2001::/23)"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0x0..=0xfff, ..] => Kind::Nowhere("for documentation"),
        [0x2002, ..] => Kind::Nowhere("an IPv4 address in an IPv6 one (6to4)"),
        [0x2000..=0x3fff, ..] => Kind::Public,
        _ => Kind::Nowhere("not given out"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_called() {
        for good in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.255.255",
            "172.32.0.0",
            "100.63.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2a00::1",
        ] {
            assert_eq!(OutboundPolicy::Public.check_address(good.parse().unwrap()), Ok(()), "{good}");
        }
        let private = [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "198.18.0.1",
            "::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fdff::1",
        ];
        let nowhere = [
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.1",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "192.88.99.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2001::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "ff02::1",
            "100::1",
            "5f00::1",
            "4000::1",
        ];
        for bad in private.iter().chain(&nowhere) {
            assert!(OutboundPolicy::Public.check_address(bad.parse().unwrap()).is_err(), "{bad}");
        }
        for bad in private {
            assert_eq!(OutboundPolicy::AllowPrivate.check_address(bad.parse().unwrap()), Ok(()), "{bad}");
        }
        for bad in nowhere {
            assert!(OutboundPolicy::AllowPrivate.check_address(bad.parse().unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_plain_https_urls_are_taken_and_numbers_are_read_as_addresses() {
        for good in [
            "https://example.com/jwks",
            "https://example.com:8443/a?b=c",
            "https://1.1.1.1/",
            "https://[2606:4700::1111]/",
        ] {
            assert!(OutboundPolicy::Public.check_url(good).is_ok(), "{good}");
        }
        let long = format!("https://example.com/{}", "a".repeat(MAX_URL_BYTES));
        for bad in [
            "",
            "example.com",
            "http://example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://",
            "https://user@example.com/",
            "https://user:secret@example.com/",
            "https://example.com/#x",
            "https://example.com:0/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://0/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[64:ff9b::a00:1]/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://a.localhost/",
            "https://１２７.0.0.1/",
            &long,
        ] {
            assert!(OutboundPolicy::Public.check_url(bad).is_err(), "{bad}");
        }
        for good in ["http://127.0.0.1:4711/jwks", "http://localhost/", "https://10.0.0.1/", "https://example.com/"] {
            assert!(OutboundPolicy::AllowPrivate.check_url(good).is_ok(), "{good}");
        }
        for bad in ["http://0.0.0.0/", "http://u@127.0.0.1/", "file:///etc/passwd", "http://224.0.0.1/"] {
            assert!(OutboundPolicy::AllowPrivate.check_url(bad).is_err(), "{bad}");
        }
    }
}
