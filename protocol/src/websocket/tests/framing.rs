//! Autobahn 1 (sizes), 2 (pings and pongs), 3 (reserved bits), 4 (reserved opcodes), and lengths.

use super::*;

const SIZES: [usize; 8] = [0, 1, 125, 126, 127, 128, 65535, 65536];

#[test]
fn text_of_every_length_form_arrives() {
    for size in SIZES {
        let payload = "*".repeat(size);
        assert_decodes(&frame(FIN | TEXT, &payload), [text(&payload)]);
    }
}

#[test]
fn binary_of_every_length_form_arrives() {
    for size in SIZES {
        let payload: Vec<u8> = (0..size).map(|index| index as u8).collect();
        assert_decodes(&frame(FIN | BINARY, &payload), [binary(&payload)]);
    }
}

#[test]
fn a_large_text_arrives_in_chops_of_997_octets() {
    let payload = "*".repeat(65536);
    let stream = frame(FIN | TEXT, &payload);
    let outcome = arrive(&mut Decoder::new(LIMIT), stream.chunks(997));
    assert_eq!(outcome, (vec![text(&payload)], None));
}

#[test]
fn pings_of_up_to_125_octets_arrive() {
    for payload in [&b""[..], b"Hello", &[0, 255, 254, 253], &[0xfe; 125]] {
        assert_decodes(&frame(FIN | PING, payload), [ping(payload)]);
    }
}

#[test]
fn ten_pings_arrive_in_order() {
    let stream: Vec<u8> = (0..10).flat_map(|index| frame(FIN | PING, [index])).collect();
    assert_decodes(&stream, (0..10).map(|index| ping([index])));
}

#[test]
fn unsolicited_pongs_arrive_and_a_ping_after_them() {
    let stream = [frame(FIN | PONG, ""), frame(FIN | PONG, "any"), frame(FIN | PING, "p")].concat();
    assert_decodes(&stream, [pong(""), pong("any"), ping("p")]);
}

#[test]
fn a_control_frame_of_126_octets_is_refused_at_its_length() {
    for opcode in [PING, PONG, CLOSE] {
        let stream = frame(FIN | opcode, [0xfe; 126]);
        assert_protocol_error(&stream, []);
        assert_eq!(octets_until_refused(&stream), 2);
    }
}

#[test]
fn a_reserved_bit_is_refused_at_the_first_octet_of_any_frame() {
    for reserved in 1..8 {
        for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
            let stream = frame(FIN | reserved << 4 | opcode, "");
            assert_protocol_error(&stream, []);
            assert_eq!(octets_until_refused(&stream), 1);
        }
    }
}

#[test]
fn what_came_before_a_reserved_bit_is_delivered() {
    let good = frame(FIN | TEXT, "good");
    let stream = [good, frame(FIN | 0x20 | TEXT, "bad"), frame(FIN | PING, "")].concat();
    assert_protocol_error(&stream, [text("good")]);
}

#[test]
fn a_reserved_opcode_is_refused_at_the_first_octet() {
    for opcode in (3..8).chain(11..16) {
        for fin in [FIN, 0] {
            let stream = frame(fin | opcode, "payload");
            assert_protocol_error(&stream, []);
            assert_eq!(octets_until_refused(&stream), 1);
        }
    }
}

#[test]
fn a_frame_that_is_not_masked_is_refused_at_its_second_octet() {
    for first in [FIN | TEXT, FIN | BINARY, TEXT, FIN | PING, FIN | PONG, FIN | CLOSE] {
        let stream = [first, 0];
        assert_protocol_error(&stream, []);
        assert_eq!(octets_until_refused(&stream), 2);
    }
}

#[test]
fn a_mask_of_zeroes_is_a_mask() {
    assert_decodes(&[FIN | TEXT, 0x80 | 2, 0, 0, 0, 0, b'h', b'i'], [text("hi")]);
}

#[test]
fn a_length_that_is_not_in_its_shortest_form_is_refused() {
    for length in [0u16, 1, 125] {
        let stream = [&[FIN | BINARY, 0x80 | 126][..], &length.to_be_bytes()].concat();
        assert_protocol_error(&stream, []);
    }
    for length in [0u64, 125, 126, 65535] {
        let stream = [&[FIN | BINARY, 0x80 | 127][..], &length.to_be_bytes()].concat();
        assert_protocol_error(&stream, []);
    }
}

#[test]
fn a_length_with_its_top_bit_set_is_a_protocol_error_and_not_a_large_message() {
    for length in [1u64 << 63, u64::MAX] {
        let stream = [&[FIN | TEXT, 0x80 | 127][..], &length.to_be_bytes()].concat();
        assert_protocol_error(&stream, []);
    }
}

#[test]
fn nothing_is_decoded_after_a_violation() {
    let mut decoder = Decoder::new(LIMIT);
    let mut input = BytesMut::from(&[frame(FIN | 3, ""), frame(FIN | TEXT, "late")].concat()[..]);
    assert!(decoder.decode(&mut input).is_err());
    assert_eq!(decoder.decode(&mut input), Ok(None));
    assert!(input.is_empty());
    assert_eq!(arrive(&mut decoder, [&frame(FIN | TEXT, "later")[..]]), (vec![], None));
}
