//! WebSocket frames as a client reads and writes them (RFC 6455, 5.2): as little work as is possible, since the client shares the machine with the server.

use crate::clients::Problem;

/// A frame of a server, which is not masked.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub kind: Kind,
    pub payload: &'a [u8],
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole text or binary message.
    Message,
    Close,
    Ping,
    Pong,
}

/// The first frame of what was read, and how many bytes it takes; `None` while some of it is missing.
///
/// # Errors
/// It is masked, or a fragment, neither of which any server here sends.
pub fn next(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, Problem> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let (length, header) = match second {
        0..126 => (usize::from(*second), 2_usize),
        126 => match rest.first_chunk::<2>() {
            Some(length) => (usize::from(u16::from_be_bytes(*length)), 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (u64::from_be_bytes(*length) as usize, 10),
            None => return Ok(None),
        },
        _ => return Err("a server's frame is masked".to_owned()),
    };
    let kind = match first {
        0x81 | 0x82 => Kind::Message,
        0x88 => Kind::Close,
        0x89 => Kind::Ping,
        0x8a => Kind::Pong,
        other => return Err(format!("a server's frame begins with {other:#x}")),
    };
    let payload = bytes.get(header..header.saturating_add(length));
    Ok(payload.map(|payload| (Frame { kind, payload }, header + length)))
}

/// Appends a client's text frame.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    push(out, 0x81, text.as_bytes());
}

/// Appends the pong to a ping.
pub fn push_pong(out: &mut Vec<u8>, payload: &[u8]) {
    push(out, 0x8a, payload);
}

/// A server's text frame, for the program that has no time to make one.
pub fn server_text(text: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(text.len() + 10);
    push_header(&mut frame, 0x81, text.len(), 0);
    frame.extend_from_slice(text);
    frame
}

fn push(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    // Any mask does against a server of our own; this one is not zeros, so that servers do the work.
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    push_header(out, first, payload.len(), 0x80);
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(octet, key)| octet ^ key));
}

fn push_header(out: &mut Vec<u8>, first: u8, length: usize, masked: u8) {
    out.push(first);
    match length {
        0..126 => out.push(masked | length as u8),
        126..65_536 => {
            out.push(masked | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_once_all_of_it_is_there() {
        for length in [0, 5, 125, 126, 300, 65_535, 65_536] {
            let text = vec![b'a'; length];
            let mut bytes = server_text(&text);
            let whole = bytes.len();
            bytes.extend_from_slice(b"\x89\x00");
            for cut in (0..whole.min(20)).chain([whole - 1]) {
                assert_eq!(next(&bytes[..cut]), Ok(None), "cut at {cut} of {whole}");
            }
            assert_eq!(next(&bytes), Ok(Some((Frame { kind: Kind::Message, payload: &text }, whole))));
            assert_eq!(next(&bytes[whole..]), Ok(Some((Frame { kind: Kind::Ping, payload: b"" }, 2))));
        }
    }

    #[test]
    fn masked_frames_and_fragments_are_refused() {
        assert!(next(b"\x81\x85").is_err());
        assert!(next(b"\x01\x00").is_err());
        assert!(next(b"\x80\x00").is_err());
    }

    #[test]
    fn what_a_client_sends_unmasks_to_what_was_said() {
        let mut out = Vec::new();
        push_text(&mut out, "hello");
        let (header, masked) = out.split_at(6);
        assert_eq!(header[..2], [0x81, 0x85]);
        let text: Vec<u8> = masked.iter().zip(header[2..].iter().cycle()).map(|(octet, key)| octet ^ key).collect();
        assert_eq!(text, b"hello");
    }
}
