//! Heads of HTTP/1.1 answers, as far as a load generator looks at them.

use crate::clients::Problem;

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// Bytes of the head, with the empty line.
    pub bytes: usize,
    /// Bytes of the body, where the head says so.
    pub content_length: Option<usize>,
    pub chunked: bool,
    /// Whether the server takes no more requests on the connection.
    pub closes: bool,
}

/// Reads the head that the bytes begin with; `None` while some of it is missing.
///
/// # Errors
/// It is not the head of an answer of HTTP/1.1.
pub fn read(bytes: &[u8]) -> Result<Option<Head>, Problem> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let no_head = || format!("this is not HTTP: {}", String::from_utf8_lossy(&bytes[..end]));
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| no_head())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let mut head = Head {
        status: status.ok_or_else(no_head)?,
        bytes: end + 4,
        content_length: None,
        chunked: false,
        closes: false,
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            head.content_length = Some(value.trim().parse().map_err(|_| no_head())?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = value.trim().eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            head.closes = value.trim().eq_ignore_ascii_case("close");
        }
    }
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_all_of_it_is_there() {
        let bytes = b"HTTP/1.1 202 Accepted\r\nX: y\r\ncontent-length: 12\r\n\r\n{\"message\":1";
        let head =
            Head { status: 202, bytes: bytes.len() - 12, content_length: Some(12), chunked: false, closes: false };
        assert_eq!(read(bytes), Ok(Some(head)));
        for cut in 0..head.bytes {
            assert_eq!(read(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        let chunked = read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(chunked.is_ok_and(|head| head.is_some_and(|head| head.chunked)));
        let last = read(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        assert!(last.is_ok_and(|head| head.is_some_and(|head| head.closes)));
        assert!(read(b"SSH-2.0\r\n\r\n").is_err());
    }
}
