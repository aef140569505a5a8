//! Server-sent events, in chunks of HTTP or without.

use crate::clients::Problem;

/// Reads the data of one stream's events.
#[derive(Debug)]
pub struct Events {
    chunked: bool,
    /// The part of a line that has come.
    line: Vec<u8>,
}

impl Events {
    /// A stream that begins after its head.
    pub fn new(chunked: bool) -> Self {
        Self { chunked, line: Vec::new() }
    }

    /// Takes what it can, and hands over each event's data; how many bytes it took. The rest is to come again with what follows it.
    ///
    /// # Errors
    /// The chunks are wrong or have ended, or whoever is handed the data says so.
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), Problem>) -> Result<usize, Problem> {
        if !self.chunked {
            self.lines(bytes, &mut each)?;
            return Ok(bytes.len());
        }
        let mut used = 0;
        while let Some((chunk, length)) = chunk(&bytes[used..])? {
            self.lines(chunk, &mut each)?;
            used += length;
        }
        Ok(used)
    }

    fn lines(&mut self, text: &[u8], each: &mut impl FnMut(&[u8]) -> Result<(), Problem>) -> Result<(), Problem> {
        let mut rest = text;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (end_of_line, after) = (&rest[..end], &rest[end + 1..]);
            if self.line.is_empty() {
                said(end_of_line, each)?;
            } else {
                self.line.extend_from_slice(end_of_line);
                said(&std::mem::take(&mut self.line), each)?;
            }
            rest = after;
        }
        self.line.extend_from_slice(rest);
        Ok(())
    }
}

fn said(line: &[u8], each: &mut impl FnMut(&[u8]) -> Result<(), Problem>) -> Result<(), Problem> {
    line.strip_prefix(b"data: ").map_or(Ok(()), each)
}

/// The first chunk, and how many bytes it takes with its length; `None` while some of it is missing.
fn chunk(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Problem> {
    let Some(end) = bytes.iter().take(20).position(|byte| *byte == b'\n') else { return Ok(None) };
    let digits = std::str::from_utf8(&bytes[..end]).unwrap_or_default().trim_end();
    let length = usize::from_str_radix(digits, 16).map_err(|_| format!("`{digits}` is no length of a chunk"))?;
    if length == 0 {
        return Err("the stream ended".to_owned());
    }
    let all = end + 1 + length + 2;
    Ok(bytes.get(..all).map(|bytes| (&bytes[end + 1..end + 1 + length], all)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the bytes in two pieces, as a connection does.
    fn taken(chunked: bool, bytes: &[u8], cut: usize) -> Result<Vec<String>, Problem> {
        let (mut events, mut data, mut held) = (Events::new(chunked), Vec::new(), Vec::new());
        for piece in [&bytes[..cut], &bytes[cut..]] {
            held.extend_from_slice(piece);
            let used = events.take(&held, |text| {
                data.push(String::from_utf8_lossy(text).into_owned());
                Ok(())
            })?;
            held.drain(..used);
        }
        Ok(data)
    }

    #[test]
    fn data_is_read_however_the_bytes_are_cut() {
        let plain = b"retry: 5\nevent: open\ndata: {\"a\":1}\n\n:\n\ndata: b\n\n";
        let chunked = b"15\r\nretry: 5\nevent: open\n\r\n1a\r\ndata: {\"a\":1}\n\n:\n\ndata: b\n\r\n1\r\n\n\r\n";
        for cut in 0..=plain.len() {
            assert_eq!(taken(false, plain, cut), Ok(vec!["{\"a\":1}".to_owned(), "b".to_owned()]), "cut at {cut}");
        }
        for cut in 0..=chunked.len() {
            assert_eq!(taken(true, chunked, cut), Ok(vec!["{\"a\":1}".to_owned(), "b".to_owned()]), "cut at {cut}");
        }
    }

    #[test]
    fn an_end_and_what_is_no_chunk_are_told() {
        assert!(taken(true, b"0\r\n\r\n", 0).is_err());
        assert!(taken(true, b"data: 1\n\n", 0).is_err());
    }
}
