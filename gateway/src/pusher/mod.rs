//! `GET /app/{key}`: Pusher's clients, on the same channels as everybody else.
//!
//! Whatever is wrong is told by a close code after the handshake: a browser does not show its page a refused one, and stock clients would come back
//! for ever.

use std::rc::Rc;

use actix_web::{HttpMessage, HttpRequest, HttpResponse, Resource, web};
use fanfare_domain::{Refusal, peers::Peer};
use fanfare_protocol::{ErrorCode, pusher::CloseCode, websocket::close_frame};
use serde::Deserialize;

use crate::{
    Unconnected,
    accept::{OUTBOX_BYTES, other_method, refuse},
    hub::Hub,
    streams, wire,
};

mod actor;
mod effects;
mod joining;
mod users;

use actor::Visitor;

/// The oldest version that is still spoken; there is nothing in it that later ones lack.
const OLDEST_VERSION: u32 = 4;
/// The version that is spoken.
const VERSION: u32 = 7;

/// Where Pusher's clients connect.
pub(crate) fn resource() -> Resource {
    web::resource("/app/{key}").route(web::get().to(connect)).default_service(web::to(other_method))
}

/// What else begins like it: there is nothing, and clients are told so.
pub(crate) fn nowhere() -> Resource {
    web::resource(["/app", "/app/{rest:.*}"]).route(web::get().to(lost)).default_service(web::to(other_method))
}

#[derive(Deserialize)]
struct Asked {
    protocol: Option<String>,
}

async fn connect(request: HttpRequest, payload: web::Payload, key: web::Path<String>) -> HttpResponse {
    let hub = Rc::clone(request.app_data::<Rc<Hub>>().expect("the routes bring the hub of their thread"));
    let why = match version(&request) {
        Ok(version) => match not_now(&hub, &request) {
            Some(why) => why,
            None => return serve(hub, &request, payload, key.into_inner(), version).await,
        },
        Err(why) => why,
    };
    close(&request, payload, why).await
}

async fn lost(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    close(&request, payload, (CloseCode::PATH_NOT_FOUND, "connect to /app/KEY")).await
}

type Why = (CloseCode, &'static str);

/// The protocol's version that the client speaks.
fn version(request: &HttpRequest) -> Result<u32, Why> {
    let asked =
        web::Query::<Asked>::from_query(request.query_string()).ok().and_then(|asked| asked.into_inner().protocol);
    let text = asked.ok_or((CloseCode::NO_VERSION, "the parameter `protocol` is missing; 7 is spoken here"))?;
    let number: u32 = text.parse().map_err(|_| (CloseCode::BAD_VERSION, "`protocol` is a number; 7 is spoken here"))?;
    match (OLDEST_VERSION..=VERSION).contains(&number) {
        true => Ok(number),
        false => Err((CloseCode::UNSUPPORTED_VERSION, "`protocol` 7 is spoken here")),
    }
}

/// Why nobody is let in now.
fn not_now(hub: &Hub, request: &HttpRequest) -> Option<Why> {
    let found = request.extensions().get::<Peer>().copied();
    let peer = found.unwrap_or_else(|| Peer::of_connection(request.peer_addr().map(|connection| connection.ip())));
    if !peer.is_private {
        return Some((CloseCode::TLS_ONLY, "use wss: signatures do not cross a network in the clear"));
    }
    // At another node the client is welcome; at this one it would be sent away again at once.
    hub.gateway().is_draining().then_some((CloseCode::OVER_CAPACITY, "the server is shutting down"))
}

async fn serve(hub: Rc<Hub>, request: &HttpRequest, payload: web::Payload, key: String, version: u32) -> HttpResponse {
    let Some(unconnected) = Unconnected::new(hub.gateway()) else {
        return close(request, payload, (CloseCode::OVER_CAPACITY, "too many sockets are being opened")).await;
    };
    match wire::open(request, payload, OUTBOX_BYTES).await {
        Ok((response, inbound, outbox)) => {
            let visitor = Visitor { key, version, origin: streams::origin(request) };
            actor::start(hub, inbound, outbox, visitor, unconnected);
            response
        }
        Err(error) => not_a_socket(request, &error),
    }
}

/// Makes the handshake, and closes with the reason.
async fn close(request: &HttpRequest, payload: web::Payload, (code, why): Why) -> HttpResponse {
    match wire::open(request, payload, OUTBOX_BYTES).await {
        Ok((response, inbound, outbox)) => {
            outbox.close(close_frame(code.0, why));
            actix_rt::spawn(async move {
                // The client has a moment to answer the close.
                let _ = tokio::time::timeout(crate::sockets::CLOSE_WAIT, wire::closed(inbound)).await;
                outbox.finish();
            });
            response
        }
        Err(error) => not_a_socket(request, &error),
    }
}

fn not_a_socket(request: &HttpRequest, error: &actix_web::Error) -> HttpResponse {
    let why = format!("this address speaks WebSocket (RFC 6455) and Pusher's protocol 7: {error}");
    refuse(request, &Refusal::new(ErrorCode::BadRequest, why))
}
