//! Where the server is: one `http://` address, from which every other is made.

use std::net::IpAddr;

use fanfare_protocol::ChannelName;
use url::{Host, Url};

use crate::problem::Problem;

/// A server's address.
#[derive(Debug, Clone)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Reads `http://host:port`, also with a path before which the server is mounted.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let url = Url::parse(text).map_err(|error| {
            Problem::new(
                format!("`{text}` is not a URL: {error}"),
                "Give --url (or FANFARE_URL) as in http://127.0.0.1:8080",
            )
        })?;
        match url.scheme() {
            "http" if url.has_host() => Ok(Self(url)),
            "https" | "wss" => Err(Problem::new(
                "these commands do not speak TLS yet, so https:// and wss:// cannot be used",
                "Run the command where the server's plain port can be reached, or through `ssh -L 8080:127.0.0.1:8080 HOST`; never send a key in the clear over a network.",
            )),
            _ => Err(Problem::new(
                format!("`{text}` is not an http:// address"),
                "Give --url (or FANFARE_URL) as in http://127.0.0.1:8080",
            )),
        }
    }

    /// The address of a path, each segment percent-encoded.
    pub fn path(&self, segments: &[&str]) -> Url {
        let mut url = self.0.clone();
        url.set_query(None);
        url.path_segments_mut().expect("http addresses have paths").pop_if_empty().extend(segments);
        url
    }

    /// Where a channel's messages are.
    pub fn messages(&self, channel: &ChannelName) -> Url {
        self.path(&["v1", "channels", channel.as_str(), "messages"])
    }

    /// Where sockets connect.
    pub fn connect(&self) -> Url {
        let mut url = self.path(&["v1", "connect"]);
        url.set_scheme("ws").expect("http may become ws");
        url
    }

    /// An HTTP client for this server; proxies of the environment are not asked for what runs on this machine.
    pub fn http(&self) -> Result<reqwest::Client, Problem> {
        let builder = reqwest::Client::builder();
        let builder = if self.is_loopback() { builder.no_proxy() } else { builder };
        builder.build().map_err(|error| {
            Problem::new(
                format!("the HTTP client cannot be made: {error}"),
                "Check the proxy variables of the environment.",
            )
        })
    }

    fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
            None => false,
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_made_from_the_servers_own() {
        let endpoint = Endpoint::parse("http://127.0.0.1:8080").unwrap();
        assert_eq!(endpoint.connect().as_str(), "ws://127.0.0.1:8080/v1/connect");
        let channel = ChannelName::parse("a:1;b").unwrap();
        assert_eq!(
            Endpoint::parse("http://h/x/").unwrap().messages(&channel).as_str(),
            "http://h/x/v1/channels/a:1;b/messages"
        );
    }

    #[test]
    fn tls_is_refused_with_a_way_out_and_nonsense_with_an_example() {
        for url in ["https://x", "wss://x"] {
            assert!(Endpoint::parse(url).unwrap_err().to_string().contains("ssh -L"), "{url}");
        }
        for url in ["", "127.0.0.1:8080", "ftp://x", "x"] {
            assert!(Endpoint::parse(url).unwrap_err().to_string().contains("http://127.0.0.1:8080"), "{url}");
        }
    }
}
