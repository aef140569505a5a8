//! A WebSocket client made by hand: it sends whatever octets a test wants, and shows every frame that comes.

use std::io::ErrorKind;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::sockets::PATIENCE;

/// The key of RFC 6455, section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server must answer to it.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// A frame to be sent, by default whole and masked.
#[derive(Debug, Clone)]
pub struct Out {
    first: u8,
    masked: bool,
    length: Option<u64>,
    payload: Vec<u8>,
}

impl Out {
    /// A frame of any opcode.
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self { first: 0x80 | opcode, masked: true, length: None, payload: payload.as_ref().to_vec() }
    }

    /// A text message.
    pub fn text(payload: impl AsRef<[u8]>) -> Self {
        Self::new(TEXT, payload)
    }

    /// A close frame with a code and a reason.
    pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Self {
        Self::new(CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
    }

    /// Without FIN: more fragments follow.
    pub fn more(mut self) -> Self {
        self.first &= 0x7f;
        self
    }

    /// With reserved bits, 1 to 7.
    pub fn rsv(mut self, bits: u8) -> Self {
        self.first |= bits << 4;
        self
    }

    /// Not masked.
    pub fn unmasked(mut self) -> Self {
        self.masked = false;
        self
    }

    /// With a header that announces another length than the payload has.
    pub fn announcing(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    /// The frame's octets.
    pub fn octets(&self) -> Vec<u8> {
        let mask_bit = if self.masked { 0x80 } else { 0 };
        let length = self.length.unwrap_or(self.payload.len() as u64);
        let mut octets = vec![self.first];
        match length {
            0..126 => octets.push(mask_bit | length as u8),
            126..65536 => {
                octets.push(mask_bit | 126);
                octets.extend((length as u16).to_be_bytes());
            }
            _ => {
                octets.push(mask_bit | 127);
                octets.extend(length.to_be_bytes());
            }
        }
        if self.masked {
            octets.extend(MASK);
            octets.extend(self.payload.iter().zip(MASK.iter().cycle()).map(|(octet, key)| octet ^ key));
        } else {
            octets.extend(&self.payload);
        }
        octets
    }
}

/// A frame that came.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// FIN, the reserved bits and the opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.payload[..self.payload.len().min(80)];
        write!(f, "{:#04x} {} bytes: {}", self.first, self.payload.len(), String::from_utf8_lossy(shown))
    }
}

impl Frame {
    /// A whole frame of that opcode.
    pub fn whole(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self { first: 0x80 | opcode, payload: payload.as_ref().to_vec() }
    }
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Frame(Frame),
    /// The server ended the connection in good order.
    End,
    /// The connection was reset, by which frames on their way can be lost.
    Reset,
}

/// The answer to a handshake.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Head {
    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The request of a good handshake, with more headers, each with its line end.
pub fn handshake(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{more}\r\n"
    )
}

/// A connection of which every octet is the test's own.
pub struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Raw {
    /// Sends a request as it is written and reads the answer's head, and its body if it is no upgrade.
    pub async fn request(url: &str, request: impl AsRef<[u8]>) -> (Head, Self) {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).await.expect("the server listens");
        stream.set_nodelay(true).expect("a TCP stream can be tuned");
        let mut raw = Self { stream, unread: Vec::new() };
        raw.write(request.as_ref()).await;
        (raw.head().await, raw)
    }

    /// A socket whose handshake succeeded.
    pub async fn open(url: &str, path: &str) -> Self {
        let (head, raw) = Self::request(url, handshake(path, "")).await;
        assert_eq!((head.status, head.header("sec-websocket-accept")), (101, Some(ACCEPT)), "{head:?}");
        raw
    }

    /// Writes octets as they are.
    pub async fn write(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.expect("the server takes octets");
    }

    /// Writes octets until they are all written or the server has ended the connection.
    pub async fn write_regardless(&mut self, octets: &[u8]) {
        // The server may well have ended the connection; what the test asserts is what it said before.
        let _ = self.stream.write_all(octets).await;
    }

    /// Writes frames at once.
    pub async fn send(&mut self, frames: &[Out]) {
        let octets: Vec<u8> = frames.iter().flat_map(Out::octets).collect();
        self.write(&octets).await;
    }

    /// Writes octets in pieces of a size, each a packet of its own.
    pub async fn write_in_pieces(&mut self, octets: &[u8], size: usize) {
        for piece in octets.chunks(size) {
            self.write(piece).await;
            tokio::task::yield_now().await;
        }
    }

    /// What comes next.
    pub async fn next(&mut self) -> Next {
        loop {
            if let Some(frame) = self.take_frame() {
                return Next::Frame(frame);
            }
            match self.read().await {
                Ok(0) if self.unread.is_empty() => return Next::End,
                Ok(0) => panic!("the connection ended inside a frame: {:?}", self.unread),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Next::Reset,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next frame, which must come.
    pub async fn frame(&mut self) -> Frame {
        match self.next().await {
            Next::Frame(frame) => frame,
            end => panic!("no frame came: {end:?}"),
        }
    }

    /// The next frame, a text that holds JSON.
    pub async fn json(&mut self) -> Value {
        let frame = self.frame().await;
        assert_eq!(frame.first, 0x80 | TEXT, "{frame:?}");
        serde_json::from_slice(&frame.payload).expect("every text is JSON")
    }

    /// Reads to the close frame, answers it, and reads to the end of the connection, which must be one in good order.
    pub async fn closed(&mut self) -> (Vec<Frame>, Option<u16>) {
        let (before, close) = self.close_frame().await;
        self.write_regardless(&Out::new(CLOSE, &close.payload).octets()).await;
        assert_eq!(self.next().await, Next::End, "after {close:?}");
        (before, close.payload.first_chunk().map(|code| u16::from_be_bytes(*code)))
    }

    /// Reads to the close frame.
    pub async fn close_frame(&mut self) -> (Vec<Frame>, Frame) {
        let mut before = Vec::new();
        loop {
            let frame = self.frame().await;
            if frame.first == 0x80 | CLOSE {
                return (before, frame);
            }
            before.push(frame);
        }
    }

    async fn read(&mut self) -> std::io::Result<usize> {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
        read.unwrap_or_else(|_| panic!("nothing came for {PATIENCE:?}"))
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let [first, second, ..] = *self.unread.as_slice() else { return None };
        assert_eq!(second & 0x80, 0, "a server's frames are not masked");
        let (begin, length) = match second {
            126 => (4, u16::from_be_bytes(*self.unread.get(2..)?.first_chunk()?).into()),
            127 => (10, u64::from_be_bytes(*self.unread.get(2..)?.first_chunk()?) as usize),
            short => (2, short.into()),
        };
        let payload = self.unread.get(begin..begin + length)?.to_vec();
        self.unread.drain(..begin + length);
        Some(Frame { first, payload })
    }

    async fn head(&mut self) -> Head {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            assert_ne!(self.read().await.expect("an answer comes"), 0, "no whole answer: {:?}", self.unread);
        };
        let text = String::from_utf8(self.unread.drain(..end + 4).collect()).expect("a head is text");
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        let mut head = Head { status: status.expect("a status line"), headers: headers.collect(), body: String::new() };
        let length = head.header("content-length").map_or(0, |text| text.parse().expect("a number"));
        while head.status != 101 && self.unread.len() < length {
            assert_ne!(self.read().await.expect("a body comes"), 0, "the body ended early: {:?}", self.unread);
        }
        if head.status != 101 {
            head.body = String::from_utf8(self.unread.drain(..length).collect()).expect("a body is text");
        }
        head
    }
}
