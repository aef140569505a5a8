//! From a socket's bytes to whole messages.

use std::future::poll_fn;

use actix_web::web;
use bytes::BytesMut;
use fanfare_protocol::websocket::{Decoder, Inbound as Frame, Violation};
use futures::StreamExt;

use super::direct::Raw;

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

/// Where a socket's bytes come from.
pub(super) enum Source {
    /// The body of the upgraded request.
    Mounted(web::Payload),
    /// The stream itself.
    Direct(Raw),
}

impl Source {
    /// What comes next; `None` at the end.
    async fn next(&mut self) -> Option<BytesMut> {
        match self {
            Self::Mounted(payload) => payload.next().await?.ok().map(BytesMut::from),
            Self::Direct(raw) => poll_fn(|context| raw.poll_read(context)).await,
        }
    }
}

/// The reading half of a socket.
pub(crate) struct Inbound {
    source: Source,
    decoder: Decoder,
    unread: BytesMut,
}

impl Inbound {
    pub(super) fn new(source: Source) -> Self {
        Self { source, decoder: Decoder::new(0), unread: BytesMut::new() }
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
            match self.source.next().await {
                Some(bytes) => self.unread = bytes,
                None => return Arrival::Lost,
            }
        }
    }
}
