//! HTTP bodies that are wrong: not JSON, of another shape, too large, of another type.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{
    raw::Raw,
    server::{Options, Server},
    tenants::{Answer, PASSWORD, Tenant},
};

/// A request with a JSON body as it is.
fn with_body(request: RequestBuilder, body: impl Into<reqwest::Body>) -> RequestBuilder {
    request.header("content-type", "application/json").body(body)
}

fn publish(tenant: &Tenant) -> RequestBuilder {
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
    let path = "/v1/channels/a/messages?after=0";
    let history = Answer::of(tenant.request(Method::GET, path).bearer_auth(tenant.credential())).await;
    assert!(history.text.contains("\"data\":123456789012345678901234567890"), "{}", history.text);
}

/// Holds bodies to 422 and the pointer of the field that is wrong.
async fn expect_pointers(request: impl Fn() -> RequestBuilder, table: &[(&str, &str)]) {
    for (body, pointer) in table {
        let answer = Answer::of(with_body(request(), (*body).to_owned())).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text);
        let problem = answer.expect_problem(422, "invalid_body");
        assert_eq!(problem["errors"][0]["pointer"], *pointer, "{body}: {problem}");
        assert!(problem["errors"][0]["detail"].is_string(), "{body}: {problem}");
    }
}

#[actix_web::test]
async fn a_wrong_field_of_a_message_is_pointed_at() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let long_name = format!(r#"{{"data":1,"name":"{}"}}"#, "x".repeat(201));
    let table = [
        ("[]", ""),
        ("7", ""),
        ("null", ""),
        ("\"text\"", ""),
        ("{}", "/data"),
        (r#"{"name":"said"}"#, "/data"),
        (r#"{"data":1,"later":2}"#, "/later"),
        (r#"{"data":1,"a/b~c":2}"#, "/a~1b~0c"),
        (r#"{"data":1,"data":2}"#, "/data"),
        (r#"{"data":1,"name":7}"#, "/name"),
        (long_name.as_str(), "/name"),
        (r#"{"data":1,"headers":[]}"#, "/headers"),
        (r#"{"data":1,"headers":{"a":1}}"#, "/headers/a"),
        (r#"{"data":1,"client":7}"#, "/client"),
        (r#"{"data":1,"client":""}"#, "/client"),
        (r#"{"data":1,"client":"a\u0007"}"#, "/client"),
        (r#"{"data":1,"ephemeral":"yes"}"#, "/ephemeral"),
        (r#"{"data":1,"exclude":7}"#, "/exclude"),
        (r#"{"data":1,"idempotency_key":7}"#, "/idempotency_key"),
    ];
    expect_pointers(|| publish(&tenant), &table).await;
    for body in [
        json!({"data": 1, "idempotency_key": ""}),
        json!({"data": 1, "idempotency_key": "k".repeat(201)}),
        json!({"data": 1, "headers": {"": "v"}}),
        json!({"data": 1, "headers": {"n": "v".repeat(257)}}),
    ] {
        Answer::of(publish(&tenant).json(&body)).await.expect_problem(422, "invalid_body");
    }
    tenant.is_served().await;
}

#[actix_web::test]
async fn a_wrong_field_of_an_account_is_pointed_at() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let sign_up = || tenant.request(Method::POST, "/v1/signup");
    let good = r#""email":"new@example.com","password":"correct horse battery","tenant":"Acme""#;
    let long = good.replace("correct horse battery", &"x".repeat(1_001));
    let bodies = [
        (good.replace(r#""email":"new@example.com","#, ""), "/email"),
        (good.replace("new@example.com", "nobody"), "/email"),
        (good.replace("new@example.com", "a b@example.com"), "/email"),
        (good.replace("\"new@example.com\"", "7"), "/email"),
        (good.replace("correct horse battery", "short"), "/password"),
        (long, "/password"),
        (good.replace("Acme", ""), "/tenant"),
        (good.replace("Acme", &"x".repeat(101)), "/tenant"),
        (good.replace("Acme", "a\\u0000"), "/tenant"),
        (format!("{good},\"role\":\"owner\""), "/role"),
    ];
    let bodies: Vec<_> = bodies.into_iter().map(|(fields, pointer)| (format!("{{{fields}}}"), pointer)).collect();
    let table: Vec<_> = bodies.iter().map(|(body, pointer)| (body.as_str(), *pointer)).collect();
    expect_pointers(sign_up, &table).await;
    let log_in = || tenant.request(Method::POST, "/v1/login");
    let table = [
        ("{}", "/email"),
        (r#"{"email":"a@example.com"}"#, "/password"),
        (r#"{"email":7,"password":"x"}"#, "/email"),
        (r#"{"email":"a@example.com","password":"x","remember":true}"#, "/remember"),
    ];
    expect_pointers(log_in, &table).await;
    let good = json!({"email": tenant.email, "password": PASSWORD});
    assert_eq!(Answer::of(log_in().json(&good)).await.status, 200);
}

#[actix_web::test]
async fn a_wrong_field_of_what_a_tenant_makes_is_pointed_at() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let control = |method: Method, path: String| tenant.request(method, &path).bearer_auth(&tenant.session);
    let apps = || control(Method::POST, format!("/v1/tenants/{}/apps", tenant.tenant));
    expect_pointers(apps, &[
        ("{}", "/name"),
        (r#"{"name":""}"#, "/name"),
        (r#"{"name":"a","pusher":true}"#, "/pusher"),
        (r#"{"name":"a","id":"app_mine"}"#, "/id"),
    ])
    .await;
    let app = || control(Method::PATCH, format!("/v1/apps/{}", tenant.app));
    expect_pointers(app, &[(r#"{"enabled":1}"#, "/enabled"), (r#"{"tenant":"x"}"#, "/tenant")]).await;
    let keys = || control(Method::POST, format!("/v1/apps/{}/keys", tenant.app));
    expect_pointers(keys, &[
        ("{}", "/name"),
        (r#"{"name":"k","cap":7}"#, "/cap"),
        (r#"{"name":"k","cap":{"*":["fly"]}}"#, "/cap/*/0"),
        (r#"{"name":"k","cap":{"a*b":["publish"]}}"#, "/cap/a*b"),
        (r#"{"name":"k","cap":{"a/b":["publish"]}}"#, "/cap/a~1b"),
        (r#"{"name":"k","expires_at":"soon"}"#, "/expires_at"),
        (r#"{"name":"k","expires_at":1}"#, "/expires_at"),
        (r#"{"name":"k","secret":"mine"}"#, "/secret"),
    ])
    .await;
    let rules = || control(Method::PUT, format!("/v1/apps/{}/rules/chat", tenant.app));
    expect_pointers(rules, &[
        (r#"{"public":"no"}"#, "/public"),
        (r#"{"history":7}"#, "/history"),
        (r#"{"history":{}}"#, "/history/retention_s"),
        (r#"{"history":{"retention_s":0}}"#, "/history/retention_s"),
        (r#"{"history":{"retention_s":-1}}"#, "/history/retention_s"),
        (r#"{"history":{"retention_s":1,"forever":true}}"#, "/history/forever"),
        (r#"{"max_message_bytes":0}"#, "/max_message_bytes"),
        (r#"{"later":1}"#, "/later"),
    ])
    .await;
    let tokens = || tenant.request(Method::POST, "/v1/tokens").bearer_auth(tenant.credential());
    expect_pointers(tokens, &[
        (r#"{"cap":{}}"#, "/ttl_s"),
        (r#"{"ttl_s":60}"#, "/cap"),
        (r#"{"cap":{},"ttl_s":0}"#, "/ttl_s"),
        (r#"{"cap":{},"ttl_s":86401}"#, "/ttl_s"),
        (r#"{"cap":{"*":["admin"]},"ttl_s":60}"#, "/cap/*"),
        (r##"{"cap":{"#x":["subscribe"]},"ttl_s":60}"##, "/cap/#x"),
        (r#"{"cap":{},"ttl_s":60,"client":""}"#, "/client"),
        (r#"{"cap":{},"ttl_s":60,"exp":1}"#, "/exp"),
    ])
    .await;
    tenant.is_served().await;
}

#[actix_web::test]
async fn a_wrong_item_of_a_batch_is_refused_alone_and_a_wrong_batch_whole() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let batch = || tenant.request(Method::POST, "/v1/messages").bearer_auth(tenant.credential());
    expect_pointers(batch, &[
        ("[]", ""),
        ("{}", "/messages"),
        (r#"{"messages":7}"#, "/messages"),
        (r#"{"messages":[]}"#, "/messages"),
        (r#"{"messages":[],"later":1}"#, "/later"),
    ])
    .await;
    let items = json!([
        {"channel": "a", "data": 1},
        {"channel": "a b", "data": 1},
        {"channel": "a"},
        {"channel": "a", "data": 1, "later": 1},
        7,
        {"channel": "a", "data": "x".repeat(65_536)},
        {"channel": "a", "data": 2},
    ]);
    let answer = Answer::of(batch().json(&json!({"messages": items}))).await;
    let codes: Vec<_> = answer.body["results"].as_array().expect("results").iter().map(|r| r["error"]["code"].clone()).collect();
    let bad = json!("invalid_body");
    let expected =
        [Value::Null, json!("bad_channel"), bad.clone(), bad.clone(), bad, json!("message_too_large"), Value::Null];
    assert_eq!((answer.status, codes), (200, expected.to_vec()));
    assert_eq!(tenant.history("a").await.len(), 2);
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
