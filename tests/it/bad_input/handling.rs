//! Bytes that are not HTTP, and HTTP that is broken off: the server goes on.

use crate::harness::{
    raw::Raw,
    server::{Options, Server},
    tenants::Tenant,
};

#[actix_web::test]
async fn what_is_not_http_is_refused_and_the_server_goes_on() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let long_header = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    for request in [
        &b"nonsense\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /v1/login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\nContent-Length: 2\r\n\r\n{}",
        long_header.as_bytes(),
    ] {
        let (answer, _) = Raw::request(server.url(), request).await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
    }
    tenant.is_served().await;
}
