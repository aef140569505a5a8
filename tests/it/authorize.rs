//! `POST /v1/authorize` says what the gateway would say, and why.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    signers::OwnKey,
    sockets::Socket,
    tenants::{Answer, Tenant, start},
    tokens::every_right,
};

async fn ask(tenant: &Tenant, token: &str, channel: &str, op: &str) -> Value {
    let body = json!({"token": token, "channel": channel, "op": op});
    tenant.data(Method::POST, "/v1/authorize", body).await.expect(StatusCode::OK)
}

#[tokio::test]
async fn its_answers_are_those_of_a_socket() {
    let (_server, tenant) = start().await;
    tenant.rule("quiet", json!({"client_publish": false})).await;
    tenant.rule("open", json!({"public": true})).await;
    tenant.rule("brief", json!({"history": null})).await;
    tenant.rule("alone", json!({"presence": false})).await;
    let cap = json!({"chat:*": ["subscribe", "publish"], "chat:1": ["history"], "quiet:*": ["subscribe", "publish"], "brief:*": ["history"], "alone:*": ["presence"], "chat:2": ["presence"]});
    let token = tenant.token("ann", cap).await;
    let mut socket = Socket::connect(&tenant.url, &token).await;
    for (channel, op, expected) in [
        (
            "chat:1",
            "subscribe",
            json!({"allowed": true, "decided_by": "token", "pattern": "chat:*", "rule": {"namespace": null}}),
        ),
        (
            "chat:1",
            "history",
            json!({"allowed": true, "decided_by": "token", "pattern": "chat:1", "rule": {"namespace": null}}),
        ),
        (
            "chat:2",
            "history",
            json!({"allowed": false, "decided_by": "token", "rule": {"namespace": null}, "error": "forbidden"}),
        ),
        (
            "news",
            "subscribe",
            json!({"allowed": false, "decided_by": "token", "rule": {"namespace": null}, "error": "forbidden"}),
        ),
        (
            "quiet:1",
            "subscribe",
            json!({"allowed": true, "decided_by": "token", "pattern": "quiet:*", "rule": {"namespace": "quiet"}}),
        ),
        (
            "quiet:1",
            "publish",
            json!({"allowed": false, "decided_by": "rule", "rule": {"namespace": "quiet"}, "error": "forbidden"}),
        ),
        ("open:1", "subscribe", json!({"allowed": true, "decided_by": "rule", "rule": {"namespace": "open"}})),
        (
            "open:1",
            "publish",
            json!({"allowed": false, "decided_by": "token", "rule": {"namespace": "open"}, "error": "forbidden"}),
        ),
        (
            "brief:1",
            "history",
            json!({"allowed": false, "decided_by": "rule", "rule": {"namespace": "brief"}, "error": "history_off"}),
        ),
        (
            "chat:2",
            "presence",
            json!({"allowed": true, "decided_by": "token", "pattern": "chat:2", "rule": {"namespace": null}}),
        ),
        (
            "alone:1",
            "presence",
            json!({"allowed": false, "decided_by": "rule", "rule": {"namespace": "alone"}, "error": "forbidden"}),
        ),
    ] {
        let mut answer = ask(&tenant, &token, channel, op).await;
        let mut request = json!({"op": op, "channel": channel});
        match op {
            "publish" => request["data"] = json!(1),
            "presence" => request["action"] = json!("list"),
            _ => {}
        }
        let said = socket.answer(request).await;
        assert_eq!(answer["allowed"], said.get("ok").is_some(), "{op} {channel}: {answer} {said}");
        if let Some(error) = said.get("error") {
            assert_eq!(&answer["error"], error, "{op} {channel}");
            answer["error"] = error["code"].clone();
        }
        let mut expected = expected;
        expected["client"] = json!("ann");
        assert_eq!(answer, expected, "{op} {channel}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_good_here_is_told_so_and_nobody_else_may_ask() {
    let (server, tenant) = start().await;
    let stranger = Tenant::sign_up(&server).await;
    tenant.signer("own", OwnKey::ED25519).await;
    let own = OwnKey::ED25519.token(None, "ann");
    assert_eq!(ask(&tenant, &own, "room", "publish").await["allowed"], true);
    for (token, code) in [
        (tenant.short_token("ann", every_right(), -1.0), "token_expired"),
        ("nonsense".to_owned(), "bad_token"),
        (stranger.full_token("ann").await, "bad_token"),
        (OwnKey::P256.token(None, "ann"), "bad_token"),
    ] {
        let answer = ask(&tenant, &token, "room", "subscribe").await;
        assert_eq!((&answer["allowed"], &answer["error"]["code"]), (&json!(false), &json!(code)), "{answer}");
        assert!(answer["error"]["message"].is_string() && answer["error"]["remedy"].is_string(), "{answer}");
        assert_eq!((&answer["decided_by"], answer.get("rule")), (&json!("token"), None));
    }
    assert_eq!(ask(&stranger, &own, "room", "subscribe").await["allowed"], false);
    let body = |channel: &str, op: &str| json!({"token": own, "channel": channel, "op": op});
    tenant.data(Method::POST, "/v1/authorize", body("#x", "publish")).await.expect_problem(422, "bad_channel");
    tenant.data(Method::POST, "/v1/authorize", body("room", "dance")).await.expect_problem(422, "invalid_body");
    let narrow = tenant.with_key(json!({"name": "narrow", "cap": {"chat:*": ["admin"], "*": ["publish"]}})).await;
    assert_eq!(ask(&narrow, &own, "chat:1", "publish").await["allowed"], true);
    narrow.data(Method::POST, "/v1/authorize", body("room", "publish")).await.expect_problem(403, "forbidden");
    let admin = tenant.short_token("ann", json!({"*": ["admin"]}), 60.0);
    let by_token = tenant.request(Method::POST, "/v1/authorize").bearer_auth(admin).json(&body("room", "publish"));
    Answer::of(by_token).await.expect_problem(403, "forbidden");
}
