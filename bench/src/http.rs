//! A kept connection for requests that are ready as bytes, so that the client costs next to nothing beside the server.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::clients::Problem;

/// A connection to the server. One request after another.
pub struct Kept {
    stream: TcpStream,
    received: Vec<u8>,
}

/// An answer: its status and its body.
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

/// Where the body begins and ends, once the head of an answer is there.
struct Head {
    status: u16,
    body_at: usize,
    end: usize,
}

impl Kept {
    /// Connects to `host:port`.
    pub async fn connect(authority: &str) -> Result<Self, Problem> {
        let stream = TcpStream::connect(authority).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(Self { stream, received: Vec::with_capacity(64 * 1024) })
    }

    /// Sends a whole request and reads its answer.
    ///
    /// # Errors
    /// The connection ended, or the answer has no `Content-Length`.
    pub async fn ask(&mut self, request: &[u8]) -> Result<Answer<'_>, Problem> {
        self.received.clear();
        self.stream.write_all(request).await.map_err(|error| error.to_string())?;
        let mut head = None;
        loop {
            if self.stream.read_buf(&mut self.received).await.map_err(|error| error.to_string())? == 0 {
                return Err("the server closed a connection".to_owned());
            }
            if head.is_none() {
                head = Head::parse(&self.received)?;
            }
            if let Some(Head { status, body_at, end }) = head.as_ref().filter(|head| head.end <= self.received.len()) {
                return Ok(Answer { status: *status, body: &self.received[*body_at..*end] });
            }
        }
    }
}

impl Head {
    /// `None` while more of it is to come.
    fn parse(received: &[u8]) -> Result<Option<Self>, Problem> {
        let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let unclear = || "an answer has no status or no `Content-Length`".to_owned();
        let head = str::from_utf8(&received[..at]).map_err(|_| unclear())?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let (Some(status), Some(length)) = (status, length) else { return Err(unclear()) };
        Ok(Some(Self { status, body_at: at + 4, end: at + 4 + length }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_from_its_head() {
        let text = b"HTTP/1.1 202 Accepted\r\nserver: x\r\nContent-Length: 3\r\n\r\nabc";
        let head = Head::parse(text).unwrap().unwrap();
        assert_eq!((head.status, &text[head.body_at..head.end]), (202, b"abc".as_slice()));
        assert!(Head::parse(&text[..30]).unwrap().is_none());
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
