//! The slot of a key, as clusters count it: CRC-16 (XMODEM) of its hash tag, modulo 16,384.

/// How many slots there are.
pub(super) const SLOTS: u16 = 16_384;

const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// The slot of a key, or of a channel of sharded pub/sub.
pub(crate) fn slot_of(key: &str) -> u16 {
    let crc = |crc: u16, byte: u8| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)];
    tag(key).bytes().fold(0, crc) % SLOTS
}

/// What stands between the first `{` and the next `}`, if anything does; else the whole key.
fn tag(key: &str) -> &str {
    key.split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
        .unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_a_cluster() {
        assert_eq!(slot_of("123456789"), 0x31C3);
        assert_eq!((slot_of("foo"), slot_of("bar"), slot_of("")), (12_182, 5_061, 0));
    }

    #[test]
    fn keys_with_the_same_tag_share_their_slot() {
        assert_eq!(slot_of("ff:h:{foo}"), slot_of("foo"));
        assert_eq!(slot_of("ff:h:{foo}"), slot_of("ff:w:{foo}{bar}"));
        assert_ne!(slot_of("{}foo"), slot_of("{}bar"));
    }
}
