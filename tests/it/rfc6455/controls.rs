//! Pings and pongs (section 5.5).

use crate::harness::raw::{Frame, Out, PING, PONG, TEXT};

use super::{bye, echo, expect, server};

#[actix_web::test]
async fn a_ping_is_answered_with_its_own_payload() {
    let server = server().await;
    let payloads: [&[u8]; 4] = [b"", b"hello", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", &[0xfe; 125]];
    for payload in payloads {
        let pong = Frame::whole(PONG, payload);
        expect(&server, "a ping", &[Out::new(PING, payload), bye()], &[pong], 1000).await;
    }
    let mut socket = echo(&server).await;
    for octets in payloads.map(|payload| Out::new(PING, payload).octets()) {
        socket.write_in_pieces(&octets, 1).await;
    }
    for payload in payloads {
        assert_eq!(socket.frame().await, Frame::whole(PONG, payload));
    }
}

#[actix_web::test]
async fn many_pings_are_answered_in_order() {
    let server = server().await;
    let pings: Vec<_> = (0..100).map(|number| Out::new(PING, number.to_string())).chain([bye()]).collect();
    let pongs: Vec<_> = (0..100).map(|number| Frame::whole(PONG, number.to_string())).collect();
    expect(&server, "a hundred pings", &pings, &pongs, 1000).await;
}

#[actix_web::test]
async fn pongs_that_nobody_asked_for_are_taken_in_silence() {
    let server = server().await;
    let sent = [Out::new(PONG, ""), Out::new(PONG, [7; 125]), Out::new(PING, "and now"), bye()];
    expect(&server, "unsolicited pongs", &sent, &[Frame::whole(PONG, "and now")], 1000).await;
}

#[actix_web::test]
async fn a_control_frame_is_short_and_whole() {
    let server = server().await;
    let before = || Out::text("before");
    let echoed = [Frame::whole(TEXT, "before")];
    for opcode in [PING, PONG] {
        expect(&server, "126 octets", &[before(), Out::new(opcode, [7; 126])], &echoed, 1002).await;
        expect(&server, "65,536 octets", &[before(), Out::new(opcode, vec![7; 65_536])], &echoed, 1002).await;
        expect(&server, "a fragment", &[before(), Out::new(opcode, "cut").more()], &echoed, 1002).await;
    }
}
