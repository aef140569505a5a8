//! The handshake, and what is answered to those that are none (RFC 6455, section 4.2).

use crate::harness::{
    raw::{ACCEPT, Head, KEY, Raw, handshake},
    server::{Options, Server},
};

use super::server;

async fn answer(server: &Server, request: &str) -> Head {
    Raw::request(server.url(), request).await.0
}

#[actix_web::test]
async fn a_handshake_is_accepted_with_the_subprotocol_that_it_names() {
    let server = server().await;
    for (path, more, subprotocol) in [
        ("/v1/connect", "", None),
        ("/v1/connect", "Sec-WebSocket-Protocol: fanfare.v1\r\n", Some("fanfare.v1")),
        ("/v1/connect", "Sec-WebSocket-Protocol: mqtt, fanfare.v1\r\n", Some("fanfare.v1")),
        ("/v1/connect", "Sec-WebSocket-Protocol: mqtt\r\n", None),
        ("/test/echo", "Sec-WebSocket-Extensions: permessage-deflate\r\n", None),
    ] {
        let head = answer(&server, &handshake(path, more)).await;
        assert_eq!(head.status, 101, "{more}: {head:?}");
        assert_eq!(head.header("sec-websocket-accept"), Some(ACCEPT));
        assert_eq!(head.header("upgrade").map(str::to_ascii_lowercase).as_deref(), Some("websocket"));
        assert_eq!(head.header("connection").map(str::to_ascii_lowercase).as_deref(), Some("upgrade"));
        assert_eq!(head.header("sec-websocket-protocol"), subprotocol, "{more}");
        assert_eq!(head.header("sec-websocket-extensions"), None, "no extension is offered");
    }
}

#[actix_web::test]
async fn header_names_and_values_are_read_without_regard_to_case() {
    let server = server().await;
    let request = format!(
        "GET /v1/connect HTTP/1.1\r\nhOST: localhost\r\nCONNECTION: keep-alive, UPGRADE\r\nuPGRADE: WebSocket\r\n\
         sec-websocket-VERSION: 13\r\nsec-websocket-key: {KEY}\r\n\r\n"
    );
    assert_eq!(answer(&server, &request).await.status, 101);
}

#[actix_web::test]
async fn what_is_no_handshake_is_told_so() {
    let server = server().await;
    let good = handshake("/v1/connect", "");
    let without = |name: &str| good.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect::<String>();
    let requests = [
        ("plain GET", "GET /v1/connect HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
        ("no Upgrade", without("Upgrade")),
        ("no Connection", without("Connection")),
        ("no key", without("Sec-WebSocket-Key")),
        ("no version", without("Sec-WebSocket-Version")),
        ("an old version", good.replace("Version: 13", "Version: 8")),
        ("another protocol", good.replace("Upgrade: websocket", "Upgrade: h2c")),
    ];
    for (what, request) in requests {
        let head = answer(&server, &request).await;
        assert_eq!(head.status, 400, "{what}: {head:?}");
        assert_eq!(head.header("content-type"), Some("application/problem+json"), "{what}: {head:?}");
        let problem: serde_json::Value = serde_json::from_str(&head.body).expect("a problem is JSON");
        assert_eq!(problem["code"], "bad_request", "{what}");
        assert_eq!(problem["request_id"].as_str(), head.header("x-request-id"), "{what}");
        assert_eq!(head.header("sec-websocket-version"), Some("13"), "{what}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("WebSocket")), "{what}: {problem}");
        assert!(problem["remedy"].is_string(), "{what}: {problem}");
    }
}

#[actix_web::test]
async fn only_get_opens_a_socket() {
    let server = server().await;
    for method in ["POST", "PUT", "DELETE"] {
        let request = handshake("/v1/connect", "Content-Length: 0\r\n").replacen("GET", method, 1);
        let head = answer(&server, &request).await;
        assert_eq!(head.status, 405, "{method}: {head:?}");
        assert!(head.header("allow").is_some_and(|allow| allow.contains("GET")), "{method}: {head:?}");
        assert!(head.body.contains("method_not_allowed"), "{method}: {head:?}");
    }
}

#[actix_web::test]
async fn the_echo_is_served_only_where_it_is_asked_for() {
    let server = Server::start(Options::default()).await;
    let head = answer(&server, &handshake("/test/echo", "")).await;
    assert_eq!(head.status, 404, "{head:?}");
    assert_eq!(answer(&server, &handshake("/v1/connect", "")).await.status, 101);
}
