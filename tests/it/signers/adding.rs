//! The control plane of signers.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::other_app;
use crate::harness::{signers::OwnKey, tenants::start};

#[tokio::test]
async fn signers_are_added_listed_shown_and_removed() {
    let (_server, tenant) = start().await;
    let by_pem = tenant.add_signer(json!({"pem": OwnKey::RSA.public, "alg": "RS256", "kid": "k1"})).await;
    let by_pem = by_pem.expect(StatusCode::CREATED);
    assert!(by_pem["id"].as_str().is_some_and(|id| id.starts_with("sig_")), "{by_pem}");
    assert_eq!(
        (&by_pem["alg"], &by_pem["kid"], &by_pem["pem"]),
        (&json!("RS256"), &json!("k1"), &json!(OwnKey::RSA.public))
    );
    assert_eq!(by_pem["cap"], json!({"*": ["subscribe", "publish", "presence", "history"]}));
    let by_url =
        tenant.add_signer(json!({"jwks_url": "https://id.example.com/jwks"})).await.expect(StatusCode::CREATED);
    assert_eq!((&by_url["jwks_url"], by_url.get("pem")), (&json!("https://id.example.com/jwks"), None));
    let all = format!("/v1/apps/{}/signers", tenant.app);
    let one = |signer: &Value| format!("{all}/{}", signer["id"].as_str().expect("an id"));
    let list = tenant.control(Method::GET, &all, Value::Null).await.expect(StatusCode::OK);
    assert_eq!(list, json!({"items": [by_pem, by_url], "next": null}));
    assert_eq!(tenant.control(Method::GET, &one(&by_url), Value::Null).await.expect(StatusCode::OK), by_url);
    let other = other_app(&tenant).await;
    let foreign = format!("/v1/apps/{}/signers/{}", other.app, by_url["id"].as_str().expect("an id"));
    for method in [Method::GET, Method::DELETE] {
        other.control(method, &foreign, Value::Null).await.expect_problem(404, "not_found");
    }
    tenant.control(Method::DELETE, &one(&by_pem), Value::Null).await.expect(StatusCode::NO_CONTENT);
    for method in [Method::GET, Method::DELETE] {
        tenant.control(method, &one(&by_pem), Value::Null).await.expect_problem(404, "not_found");
    }
    let added =
        futures::future::join_all((0..20).map(|_| tenant.add_signer(json!({"pem": OwnKey::P256.public})))).await;
    assert_eq!(added.iter().filter(|added| added.status == 201).count(), 19);
    let last = added.into_iter().find(|added| added.status != 201).expect("one too many");
    last.expect_problem(409, "plan_limit");
}

#[tokio::test]
async fn what_is_wrong_with_a_signer_is_told_by_its_field() {
    let (_server, tenant) = start().await;
    let weak = include_str!("../../keys/rsa-1024.pub.pem");
    let private = include_str!("../../keys/p256.pem");
    let long = "x".repeat(513);
    let pem = |more: Value| {
        let mut body = json!({"pem": OwnKey::ED25519.public});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    let mut cases = vec![
        (json!({}), "/pem"),
        (pem(json!({"jwks_url": "https://example.com/"})), "/jwks_url"),
        (pem(json!({"name": ""})), "/name"),
        (pem(json!({"issuer": ""})), "/issuer"),
        (pem(json!({"issuer": long})), "/issuer"),
        (pem(json!({"audience": "a\u{7}"})), "/audience"),
        (pem(json!({"audience": ["chat"]})), "/audience"),
        (pem(json!({"kid": ""})), "/kid"),
        (pem(json!({"alg": "RS256"})), "/alg"),
        (pem(json!({"alg": "HS256"})), "/alg"),
        (pem(json!({"alg": "none"})), "/alg"),
        (pem(json!({"cap": {"*": ["admin"]}})), "/cap/*"),
        (pem(json!({"cap": {"a*b": ["publish"]}})), "/cap/a*b"),
        (pem(json!({"later": 1})), "/later"),
        (json!({"pem": "secret"}), "/pem"),
        (json!({"pem": weak}), "/pem"),
        (json!({"pem": private}), "/pem"),
        (json!({"jwks_url": "https://example.com/", "kid": "k"}), "/kid"),
        (json!({"jwks_url": "https://example.com/", "alg": "RS256"}), "/alg"),
    ];
    for url in [
        "",
        "example.com",
        "http://example.com/",
        "ftp://example.com/",
        "https://user:secret@example.com/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://localhost/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.1.2.3/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[fd00::1]/",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
    ] {
        cases.push((json!({"jwks_url": url}), "/jwks_url"));
    }
    for (body, pointer) in cases {
        let problem = tenant.add_signer(body.clone()).await.expect_problem(422, "invalid_body");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
        assert!(!problem.to_string().contains("PRIVATE"), "{problem}");
    }
    let all = tenant.control(Method::GET, &format!("/v1/apps/{}/signers", tenant.app), Value::Null).await;
    assert_eq!(all.expect(StatusCode::OK)["items"], json!([]));
}
