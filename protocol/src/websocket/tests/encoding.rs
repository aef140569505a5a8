//! The frames of the server.

use super::super::{binary_frame, close_frame, empty_close_frame, ping_frame, pong_frame, text_frame};
use super::*;

#[test]
fn a_text_frame_is_the_one_of_the_rfc() {
    assert_eq!(&text_frame(b"Hello")[..], b"\x81\x05Hello");
    assert_eq!(&text_frame(b"")[..], b"\x81\x00");
}

#[test]
fn control_frames_carry_their_payload() {
    assert_eq!(&ping_frame(b"Hello")[..], b"\x89\x05Hello");
    assert_eq!(&pong_frame(b"Hello")[..], b"\x8a\x05Hello");
    assert_eq!(&empty_close_frame()[..], b"\x88\x00");
    assert_eq!(&close_frame(1000, "bye")[..], b"\x88\x05\x03\xe8bye");
}

#[test]
fn lengths_take_their_shortest_form() {
    for (len, header) in [
        (125, &[0x82, 125][..]),
        (126, &[0x82, 126, 0, 126]),
        (127, &[0x82, 126, 0, 127]),
        (65535, &[0x82, 126, 0xff, 0xff]),
        (65536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let payload = vec![7; len];
        assert_eq!(binary_frame(&payload), [header, &payload].concat());
    }
}

#[test]
fn control_payloads_are_cut_at_125_octets() {
    assert_eq!(ping_frame(&[1; 200]), [&[0x89, 125][..], &[1; 125]].concat());
    assert_eq!(pong_frame(&[1; 126]), [&[0x8a, 125][..], &[1; 125]].concat());
}

#[test]
fn a_close_reason_is_cut_at_123_octets_between_characters() {
    let whole = "*".repeat(123);
    assert_eq!(&close_frame(1000, &whole)[4..], whole.as_bytes());
    assert_eq!(&close_frame(1000, &"*".repeat(124))[4..], whole.as_bytes());
    let frame = close_frame(1000, &"€".repeat(60));
    assert_eq!(&frame[4..], "€".repeat(41).as_bytes());
    let frame = close_frame(1000, &["*", &"€".repeat(60)].concat());
    assert_eq!((frame[1], &frame[4..]), (123, ["*", &"€".repeat(40)].concat().as_bytes()));
}

#[test]
fn a_message_survives_its_own_frame_masked() {
    for size in [0, 125, 126, 65535, 65536] {
        let payload = "x".repeat(size);
        let sent = text_frame(payload.as_bytes());
        let header_len = sent.len() - size;
        let mut stream = sent[..header_len].to_vec();
        stream[1] |= 0x80;
        stream.extend([0; 4]);
        stream.extend(&sent[header_len..]);
        assert_decodes(&stream, [text(&payload)]);
    }
}
