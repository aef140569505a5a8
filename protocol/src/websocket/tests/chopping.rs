//! How a stream is cut into reads never shows in what is decoded.

use super::*;

/// A small generator of repeatable numbers (xorshift), for the tests' cuts.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Every kind of frame and form of length, fragments with control frames among them, and a close.
fn mixed() -> (Vec<u8>, Vec<Inbound>) {
    let long = "κόσμε-\u{10ffff}-".repeat(500);
    let (head, tail) = long.as_bytes().split_at(4001);
    let large: Vec<u8> = (0..70_000).map(|index| (index % 251) as u8).collect();
    let stream = [
        frame(FIN | TEXT, ""),
        frame(FIN | TEXT, "Hello"),
        frame(FIN | PING, "one"),
        frame(TEXT, head),
        frame(FIN | PONG, [0xff; 125]),
        frame(CONTINUATION, ""),
        frame(FIN | PING, ""),
        frame(FIN | CONTINUATION, tail),
        frame(FIN | BINARY, &large),
        frame(BINARY, [1]),
        frame(CONTINUATION, [2; 126]),
        frame(FIN | CONTINUATION, ""),
        frame(FIN | TEXT, &long),
        frame(FIN | CLOSE, [0x0f, 0xa0, 0xc3, 0x9f]),
        frame(FIN | TEXT, "late"),
    ]
    .concat();
    let expected = vec![
        text(""),
        text("Hello"),
        ping("one"),
        pong([0xff; 125]),
        ping(""),
        text(&long),
        binary(&large),
        binary([&[1][..], &[2; 126]].concat()),
        text(&long),
        Inbound::Close(Some(super::super::Close { code: 4000, reason: "ß".to_owned() })),
    ];
    (stream, expected)
}

#[test]
fn a_mixed_stream_decodes_alike_whole_and_octet_by_octet() {
    let (stream, expected) = mixed();
    assert_decodes(&stream, expected);
}

#[test]
fn a_mixed_stream_decodes_alike_in_chunks_of_one_size() {
    let (stream, expected) = mixed();
    for size in (2..40).chain([125, 126, 127, 997, 4096, 65536]) {
        let outcome = arrive(&mut Decoder::new(LIMIT), stream.chunks(size));
        assert_eq!(outcome, (expected.clone(), None), "chunks of {size}");
    }
}

#[test]
fn a_mixed_stream_decodes_alike_in_random_chunks() {
    let (stream, expected) = mixed();
    for seed in 1..100 {
        let mut random = Seeded(seed);
        let largest = 1 << (1 + random.below(14));
        let mut decoder = Decoder::new(LIMIT);
        let mut messages = Vec::new();
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let (chunk, tail) = rest.split_at((1 + random.below(largest)).min(rest.len()));
            messages.extend(arrive(&mut decoder, [chunk]).0);
            rest = tail;
        }
        assert_eq!(messages, expected, "seed {seed}");
    }
}

#[test]
fn one_buffer_that_grows_between_calls_decodes_alike() {
    let (stream, expected) = mixed();
    let mut decoder = Decoder::new(LIMIT);
    let mut input = BytesMut::new();
    let mut messages = Vec::new();
    for chunk in stream.chunks(1000) {
        input.extend_from_slice(chunk);
        while let Ok(Some(message)) = decoder.decode(&mut input) {
            messages.push(message);
        }
    }
    assert_eq!(messages, expected);
}

#[test]
fn noise_never_panics_and_is_judged_alike_whole_and_octet_by_octet() {
    let (stream, _) = mixed();
    for seed in 1..2000 {
        let mut random = Seeded(seed);
        let mut noisy = stream[..600].to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(noisy.len());
            noisy[at] = random.below(256) as u8;
        }
        decode(&noisy);
    }
}
