//! Text is UTF-8 and nothing else, and fails at the octet that is wrong (section 8.1).

use crate::harness::raw::{BINARY, CONTINUATION, Frame, Out, TEXT};

use super::{bye, echo, expect, server};

const VALID: &[&[u8]] = &[
    b"",
    "κόσμε".as_bytes(),
    "Hello-µ@ßöäüàá-UTF-8!!".as_bytes(),
    b"\x00",
    b"\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf0\x9f\xbf\xbe",
    b"\xf4\x8f\xbf\xbf",
];

/// Every one is wrong by its last octet at the latest, whatever would follow.
const INVALID: &[&[u8]] = &[
    b"\x80",
    b"\xbf",
    b"ok\xbf",
    b"\xc0",
    b"\xc1",
    b"\xc2a",
    b"\xe0\x80",
    b"\xe0\x9f",
    b"\xe1\x80a",
    b"\xed\xa0",
    b"\xed\xbf",
    b"\xf0\x80",
    b"\xf0\x8f",
    b"\xf1\x80\x80a",
    b"\xf4\x90",
    b"\xf5",
    b"\xf8",
    b"\xfc",
    b"\xfe",
    b"\xff",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0",
];

/// Whole in every octet, but not at the end of the message.
const CUT: &[&[u8]] = &[b"\xc2", b"\xe1", b"\xe1\x80", b"\xf1\x80", b"\xf1\x80\x80", b"abc\xf4\x8f\xbf"];

#[actix_web::test]
async fn valid_text_comes_back_however_it_is_cut() {
    let server = server().await;
    let mut socket = echo(&server).await;
    for text in VALID {
        socket.send(&[Out::text(text)]).await;
        assert_eq!(socket.frame().await, Frame::whole(TEXT, text));
        let mut fragments: Vec<_> = text.chunks(1).map(|octet| Out::new(CONTINUATION, octet).more()).collect();
        fragments.insert(0, Out::text("").more());
        fragments.push(Out::new(CONTINUATION, ""));
        socket.send(&fragments).await;
        assert_eq!(socket.frame().await, Frame::whole(TEXT, text), "in fragments of one octet");
        socket.write_in_pieces(&Out::text(text).octets(), 1).await;
        assert_eq!(socket.frame().await, Frame::whole(TEXT, text), "in packets of one octet");
    }
    socket.send(&[bye()]).await;
    assert_eq!(socket.closed().await, (vec![], Some(1000)));
}

#[actix_web::test]
async fn invalid_text_fails_the_connection() {
    let server = server().await;
    for text in INVALID.iter().chain(CUT) {
        expect(&server, "invalid text", &[Out::text("before"), Out::text(text)], &[Frame::whole(TEXT, "before")], 1007)
            .await;
        let (first, rest) = text.split_at(1);
        let fragments = [Out::text(first).more(), Out::new(CONTINUATION, rest)];
        expect(&server, "invalid text in two fragments", &fragments, &[], 1007).await;
    }
}

#[actix_web::test]
async fn text_fails_at_the_octet_that_is_wrong_and_not_at_the_end_of_its_frame() {
    let server = server().await;
    for text in INVALID {
        let mut socket = echo(&server).await;
        // The header announces a megabyte; only so much of it comes.
        socket.send(&[Out::text(text).announcing(1 << 20)]).await;
        assert_eq!(socket.closed().await, (vec![], Some(1007)), "{text:?}");
    }
}

#[actix_web::test]
async fn text_fails_before_its_last_fragment_comes() {
    let server = server().await;
    for text in INVALID {
        expect(
            &server,
            "the first of many fragments",
            &[Out::text("fine").more(), Out::new(CONTINUATION, text).more()],
            &[],
            1007,
        )
        .await;
    }
}

#[actix_web::test]
async fn binary_messages_may_hold_anything() {
    let server = server().await;
    let mut socket = echo(&server).await;
    for octets in INVALID.iter().chain(CUT) {
        socket.send(&[Out::new(BINARY, octets)]).await;
        assert_eq!(socket.frame().await.payload, *octets);
    }
}
