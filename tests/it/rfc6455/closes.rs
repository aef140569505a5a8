//! The closing handshake (sections 5.5.1 and 7).

use crate::harness::raw::{CLOSE, Frame, Next, Out, PING, TEXT};

use super::{bye, echo, expect, server};

#[actix_web::test]
async fn a_close_is_answered_with_its_code_and_the_connection_ends() {
    let server = server().await;
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
        for reason in ["", "ok", &"x".repeat(123), "καλή μέρα"] {
            let mut socket = echo(&server).await;
            socket.send(&[Out::close(code, reason)]).await;
            assert_eq!(socket.frame().await, Frame::whole(CLOSE, code.to_be_bytes()), "{code} {reason}");
            assert_eq!(socket.next().await, Next::End, "{code} {reason}");
        }
    }
}

#[actix_web::test]
async fn a_close_that_says_nothing_is_answered_alike() {
    let server = server().await;
    let mut socket = echo(&server).await;
    socket.send(&[Out::new(CLOSE, "")]).await;
    assert_eq!(socket.frame().await, Frame::whole(CLOSE, ""));
    assert_eq!(socket.next().await, Next::End);
}

#[actix_web::test]
async fn what_was_sent_before_the_close_is_answered_before_it() {
    let server = server().await;
    let sent = [Out::text("last words"), bye()];
    expect(&server, "a message and a close", &sent, &[Frame::whole(TEXT, "last words")], 1000).await;
}

#[actix_web::test]
async fn what_follows_a_close_is_not_looked_at() {
    let server = server().await;
    for after in [Out::text("too late"), Out::new(PING, "too late"), bye(), Out::new(0x3, "")] {
        expect(&server, "something after a close", &[bye(), after], &[], 1000).await;
    }
    let mut socket = echo(&server).await;
    socket.send(&[bye(), Out::text(vec![b'x'; 256 * 1024])]).await;
    assert_eq!(socket.frame().await, Frame::whole(CLOSE, 1000u16.to_be_bytes()));
    assert_eq!(socket.next().await, Next::End, "a reset could have lost the close on its way");
}

#[actix_web::test]
async fn a_close_that_breaks_a_rule_fails_the_connection() {
    let server = server().await;
    let one_octet = Out::new(CLOSE, [3]);
    let too_long = Out::close(1000, [b'x'; 124]);
    let not_text = Out::close(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited");
    expect(&server, "one octet", &[one_octet], &[], 1002).await;
    expect(&server, "126 octets", &[too_long], &[], 1002).await;
    expect(&server, "a reason that is no text", &[not_text], &[], 1007).await;
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65_535] {
        expect(&server, "a code that may not be sent", &[Out::close(code, "")], &[], 1002).await;
    }
}

#[actix_web::test]
async fn a_connection_that_is_just_dropped_leaves_the_server_well() {
    let server = server().await;
    let mut half_sent = echo(&server).await;
    half_sent.write(&[0x81]).await;
    drop(half_sent);
    drop(echo(&server).await);
    expect(&server, "a good client", &[Out::text("hi"), bye()], &[Frame::whole(TEXT, "hi")], 1000).await;
}
