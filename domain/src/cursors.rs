//! Cursors: the positions of a stream's channels as one opaque text that the client brings back, to any node.
//!
//! A cursor is signed and bound to the app and the channels it was made for, not to a token or a client. It says where its reader
//! stands and nothing of what it may read: rights are looked at anew whenever it is used.

use std::{fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use fanfare_protocol::{ChannelName, Epoch, ErrorCode, Position, Serial};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{Refusal, ids::AppId};

/// The first byte of every cursor of this form.
const FORMAT: u8 = 1;
/// Of the 32 bytes of the MAC, so many are kept (RFC 2104, section 5).
const MAC_BYTES: usize = 16;
/// The longest text that is looked at: 100 channels with long epochs have room.
const MAX_TEXT_BYTES: usize = 16 * 1024;

type CursorMac = Hmac<Sha256>;

/// Signs cursors, and knows its own again. Clones share the keys.
#[derive(Clone)]
pub struct Cursors(Arc<[CursorMac]>);

/// The cursors of one app and one list of channels.
pub struct CursorScope {
    /// The MACs of every key, begun with the scope; the first one signs.
    macs: Vec<CursorMac>,
    channels: usize,
}

/// The text is no cursor of this scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor was not made by this service for this app and exactly these channels")]
pub struct BadCursor;

impl From<BadCursor> for Refusal {
    fn from(bad: BadCursor) -> Self {
        Refusal::new(ErrorCode::BadCursor, bad.to_string()).at("/cursor")
    }
}

impl Cursors {
    /// Signs with `current`; what was signed with `old` is still known.
    pub fn new(current: &[u8; 32], old: Option<&[u8; 32]>) -> Self {
        let begin = |key: &[u8; 32]| CursorMac::new_from_slice(key).expect("HMAC takes keys of any length");
        Self(std::iter::once(current).chain(old).map(begin).collect())
    }

    /// The cursors of an app and channels, which are always named in the same order.
    pub fn scope(&self, app: &AppId, channels: &[ChannelName]) -> CursorScope {
        let mut macs = self.0.to_vec();
        for mac in &mut macs {
            // No name holds a line break.
            for part in std::iter::once(app.as_str()).chain(channels.iter().map(ChannelName::as_str)) {
                mac.update(part.as_bytes());
                mac.update(b"\n");
            }
        }
        CursorScope { macs, channels: channels.len() }
    }
}

impl fmt::Debug for Cursors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cursors")
    }
}

impl CursorScope {
    /// The cursor of these positions, one for each channel in the scope's order.
    pub fn seal<'a>(&self, positions: impl IntoIterator<Item = &'a Position>) -> String {
        let mut bytes = vec![FORMAT];
        for position in positions {
            write(&mut bytes, position);
        }
        let mut mac = self.macs[0].clone();
        mac.update(&bytes);
        bytes.extend_from_slice(&mac.finalize().into_bytes()[..MAC_BYTES]);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The positions of a cursor, in the scope's order.
    pub fn open(&self, text: &str) -> Result<Vec<Position>, BadCursor> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(BadCursor);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| BadCursor)?;
        let (body, signed) = bytes.split_last_chunk::<MAC_BYTES>().ok_or(BadCursor)?;
        let is_ours = self.macs.iter().any(|mac| {
            let mut mac = mac.clone();
            mac.update(body);
            mac.verify_truncated_left(signed).is_ok()
        });
        let Some((&FORMAT, mut rest)) = body.split_first().filter(|_| is_ours) else { return Err(BadCursor) };
        let mut positions = Vec::with_capacity(self.channels);
        while !rest.is_empty() {
            positions.push(read(&mut rest).ok_or(BadCursor)?);
        }
        if positions.len() == self.channels { Ok(positions) } else { Err(BadCursor) }
    }
}

/// The epoch with its length before it, then the serial, seven bits a byte, the lowest first.
fn write(bytes: &mut Vec<u8>, position: &Position) {
    let epoch = position.epoch.as_str().as_bytes();
    bytes.push(u8::try_from(epoch.len()).expect("an epoch is a short text"));
    bytes.extend_from_slice(epoch);
    let mut serial = position.serial.0;
    while serial >= 0x80 {
        bytes.push(serial as u8 | 0x80);
        serial >>= 7;
    }
    bytes.push(serial as u8);
}

fn read(rest: &mut &[u8]) -> Option<Position> {
    let (length, after) = rest.split_first()?;
    let (epoch, mut after) = after.split_at_checked(usize::from(*length))?;
    let epoch = Epoch::new(std::str::from_utf8(epoch).ok()?);
    let mut serial = 0;
    for shift in (0..63).step_by(7) {
        let (byte, next) = after.split_first()?;
        after = next;
        serial |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            *rest = after;
            return Some(Position { epoch, serial: Serial(serial) });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppId {
        AppId::parse(&format!("app_{name}")).unwrap()
    }

    fn channels(names: &[&str]) -> Vec<ChannelName> {
        names.iter().map(|name| ChannelName::parse(name).unwrap()).collect()
    }

    fn positions() -> Vec<Position> {
        [("x7Gq0bTz1A", 0), ("", 127), ("e", 128), ("long epoch of some kind", Serial::MAX.0)]
            .map(|(epoch, serial)| Position { epoch: Epoch::new(epoch), serial: Serial(serial) })
            .into()
    }

    fn scope(cursors: &Cursors) -> CursorScope {
        cursors.scope(&app("a"), &channels(&["a", "b", "c", "d"]))
    }

    #[test]
    fn a_cursor_gives_back_every_position() {
        let scope = scope(&Cursors::new(&[1; 32], None));
        assert_eq!(scope.open(&scope.seal(&positions())), Ok(positions()));
    }

    #[test]
    fn a_cursor_serves_only_its_own_app_and_channels() {
        let cursors = Cursors::new(&[1; 32], None);
        let cursor = scope(&cursors).seal(&positions());
        for (app_name, names) in [
            ("b", ["a", "b", "c", "d"].as_slice()),
            ("a", &["a", "b", "c", "e"]),
            ("a", &["a", "b", "c"]),
            ("a", &["a", "b", "c", "d", "e"]),
            ("a", &["ab", "c", "d", "e"]),
        ] {
            let other = cursors.scope(&app(app_name), &channels(names));
            assert_eq!(other.open(&cursor), Err(BadCursor), "{app_name} {names:?}");
        }
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let scope = scope(&Cursors::new(&[1; 32], None));
        let cursor = scope.seal(&positions());
        for at in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(scope.open(std::str::from_utf8(&changed).unwrap()), Err(BadCursor), "at {at}");
        }
        for text in ["", "A", &cursor[..cursor.len() - 4], &format!("{cursor}AAAA"), &"A".repeat(MAX_TEXT_BYTES + 4)] {
            assert_eq!(scope.open(text), Err(BadCursor), "{text}");
        }
    }

    #[test]
    fn after_a_change_of_keys_the_old_ones_are_known_for_as_long_as_they_are_given() {
        let before = scope(&Cursors::new(&[1; 32], None)).seal(&positions());
        let both = Cursors::new(&[2; 32], Some(&[1; 32]));
        assert_eq!(scope(&both).open(&before), Ok(positions()));
        assert_eq!(scope(&Cursors::new(&[2; 32], None)).open(&before), Err(BadCursor));
        assert_eq!(scope(&Cursors::new(&[2; 32], None)).open(&scope(&both).seal(&positions())), Ok(positions()));
    }
}
