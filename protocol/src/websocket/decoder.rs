//! From a client's octets to whole messages.

use bytes::{Buf, Bytes, BytesMut};

use super::header::{Context, Frame, Header, Opcode};
use super::message::Message;
use super::text::Text;
use super::{Close, Inbound, Violation};

/// Joins a client's frames to messages and holds it to the protocol (RFC 6455, 5 to 8).
///
/// It takes every octet that it is given, so nothing of a message in progress is left to the
/// caller. Between messages it holds no heap memory; inside one, at most `max_message_bytes` and a
/// control frame's 125.
pub struct Decoder {
    max_message_bytes: usize,
    state: State,
    message: Option<Message>,
    /// The payload of the control frame that is arriving.
    control: Vec<u8>,
}

#[derive(Clone, Copy)]
enum State {
    InHeader(Header),
    InPayload(Frame),
    /// A close or a violation came; what follows is dropped.
    Ended,
}

impl Decoder {
    /// A decoder for one connection, which refuses messages of more than `max_message_bytes`.
    pub fn new(max_message_bytes: usize) -> Self {
        Decoder { max_message_bytes, state: State::InHeader(Header::default()), message: None, control: Vec::new() }
    }

    /// Changes the most bytes of a message, from the next frame on.
    pub fn set_max_message_bytes(&mut self, max_message_bytes: usize) {
        self.max_message_bytes = max_message_bytes;
    }

    /// Takes what it can from `input` (which it advances, and unmasks in place) and returns the
    /// next whole message, or `None` when more bytes are needed and `input` is empty. Control
    /// frames that stand between the fragments of a message come before it (RFC 6455, 5.4). After a
    /// close or a violation it drops `input` and returns `None`.
    ///
    /// What it returns is a copy of what stood in `input`, whose memory it does not keep alive.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Inbound>, Violation> {
        let outcome = self.advance(input);
        if matches!(outcome, Err(_) | Ok(Some(Inbound::Close(_)))) {
            self.state = State::Ended;
            self.message = None;
            self.control = Vec::new();
        }
        outcome
    }

    fn advance(&mut self, input: &mut BytesMut) -> Result<Option<Inbound>, Violation> {
        loop {
            match self.state {
                State::InHeader(mut header) => match header.take(input, self.context())? {
                    Some(frame) => self.begin(frame),
                    None => {
                        self.state = State::InHeader(header);
                        return Ok(None);
                    }
                },
                State::InPayload(mut frame) => {
                    self.take_payload(&mut frame, input)?;
                    if frame.remaining > 0 {
                        self.state = State::InPayload(frame);
                        return Ok(None);
                    }
                    self.state = State::InHeader(Header::default());
                    if let Some(inbound) = self.finish(frame)? {
                        return Ok(Some(inbound));
                    }
                }
                State::Ended => {
                    input.clear();
                    return Ok(None);
                }
            }
        }
    }

    fn context(&self) -> Context {
        Context { limit: self.max_message_bytes, in_progress: self.message.as_ref().map(Message::len) }
    }

    fn begin(&mut self, frame: Frame) {
        match frame.opcode {
            Opcode::Text => self.message = Some(Message::Text(Text::default())),
            Opcode::Binary => self.message = Some(Message::Binary(Vec::new())),
            _ => {}
        }
        self.state = State::InPayload(frame);
    }

    fn take_payload(&mut self, frame: &mut Frame, input: &mut BytesMut) -> Result<(), Violation> {
        let len = frame.remaining.min(input.len());
        let octets = &mut input[..len];
        frame.mask.apply(octets);
        if frame.opcode.is_control() {
            self.control.reserve_exact(frame.remaining);
            self.control.extend_from_slice(octets);
        } else if let Some(message) = &mut self.message {
            message.push(octets, self.max_message_bytes)?;
        }
        input.advance(len);
        frame.remaining -= len;
        Ok(())
    }

    /// What a frame whose payload has been taken brings to its end, if anything.
    fn finish(&mut self, frame: Frame) -> Result<Option<Inbound>, Violation> {
        let control = std::mem::take(&mut self.control);
        match frame.opcode {
            Opcode::Ping => Ok(Some(Inbound::Ping(Bytes::from(control)))),
            Opcode::Pong => Ok(Some(Inbound::Pong(Bytes::from(control)))),
            Opcode::Close => Ok(Some(Inbound::Close(Close::read(&control)?))),
            Opcode::Text | Opcode::Binary | Opcode::Continuation if frame.fin => {
                self.message.take().map(Message::finish).transpose()
            }
            Opcode::Text | Opcode::Binary | Opcode::Continuation => Ok(None),
        }
    }

    /// The octets of heap that it holds.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.control.capacity() + self.message.as_ref().map_or(0, Message::heap_bytes)
    }
}
