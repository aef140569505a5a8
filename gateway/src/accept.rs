//! `GET /v1/connect`: from a handshake to an actor.

use std::{rc::Rc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, Resource,
    http::header::{self, HeaderName, HeaderValue},
    web,
};
use fanfare_domain::Refusal;
use fanfare_protocol::ErrorCode;

use crate::{Unconnected, hub::Hub, sockets, wire};

/// The outbox of a socket that has not connected yet.
const OUTBOX_BYTES: usize = 64 * 1024;
/// The id of a request, which the server gives it before it comes here.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where a socket of the client protocol is opened.
pub(crate) fn resource() -> Resource {
    web::resource("/v1/connect").get(connect).default_service(web::to(other_method))
}

async fn connect(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let hub = request.app_data::<Rc<Hub>>().expect("the routes bring the hub of their thread");
    if hub.gateway().is_draining() {
        return refuse(&request, &Refusal::plain(ErrorCode::Draining));
    }
    let Some(unconnected) = Unconnected::new(hub.gateway()) else {
        let why = "too many sockets wait for their `connect`";
        return refuse(&request, &Refusal::new(ErrorCode::Unavailable, why).retry_after(Duration::from_secs(1)));
    };
    match wire::open(&request, payload, OUTBOX_BYTES).await {
        Ok((response, inbound, outbox)) => {
            sockets::start(Rc::clone(hub), inbound, outbox, bearer(&request), unconnected);
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

async fn other_method(request: HttpRequest) -> HttpResponse {
    let why = format!("{} is not GET, with which a socket is opened", request.method());
    let mut refused = refuse(&request, &Refusal::new(ErrorCode::MethodNotAllowed, why));
    refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
    refused
}

/// A token in the handshake's `Authorization`, which serves in place of the one in `connect`.
fn bearer(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// A refusal before there is a socket (RFC 9457).
pub(crate) fn refuse(request: &HttpRequest, refusal: &Refusal) -> HttpResponse {
    let id = request.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
    let problem = fanfare_protocol::errors::Problem::new(refusal.code, &refusal.message).of_request(id);
    let status = actix_web::http::StatusCode::from_u16(refusal.code.row().status).unwrap_or_default();
    let mut answer = HttpResponse::build(status);
    if let Some(wait) = refusal.retry_after {
        answer.insert_header((header::RETRY_AFTER, wait.as_secs().max(1)));
    }
    answer.content_type("application/problem+json").body(problem.to_json())
}
