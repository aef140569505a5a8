//! The two ways to the wire behind one seam: an inbound stream of messages, an outbox, and a close.
//!
//! Either way a route of the HTTP server answers the handshake, which `actix_ws` makes. *Mounted*, the server goes on carrying the socket as the
//! bodies of that request and its answer; *direct*, whoever put a [`Handover`] into the request hands over the stream. Frames are read by our own decoder, since a text message that stops being UTF-8
//! must fail at that octet (RFC 6455, section 8.1), and written from shared bytes through the outbox.

use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, body::BoxBody, dev, web};
use fanfare_protocol::websocket::{Inbound as Frame, Violation, close_frame, empty_close_frame, pong_frame};

mod direct;
mod inbound;
mod outbox;

pub use direct::{Handover, Stream, Upgraded};
use inbound::Source;
pub(crate) use inbound::{Arrival, Inbound};
pub(crate) use outbox::{Accounts, CHUNK_BYTES, Gate, Leaving, Mark, News, Outbox, Outlet, Taken};

/// The subprotocol that a client may name.
const SUBPROTOCOL: &str = "fanfare.v1";

/// Answers the handshake and opens the socket; `outbox_bytes` may wait for the client.
pub(crate) async fn open(
    request: &HttpRequest,
    payload: web::Payload,
    outbox_bytes: usize,
) -> Result<(HttpResponse, Inbound, Outbox), actix_web::Error> {
    let no_payload = web::Payload::from_request(request, &mut dev::Payload::None).await?;
    let (response, _, _) = actix_ws::handle_with_protocols(request, no_payload, &[SUBPROTOCOL])?;
    let outbox = Outbox::new(outbox_bytes);
    let handover = request.extensions().get::<Handover>().cloned();
    let (body, source) = match handover {
        Some(handover) => (BoxBody::new(()), Source::Direct(handover.leave(&outbox))),
        None => (BoxBody::new(outbox.body()), Source::Mounted(payload)),
    };
    Ok((response.map_body(|_, _| body), Inbound::new(source), outbox))
}

/// How a socket ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was closed, by either side.
    Closed,
    /// The client broke RFC 6455.
    Violated,
    /// The connection was lost.
    Lost,
}

/// Who listens to a socket.
pub(crate) trait Listener {
    /// The largest message that the client may send now, in bytes.
    fn message_bytes(&self) -> usize;
    /// A whole text message. Nothing further is read until this is done.
    async fn text(&mut self, text: String);
    /// A whole binary message. Nothing further is read until this is done.
    async fn binary(&mut self, bytes: bytes::Bytes);
    /// A control frame, which is answered already.
    async fn heard(&mut self);
    /// The client breaks RFC 6455; the close that follows is sent after this.
    async fn violated(&mut self, violation: &Violation);
    /// The outbox is over its bound.
    async fn overflowed(&mut self);
}

/// Reads a socket until its client has closed it, or is lost; nothing that comes is looked at.
pub(crate) async fn closed(mut inbound: Inbound) {
    while !matches!(
        inbound.next(LAST_BYTES).await,
        Arrival::Frame(Frame::Close(_)) | Arrival::Violation(_) | Arrival::Lost
    ) {}
}

/// The largest message that is read over on a socket that is closed already.
const LAST_BYTES: usize = 16 * 1024;

/// Reads a socket to its end: answers pings and closes, and hands messages on. Then the outbox is for the caller to finish.
pub(crate) async fn drive(inbound: &mut Inbound, outbox: &Outbox, listener: &mut impl Listener) -> Ended {
    loop {
        let arrival = tokio::select! {
            arrival = inbound.next(listener.message_bytes()) => arrival,
            news = outbox.news() => match news {
                News::Overflowed => {
                    listener.overflowed().await;
                    continue;
                }
                News::Finished => break Ended::Closed,
            },
        };
        match arrival {
            Arrival::Frame(Frame::Close(close)) => {
                outbox.close(match close {
                    Some(close) => close_frame(close.code, ""),
                    None => empty_close_frame(),
                });
                break Ended::Closed;
            }
            _ if outbox.is_closing() && !matches!(arrival, Arrival::Lost) => {}
            Arrival::Frame(Frame::Text(text)) => listener.text(text).await,
            Arrival::Frame(Frame::Binary(bytes)) => listener.binary(bytes).await,
            Arrival::Frame(Frame::Ping(payload)) => {
                // A refused pong is an overflow, which is told above.
                let _ = outbox.push(pong_frame(&payload));
                listener.heard().await;
            }
            Arrival::Frame(Frame::Pong(_)) => listener.heard().await,
            Arrival::Violation(violation) => {
                listener.violated(&violation).await;
                outbox.close(close_frame(violation.close_code(), ""));
                break Ended::Violated;
            }
            Arrival::Lost => {
                outbox.cut();
                break Ended::Lost;
            }
        }
    }
}
