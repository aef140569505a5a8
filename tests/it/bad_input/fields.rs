//! Fields of JSON bodies that are wrong, missing or unknown: each is pointed at.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::bodies::{publish, with_body};
use crate::harness::{
    server::{Options, Server},
    tenants::{Answer, PASSWORD, Tenant},
};

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
        (r#"{"data":1,"name":"a\u0000b"}"#, "/name"),
        (r#"{"data":1,"name":"a\n"}"#, "/name"),
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
    expect_pointers(
        apps,
        &[
            ("{}", "/name"),
            (r#"{"name":""}"#, "/name"),
            (r#"{"name":"a\u0000b"}"#, "/name"),
            (r#"{"name":"a\n"}"#, "/name"),
            (r#"{"name":"a","pusher":1}"#, "/pusher"),
            (r#"{"name":"a","id":"app_mine"}"#, "/id"),
        ],
    )
    .await;
    let app = || control(Method::PATCH, format!("/v1/apps/{}", tenant.app));
    expect_pointers(
        app,
        &[(r#"{"enabled":1}"#, "/enabled"), (r#"{"name":"\u0007"}"#, "/name"), (r#"{"tenant":"x"}"#, "/tenant")],
    )
    .await;
    let keys = || control(Method::POST, format!("/v1/apps/{}/keys", tenant.app));
    expect_pointers(
        keys,
        &[
            ("{}", "/name"),
            (r#"{"name":"k\u007f"}"#, "/name"),
            (r#"{"name":"k","cap":7}"#, "/cap"),
            (r#"{"name":"k","cap":{"*":["fly"]}}"#, "/cap/*/0"),
            (r#"{"name":"k","cap":{"a*b":["publish"]}}"#, "/cap/a*b"),
            (r#"{"name":"k","cap":{"a/b":["publish"]}}"#, "/cap/a~1b"),
            (r#"{"name":"k","expires_at":"soon"}"#, "/expires_at"),
            (r#"{"name":"k","expires_at":1}"#, "/expires_at"),
            (r#"{"name":"k","secret":"mine"}"#, "/secret"),
        ],
    )
    .await;
    let rules = || control(Method::PUT, format!("/v1/apps/{}/rules/chat", tenant.app));
    expect_pointers(
        rules,
        &[
            (r#"{"public":"no"}"#, "/public"),
            (r#"{"history":7}"#, "/history"),
            (r#"{"history":{}}"#, "/history/retention_s"),
            (r#"{"history":{"retention_s":0}}"#, "/history/retention_s"),
            (r#"{"history":{"retention_s":-1}}"#, "/history/retention_s"),
            (r#"{"history":{"retention_s":1,"forever":true}}"#, "/history/forever"),
            (r#"{"max_message_bytes":0}"#, "/max_message_bytes"),
            (r#"{"later":1}"#, "/later"),
        ],
    )
    .await;
    let tokens = || tenant.request(Method::POST, "/v1/tokens").bearer_auth(tenant.credential());
    expect_pointers(
        tokens,
        &[
            (r#"{"cap":{}}"#, "/ttl_s"),
            (r#"{"ttl_s":60}"#, "/cap"),
            (r#"{"cap":{},"ttl_s":0}"#, "/ttl_s"),
            (r#"{"cap":{},"ttl_s":86401}"#, "/ttl_s"),
            (r#"{"cap":{"*":["admin"]},"ttl_s":60}"#, "/cap/*"),
            (r##"{"cap":{"#x":["subscribe"]},"ttl_s":60}"##, "/cap/#x"),
            (r#"{"cap":{},"ttl_s":60,"client":""}"#, "/client"),
            (r#"{"cap":{},"ttl_s":60,"exp":1}"#, "/exp"),
        ],
    )
    .await;
    tenant.is_served().await;
}

#[actix_web::test]
async fn a_wrong_item_of_a_batch_is_refused_alone_and_a_wrong_batch_whole() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let batch = || tenant.request(Method::POST, "/v1/messages").bearer_auth(tenant.credential());
    expect_pointers(
        batch,
        &[
            ("[]", ""),
            ("{}", "/messages"),
            (r#"{"messages":7}"#, "/messages"),
            (r#"{"messages":[]}"#, "/messages"),
            (r#"{"messages":[],"later":1}"#, "/later"),
        ],
    )
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
    let codes: Vec<_> =
        answer.body["results"].as_array().expect("results").iter().map(|r| r["error"]["code"].clone()).collect();
    let bad = json!("invalid_body");
    let expected =
        [Value::Null, json!("bad_channel"), bad.clone(), bad.clone(), bad, json!("message_too_large"), Value::Null];
    assert_eq!((answer.status, codes), (200, expected.to_vec()));
    tenant.reaches("a", 2).await;
    assert_eq!(tenant.history("a").await.len(), 2);
}
