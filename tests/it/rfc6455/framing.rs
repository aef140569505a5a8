//! Frames that break a rule: each fails the connection, after what came before it was answered (sections 5.1 to 5.4).

use crate::harness::raw::{BINARY, CLOSE, CONTINUATION, Frame, Next, Out, PING, PONG, Raw, TEXT, handshake};

use super::{echo, expect, server};

#[actix_web::test]
async fn reserved_bits_and_opcodes_fail_the_connection() {
    let server = server().await;
    let echoed = [Frame::whole(TEXT, "before")];
    for bits in 1..=7 {
        for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
            let sent = [Out::text("before"), Out::new(opcode, "").rsv(bits), Out::text("after")];
            expect(&server, "reserved bits", &sent, &echoed, 1002).await;
        }
    }
    for opcode in (3..=7).chain(0xB..=0xF) {
        for payload in ["", "some"] {
            let sent = [Out::text("before"), Out::new(opcode, payload), Out::new(PING, "after")];
            expect(&server, "a reserved opcode", &sent, &echoed, 1002).await;
        }
    }
}

#[actix_web::test]
async fn fragments_follow_one_another() {
    let server = server().await;
    let table: [(&str, &[Out]); 6] = [
        ("a continuation of nothing", &[Out::new(CONTINUATION, "x")]),
        ("a continuation of nothing that goes on", &[Out::new(CONTINUATION, "x").more()]),
        ("a message inside a message", &[Out::text("x").more(), Out::text("y")]),
        ("binary inside text", &[Out::text("x").more(), Out::new(BINARY, "y").more()]),
        ("a continuation after the last", &[Out::text("").more(), Out::new(CONTINUATION, "").more(), Out::text("")]),
        ("a fragmented close", &[Out::close(1000, "").more()]),
    ];
    for (what, sent) in table {
        expect(&server, what, sent, &[], 1002).await;
    }
}

#[actix_web::test]
async fn a_clients_frames_are_masked() {
    let server = server().await;
    for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
        expect(&server, "an unmasked frame", &[Out::new(opcode, "").unmasked()], &[], 1002).await;
    }
}

#[actix_web::test]
async fn a_length_is_in_its_shortest_form() {
    let server = server().await;
    let (short, long) = ([0x81, 0xfe, 0, 125], [0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    let top_bit = [0x82, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0];
    for header in [&short[..], &long, &top_bit] {
        let mut socket = echo(&server).await;
        socket.write(header).await;
        assert_eq!(socket.closed().await, (vec![], Some(1002)), "{header:?}");
    }
}

#[actix_web::test]
async fn what_can_be_refused_is_refused_before_the_frame_is_whole() {
    let server = server().await;
    for (what, first_octets, code) in [
        ("a reserved bit", &[0xc1][..], 1002),
        ("a reserved opcode", &[0x83], 1002),
        ("no mask", &[0x81, 0x05], 1002),
        ("a long ping", &[0x89, 0xfe], 1002),
        ("a message of 1 GiB", &[0x82, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0], 1009),
    ] {
        let mut socket = echo(&server).await;
        socket.write(first_octets).await;
        assert_eq!(socket.closed().await, (vec![], Some(code)), "{what}");
    }
}

#[actix_web::test]
async fn a_frame_in_the_packet_of_the_handshake_is_not_lost() {
    let server = server().await;
    let request = [handshake("/test/echo", "").into_bytes(), Out::text("early").octets()].concat();
    let (head, mut socket) = Raw::request(server.url(), request).await;
    assert_eq!(head.status, 101);
    assert_eq!(socket.frame().await, Frame::whole(TEXT, "early"));
}

#[actix_web::test]
async fn a_client_that_goes_on_sending_still_receives_why() {
    let server = server().await;
    let mut socket = echo(&server).await;
    socket.send(&[Out::new(0x3, "")]).await;
    socket.write_regardless(&vec![0x55; 4 << 20]).await;
    let (before, close) = socket.close_frame().await;
    assert_eq!((before, close), (vec![], Frame::whole(CLOSE, 1002u16.to_be_bytes())));
    assert_eq!(socket.next().await, Next::End, "a reset could have lost the close on its way");
}
