//! Autobahn 7.

use super::super::Close;
use super::*;

fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FIN | CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

fn closed(code: u16, reason: &str) -> Inbound {
    Inbound::Close(Some(Close { code, reason: reason.to_owned() }))
}

#[test]
fn nothing_is_decoded_after_a_close() {
    for after in [frame(FIN | TEXT, "late"), frame(FIN | PING, ""), close(1000, ""), vec![0xff]] {
        let mut decoder = Decoder::new(LIMIT);
        let mut input = BytesMut::from(&[close(1000, "bye"), after].concat()[..]);
        assert_eq!(decoder.decode(&mut input), Ok(Some(closed(1000, "bye"))));
        assert_eq!(decoder.decode(&mut input), Ok(None));
        assert!(input.is_empty());
    }
}

#[test]
fn a_message_before_a_close_is_delivered() {
    assert_decodes(&[frame(FIN | TEXT, "Hello"), close(1000, "")].concat(), [text("Hello"), closed(1000, "")]);
}

#[test]
fn a_close_may_say_nothing() {
    assert_decodes(&frame(FIN | CLOSE, ""), [Inbound::Close(None)]);
}

#[test]
fn a_close_payload_of_one_octet_is_refused() {
    assert_protocol_error(&frame(FIN | CLOSE, "a"), []);
}

#[test]
fn a_close_may_have_a_reason_of_up_to_123_octets() {
    for reason in ["", "Hello World!", "κόσμε", &"*".repeat(123)] {
        assert_decodes(&close(1000, reason), [closed(1000, reason)]);
    }
}

#[test]
fn a_close_with_a_reason_of_124_octets_is_refused() {
    assert_protocol_error(&close(1000, "*".repeat(124)), []);
}

#[test]
fn a_close_reason_that_is_not_utf8_is_refused() {
    for reason in [&b"\xce\xba\xed\xa0\x80edited"[..], b"cut \xe2\x82", b"\xff"] {
        assert_eq!(decode(&close(1000, reason)), (vec![], Some(Violation::InvalidUtf8)));
    }
}

#[test]
fn only_the_codes_that_may_be_sent_are_accepted() {
    for code in 0..=u16::MAX {
        let may_be_sent = match code {
            1004..=1006 | 1015 => false,
            1000..=1014 | 3000..=4999 => true,
            _ => false,
        };
        let stream = close(code, "");
        let (messages, violation) = arrive(&mut Decoder::new(LIMIT), [&stream[..]]);
        if may_be_sent {
            assert_eq!((messages, violation), (vec![closed(code, "")], None));
        } else {
            let close_code = violation.map(|violation| violation.close_code());
            assert_eq!((messages, close_code), (vec![], Some(1002)), "{code}");
        }
    }
}

#[test]
fn a_close_code_is_refused_before_its_reason_is_read() {
    assert_protocol_error(&close(1005, b"\xff"), []);
}

#[test]
fn each_violation_has_its_close_code() {
    assert_eq!(Violation::Protocol("any").close_code(), 1002);
    assert_eq!(Violation::InvalidUtf8.close_code(), 1007);
    assert_eq!(Violation::TooBig { limit: 1 }.close_code(), 1009);
}
