//! What a close frame says.

use super::Violation;

/// The body of a close frame (RFC 6455, 5.5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The status code, one of those that may stand on the wire (7.4).
    pub code: u16,
    /// The reason, for people who debug; at most 123 bytes.
    pub reason: String,
}

impl Close {
    /// Reads the unmasked payload of a close frame; an empty one says nothing.
    pub(super) fn read(payload: &[u8]) -> Result<Option<Close>, Violation> {
        let Some((code, reason)) = payload.split_first_chunk() else {
            return match payload {
                [] => Ok(None),
                _ => Err(Violation::Protocol("a close payload of one byte")),
            };
        };
        let code = u16::from_be_bytes(*code);
        if !may_be_sent(code) {
            return Err(Violation::Protocol("a close code that may not be sent"));
        }
        let reason = str::from_utf8(reason).map_err(|_| Violation::InvalidUtf8)?;
        Ok(Some(Close { code, reason: reason.to_owned() }))
    }
}

/// Whether a status code may stand in a close frame: the registered ones without those reserved for
/// use inside an endpoint, and the ranges of libraries and applications (RFC 6455, 7.4.1 and
/// 7.4.2).
pub(super) fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
