//! `GET /v1/connect`: from a handshake to an actor.

use std::rc::Rc;

use actix_web::{HttpRequest, HttpResponse, get, http::header, web};
use fanfare_domain::{Refusal, plans};
use fanfare_protocol::ErrorCode;

use crate::{
    hub::Hub,
    sockets,
    wire::{self, Bounds},
};

/// The most bytes of a message from a client: a message of the largest plan with room for its envelope.
const MESSAGE_BYTES: usize = plans::BATCH_BYTES;
/// The outbox of a socket that has not connected yet.
const OUTBOX_BYTES: usize = 64 * 1024;

/// Open a socket of the client protocol.
#[get("/v1/connect")]
pub(crate) async fn connect(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    let hub = request.app_data::<Rc<Hub>>().expect("the routes bring the hub of their thread");
    if hub.gateway().is_draining() {
        return refuse(&Refusal::plain(ErrorCode::Draining));
    }
    let bounds = Bounds { message_bytes: MESSAGE_BYTES, outbox_bytes: OUTBOX_BYTES };
    match wire::open(&request, payload, bounds).await {
        Ok((response, inbound, outbox)) => {
            sockets::start(Rc::clone(hub), inbound, outbox, bearer(&request));
            response
        }
        Err(error) => {
            let why = format!("this address speaks WebSocket (RFC 6455), subprotocol `fanfare.v1`: {error}");
            refuse(&Refusal::new(ErrorCode::BadRequest, why))
        }
    }
}

/// A token in the handshake's `Authorization`, which serves in place of the one in `connect`.
fn bearer(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

/// A refusal before there is a socket (RFC 9457).
pub(crate) fn refuse(refusal: &Refusal) -> HttpResponse {
    let problem = fanfare_protocol::errors::Problem::new(refusal.code, &refusal.message);
    let status = actix_web::http::StatusCode::from_u16(refusal.code.row().status).unwrap_or_default();
    HttpResponse::build(status).content_type("application/problem+json").body(problem.to_json())
}
