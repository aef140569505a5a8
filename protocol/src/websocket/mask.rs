//! The masking of client payloads (RFC 6455, 5.3).

/// A masking key, turned so that its first octet is for the next octet of the payload.
#[derive(Clone, Copy)]
pub(super) struct Mask([u8; 4]);

impl Mask {
    pub(super) fn new(key: [u8; 4]) -> Self {
        Mask(key)
    }

    /// Unmasks the next octets of the payload in place, a word at a time.
    pub(super) fn apply(&mut self, octets: &mut [u8]) {
        let Mask([a, b, c, d]) = *self;
        let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (words, rest) = octets.as_chunks_mut();
        for octets in words {
            *octets = (u64::from_ne_bytes(*octets) ^ word).to_ne_bytes();
        }
        for (octet, key) in rest.iter_mut().zip(self.0.iter().cycle()) {
            *octet ^= key;
        }
        self.0.rotate_left(octets.len() % 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_of_a_payload_unmasks_as_the_rfc_defines_it() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let masked: Vec<u8> = (0..61).collect();
        let expected: Vec<u8> = masked.iter().enumerate().map(|(i, octet)| octet ^ key[i % 4]).collect();
        for cut in 0..=masked.len() {
            let mut octets = masked.clone();
            let mut mask = Mask::new(key);
            let (head, tail) = octets.split_at_mut(cut);
            mask.apply(head);
            mask.apply(tail);
            assert_eq!(octets, expected, "cut at {cut}");
        }
    }
}
