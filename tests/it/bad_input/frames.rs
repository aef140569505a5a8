//! What ends a connection: each with an `error` event that says why, and its close code.

use serde_json::{Value, json};

use crate::harness::{
    raw::{CONTINUATION, Frame, Out, PING, PONG, Raw, TEXT},
    server::{Options, Server},
    sockets::{Received, Socket},
    tenants::Tenant,
};

/// Bytes that one frame may have.
const FRAME_BYTES: usize = 2 << 20;

/// Reads to the end of a socket, which must come with this code: told by an `error` event, then by the close frame.
async fn expect_end(mut socket: Socket, code: &str, close: u16, what: &str) -> Vec<Value> {
    let (mut events, end) = socket.closed().await;
    assert_eq!(end, Received::Close(close, code.to_owned()), "{what}: {events:?}");
    let last = events.pop().unwrap_or_else(|| panic!("{what}: no event says why"));
    assert_eq!((&last["op"], &last["error"]["code"]), (&json!("error"), &json!(code)), "{what}");
    assert!(last["error"]["message"].is_string() && last["error"]["remedy"].is_string(), "{what}: {last}");
    events
}

#[actix_web::test]
async fn what_cannot_be_answered_closes_as_malformed() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    for text in [
        "",
        " ",
        "{",
        "nul",
        "null",
        "[]",
        "7",
        "\"text\"",
        "\u{feff}{\"id\":1,\"op\":\"history\",\"channel\":\"a\"}",
        r#"{'id':1}"#,
        r#"{"id":1,}"#,
        r#"{"op":"subscribe","channel":"a"}"#,
        r#"{"id":0,"op":"subscribe","channel":"a"}"#,
        r#"{"id":-1,"op":"subscribe","channel":"a"}"#,
        r#"{"id":2147483648,"op":"subscribe","channel":"a"}"#,
        r#"{"id":1.5,"op":"subscribe","channel":"a"}"#,
        r#"{"id":"1","op":"subscribe","channel":"a"}"#,
        r#"{"id":null,"op":"subscribe","channel":"a"}"#,
        r#"{"id":1,"id":2,"op":"subscribe","channel":"a"}"#,
        r#"{"id":1,"op":"subscribe","channel":"a","channel":"b"}"#,
        r#"{"id":1,"op":"subscribe","channel":"a"} {}"#,
        r#"{"id":1,"op":"publish","channel":"a","data":01}"#,
        "{\"id\":1,\"op\":\"publish\",\"channel\":\"a\",\"data\":\"\u{1}\"}",
    ] {
        let mut socket = tenant.join("ann").await;
        socket.send_text(text).await;
        let before = expect_end(socket, "malformed", 4000, text).await;
        assert!(before.is_empty(), "{text}: {before:?}");
    }
    tenant.is_served().await;
}

#[actix_web::test]
async fn a_binary_frame_closes() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut socket = tenant.join("ann").await;
    socket.send_binary(br#"{"id":1,"op":"history","channel":"a"}"#).await;
    expect_end(socket, "binary_frame", 4001, "after connect").await;
    let mut socket = Socket::open(server.url()).await;
    socket.send_binary(b"").await;
    expect_end(socket, "binary_frame", 4001, "before connect").await;
    tenant.is_served().await;
}

#[actix_web::test]
async fn whatever_comes_before_connect_closes() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    for (request, answered) in [
        (json!({"op": "subscribe", "channel": "a"}), "not_connected"),
        (json!({"op": "publish", "channel": "a", "data": 1}), "not_connected"),
        (json!({"op": "token", "token": "x"}), "not_connected"),
        (json!({"op": "dance"}), "bad_request"),
        (json!({"op": "connect", "token": 7}), "bad_request"),
        (json!({}), "bad_request"),
    ] {
        let mut socket = Socket::open(server.url()).await;
        assert_eq!(socket.refused(request.clone()).await, answered, "{request}");
        expect_end(socket, "not_connected", 4002, &request.to_string()).await;
    }
    let mut socket = Socket::open(server.url()).await;
    socket.send_text("{").await;
    expect_end(socket, "malformed", 4000, "malformed before connect").await;
    tenant.is_served().await;
}

#[actix_web::test]
async fn a_second_connect_closes() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let token = tenant.full_token("ann").await;
    let mut socket = Socket::connect(server.url(), &token).await;
    assert_eq!(socket.refused(json!({"op": "connect", "token": token})).await, "already_connected");
    expect_end(socket, "already_connected", 4003, "a second connect").await;
    tenant.is_served().await;
}

#[actix_web::test]
async fn connect_must_come_in_time_and_pings_do_not_buy_more() {
    let config = "[gateway.connection]\nconnect_timeout = \"1s\"\n";
    let server = Server::start(Options::default().config(config)).await;
    let tenant = Tenant::sign_up(&server).await;
    expect_end(Socket::open(server.url()).await, "connect_timeout", 4123, "silence").await;
    let mut pinging = Raw::open(server.url(), "/v1/connect").await;
    pinging.send(&[Out::new(PING, "still here"), Out::text(r#"{"id":1,"op":"#).more()]).await;
    assert_eq!(pinging.frame().await, Frame::whole(PONG, "still here"));
    assert_eq!(pinging.json().await["error"]["code"], "connect_timeout");
    assert_eq!(pinging.closed().await, (vec![], Some(4123)));
    tenant.is_served().await;
}

/// A raw socket that has connected.
async fn connected(tenant: &Tenant) -> Raw {
    let token = tenant.full_token("ann").await;
    let mut socket = Raw::open(&tenant.url, "/v1/connect").await;
    socket.send(&[Out::text(json!({"id": 1, "op": "connect", "token": token}).to_string())]).await;
    assert!(socket.json().await["ok"].is_object());
    socket
}

#[actix_web::test]
async fn a_frame_that_is_too_large_closes_with_1009_after_it_is_told_why() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let half = Out::new(TEXT, vec![b' '; FRAME_BYTES]).more();
    for (what, sent) in [
        ("one large frame", vec![Out::text("").announcing(FRAME_BYTES as u64 + 1)]),
        ("many fragments", vec![half, Out::new(CONTINUATION, " ")]),
        ("an absurd length", vec![Out::text("").announcing(i64::MAX as u64)]),
    ] {
        let mut socket = connected(&tenant).await;
        socket.send(&sent).await;
        assert_eq!(socket.json().await["error"]["code"], "message_too_large", "{what}");
        assert_eq!(socket.closed().await, (vec![], Some(1009)), "{what}");
    }
    tenant.is_served().await;
}

#[actix_web::test]
async fn text_that_is_not_utf_8_closes_with_1007_after_it_is_told_why() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    for text in [&b"\xff"[..], b"{\"id\":1,\"op\":\"\xc0\xaf\"}", b"{\"id\":1,\"op\":\"\xed\xa0\x80\"}"] {
        let mut socket = connected(&tenant).await;
        socket.send(&[Out::text(text)]).await;
        assert_eq!(socket.json().await["error"]["code"], "malformed", "{text:?}");
        assert_eq!(socket.closed().await, (vec![], Some(1007)), "{text:?}");
    }
    tenant.is_served().await;
}

#[actix_web::test]
async fn broken_frames_close_with_1002_after_it_is_told_why() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    for frame in [Out::text("{}").unmasked(), Out::text("{}").rsv(4), Out::new(0x3, ""), Out::new(CONTINUATION, "")] {
        let mut socket = connected(&tenant).await;
        socket.send(std::slice::from_ref(&frame)).await;
        assert_eq!(socket.json().await["error"]["code"], "malformed", "{frame:?}");
        assert_eq!(socket.closed().await, (vec![], Some(1002)), "{frame:?}");
    }
    tenant.is_served().await;
}
