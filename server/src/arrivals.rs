//! What is noted of every request before anybody looks at it: who sent it and how it came; and what every answer over TLS says.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_web::{
    HttpMessage,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
};
use fanfare_domain::peers::{Hop, Trust};
use tracing::warn;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How a listener's requests arrive. Clones share everything.
#[derive(Clone)]
pub struct Arrivals(Arc<Noted>);

struct Noted {
    trust: Trust,
    tls: bool,
    /// `Strict-Transport-Security`.
    hsts: Option<HeaderValue>,
    has_warned: AtomicBool,
}

impl Arrivals {
    /// The requests of a listener, with TLS or without.
    pub fn new(trust: Trust, tls: bool, hsts: Option<HeaderValue>) -> Self {
        Self(Arc::new(Noted { trust, tls, hsts: hsts.filter(|_| tls), has_warned: AtomicBool::new(false) }))
    }

    /// Notes who sent a request.
    pub fn note(&self, request: &ServiceRequest) {
        let headers = request.headers();
        let forwarded_for: Vec<_> = headers.get_all(FORWARDED_FOR).map(text).collect();
        let address = request.peer_addr().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip());
        let hop = Hop {
            address,
            tls: self.0.tls,
            forwarded_for: &forwarded_for,
            forwarded_proto: headers.get_all(FORWARDED_PROTO).last().map(text),
        };
        let peer = self.0.trust.peer(&hop);
        self.warn_of_proxy(address, headers);
        request.extensions_mut().insert(peer);
    }

    /// Completes an answer.
    pub fn complete<B>(&self, answer: &mut ServiceResponse<B>) {
        if let Some(hsts) = &self.0.hsts {
            answer.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
    }

    /// Says once that somebody near forwards and is not believed: most likely a proxy of ours that nobody named.
    fn warn_of_proxy(&self, address: IpAddr, headers: &HeaderMap) {
        let forwards = headers.contains_key(FORWARDED_FOR) || headers.contains_key(FORWARDED_PROTO);
        if forwards
            && is_near(address)
            && !self.0.trust.proxies.contain(address)
            && !self.0.has_warned.swap(true, Ordering::Relaxed)
        {
            warn!(
                proxy.address = %address.to_canonical(),
                "What {} forwards is not believed; if it is a proxy of yours, name it in `trusted_proxies` (FANFARE_TRUSTED_PROXIES)",
                address.to_canonical()
            );
        }
    }
}

/// What is no text says nothing, and nothing that stands before it is believed.
fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

/// Whether an address belongs to this machine or to a private network.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}
