//! What every payload carries: which stream it belongs to, its number there, and when it was sent.

/// What a stamp's text begins and ends with; no name and no id on the wire has it.
const MARK: u8 = b'@';
const STREAM_DIGITS: usize = 8;
const NUMBER_DIGITS: usize = 8;
const TIME_DIGITS: usize = 16;

/// How many bytes a stamp's text has.
pub const STAMP_BYTES: usize = 4 + STREAM_DIGITS + NUMBER_DIGITS + TIME_DIGITS;

/// The messages of one publisher on one channel, which are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u32);

impl StreamId {
    /// The stream of a publisher (0 to 255) on a channel.
    pub fn new(channel: usize, publisher: usize) -> Self {
        Self((channel as u32) << 8 | publisher as u32 & 0xff)
    }
}

/// Which message this is, and when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub stream: StreamId,
    /// From 0, without holes.
    pub number: u32,
    /// In nanoseconds since the program began.
    pub sent_ns: u64,
}

impl Stamp {
    /// The text of a payload of so many bytes, or of the stamp alone if that is more.
    pub fn payload(&self, bytes: usize) -> String {
        let Self { stream: StreamId(stream), number, sent_ns } = self;
        let mut text = format!("@{stream:08x}.{number:08x}.{sent_ns:016x}@");
        text.extend(std::iter::repeat_n('x', bytes.saturating_sub(STAMP_BYTES)));
        text
    }

    /// The first stamp in a text, whatever stands around it.
    pub fn find(text: &[u8]) -> Option<Self> {
        let mut rest = text;
        while let Some(at) = rest.iter().position(|byte| *byte == MARK) {
            rest = &rest[at + 1..];
            if let Some(stamp) = Self::read(rest) {
                return Some(stamp);
            }
        }
        None
    }

    /// What stands after the first mark.
    fn read(text: &[u8]) -> Option<Self> {
        let text: &[u8; STAMP_BYTES - 1] = text.first_chunk()?;
        let (stream, rest) = text.split_at(STREAM_DIGITS);
        let (number, rest) = rest[1..].split_at(NUMBER_DIGITS);
        let (time, end) = rest[1..].split_at(TIME_DIGITS);
        if end != [MARK] {
            return None;
        }
        let (stream, number) = (u32::try_from(hex(stream)?).ok()?, u32::try_from(hex(number)?).ok()?);
        Some(Self { stream: StreamId(stream), number, sent_ns: hex(time)? })
    }
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_found_in_whatever_stands_around_it() {
        let stamp = Stamp { stream: StreamId::new(99_999, 3), number: 0xfffe_0001, sent_ns: u64::MAX - 1 };
        let payload = stamp.payload(128);
        assert_eq!(payload.len(), 128);
        let around = format!(r#"{{"op":"message","client":"a@b","data":"{payload}"}}"#);
        assert_eq!(Stamp::find(around.as_bytes()), Some(stamp));
    }

    #[test]
    fn what_is_cut_or_no_stamp_is_not_taken_for_one() {
        let payload = Stamp { stream: StreamId::new(1, 0), number: 7, sent_ns: 5 }.payload(0);
        assert_eq!(payload.len(), STAMP_BYTES);
        assert_eq!(Stamp::find(&payload.as_bytes()[..STAMP_BYTES - 1]), None);
        assert_eq!(Stamp::find(payload.replace('7', "g").as_bytes()), None);
        assert_eq!(Stamp::find(b"@@"), None);
    }
}
