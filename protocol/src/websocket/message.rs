//! A data message whose payload is arriving (RFC 6455, 5.4).

use bytes::Bytes;

use super::text::Text;
use super::{Inbound, Violation};

/// The fragments so far, joined. Its heap never passes the limit on messages.
pub(super) enum Message {
    Text(Text),
    Binary(Vec<u8>),
}

impl Message {
    pub(super) fn len(&self) -> usize {
        match self {
            Message::Text(text) => text.len(),
            Message::Binary(octets) => octets.len(),
        }
    }

    /// Appends unmasked payload; the header's check makes sure that it fits in `limit`.
    pub(super) fn push(&mut self, octets: &[u8], limit: usize) -> Result<(), Violation> {
        match self {
            Message::Text(text) => text.push(octets, limit),
            Message::Binary(held) => {
                let spare = held.capacity() - held.len();
                held.reserve_exact(growth(held.len(), spare, octets.len(), limit));
                held.extend_from_slice(octets);
                Ok(())
            }
        }
    }

    pub(super) fn finish(self) -> Result<Inbound, Violation> {
        match self {
            Message::Text(text) => text.finish().map(Inbound::Text),
            Message::Binary(octets) => Ok(Inbound::Binary(Bytes::from(octets))),
        }
    }

    /// The octets of heap that it holds.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Message::Text(text) => text.heap_bytes(),
            Message::Binary(octets) => octets.capacity(),
        }
    }
}

/// How many octets to reserve for those that arrive: exactly these at first, so that a message that
/// comes whole takes one allocation of its size; then double, so that many small ones stay cheap;
/// never past `limit`. It follows what arrived and not what a header announced, so that a header
/// alone costs no memory.
pub(super) fn growth(held: usize, spare: usize, arriving: usize, limit: usize) -> usize {
    if arriving <= spare { 0 } else { arriving.max(held).min(limit - held) }
}
