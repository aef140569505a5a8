//! Autobahn 5.

use super::*;

#[test]
fn a_fragmented_control_frame_is_refused_at_its_first_octet() {
    for opcode in [PING, PONG, CLOSE] {
        let stream = [frame(opcode, "frag"), frame(FIN | CONTINUATION, "ment")].concat();
        assert_protocol_error(&stream, []);
        assert_eq!(octets_until_refused(&stream), 1);
    }
}

#[test]
fn fragments_are_joined() {
    let stream = [frame(TEXT, "frag"), frame(FIN | CONTINUATION, "ment")].concat();
    assert_decodes(&stream, [text("fragment")]);
    let stream = [frame(BINARY, [0, 1]), frame(FIN | CONTINUATION, [0xff])].concat();
    assert_decodes(&stream, [binary([0, 1, 0xff])]);
}

#[test]
fn fragments_may_be_empty() {
    let end = frame(FIN | CONTINUATION, "");
    assert_decodes(&[frame(TEXT, ""), end.clone()].concat(), [text("")]);
    let middle = frame(CONTINUATION, "middle");
    assert_decodes(&[frame(TEXT, ""), middle, end.clone()].concat(), [text("middle")]);
    assert_decodes(&[frame(BINARY, ""), end].concat(), [binary("")]);
}

#[test]
fn control_frames_between_fragments_are_delivered_before_the_message() {
    let stream = [
        frame(TEXT, "1"),
        frame(FIN | PING, "first"),
        frame(CONTINUATION, "2"),
        frame(FIN | PING, "second"),
        frame(FIN | PONG, ""),
        frame(FIN | CONTINUATION, "3"),
        frame(FIN | TEXT, "next"),
    ]
    .concat();
    assert_decodes(&stream, [ping("first"), ping("second"), pong(""), text("123"), text("next")]);
}

#[test]
fn many_fragments_with_pings_among_them_arrive_in_any_chops() {
    let stream = [
        frame(TEXT, "fragment1"),
        frame(CONTINUATION, "fragment2"),
        frame(FIN | PING, "pongme 1!"),
        frame(CONTINUATION, "fragment3"),
        frame(FIN | PING, "pongme 2!"),
        frame(CONTINUATION, "fragment4"),
        frame(FIN | CONTINUATION, "fragment5"),
    ]
    .concat();
    let whole = text("fragment1fragment2fragment3fragment4fragment5");
    assert_decodes(&stream, [ping("pongme 1!"), ping("pongme 2!"), whole]);
}

#[test]
fn a_continuation_of_nothing_is_refused_at_its_first_octet() {
    for fin in [FIN, 0] {
        let stream = [frame(fin | CONTINUATION, "lost"), frame(FIN | TEXT, "Hello")].concat();
        assert_protocol_error(&stream, []);
        assert_eq!(octets_until_refused(&stream), 1);
    }
}

#[test]
fn a_continuation_after_a_message_has_ended_is_refused() {
    for fin in [FIN, 0] {
        let stream = [
            frame(TEXT, "frag"),
            frame(FIN | CONTINUATION, "ment"),
            frame(fin | CONTINUATION, "lost"),
            frame(FIN | TEXT, "Hello"),
        ]
        .concat();
        assert_protocol_error(&stream, [text("fragment")]);
    }
    let stream = [frame(FIN | BINARY, ""), frame(FIN | CONTINUATION, "lost")].concat();
    assert_protocol_error(&stream, [binary("")]);
}

#[test]
fn a_new_message_inside_a_fragmented_one_is_refused_at_its_first_octet() {
    for first in [TEXT, FIN | TEXT, BINARY, FIN | BINARY] {
        for start in [TEXT, BINARY] {
            let start = frame(start, "frag");
            assert_protocol_error(&[start.clone(), frame(first, "new")].concat(), []);
            assert_eq!(octets_until_refused(&[&start[..], &[first]].concat()), start.len() + 1);
        }
    }
}

#[test]
fn a_close_between_fragments_ends_the_stream() {
    let stream = [frame(TEXT, "frag"), frame(FIN | CLOSE, ""), frame(FIN | CONTINUATION, "ment")];
    assert_decodes(&stream.concat(), [Inbound::Close(None)]);
}
