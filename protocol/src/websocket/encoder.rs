//! From payloads to the server's frames, which are never masked nor fragmented (RFC 6455, 5.1 and
//! 5.2).

use bytes::{BufMut, Bytes, BytesMut};

use super::close::may_be_sent;
use super::header::Opcode;

/// The longest payload of a control frame (RFC 6455, 5.5).
const MAX_CONTROL_LEN: usize = 125;
/// The longest reason: a control frame's payload without the status code (RFC 6455, 5.5.1).
const MAX_REASON_LEN: usize = MAX_CONTROL_LEN - 2;

/// A text message in one frame; `payload` must be UTF-8 (RFC 6455, 5.6).
pub fn text_frame(payload: &[u8]) -> Bytes {
    frame(Opcode::Text, &[payload])
}

/// The payload of one of our own text messages; `None` for a frame of another kind.
pub fn text_of(frame: &Bytes) -> Option<Bytes> {
    let [first, second, ..] = frame[..] else { return None };
    let header_len = match second {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    (first & 0x0f == Opcode::Text as u8).then(|| frame.slice(header_len..))
}

/// A binary message in one frame (RFC 6455, 5.6).
pub fn binary_frame(payload: &[u8]) -> Bytes {
    frame(Opcode::Binary, &[payload])
}

/// A ping; a payload of more than 125 bytes is cut there (RFC 6455, 5.5.2).
pub fn ping_frame(payload: &[u8]) -> Bytes {
    frame(Opcode::Ping, &[cut(payload)])
}

/// The pong that answers a ping of this payload; one of more than 125 bytes is cut there (RFC 6455,
/// 5.5.3).
pub fn pong_frame(payload: &[u8]) -> Bytes {
    frame(Opcode::Pong, &[cut(payload)])
}

/// A close. The reason is cut at 123 bytes, on a character's boundary; the code must be one that
/// may be sent, so not 1005, 1006 or 1015 (RFC 6455, 5.5.1 and 7.4).
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    debug_assert!(may_be_sent(code), "{code} may not be sent in a close frame");
    let reason = &reason[..reason.floor_char_boundary(MAX_REASON_LEN)];
    frame(Opcode::Close, &[&code.to_be_bytes(), reason.as_bytes()])
}

/// A close that says nothing; the answer to one (RFC 6455, 5.5.1).
pub fn empty_close_frame() -> Bytes {
    frame(Opcode::Close, &[])
}

fn cut(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(MAX_CONTROL_LEN)]
}

/// Header and payload in one allocation of their size.
fn frame(opcode: Opcode, payload: &[&[u8]]) -> Bytes {
    let len = payload.iter().map(|part| part.len()).sum::<usize>();
    let header_len = match len {
        0..126 => 2,
        126..65536 => 4,
        _ => 10,
    };
    let mut frame = BytesMut::with_capacity(header_len + len);
    frame.put_u8(0x80 | opcode as u8);
    match header_len {
        2 => frame.put_u8(len as u8),
        4 => {
            frame.put_u8(126);
            frame.put_u16(len as u16);
        }
        _ => {
            frame.put_u8(127);
            frame.put_u64(len as u64);
        }
    }
    for part in payload {
        frame.put_slice(part);
    }
    frame.freeze()
}
