//! HTTP bodies that are none: not JSON, too large, of another type.

use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::harness::{
    raw::{Next, Raw},
    server::{Options, Server},
    tenants::{Answer, Tenant},
};

/// A request with a JSON body as it is.
pub fn with_body(request: RequestBuilder, body: impl Into<reqwest::Body>) -> RequestBuilder {
    request.header("content-type", "application/json").body(body)
}

/// A publish that lacks its body.
pub fn publish(tenant: &Tenant) -> RequestBuilder {
    tenant.request(Method::POST, "/v1/channels/a/messages").bearer_auth(tenant.credential())
}

#[actix_web::test]
async fn what_is_not_json_is_malformed() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    for body in [
        &b""[..],
        b" ",
        b"{",
        b"nul",
        b"{'data':1}",
        b"{\"data\":1,}",
        b"{\"data\":1}x",
        b"{\"data\":1}{}",
        b"{\"data\":01}",
        b"{\"data\":1.}",
        b"{\"data\":.5}",
        b"{\"data\":+1}",
        b"{\"data\":-}",
        b"{\"data\":1e}",
        b"{\"data\":0x10}",
        b"{\"data\":NaN}",
        b"{\"data\":Infinity}",
        b"{\"data\":\"\x01\"}",
        b"{\"data\":\"\\x\"}",
        b"{\"data\":\"\xff\"}",
        b"{\"data\":\"\xed\xa0\x80\"}",
        b"\xef\xbb\xbf{\"data\":1}",
        b"\xff\xfe{\0}\0",
    ] {
        let answer = Answer::of(with_body(publish(&tenant), body)).await;
        let shown = String::from_utf8_lossy(body).into_owned();
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text);
        answer.expect_problem(400, "malformed");
    }
    for path in ["/v1/signup", "/v1/login"] {
        for body in ["", "{", "nul", "{\"email\":\"a\u{0}\"}"] {
            Answer::of(with_body(tenant.request(Method::POST, path), body)).await.expect_problem(400, "malformed");
        }
    }
    tenant.is_served().await;
}

#[actix_web::test]
async fn numbers_are_taken_as_they_are_written() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    for number in ["-0", "1e400", "0.1000000000000000000000000001", "123456789012345678901234567890", "1E+2"] {
        let body = format!("{{\"data\":{number}}}");
        assert_eq!(Answer::of(with_body(publish(&tenant), body)).await.status, 202, "{number}");
    }
    tenant.reaches("a", 5).await;
    let path = "/v1/channels/a/messages?after=0";
    let history = Answer::of(tenant.request(Method::GET, path).bearer_auth(tenant.credential())).await;
    assert!(history.text.contains("\"data\":123456789012345678901234567890"), "{}", history.text);
}

#[actix_web::test]
async fn bodies_and_messages_have_a_most_size() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let message = |bytes: usize| json!({"data": "x".repeat(bytes - 2)});
    Answer::of(publish(&tenant).json(&message(65_537))).await.expect_problem(413, "message_too_large");
    assert_eq!(Answer::of(publish(&tenant).json(&message(65_536))).await.status, 202);
    let padded = format!("{{\"data\":[1,{}2]}}", " ".repeat(1 << 20));
    assert_eq!(Answer::of(with_body(publish(&tenant), padded)).await.status, 202, "whitespace does not count");

    let credential = tenant.credential();
    for (path, authorization, bytes) in [
        ("/v1/channels/a/messages", credential.as_str(), (2 << 20) + 1),
        ("/v1/messages", &credential, (2 << 20) + 1),
        ("/v1/tokens", &credential, 64 * 1024 + 1),
        ("/v1/signup", "", 64 * 1024 + 1),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {authorization}\r\n\
             Content-Type: application/json\r\n"
        );
        let announced = format!("{head}Content-Length: {bytes}\r\n\r\n");
        let (answer, _) = Raw::request(server.url(), announced).await;
        assert!(answer.status == 413 && answer.body.contains("body_too_large"), "{path}: {answer:?}");
        let chunk = format!("{bytes:x}\r\n{}\r\n0\r\n\r\n", " ".repeat(bytes));
        let (answer, _) = Raw::request(server.url(), format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}")).await;
        assert!(answer.status == 413 && answer.body.contains("body_too_large"), "{path}, in chunks: {answer:?}");
    }
    tenant.is_served().await;
}

#[actix_web::test]
async fn a_body_that_stops_coming_is_given_up() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let refused = async |path: &str, rest: &str| {
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n", tenant.credential());
        let request = format!("{head}Content-Type: application/json\r\n{rest}");
        let (answer, connection) = Raw::request(server.url(), request).await;
        assert!(answer.status == 408 && answer.body.contains("request_timeout"), "{path}: {answer:?}");
        connection
    };
    let (mut signup, mut publish, _) = futures::join!(
        refused("/v1/signup", "Content-Length: 100\r\n\r\n{\"email\""),
        refused("/v1/channels/a/messages", "Content-Length: 100\r\n\r\n"),
        refused("/v1/messages", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"),
    );
    assert_eq!((signup.next().await, publish.next().await), (Next::End, Next::End));
    tenant.is_served().await;
}

#[actix_web::test]
async fn only_json_is_taken() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let body = r#"{"data":1}"#;
    for kind in ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "json"] {
        let answer = Answer::of(publish(&tenant).header("content-type", kind).body(body)).await;
        answer.expect_problem(415, "unsupported_media_type");
    }
    Answer::of(publish(&tenant).body(body)).await.expect_problem(415, "unsupported_media_type");
    let compressed = with_body(publish(&tenant), body).header("content-encoding", "gzip");
    Answer::of(compressed).await.expect_problem(415, "unsupported_media_type");
    for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON"] {
        assert_eq!(Answer::of(publish(&tenant).header("content-type", kind).body(body)).await.status, 202, "{kind}");
    }
}
