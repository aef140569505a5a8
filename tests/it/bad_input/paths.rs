//! Paths, methods and query strings that are wrong.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    raw::Raw,
    server::{Options, Server},
    tenants::Tenant,
};

/// What a path that names a bad channel looks like.
const BAD_CHANNELS: [&str; 12] =
    ["%23service", "a%20b", "a+b", "a%2Fb", "%FF", "%C3%A4", "%00", "%0A", "a*", "%25", "%F0%9F%99%82", "~a"];

#[actix_web::test]
async fn a_bad_channel_in_the_path_is_refused() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let long = "x".repeat(201);
    for channel in BAD_CHANNELS.into_iter().chain([long.as_str()]) {
        let path = format!("/v1/channels/{channel}/messages");
        for (method, body) in [(Method::POST, json!({"data": 1})), (Method::GET, Value::Null)] {
            let answer = tenant.data(method.clone(), &path, body).await;
            assert_eq!(answer.status, 422, "{method} {path}: {}", answer.text);
            answer.expect_problem(422, "bad_channel");
        }
    }
    tenant.publish("A-Z_=@,.;:%3A%40", json!(1)).await;
    assert_eq!(tenant.history("A-Z_=@,.;::@").await.len(), 1);
    tenant.is_served().await;
}

#[actix_web::test]
async fn ids_that_are_none_name_nothing() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let app = &tenant.app;
    for path in [
        "/v1/apps/x".to_owned(),
        "/v1/apps/%FF".to_owned(),
        "/v1/apps/app_01jzzzzzzzzzzzzzzzzzzzzzzz".to_owned(),
        format!("/v1/apps/{}", tenant.key),
        format!("/v1/apps/{}", app.to_uppercase()),
        "/v1/tenants/%F0%9F%99%82".to_owned(),
        format!("/v1/tenants/{app}"),
        format!("/v1/apps/{app}/rules/unknown"),
    ] {
        let answer = tenant.control(Method::GET, &path, Value::Null).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        answer.expect_problem(404, "not_found");
    }
    for path in
        [format!("/v1/apps/{app}/keys/nonsense"), format!("/v1/apps/{app}/keys/%FF"), "/v1/me/sessions/x".to_owned()]
    {
        tenant.control(Method::DELETE, &path, Value::Null).await.expect_problem(404, "not_found");
    }
    for namespace in ["a%20b", "a:b", "%FF", "%23x"] {
        let path = format!("/v1/apps/{app}/rules/{namespace}");
        let problem = tenant.control(Method::PUT, &path, json!({})).await.expect_problem(422, "invalid_body");
        assert_eq!(problem["errors"][0]["pointer"], "/namespace", "{namespace}");
    }
    tenant.is_served().await;
}

#[actix_web::test]
async fn an_unknown_path_is_not_found() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    for path in [
        "/v1",
        "/v1/",
        "/v2/me",
        "/v1/me/",
        "/v1/channels//messages",
        "/v1/nothing",
        "/index.php",
        "/.env",
        "/v1/%6De%2F",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = tenant.data(method.clone(), path, Value::Null).await;
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
            answer.expect_problem(404, "not_found");
        }
    }
    for target in ["/../../etc/passwd", "//v1/me", "/v1/channels/%zz/x", "/v1/channels/%/x"] {
        let (answer, _) = Raw::request(server.url(), format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(answer.status, 404, "{target}: {answer:?}");
    }
    tenant.is_served().await;
}

#[actix_web::test]
async fn another_method_is_told_which_ones_there_are() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    for (method, path, allowed) in [
        (Method::GET, "/v1/signup", &["POST"][..]),
        (Method::GET, "/v1/login", &["POST"]),
        (Method::POST, "/v1/me", &["GET", "HEAD"]),
        (Method::PUT, "/v1/channels/a/messages", &["GET", "HEAD", "POST"]),
        (Method::DELETE, "/v1/channels/a/messages", &["GET", "HEAD", "POST"]),
        (Method::GET, "/v1/messages", &["POST"]),
        (Method::GET, "/v1/tokens", &["POST"]),
        (Method::PUT, "/v1/apps/app_x", &["GET", "HEAD", "PATCH", "DELETE"]),
        (Method::POST, "/v1/apps/app_x/rules/chat", &["GET", "HEAD", "PUT", "DELETE"]),
        (Method::POST, "/openapi.json", &["GET", "HEAD"]),
        (Method::PATCH, "/v1/connect", &["GET"]),
        (Method::from_bytes(b"BREW").expect("a token"), "/v1/tokens", &["POST"]),
    ] {
        let answer = tenant.data(method.clone(), path, Value::Null).await;
        assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text);
        let allow = answer.headers["allow"].to_str().expect("text").to_owned();
        assert!(allowed.iter().all(|one| allow.split(", ").any(|named| named == *one)), "{method} {path}: {allow}");
        answer.expect_problem(405, "method_not_allowed");
    }
    tenant.is_served().await;
}

#[actix_web::test]
async fn a_wrong_parameter_is_pointed_at_and_an_unknown_one_is_passed_over() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    tenant.publish("a", json!(1)).await;
    for (query, pointer) in [
        ("limit=0", "/limit"),
        ("limit=1001", "/limit"),
        ("limit=-1", "/limit"),
        ("limit=", "/limit"),
        ("limit=1e2", "/limit"),
        ("limit=%2B1", "/limit"),
        ("limit=1&limit=2", "/limit"),
        ("limit=99999999999999999999", "/limit"),
        ("after=-1", "/after"),
        ("after=x", "/after"),
        ("after=9007199254740993", "/after"),
        ("before=1.5", "/before"),
        ("after=1&before=2", "/before"),
    ] {
        let answer = tenant.data(Method::GET, &format!("/v1/channels/a/messages?{query}"), Value::Null).await;
        assert_eq!(answer.status, 422, "{query}: {}", answer.text);
        let problem = answer.expect_problem(422, "invalid_body");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{query}");
    }
    for query in ["ack=later", "ack=", "ack=accepted&ack=persisted"] {
        let path = format!("/v1/channels/a/messages?{query}");
        let problem = tenant.data(Method::POST, &path, json!({"data": 1})).await.expect_problem(422, "invalid_body");
        assert_eq!(problem["errors"][0]["pointer"], "/ack", "{query}");
    }
    let keys = format!("/v1/apps/{}/keys", tenant.app);
    for (query, pointer) in [("limit=101", "/limit"), ("next=%25%25", "/next"), ("next=%FF", "/next")] {
        let answer = tenant.control(Method::GET, &format!("{keys}?{query}"), Value::Null).await;
        assert_eq!(answer.expect_problem(422, "invalid_body")["errors"][0]["pointer"], pointer, "{query}");
    }
    let passed_over = tenant.data(Method::GET, "/v1/channels/a/messages?after=0&later=1&%FF=%FF", Value::Null).await;
    assert_eq!(passed_over.status, 200, "{}", passed_over.text);
    tenant.is_served().await;
}
