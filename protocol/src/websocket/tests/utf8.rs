//! Autobahn 6: text is judged octet by octet.

use super::*;

const KOSME: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";

/// The octets of `payload` that had arrived, of one text frame of 100, when it was refused.
fn payload_octets_until_refused(payload: &[u8]) -> Option<usize> {
    let mut decoder = Decoder::new(LIMIT);
    assert_eq!(arrive(&mut decoder, [&header(FIN | TEXT, 100)[..]]), (vec![], None));
    let octets = masked(payload);
    let refused = octets.chunks(1).position(|octet| {
        let (messages, violation) = arrive(&mut decoder, [octet]);
        assert_eq!(messages, []);
        assert!(matches!(violation, None | Some(Violation::InvalidUtf8)), "{violation:?}");
        violation.is_some()
    });
    refused.map(|index| index + 1)
}

/// The same, by the table of well-formed sequences (RFC 3629, section 4).
fn octets_until_ill_formed(payload: &[u8]) -> Option<usize> {
    let mut expected: Vec<std::ops::RangeInclusive<u8>> = Vec::new();
    let tail = 0x80..=0xbf;
    for (index, octet) in payload.iter().enumerate() {
        if let Some(range) = expected.pop() {
            if !range.contains(octet) {
                return Some(index + 1);
            }
            continue;
        }
        expected = match octet {
            0x00..=0x7f => vec![],
            0xc2..=0xdf => vec![tail.clone()],
            0xe0 => vec![tail.clone(), 0xa0..=0xbf],
            0xed => vec![tail.clone(), 0x80..=0x9f],
            0xe1..=0xef => vec![tail.clone(), tail.clone()],
            0xf0 => vec![tail.clone(), tail.clone(), 0x90..=0xbf],
            0xf1..=0xf3 => vec![tail.clone(), tail.clone(), tail.clone()],
            0xf4 => vec![tail.clone(), tail.clone(), 0x80..=0x8f],
            _ => return Some(index + 1),
        };
    }
    None
}

fn assert_invalid(payload: &[u8]) {
    let refused = (vec![], Some(Violation::InvalidUtf8));
    assert_eq!(decode(&frame(FIN | TEXT, payload)), refused, "{payload:x?}");
}

#[test]
fn text_may_be_cut_at_any_octet_into_frames() {
    let payload = "Hello-µ@ßöäüàá-κόσμε-\u{10ffff}-UTF-8!!";
    for cut in 0..=payload.len() {
        let (head, tail) = payload.as_bytes().split_at(cut);
        let stream = [frame(TEXT, head), frame(FIN | PING, ""), frame(FIN | CONTINUATION, tail)].concat();
        assert_decodes(&stream, [ping(""), text(payload)]);
    }
}

#[test]
fn text_may_come_one_octet_a_frame() {
    let payload = "κόσμε\u{ffff}\u{10000}";
    let mut stream = frame(TEXT, "");
    for octet in payload.bytes() {
        stream.extend(frame(CONTINUATION, [octet]));
    }
    stream.extend(frame(FIN | CONTINUATION, ""));
    assert_decodes(&stream, [text(payload)]);
}

#[test]
fn the_first_and_last_character_of_every_length_and_the_noncharacters_are_valid() {
    for character in [
        '\0',
        '\u{7f}',
        '\u{80}',
        '\u{7ff}',
        '\u{800}',
        '\u{d7ff}',
        '\u{e000}',
        '\u{fffd}',
        '\u{fffe}',
        '\u{ffff}',
        '\u{10000}',
        '\u{1ffff}',
        '\u{10fffe}',
        '\u{10ffff}',
    ] {
        let payload = character.to_string();
        assert_decodes(&frame(FIN | TEXT, &payload), [text(&payload)]);
    }
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    for payload in [
        &b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"[..],
        b"\x80",
        b"\xbf",
        b"\x80\xbf",
        b"\xc0 \xc1 ",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xf8\x80\x80\x80\xaf",
        b"\xfc\x80\x80\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xf4\x90\x80\x80",
        b"\xfe",
        b"\xff",
    ] {
        assert_invalid(payload);
        assert_invalid(&[KOSME, payload, b" and more"].concat());
    }
}

#[test]
fn text_that_ends_inside_a_character_is_refused_at_its_end() {
    for character in ["ß", "€", "\u{10ffff}"] {
        for len in 1..character.len() {
            let payload = &character.as_bytes()[..len];
            assert_invalid(payload);
            assert_eq!(payload_octets_until_refused(payload), None);
            let stream = [frame(TEXT, payload), frame(FIN | CONTINUATION, ""), frame(FIN | PING, "")];
            assert_eq!(decode(&stream.concat()), (vec![], Some(Violation::InvalidUtf8)));
        }
    }
}

#[test]
fn text_past_the_last_character_is_refused_before_its_frames_are_complete() {
    let good = frame(TEXT, KOSME);
    let bad = frame(CONTINUATION, b"\xf4\x90\x80\x80");
    let stream = [good.clone(), bad, frame(FIN | CONTINUATION, "edited")].concat();
    assert_eq!(octets_until_refused(&stream), good.len() + 6 + 2);
}

#[test]
fn a_character_that_spans_frames_is_refused_at_the_first_octet_that_cannot_continue_it() {
    let good = frame(TEXT, b"\xf4");
    let stream = [good.clone(), frame(FIN | CONTINUATION, b"\x90\x80\x80")].concat();
    assert_eq!(octets_until_refused(&stream), good.len() + 6 + 1);
}

#[test]
fn every_sequence_is_refused_at_the_octet_the_table_of_rfc_3629_names() {
    let tails = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xff];
    for lead in 0..=255 {
        for second in 0..=255 {
            let payload = [b'a', lead, second];
            let refused = payload_octets_until_refused(&payload);
            assert_eq!(refused, octets_until_ill_formed(&payload), "{payload:x?}");
        }
        // An octet of ASCII stands alone, so what follows one needs no look.
        for second in tails.into_iter().filter(|_| lead >= 0x80) {
            for third in tails {
                for fourth in tails {
                    let payload = [lead, second, third, fourth, b'z'];
                    let refused = payload_octets_until_refused(&payload);
                    assert_eq!(refused, octets_until_ill_formed(&payload), "{payload:x?}");
                }
            }
        }
    }
}

#[test]
fn binary_need_not_be_utf8() {
    assert_decodes(&frame(FIN | BINARY, b"\xff\xfe\xed\xa0\x80"), [binary(b"\xff\xfe\xed\xa0\x80")]);
}
