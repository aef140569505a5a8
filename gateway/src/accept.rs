//! `GET /v1/connect`: from a handshake to an actor.

use std::{rc::Rc, time::Duration};

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse, Resource,
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    web,
};
use fanfare_domain::{Refusal, peers::Peer};
use fanfare_protocol::{ErrorCode, errors::Problem};

use crate::{
    Faults, Unconnected, cross_origin,
    hub::Hub,
    sockets::{self, Visitor},
    streams, wire,
};

/// The outbox of a socket that has not connected yet.
pub(crate) const OUTBOX_BYTES: usize = 64 * 1024;
/// The id of a request, which the server gives it before it comes here.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where a socket of the client protocol is opened.
pub(crate) fn resource() -> Resource {
    web::resource("/v1/connect")
        .route(web::get().to(connect))
        .route(web::method(Method::OPTIONS).to(cross_origin::preflight))
        .default_service(web::to(other_method))
}

async fn connect(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let hub = request.app_data::<Rc<Hub>>().expect("the routes bring the hub of their thread");
    if hub.gateway().is_draining() {
        return refuse(&request, &Refusal::plain(ErrorCode::Draining));
    }
    if let Some(refusal) = hub.gateway().faults().and_then(Faults::refusal) {
        return refuse(&request, &refusal);
    }
    if let Err(refusal) = require_private(&request) {
        return refuse(&request, &refusal);
    }
    let Some(unconnected) = Unconnected::new(hub.gateway()) else {
        let why = "too many sockets wait for their `connect`";
        return refuse(&request, &Refusal::new(ErrorCode::Unavailable, why).retry_after(Duration::from_secs(1)));
    };
    match wire::open(&request, payload, OUTBOX_BYTES).await {
        Ok((response, inbound, outbox)) => {
            sockets::start(Rc::clone(hub), inbound, outbox, visitor(&request), unconnected);
            response
        }
        Err(error) => {
            let why = format!("this address speaks WebSocket (RFC 6455), subprotocol `fanfare.v1`: {error}");
            let mut refused = refuse(&request, &Refusal::new(ErrorCode::BadRequest, why));
            // The version that is spoken here (RFC 6455, section 4.4).
            refused.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            refused
        }
    }
}

/// Refuses every method but GET.
pub(crate) async fn other_method(request: HttpRequest) -> HttpResponse {
    let why = format!("{} is not GET, with which a connection is opened", request.method());
    let mut refused = refuse(&request, &Refusal::new(ErrorCode::MethodNotAllowed, why));
    refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, OPTIONS"));
    refused
}

/// Refuses a socket on which a token would cross a network in the clear, before any can: the client learns it from the handshake.
fn require_private(request: &HttpRequest) -> Result<(), Refusal> {
    let found = request.extensions().get::<Peer>().copied();
    let peer = found.unwrap_or_else(|| Peer::of_connection(request.peer_addr().map(|connection| connection.ip())));
    if peer.is_private {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::TlsRequired, "the socket came over plain HTTP from another machine"))
}

/// What the handshake says of its client: a token in `Authorization` serves in place of the one in `connect`.
fn visitor(request: &HttpRequest) -> Visitor {
    Visitor { bearer: streams::bearer(request), origin: streams::origin(request) }
}

/// A refusal before there is a socket (RFC 9457).
pub(crate) fn refuse(request: &HttpRequest, refusal: &Refusal) -> HttpResponse {
    let id = request.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
    let problem = Problem::new(refusal.code, &refusal.message).of_request(id).at(refusal.pointer);
    let status = StatusCode::from_u16(refusal.code.row().status).unwrap_or_default();
    let mut answer = HttpResponse::build(status);
    if refusal.retry_after.is_some() || matches!(status.as_u16(), 429 | 503) {
        let wait_ms = refusal.retry_after.map_or(0, |wait| wait.as_millis());
        answer.insert_header((header::RETRY_AFTER, wait_ms.div_ceil(1_000).max(1) as u64));
    }
    if status == StatusCode::UNAUTHORIZED {
        answer.insert_header((header::WWW_AUTHENTICATE, r#"Bearer realm="fanfare""#));
    }
    answer.content_type("application/problem+json").body(problem.to_json())
}
