//! From a URL to a stream: resolved, checked, connected to, in one step.

use std::{io, net::SocketAddr, sync::Arc};

use fanfare_domain::outbound::{NotCalled, OutboundPolicy};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::OutboundError;

/// A stream of bytes, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

pub(super) async fn connect(
    policy: OutboundPolicy,
    tls: impl FnOnce() -> Result<Arc<ClientConfig>, OutboundError>,
    url: &Url,
) -> Result<Box<dyn Stream>, OutboundError> {
    let addresses = resolve(policy, url).await?;
    let stream = connect_to_any(&addresses).await.map_err(unreachable)?;
    if url.scheme() != "https" {
        return Ok(Box::new(stream));
    }
    let name = match url.host() {
        Some(Host::Domain(name)) => ServerName::try_from(name.to_owned()).map_err(|_| OutboundError::Unresolved)?,
        Some(Host::Ipv4(address)) => ServerName::IpAddress(std::net::IpAddr::V4(address).into()),
        Some(Host::Ipv6(address)) => ServerName::IpAddress(std::net::IpAddr::V6(address).into()),
        None => return Err(OutboundError::Unresolved),
    };
    let stream = TlsConnector::from(tls()?).connect(name, stream).await.map_err(unreachable)?;
    Ok(Box::new(stream))
}

/// The addresses of a URL's host, every one of which may be called. A name that has one other is refused whole: it has no business there.
async fn resolve(policy: OutboundPolicy, url: &Url) -> Result<Vec<SocketAddr>, OutboundError> {
    let port = url.port_or_known_default().ok_or(NotCalled::Url("the URL names no port"))?;
    let addresses: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(address)) => vec![(address, port).into()],
        Some(Host::Ipv6(address)) => vec![(address, port).into()],
        Some(Host::Domain(name)) => {
            tokio::net::lookup_host((name, port)).await.map_err(|_| OutboundError::Unresolved)?.collect()
        }
        None => Vec::new(),
    };
    checked(policy, addresses)
}

fn checked(policy: OutboundPolicy, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, OutboundError> {
    if addresses.is_empty() {
        return Err(OutboundError::Unresolved);
    }
    for address in &addresses {
        policy.check_address(address.ip())?;
    }
    Ok(addresses)
}

async fn connect_to_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn unreachable(error: io::Error) -> OutboundError {
    OutboundError::Unreachable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_one_private_address_among_public_ones_is_refused_whole() {
        let of = |all: &[&str]| all.iter().map(|one| one.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let mixed = of(&["1.1.1.1:443", "10.0.0.1:443"]);
        assert!(matches!(checked(OutboundPolicy::Public, mixed.clone()), Err(OutboundError::NotCalled(_))));
        assert_eq!(checked(OutboundPolicy::AllowPrivate, mixed).unwrap().len(), 2);
        assert_eq!(checked(OutboundPolicy::Public, of(&["1.1.1.1:443", "[2606:4700::1111]:443"])).unwrap().len(), 2);
        assert!(matches!(checked(OutboundPolicy::Public, of(&[])), Err(OutboundError::Unresolved)));
    }

    #[tokio::test]
    async fn a_name_is_checked_by_what_it_resolves_to() {
        let url = Url::parse("https://localhost:1/").unwrap();
        let refused = resolve(OutboundPolicy::Public, &url).await;
        assert!(matches!(refused, Err(OutboundError::NotCalled(_) | OutboundError::Unresolved)), "{refused:?}");
    }
}
