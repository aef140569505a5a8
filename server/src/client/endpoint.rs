//! Where the server is: one `http://` or `https://` address, from which every other is made.

use std::{io, net::IpAddr, path::Path, sync::Arc};

use fanfare_protocol::ChannelName;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::trust;
use crate::{problem::Problem, tls::Stream};

/// A server's address, and how it is known to be the server.
#[derive(Debug, Clone)]
pub struct Endpoint {
    url: Url,
    /// For `https`.
    tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    /// Reads `http://host:port` or `https://host:port`, also with a path before which the server is mounted. `ca` is a file with the
    /// certificates that are trusted, in place of the system's.
    pub fn new(text: &str, ca: Option<&Path>) -> Result<Self, Problem> {
        let example = "Give --url (or FANFARE_URL) as in http://127.0.0.1:8080 or https://fanfare.example";
        let mut url =
            Url::parse(text).map_err(|error| Problem::new(format!("`{text}` is not a URL: {error}"), example))?;
        let scheme = match url.scheme() {
            "http" | "ws" if url.has_host() => "http",
            "https" | "wss" if url.has_host() => "https",
            _ => return Err(Problem::new(format!("`{text}` is neither an http:// nor an https:// address"), example)),
        };
        url.set_scheme(scheme).expect("these schemes are alike");
        let tls = (scheme == "https").then(|| trust::config(ca)).transpose()?.map(Arc::new);
        Ok(Self { url, tls })
    }

    /// The address of a path, each segment percent-encoded.
    pub fn path(&self, segments: &[&str]) -> Url {
        let mut url = self.url.clone();
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
        url.set_scheme(if self.tls.is_some() { "wss" } else { "ws" }).expect("these schemes are alike");
        url
    }

    /// A connection to where sockets connect.
    ///
    /// # Errors
    /// Nobody answers there, or somebody who is not trusted.
    pub async fn stream(&self) -> io::Result<Stream> {
        let host = self.url.host_str().unwrap_or_default();
        let name = host.trim_matches(['[', ']']);
        let port = self.url.port_or_known_default().unwrap_or_default();
        let connection = TcpStream::connect((name, port)).await?;
        connection.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(connection)) };
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, connection).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }

    /// An HTTP client for this server; proxies of the environment are not asked for what runs on this machine.
    pub fn http(&self) -> Result<reqwest::Client, Problem> {
        let builder = reqwest::Client::builder();
        let builder = if self.is_loopback() { builder.no_proxy() } else { builder };
        let builder = match &self.tls {
            Some(tls) => {
                let mut tls = ClientConfig::clone(tls);
                tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
                builder.tls_backend_preconfigured(tls)
            }
            None => builder,
        };
        builder.build().map_err(|error| {
            Problem::new(
                format!("the HTTP client cannot be made: {error}"),
                "Check the proxy variables of the environment.",
            )
        })
    }

    fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
            Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
            None => false,
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Result<Endpoint, Problem> {
        crate::tls::install();
        let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), certificate).unwrap();
        Endpoint::new(text, Some(ca.path()))
    }

    #[test]
    fn addresses_are_made_from_the_servers_own() {
        assert_eq!(at("http://127.0.0.1:8080").unwrap().connect().as_str(), "ws://127.0.0.1:8080/v1/connect");
        assert_eq!(at("https://[::1]:8443").unwrap().connect().as_str(), "wss://[::1]:8443/v1/connect");
        assert_eq!(at("wss://h").unwrap().path(&["x"]).as_str(), "https://h/x");
        let channel = ChannelName::parse("a:1;b").unwrap();
        assert_eq!(at("http://h/x/").unwrap().messages(&channel).as_str(), "http://h/x/v1/channels/a:1;b/messages");
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for url in ["", "127.0.0.1:8080", "ftp://x", "x"] {
            assert!(at(url).unwrap_err().to_string().contains("http://127.0.0.1:8080"), "{url}");
        }
    }

    #[test]
    fn a_file_without_certificates_trusts_nobody() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        assert!(Endpoint::new("https://h", Some(empty.path())).unwrap_err().what.contains("holds no certificate"));
        let missing = Endpoint::new("https://h", Some(Path::new("/nowhere/ca.pem"))).unwrap_err();
        assert!(missing.what.contains("/nowhere/ca.pem") && missing.remedy.contains("FANFARE_CA"), "{missing}");
    }
}
