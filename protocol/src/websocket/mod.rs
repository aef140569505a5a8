//! The RFC 6455 frame codec of the server side: octets in, whole messages out, and back.
//!
//! It does no I/O. The caller reads into a `BytesMut` (which may be shared by many sockets, as
//! nothing that is returned keeps its memory), calls [`Decoder::decode`] until it returns `None`,
//! and answers a [`Violation`] with `close_frame(violation.close_code(), …)`.

mod close;
mod decoder;
mod encoder;
mod header;
mod mask;
mod message;
mod text;

#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use close::Close;
pub use decoder::Decoder;
pub use encoder::{binary_frame, close_frame, empty_close_frame, ping_frame, pong_frame, text_frame, text_of};

/// What arrived, whole: a message with its fragments joined, or a control frame (RFC 6455, 5.4 to
/// 5.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// A text message (5.6).
    Text(String),
    /// A binary message (5.6).
    Binary(Bytes),
    /// A ping, to be answered by a pong with the same payload (5.5.2).
    Ping(Bytes),
    /// A pong, asked for or not (5.5.3).
    Pong(Bytes),
    /// A close, with what it says if it says anything; nothing is decoded after it (5.5.1).
    Close(Option<Close>),
}

/// Why the connection must be failed (RFC 6455, 7.1.7); nothing is decoded after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The framing is wrong in the way that is named.
    #[error("{0}")]
    Protocol(&'static str),
    /// A text message or a close reason is not UTF-8 (8.1).
    #[error("text must be valid UTF-8")]
    InvalidUtf8,
    /// The message, all of its fragments together, would pass the limit.
    #[error("a message may have at most {limit} bytes")]
    TooBig {
        /// The most bytes that the payload of one message may have.
        limit: usize,
    },
}

impl Violation {
    /// The status code to close the connection with (RFC 6455, 7.4.1).
    pub fn close_code(&self) -> u16 {
        match self {
            Violation::Protocol(_) => 1002,
            Violation::InvalidUtf8 => 1007,
            Violation::TooBig { .. } => 1009,
        }
    }
}
