//! The limit on messages, and what a decoder holds.

use super::*;

fn assert_too_big(limit: usize, stream: &[u8]) {
    let refused = (vec![], Some(Violation::TooBig { limit }));
    assert_eq!(arrive(&mut Decoder::new(limit), [stream]), refused);
    assert_eq!(arrive(&mut Decoder::new(limit), stream.chunks(1)), refused);
}

#[test]
fn a_message_of_the_limit_arrives() {
    for limit in [1, 125, 126, 65535, 65536] {
        let stream = frame(FIN | TEXT, "*".repeat(limit));
        let outcome = arrive(&mut Decoder::new(limit), [&stream[..]]);
        assert_eq!(outcome, (vec![text(&"*".repeat(limit))], None));
    }
}

#[test]
fn a_message_past_the_limit_is_refused_at_its_announced_length() {
    assert_too_big(0, &[FIN | TEXT, 0x80 | 1]);
    assert_too_big(124, &[FIN | TEXT, 0x80 | 125]);
    assert_too_big(125, &[FIN | BINARY, 0x80 | 126, 0, 126]);
    let length = ((1u64 << 63) - 1).to_be_bytes();
    assert_too_big(65535, &[&[FIN | TEXT, 0x80 | 127][..], &length].concat());
}

#[test]
fn the_limit_is_on_all_fragments_together() {
    let start = [frame(TEXT, "12345"), frame(CONTINUATION, "67\u{e9}")].concat();
    let end = frame(FIN | CONTINUATION, "0");
    let outcome = arrive(&mut Decoder::new(10), [&start[..], &end[..]]);
    assert_eq!(outcome, (vec![text("1234567é0")], None));
    assert_too_big(9, &[&start[..], &[FIN | CONTINUATION, 0x80 | 1]].concat());
}

#[test]
fn the_octets_of_an_incomplete_character_count_towards_the_limit() {
    assert_too_big(3, &[frame(TEXT, b"a\xe2\x82"), header(FIN | CONTINUATION, 1)].concat());
}

#[test]
fn control_frames_do_not_count_towards_the_limit() {
    let stream =
        [frame(TEXT, "12"), frame(FIN | PING, [0; 125]), frame(FIN | CONTINUATION, "3"), frame(FIN | CLOSE, "")]
            .concat();
    let outcome = arrive(&mut Decoder::new(3), [&stream[..]]);
    assert_eq!(outcome, (vec![ping([0; 125]), text("123"), Inbound::Close(None)], None));
}

#[test]
fn a_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 96, "{}", size_of::<Decoder>());
}

#[test]
fn a_decoder_between_messages_holds_no_heap() {
    let mut decoder = Decoder::new(LIMIT);
    assert_eq!(decoder.heap_bytes(), 0);
    for stream in [
        frame(FIN | TEXT, "*".repeat(70_000)),
        frame(FIN | BINARY, [0; 300]),
        frame(FIN | PING, [0; 125]),
        [frame(TEXT, "frag"), frame(FIN | PING, "p"), frame(FIN | CONTINUATION, "ment")].concat(),
        frame(FIN | CLOSE, [0x03, 0xe8, b'x']),
    ] {
        let (messages, _) = arrive(&mut decoder, stream.chunks(7));
        assert!(!messages.is_empty());
        assert_eq!(decoder.heap_bytes(), 0);
    }
}

#[test]
fn a_decoder_that_has_failed_holds_no_heap() {
    let mut decoder = Decoder::new(LIMIT);
    let stream = [frame(TEXT, "frag"), frame(FIN | TEXT, "new")].concat();
    assert!(arrive(&mut decoder, [&stream[..]]).1.is_some());
    assert_eq!(decoder.heap_bytes(), 0);
}

#[test]
fn an_announced_length_takes_no_memory_before_its_payload() {
    let mut decoder = Decoder::new(LIMIT);
    arrive(&mut decoder, [&header(FIN | BINARY, LIMIT as u64)[..]]);
    assert_eq!(decoder.heap_bytes(), 0);
    arrive(&mut decoder, [&[0; 100][..]]);
    assert!(decoder.heap_bytes() < 256);
}

#[test]
fn a_message_in_progress_never_holds_more_than_the_limit() {
    for opcode in [TEXT, BINARY] {
        let mut decoder = Decoder::new(1000);
        let stream = frame(opcode, "é".repeat(500));
        for octet in stream.chunks(1) {
            arrive(&mut decoder, [octet]);
            assert!(decoder.heap_bytes() <= 1000);
        }
        let outcome = arrive(&mut decoder, [&frame(FIN | CONTINUATION, "")[..]]);
        assert_eq!(outcome.0.len(), 1);
    }
}

#[test]
fn what_is_returned_does_not_keep_the_input_alive() {
    let stream = [frame(FIN | BINARY, "payload"), frame(FIN | PING, "p")].concat();
    let mut input = BytesMut::from(&stream[..]);
    let mut decoder = Decoder::new(LIMIT);
    let message = decoder.decode(&mut input);
    let ping = decoder.decode(&mut input);
    assert!(input.try_reclaim(stream.len()), "the buffer is free while the messages live");
    assert_eq!((message, ping), (Ok(Some(binary("payload"))), Ok(Some(super::ping("p")))));
}
