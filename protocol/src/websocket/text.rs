//! A text message whose octets are arriving, checked as they do (RFC 6455, 8.1; RFC 3629).

use super::Violation;
use super::message::growth;

/// The longest sequence of octets for one character.
const MAX_SEQUENCE_LEN: usize = 4;

/// The characters so far, and the octets of one that is not complete.
///
/// An octet that no valid text could have in its place is refused by the `push` that brings it:
/// `from_utf8` calls a sequence incomplete only while it can still become a character, so overlong
/// forms, surrogates and what lies past U+10FFFF are seen by their second octet.
#[derive(Default)]
pub(super) struct Text {
    complete: String,
    sequence: [u8; MAX_SEQUENCE_LEN],
    sequence_len: u8,
}

impl Text {
    pub(super) fn len(&self) -> usize {
        self.complete.len() + usize::from(self.sequence_len)
    }

    pub(super) fn push(&mut self, mut octets: &[u8], limit: usize) -> Result<(), Violation> {
        let held = self.complete.len();
        let arriving = usize::from(self.sequence_len) + octets.len();
        let spare = self.complete.capacity() - held;
        self.complete.reserve_exact(growth(held, spare, arriving, limit));

        while self.sequence_len > 0
            && let Some((octet, rest)) = octets.split_first()
        {
            self.continue_sequence(*octet)?;
            octets = rest;
        }
        let (whole, cut) = split_whole(octets)?;
        self.complete.push_str(whole);
        cut.iter().try_for_each(|octet| self.continue_sequence(*octet))
    }

    pub(super) fn finish(self) -> Result<String, Violation> {
        if self.sequence_len > 0 {
            return Err(Violation::InvalidUtf8);
        }
        Ok(self.complete)
    }

    /// The octets of heap that it holds.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.complete.capacity()
    }

    /// Adds an octet to the sequence, and the sequence to the text if that completes it. A valid
    /// sequence completes by its fourth octet, so there is always room for the next.
    fn continue_sequence(&mut self, octet: u8) -> Result<(), Violation> {
        let len = usize::from(self.sequence_len) + 1;
        self.sequence[len - 1] = octet;
        self.sequence_len = match str::from_utf8(&self.sequence[..len]) {
            Ok(character) => {
                self.complete.push_str(character);
                0
            }
            Err(error) if error.error_len().is_none() => self.sequence_len + 1,
            Err(_) => return Err(Violation::InvalidUtf8),
        };
        Ok(())
    }
}

/// The whole characters of `octets`, and the start of one that they end in.
fn split_whole(octets: &[u8]) -> Result<(&str, &[u8]), Violation> {
    match str::from_utf8(octets) {
        Ok(whole) => Ok((whole, &[])),
        Err(error) if error.error_len().is_none() => {
            let (whole, cut) = octets.split_at(error.valid_up_to());
            let whole = str::from_utf8(whole).map_err(|_| Violation::InvalidUtf8)?;
            Ok((whole, cut))
        }
        Err(_) => Err(Violation::InvalidUtf8),
    }
}
