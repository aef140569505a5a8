//! From the bytes of an upgraded request to whole messages.

use actix_web::web;
use bytes::BytesMut;
use fanfare_protocol::websocket::{Decoder, Inbound as Frame, Violation};
use futures::StreamExt;

/// What came next.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A whole message or a control frame.
    Frame(Frame),
    /// The client broke RFC 6455.
    Violation(Violation),
    /// The connection was lost.
    Lost,
}

/// The reading half of a socket.
pub(crate) struct Inbound {
    payload: web::Payload,
    decoder: Decoder,
    unread: BytesMut,
}

impl Inbound {
    pub(super) fn new(payload: web::Payload) -> Self {
        Self { payload, decoder: Decoder::new(0), unread: BytesMut::new() }
    }

    /// The next message, of at most so many bytes; may be dropped while it waits, without loss.
    pub(super) async fn next(&mut self, message_bytes: usize) -> Arrival {
        self.decoder.set_max_message_bytes(message_bytes);
        loop {
            match self.decoder.decode(&mut self.unread) {
                Ok(Some(frame)) => return Arrival::Frame(frame),
                Ok(None) => {}
                Err(violation) => return Arrival::Violation(violation),
            }
            match self.payload.next().await {
                Some(Ok(bytes)) => self.unread = bytes.into(),
                Some(Err(_)) | None => return Arrival::Lost,
            }
        }
    }
}
