//! The server's side of Autobahn's case families, and what Fanfare promises beyond them.

mod chopping;
mod close;
mod encoding;
mod fragmentation;
mod framing;
mod memory;
mod utf8;

use bytes::{Bytes, BytesMut};

use super::{Decoder, Inbound, Violation};

pub(super) const FIN: u8 = 0x80;
pub(super) const CONTINUATION: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xA;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LIMIT: usize = 1 << 20;

/// The header of a client's frame, with the length in its shortest form.
pub(super) fn header(first: u8, len: u64) -> Vec<u8> {
    let mut header = vec![first];
    match len {
        0..126 => header.push(0x80 | len as u8),
        126..65536 => {
            header.push(0x80 | 126);
            header.extend((len as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(len.to_be_bytes());
        }
    }
    header.extend(KEY);
    header
}

pub(super) fn masked(payload: &[u8]) -> Vec<u8> {
    payload.iter().zip(KEY.iter().cycle()).map(|(octet, key)| octet ^ key).collect()
}

/// A client's frame; `first` is FIN, the reserved bits and the opcode.
pub(super) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    [header(first, payload.len() as u64), masked(payload)].concat()
}

pub(super) fn text(payload: &str) -> Inbound {
    Inbound::Text(payload.to_owned())
}

pub(super) fn binary(payload: impl AsRef<[u8]>) -> Inbound {
    Inbound::Binary(Bytes::copy_from_slice(payload.as_ref()))
}

pub(super) fn ping(payload: impl AsRef<[u8]>) -> Inbound {
    Inbound::Ping(Bytes::copy_from_slice(payload.as_ref()))
}

pub(super) fn pong(payload: impl AsRef<[u8]>) -> Inbound {
    Inbound::Pong(Bytes::copy_from_slice(payload.as_ref()))
}

/// What came out until the decoder wanted more, and how it failed if it did.
pub(super) type Outcome = (Vec<Inbound>, Option<Violation>);

/// Decodes what arrives in these chunks.
pub(super) fn arrive<'a>(decoder: &mut Decoder, chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut messages = Vec::new();
    for chunk in chunks {
        let mut input = BytesMut::from(chunk);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(violation) => return (messages, Some(violation)),
            }
        }
        assert!(input.is_empty(), "a decoder that wants more has taken everything");
    }
    (messages, None)
}

/// Decodes a stream that arrives at once, and the same one octet at a time, which must not differ.
pub(super) fn decode(stream: &[u8]) -> Outcome {
    let whole = arrive(&mut Decoder::new(LIMIT), [stream]);
    let chopped = arrive(&mut Decoder::new(LIMIT), stream.chunks(1));
    assert_eq!(whole, chopped);
    whole
}

#[track_caller]
pub(super) fn assert_decodes(stream: &[u8], expected: impl IntoIterator<Item = Inbound>) {
    assert_eq!(decode(stream), (expected.into_iter().collect(), None));
}

#[track_caller]
pub(super) fn assert_protocol_error(stream: &[u8], before: impl IntoIterator<Item = Inbound>) {
    let (messages, violation) = decode(stream);
    assert_eq!(messages, before.into_iter().collect::<Vec<_>>());
    assert_eq!(violation.map(|violation| violation.close_code()), Some(1002), "{violation:?}");
}

/// The number of octets of `stream` that are taken, arriving one by one, when it is refused.
#[track_caller]
pub(super) fn octets_until_refused(stream: &[u8]) -> usize {
    let mut decoder = Decoder::new(LIMIT);
    stream
        .chunks(1)
        .position(|octet| arrive(&mut decoder, [octet]).1.is_some())
        .map(|index| index + 1)
        .expect("the stream is refused")
}
