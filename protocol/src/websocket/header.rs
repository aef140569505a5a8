//! The header of a client's frame, judged octet by octet (RFC 6455, 5.2).

use bytes::{Buf, BytesMut};

use super::Violation;
use super::mask::Mask;

/// The longest header: two octets, a 64-bit length and a masking key.
const MAX_HEADER_LEN: usize = 14;

/// What a frame is (RFC 6455, 11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xA,
}

impl Opcode {
    pub(super) fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }

    fn read(first: u8) -> Result<Opcode, Violation> {
        match first & 0x0f {
            0x0 => Ok(Opcode::Continuation),
            0x1 => Ok(Opcode::Text),
            0x2 => Ok(Opcode::Binary),
            0x8 => Ok(Opcode::Close),
            0x9 => Ok(Opcode::Ping),
            0xA => Ok(Opcode::Pong),
            _ => Err(Violation::Protocol("a reserved opcode")),
        }
    }
}

/// What the frames before it let a frame be.
#[derive(Clone, Copy)]
pub(super) struct Context {
    /// The most octets that a message may have.
    pub(super) limit: usize,
    /// The octets of the message that is in progress, if one is.
    pub(super) in_progress: Option<usize>,
}

/// A frame whose header has been read.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    /// The octets of its payload that are still to come.
    pub(super) remaining: usize,
    pub(super) mask: Mask,
}

/// As much of a header as has arrived.
#[derive(Clone, Copy, Default)]
pub(super) struct Header {
    octets: [u8; MAX_HEADER_LEN],
    held: u8,
}

impl Header {
    /// Takes octets from `input` until the header is whole. Each is judged as it is taken, so what
    /// can be refused is refused before the octet after it.
    pub(super) fn take(&mut self, input: &mut BytesMut, context: Context) -> Result<Option<Frame>, Violation> {
        let mut frame = None;
        let mut taken = 0;
        while let (None, Some(octet)) = (frame, input.get(taken)) {
            self.octets[usize::from(self.held)] = *octet;
            self.held += 1;
            taken += 1;
            frame = self.judge(context)?;
        }
        input.advance(taken);
        Ok(frame)
    }

    fn judge(&self, context: Context) -> Result<Option<Frame>, Violation> {
        match self.held {
            1 => self.judge_first(context)?,
            2 => self.judge_second()?,
            _ => {}
        }
        if self.held < 2 {
            return Ok(None);
        }
        let held = usize::from(self.held);
        let length_end = self.length_end();
        if held == length_end {
            self.judge_length(context)?;
        }
        let key = self.octets.get(length_end..held).and_then(<[u8]>::first_chunk);
        key.map(|key| self.frame(*key)).transpose()
    }

    /// FIN, the reserved bits and the opcode.
    fn judge_first(&self, context: Context) -> Result<(), Violation> {
        if self.octets[0] & 0x70 != 0 {
            return Err(Violation::Protocol("a reserved bit is set"));
        }
        match (Opcode::read(self.octets[0])?, context.in_progress) {
            (Opcode::Continuation, None) => Err(Violation::Protocol("a continuation of nothing")),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                Err(Violation::Protocol("a new message inside a fragmented one"))
            }
            (opcode, _) if opcode.is_control() && !self.fin() => Err(Violation::Protocol("a fragmented control frame")),
            _ => Ok(()),
        }
    }

    /// MASK and the short length.
    fn judge_second(&self) -> Result<(), Violation> {
        if self.octets[1] & 0x80 == 0 {
            return Err(Violation::Protocol("a client's frame must be masked"));
        }
        if Opcode::read(self.octets[0])?.is_control() && self.short_length() > 125 {
            return Err(Violation::Protocol("a control frame of more than 125 bytes"));
        }
        Ok(())
    }

    /// The length, which must be in its shortest form, have no top bit, and fit in the limit.
    fn judge_length(&self, context: Context) -> Result<(), Violation> {
        let length = self.length();
        let least = match self.short_length() {
            126 => 126,
            127 => 1 << 16,
            _ => 0,
        };
        if length < least {
            return Err(Violation::Protocol("a length that is not in its shortest form"));
        }
        if length >> 63 != 0 {
            return Err(Violation::Protocol("a length with its top bit set"));
        }
        let Context { limit, in_progress } = context;
        let room = limit.saturating_sub(in_progress.unwrap_or(0));
        let is_control = Opcode::read(self.octets[0])?.is_control();
        if !is_control && usize::try_from(length).map_or(true, |length| length > room) {
            return Err(Violation::TooBig { limit });
        }
        Ok(())
    }

    /// The frame of a header that is whole and has been judged.
    fn frame(&self, key: [u8; 4]) -> Result<Frame, Violation> {
        Ok(Frame {
            opcode: Opcode::read(self.octets[0])?,
            fin: self.fin(),
            remaining: self.length() as usize,
            mask: Mask::new(key),
        })
    }

    fn fin(&self) -> bool {
        self.octets[0] & 0x80 != 0
    }

    fn short_length(&self) -> u8 {
        self.octets[1] & 0x7f
    }

    fn length_end(&self) -> usize {
        match self.short_length() {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    /// The payload's length, once the octets before `length_end` are held.
    fn length(&self) -> u64 {
        match self.short_length() {
            0..126 => u64::from(self.short_length()),
            _ => self.octets[2..self.length_end()].iter().fold(0, |length, octet| length << 8 | u64::from(*octet)),
        }
    }
}
