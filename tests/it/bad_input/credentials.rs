//! Credentials over HTTP that are missing, unclear or wrong.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{Method, StatusCode, header::HeaderValue};
use serde_json::{Value, json};

use crate::harness::{
    server::{Options, Server},
    tenants::{Answer, Tenant},
};

async fn publish(tenant: &Tenant, authorization: Option<HeaderValue>) -> Answer {
    let request = tenant.request(Method::POST, "/v1/channels/a/messages").json(&json!({"data": 1}));
    Answer::of(match authorization {
        Some(value) => request.header("authorization", value),
        None => request,
    })
    .await
}

fn basic(text: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(text))
}

#[actix_web::test]
async fn a_key_is_given_whole_or_refused() {
    let server = Server::start(Options::default()).await;
    let (tenant, other) = (Tenant::sign_up(&server).await, Tenant::sign_up(&server).await);
    let (key, secret) = (&tenant.key, &tenant.secret);
    publish(&tenant, None).await.expect_problem(401, "unauthorized");
    for (value, code) in [
        (String::new(), "unauthorized"),
        ("Bearer".to_owned(), "unauthorized"),
        (tenant.credential(), "unauthorized"),
        (format!("Digest {}", tenant.credential()), "unauthorized"),
        (format!("Bearer {}", tenant.session), "unauthorized"),
        ("Basic".to_owned(), "unauthorized"),
        ("Basic !!!".to_owned(), "bad_key"),
        (basic(key), "bad_key"),
        (basic(&format!("{key}:")), "bad_key"),
        (basic(&format!("{key}:{secret}x")), "bad_key"),
        (basic(&format!(":{secret}")), "bad_key"),
        (format!("Basic {}", BASE64_STANDARD.encode(b"fk_\xff:fs_\xff")), "bad_key"),
        (format!("Bearer {key}"), "bad_key"),
        (format!("Bearer {key}."), "bad_key"),
        (format!("Bearer {key}.{}", &secret[..secret.len() - 1]), "bad_key"),
        (format!("Bearer {key}.{}", &secret[3..]), "bad_key"),
        (format!("Bearer {key}.{}", secret.to_uppercase()), "bad_key"),
        (format!("Bearer {}.{secret}", other.key), "bad_key"),
        (format!("Bearer {key}.{}", other.secret), "bad_key"),
        (format!("Bearer fk_01jzzzzzzzzzzzzzzzzzzzzzzz.{secret}"), "bad_key"),
        (format!("Bearer fk_.{secret}"), "bad_key"),
        (format!("Bearer fk_{}.{secret}", "x".repeat(4_000)), "bad_key"),
        ("Bearer nonsense".to_owned(), "bad_token"),
        (format!("Bearer {secret}"), "bad_token"),
    ] {
        let answer = publish(&tenant, Some(HeaderValue::from_str(&value).expect("a header"))).await;
        assert_eq!(answer.body["code"], code, "{value}: {}", answer.text);
        assert!(answer.headers.contains_key("www-authenticate"), "{value}");
        assert!(!answer.text.contains(secret) && !answer.text.contains(&other.secret), "{value}: {}", answer.text);
        answer.expect_problem(401, code);
    }
    let octets = HeaderValue::from_bytes(b"Bearer \xff\xfe").expect("a header may hold these");
    publish(&tenant, Some(octets)).await.expect_problem(401, "unauthorized");
    for value in [
        format!("Bearer {}", tenant.credential()),
        format!("bearer   {}", tenant.credential()),
        basic(&format!("{key}:{secret}")),
        basic(&format!("{key}:{secret}")).replace("Basic", "basic"),
    ] {
        let answer = publish(&tenant, Some(HeaderValue::from_str(&value).expect("a header"))).await;
        assert_eq!(answer.status, 202, "{value}: {}", answer.text);
    }
    tenant.is_served().await;
}

#[actix_web::test]
async fn a_key_ends_when_it_is_revoked_rotated_or_expired() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let keys = format!("/v1/apps/{}/keys", tenant.app);
    let mint = async |body: Value| {
        let minted = tenant.control(Method::POST, &keys, body).await.expect(StatusCode::CREATED);
        let text = |name: &str| minted[name].as_str().expect("a text").to_owned();
        (text("id"), HeaderValue::from_str(&format!("Bearer {}.{}", text("id"), text("secret"))).expect("a header"))
    };
    let (revoked, credential) = mint(json!({"name": "revoked"})).await;
    assert_eq!(publish(&tenant, Some(credential.clone())).await.status, 202);
    tenant.control(Method::DELETE, &format!("{keys}/{revoked}"), Value::Null).await.expect(StatusCode::NO_CONTENT);
    publish(&tenant, Some(credential)).await.expect_problem(401, "bad_key");

    let (rotated, credential) = mint(json!({"name": "rotated"})).await;
    let path = format!("{keys}/{rotated}/rotate");
    tenant.control(Method::POST, &path, json!({"grace_s": 60})).await.expect(StatusCode::OK);
    assert_eq!(publish(&tenant, Some(credential.clone())).await.status, 202);
    tenant.control(Method::POST, &path, Value::Null).await.expect(StatusCode::OK);
    publish(&tenant, Some(credential)).await.expect_problem(401, "bad_key");

    let end = SystemTime::now() + Duration::from_millis(500);
    let end_ms = end.duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_millis() as u64;
    let (_, credential) = mint(json!({"name": "expiring", "expires_at": end_ms})).await;
    let mut uses = 0;
    while SystemTime::now() <= end {
        uses += u32::from(publish(&tenant, Some(credential.clone())).await.status == 202);
    }
    assert!(uses > 0, "it was good before its end");
    publish(&tenant, Some(credential)).await.expect_problem(401, "bad_key");
    tenant.is_served().await;
}

#[actix_web::test]
async fn a_key_does_what_its_capability_says_and_no_more() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let body = json!({"name": "narrow", "cap": {"chat:*": ["publish"]}});
    let keys = format!("/v1/apps/{}/keys", tenant.app);
    let minted = tenant.control(Method::POST, &keys, body).await.expect(StatusCode::CREATED);
    let credential =
        format!("{}.{}", minted["id"].as_str().expect("an id"), minted["secret"].as_str().expect("a secret"));
    let ask = async |method: Method, path: &str, body: Value| {
        let request = tenant.request(method, path).bearer_auth(&credential);
        Answer::of(if body.is_null() { request } else { request.json(&body) }).await
    };
    let data = || json!({"data": 1});
    assert_eq!(ask(Method::POST, "/v1/channels/chat:1/messages", data()).await.status, 202);
    ask(Method::POST, "/v1/channels/news/messages", data()).await.expect_problem(403, "forbidden");
    ask(Method::GET, "/v1/channels/chat:1/messages", Value::Null).await.expect_problem(403, "forbidden");
    let wider = json!({"cap": {"chat:*": ["subscribe"]}, "ttl_s": 60});
    ask(Method::POST, "/v1/tokens", wider).await.expect_problem(422, "invalid_body");
    tenant.is_served().await;
}

#[actix_web::test]
async fn the_control_plane_takes_sessions_only() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let token = tenant.full_token("ann").await;
    let me = async |header: &'static str, value: String| {
        Answer::of(tenant.request(Method::GET, "/v1/me").header(header, value)).await
    };
    Answer::of(tenant.request(Method::GET, "/v1/me")).await.expect_problem(401, "unauthorized");
    for (header, value, code) in [
        ("authorization", format!("Bearer {}", tenant.credential()), "unauthorized"),
        ("authorization", format!("Bearer {token}"), "unauthorized"),
        ("authorization", basic(&tenant.session), "unauthorized"),
        ("authorization", "Bearer ses_nonsense".to_owned(), "session_expired"),
        ("authorization", format!("Bearer {}x", tenant.session), "session_expired"),
        ("cookie", "session=".to_owned(), "session_expired"),
        ("cookie", "session=nonsense; session=more".to_owned(), "session_expired"),
        ("cookie", ";;;=".to_owned(), "unauthorized"),
    ] {
        me(header, value).await.expect_problem(401, code);
    }
    assert_eq!(me("cookie", format!("session={}", tenant.session)).await.status, 200);
    let by_cookie = |request: reqwest::RequestBuilder| request.header("cookie", format!("session={}", tenant.session));
    let path = format!("/v1/tenants/{}/apps", tenant.tenant);
    let make = || by_cookie(tenant.request(Method::POST, &path)).json(&json!({"name": "forged"}));
    Answer::of(make()).await.expect_problem(403, "foreign_origin");
    for (header, value) in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        Answer::of(make().header(header, value)).await.expect_problem(403, "foreign_origin");
    }
    assert_eq!(Answer::of(make().header("origin", server.url())).await.status, 201);
    let log_out = tenant.control(Method::POST, "/v1/logout", Value::Null).await;
    log_out.expect(StatusCode::NO_CONTENT);
    tenant.control(Method::GET, "/v1/me", Value::Null).await.expect_problem(401, "session_expired");
    tenant.is_served().await;
}

#[actix_web::test]
async fn an_unknown_address_and_a_wrong_password_are_refused_alike() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut answers = Vec::new();
    for (email, password) in [(tenant.email.as_str(), "wrong"), ("nobody@example.com", "wrong"), ("no address", "")] {
        let body = json!({"email": email, "password": password});
        let answer = Answer::of(tenant.request(Method::POST, "/v1/login").json(&body)).await;
        let mut problem = answer.expect_problem(401, "bad_credentials");
        problem["request_id"] = Value::Null;
        answers.push(problem);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    tenant.is_served().await;
}
