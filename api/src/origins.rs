//! Where a request comes from: the address it is counted by, and whether our own pages sent it.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderMap},
};
use fanfare_protocol::ErrorCode;

use crate::problems::ApiError;

/// The address that limits count by: the caller's own, or its /64 network where it is IPv6.
pub(crate) fn address(request: &HttpRequest, trust_forwarded: bool) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip());
    let forwarded = trust_forwarded.then(|| last_hop(request.headers())).flatten();
    network(forwarded.unwrap_or(peer))
}

/// The address that our own proxy saw: it appends to what the client may have made up.
fn last_hop(headers: &HeaderMap) -> Option<IpAddr> {
    headers.get_all("x-forwarded-for").last()?.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
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
    pub fn of(request: &HttpRequest, trust_forwarded: bool) -> Self {
        let headers = request.headers();
        let forwarded = trust_forwarded
            && text(headers, "x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        let host = text(headers, "host").or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        Self { https: forwarded || request.app_config().secure(), host: host.unwrap_or_default().to_ascii_lowercase() }
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
    fn forwarded_headers_count_only_where_they_are_trusted() {
        let request = TestRequest::default()
            .peer_addr("10.0.0.1:99".parse().unwrap())
            .insert_header(("host", "Fanfare.example"))
            .insert_header(("x-forwarded-for", "1.1.1.1, 2001:db8:1:2:3:4:5:6"))
            .insert_header(("x-forwarded-proto", "https"))
            .to_http_request();
        assert_eq!(address(&request, false), "10.0.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(address(&request, true), "2001:db8:1:2::".parse::<IpAddr>().unwrap());
        assert_eq!(Own::of(&request, false), own(false, "fanfare.example"));
        assert_eq!(Own::of(&request, true), own(true, "fanfare.example"));
    }
}
