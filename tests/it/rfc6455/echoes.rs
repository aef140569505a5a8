//! Messages of every size and cut, and control frames between their fragments (sections 5.2 to 5.6).

use crate::harness::raw::{BINARY, CLOSE, CONTINUATION, Frame, Next, Out, PING, PONG, Raw, TEXT};

use super::{bye, echo, server};

/// Sizes at and around every change of the length's form.
const SIZES: [usize; 11] = [0, 1, 124, 125, 126, 127, 128, 65_535, 65_536, 65_537, 1 << 20];

fn payload(opcode: u8, size: usize) -> Vec<u8> {
    (0..size).map(|at| if opcode == TEXT { b'a' + (at % 26) as u8 } else { (at * 31) as u8 }).collect()
}

async fn close(mut socket: Raw) {
    socket.send(&[bye()]).await;
    assert_eq!(socket.closed().await, (vec![], Some(1000)));
}

#[actix_web::test]
async fn messages_of_every_size_come_back_whole() {
    let server = server().await;
    for opcode in [TEXT, BINARY] {
        let mut socket = echo(&server).await;
        for size in SIZES {
            let payload = payload(opcode, size);
            socket.send(&[Out::new(opcode, &payload)]).await;
            assert!(socket.frame().await == Frame::whole(opcode, payload), "{size} octets of {opcode}");
        }
        close(socket).await;
    }
}

#[actix_web::test]
async fn the_cuts_of_the_network_do_not_matter() {
    let server = server().await;
    let mut socket = echo(&server).await;
    for (size, piece) in [(0, 1), (1, 1), (125, 1), (300, 1), (66_000, 997), (1 << 20, 65_521)] {
        let payload = payload(TEXT, size);
        socket.write_in_pieces(&Out::text(&payload).octets(), piece).await;
        assert!(socket.frame().await == Frame::whole(TEXT, payload), "{size} octets in pieces of {piece}");
    }
    close(socket).await;
}

#[actix_web::test]
async fn many_messages_in_one_packet_come_back_in_order() {
    let server = server().await;
    let mut socket = echo(&server).await;
    let sent: Vec<_> = (0..1_000).map(|number| Out::text(number.to_string())).collect();
    socket.send(&sent).await;
    for number in 0..1_000 {
        assert_eq!(socket.frame().await, Frame::whole(TEXT, number.to_string()));
    }
    close(socket).await;
}

#[actix_web::test]
async fn fragments_are_joined() {
    let server = server().await;
    let mut socket = echo(&server).await;
    for opcode in [TEXT, BINARY] {
        for (size, cut) in [(2, 1), (1_000, 1), (4_096, 64), (65_536, 4_096), (1 << 20, 65_536)] {
            let payload = payload(opcode, size);
            let mut frames: Vec<_> =
                payload.chunks(cut).map(|fragment| Out::new(CONTINUATION, fragment).more()).collect();
            frames[0] = Out::new(opcode, &payload[..cut]).more();
            frames.push(Out::new(CONTINUATION, ""));
            socket.send(&frames).await;
            assert!(socket.frame().await == Frame::whole(opcode, payload), "{size} octets cut at {cut}");
        }
    }
    socket.send(&[Out::text("").more(), Out::new(CONTINUATION, "").more(), Out::new(CONTINUATION, "")]).await;
    assert_eq!(socket.frame().await, Frame::whole(TEXT, ""));
    close(socket).await;
}

#[actix_web::test]
async fn control_frames_between_fragments_are_answered_at_once() {
    let server = server().await;
    let mut socket = echo(&server).await;
    socket.send(&[Out::text("one ").more(), Out::new(PING, "p1")]).await;
    assert_eq!(socket.frame().await, Frame::whole(PONG, "p1"));
    socket.send(&[Out::new(CONTINUATION, "two ").more(), Out::new(PONG, "unasked"), Out::new(PING, "")]).await;
    assert_eq!(socket.frame().await, Frame::whole(PONG, ""));
    socket.send(&[Out::new(CONTINUATION, "three")]).await;
    assert_eq!(socket.frame().await, Frame::whole(TEXT, "one two three"));
    close(socket).await;
}

#[actix_web::test]
async fn a_close_between_fragments_ends_the_message_with_the_socket() {
    let server = server().await;
    let mut socket = echo(&server).await;
    socket.send(&[Out::text("never finished").more(), Out::close(1001, "")]).await;
    assert_eq!(socket.frame().await, Frame::whole(CLOSE, 1001u16.to_be_bytes()));
    assert_eq!(socket.next().await, Next::End);
}
