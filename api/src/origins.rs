//! Where a request comes from: the address it is counted by, whether its way is private, and whether our own pages sent it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use actix_web::{
    HttpMessage, HttpRequest,
    dev::{Extensions, ServiceRequest},
    http::header::{self, HeaderMap},
};
use fanfare_domain::peers::Peer;
use fanfare_protocol::ErrorCode;

use crate::{extract::SESSION_COOKIES, problems::ApiError};

/// Who sent a request, as the server found before it came here; without that, its connection speaks for itself.
pub(crate) fn peer(extensions: &Extensions, connection: Option<SocketAddr>) -> Peer {
    let found = extensions.get::<Peer>().copied();
    found.unwrap_or_else(|| Peer::of_connection(connection.map(|connection| connection.ip())))
}

fn peer_of(request: &HttpRequest) -> Peer {
    peer(&request.extensions(), request.peer_addr())
}

/// The address that limits count by: the caller's own, or its /64 network where it is IPv6.
pub(crate) fn address(request: &HttpRequest) -> IpAddr {
    network(peer_of(request).address)
}

/// Refuses a request that is about to carry credentials, or has carried them, where others could read them on the way.
pub(crate) fn require_private(request: &HttpRequest) -> Result<(), ApiError> {
    if peer_of(request).is_private { Ok(()) } else { Err(in_the_clear()) }
}

/// The same for any request, whoever answers it, by what it carries: it is refused before anybody looks at that.
pub(crate) fn require_private_credentials(request: &ServiceRequest) -> Result<(), ApiError> {
    let is_private = peer(&request.extensions(), request.peer_addr()).is_private;
    if is_private || !carries_credentials(request.headers(), request.query_string()) {
        return Ok(());
    }
    Err(in_the_clear())
}

fn in_the_clear() -> ApiError {
    ApiError::new(
        ErrorCode::TlsRequired,
        "the request came over plain HTTP from another machine, with credentials or for some",
    )
}

fn carries_credentials(headers: &HeaderMap, query: &str) -> bool {
    let cookies = headers.get_all(header::COOKIE).filter_map(|value| value.to_str().ok());
    let mut names = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.split('=').next());
    headers.contains_key(header::AUTHORIZATION)
        || names.any(|name| SESSION_COOKIES.contains(&name.trim()))
        || query.split('&').any(|pair| pair.split('=').next() == Some("token"))
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !0 << 64)),
        v4 => v4,
    }
}

/// How the caller reached this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    /// Whether they came over TLS.
    pub https: bool,
    /// The host and port they asked for, in lower case.
    pub host: String,
}

impl Own {
    pub fn of(request: &HttpRequest) -> Self {
        let headers = request.headers();
        let host = text(headers, "host").or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        Self { https: peer_of(request).https, host: host.unwrap_or_default().to_ascii_lowercase() }
    }

    /// Whether the name asked for is one of this machine itself, where browsers take plain http for safe.
    pub fn is_loopback(&self) -> bool {
        let name = match self.host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.host.split(':').next().unwrap_or_default(),
        };
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Refuses a change that our own pages did not send: one header must say that they did, and none that they did not.
    pub fn require_same(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let scheme = if self.https { "https" } else { "http" };
        let own = format!("{scheme}://{}", self.host);
        let by_origin = text(headers, header::ORIGIN.as_str()).map(|origin| origin.eq_ignore_ascii_case(&own));
        let by_site = text(headers, "sec-fetch-site").map(|site| site == "same-origin");
        match (by_origin, by_site) {
            (None, None) => {
                Err(ApiError::new(ErrorCode::ForeignOrigin, "neither `Origin` nor `Sec-Fetch-Site` was sent"))
            }
            (Some(false), _) => Err(ApiError::new(
                ErrorCode::ForeignOrigin,
                format!(
                    "`Origin` is not {own}; where a proxy ends TLS, the server must be told to trust what it forwards"
                ),
            )),
            (_, Some(false)) => Err(ApiError::new(ErrorCode::ForeignOrigin, "`Sec-Fetch-Site` is not `same-origin`")),
            _ => Ok(()),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    // A header that is not text is there, and is not one that we would have sent.
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn own(https: bool, host: &str) -> Own {
        Own { https, host: host.to_owned() }
    }

    fn admits(own: &Own, headers: &[(&'static str, &'static str)]) -> bool {
        let request = headers.iter().fold(TestRequest::default(), |request, header| request.insert_header(*header));
        own.require_same(request.to_http_request().headers()).is_ok()
    }

    #[test]
    fn a_change_must_come_from_our_own_pages() {
        let ours = own(false, "localhost:8080");
        assert!(admits(&ours, &[("origin", "http://localhost:8080")]));
        assert!(admits(&ours, &[("sec-fetch-site", "same-origin")]));
        assert!(admits(&ours, &[("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")]));
        for foreign in ["http://localhost", "https://localhost:8080", "http://evil.example", "null", ""] {
            assert!(!admits(&ours, &[("origin", foreign)]), "{foreign}");
            assert!(!admits(&ours, &[("origin", foreign), ("sec-fetch-site", "same-origin")]), "{foreign}");
        }
        for site in ["cross-site", "same-site", "none"] {
            assert!(!admits(&ours, &[("origin", "http://localhost:8080"), ("sec-fetch-site", site)]), "{site}");
        }
        assert!(!admits(&ours, &[]));
    }

    #[test]
    fn loopback_is_told_by_the_name_that_was_asked_for() {
        for host in ["localhost", "localhost:8080", "demo.localhost", "127.0.0.1:80", "127.8.8.8", "[::1]:8080"] {
            assert!(own(false, host).is_loopback(), "{host}");
        }
        for host in ["", "example.com", "localhost.example.com", "128.0.0.1", "[::2]:80"] {
            assert!(!own(false, host).is_loopback(), "{host}");
        }
    }

    #[test]
    fn what_the_server_found_counts_and_headers_do_not() {
        let request = || {
            TestRequest::default()
                .peer_addr("10.0.0.1:99".parse().unwrap())
                .insert_header(("host", "Fanfare.example"))
                .insert_header(("x-forwarded-for", "1.1.1.1"))
                .insert_header(("x-forwarded-proto", "https"))
        };
        let alone = request().to_http_request();
        assert_eq!(address(&alone), "10.0.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(Own::of(&alone), own(false, "fanfare.example"));
        assert!(require_private(&alone).is_err());
        let found = request().to_http_request();
        let theirs = "2001:db8:1:2:3:4:5:6".parse().unwrap();
        found.extensions_mut().insert(Peer { address: theirs, https: true, is_private: true });
        assert_eq!(address(&found), "2001:db8:1:2::".parse::<IpAddr>().unwrap());
        assert_eq!(Own::of(&found), own(true, "fanfare.example"));
        assert!(require_private(&found).is_ok());
    }

    #[test]
    fn credentials_in_the_clear_are_refused_wherever_they_stand() {
        let refused = |uri: &str, headers: &[(&'static str, &'static str)]| {
            let request = TestRequest::with_uri(uri).peer_addr("192.0.2.1:99".parse().unwrap());
            let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
            require_private_credentials(&request.to_srv_request()).is_err()
        };
        assert!(refused("/", &[("authorization", "Bearer x")]));
        assert!(refused("/", &[("cookie", "a=b; session=x")]));
        assert!(refused("/", &[("cookie", "__Host-session=x")]));
        assert!(refused("/v1/sse?channel=a&token=x", &[]));
        assert!(!refused("/v1/sse?channel=a&cursor=token", &[("cookie", "theme=session")]));
    }
}
