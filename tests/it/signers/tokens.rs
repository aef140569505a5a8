//! What a signer's tokens open, and when they stop.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{closed, connect, join, other_app, remove};
use crate::harness::{
    signers::OwnKey,
    sockets::Socket,
    tenants::{Answer, start},
    tokens::now_s,
};

#[tokio::test]
async fn a_token_of_ones_own_key_serves_wherever_its_app_is_named_and_nowhere_else() {
    let (_server, tenant) = start().await;
    let other = other_app(&tenant).await;
    // The other app has a signer of the same issuer and audience, with another key.
    other.signer("own", OwnKey::ED25519).await;
    for key in [OwnKey::RSA, OwnKey::P256] {
        let signer = tenant.signer("own", key).await;
        let token = key.token(None, "ann");
        let mut socket = join(&tenant, &token).await.expect("the app is named");
        assert_eq!((&socket.connected["client"], &socket.connected["app"]), (&json!("ann"), &json!(tenant.app)));
        assert!(socket.connected["token_ttl_ms"].as_u64() > Some(500_000), "{}", socket.connected);
        socket.subscribe("room").await;
        let mut bearer = Socket::open_with(&tenant.url, Some(&token)).await;
        assert_eq!(bearer.ask(json!({"op": "connect", "app": tenant.app})).await["client"], "ann");
        for app in [None, Some(other.app.as_str()), Some("app_00000000000000000000000000"), Some("nonsense")] {
            assert_eq!(connect(&tenant, &token, app).await.err().as_deref(), Some("bad_token"), "{app:?}");
        }
        let path = "/v1/channels/room/messages";
        let publish = |path: &str| tenant.request(Method::POST, path).bearer_auth(&token).json(&json!({"data": 1}));
        Answer::of(publish(path).header("Fanfare-App", &tenant.app)).await.expect(StatusCode::ACCEPTED);
        Answer::of(publish(&format!("{path}?app={}", tenant.app))).await.expect(StatusCode::ACCEPTED);
        socket.messages(2).await;
        Answer::of(publish(path)).await.expect_problem(401, "bad_token");
        Answer::of(publish(path).header("Fanfare-App", &other.app)).await.expect_problem(401, "bad_token");
        let history = tenant.request(Method::GET, path).bearer_auth(&token).header("Fanfare-App", &tenant.app);
        assert!(!Answer::of(history).await.expect(StatusCode::OK)["items"].as_array().expect("items").is_empty());
        let mint = tenant.request(Method::POST, "/v1/tokens").bearer_auth(&token).header("Fanfare-App", &tenant.app);
        Answer::of(mint.json(&json!({"cap": {}, "ttl_s": 1}))).await.expect_problem(403, "forbidden");
        remove(&tenant, &signer).await;
        assert_eq!(join(&tenant, &token).await.err().as_deref(), Some("bad_token"));
    }
}

#[tokio::test]
async fn a_signers_token_is_refreshed_on_its_socket_and_across_signers_of_the_app() {
    let (_server, tenant) = start().await;
    tenant.signer("own", OwnKey::ED25519).await;
    tenant.signer("next", OwnKey::P256).await;
    let other = other_app(&tenant).await;
    let mut socket = join(&tenant, &OwnKey::ED25519.token(None, "ann")).await.expect("a good token");
    socket.subscribe("kept").await;
    socket.subscribe("lost").await;
    let refresh = |token: String| json!({"op": "token", "token": token});
    for (token, code) in [
        (OwnKey::ED25519.token(None, "bob"), "token_mismatch"),
        (OwnKey::ED25519.sign(None, json!({})), "token_mismatch"),
        (other.full_token("ann").await, "token_mismatch"),
        (OwnKey::RSA.token(None, "ann"), "bad_token"),
        (OwnKey::ED25519.sign(None, json!({"sub": "ann", "aud": "other"})), "bad_token"),
        (
            OwnKey::ED25519.sign(None, json!({"sub": "ann", "iat": now_s() - 60.0, "exp": now_s() - 1.0})),
            "token_expired",
        ),
    ] {
        assert_eq!(socket.refused(refresh(token)).await, code);
    }
    // Another signer of the app, an API key of it, and back.
    socket.ask(refresh(OwnKey::P256.token(None, "ann"))).await;
    socket.ask(refresh(tenant.full_token("ann").await)).await;
    let narrow = OwnKey::ED25519.sign(None, json!({"sub": "ann", "cap": {"kept": ["subscribe"]}}));
    socket.ask(refresh(narrow)).await;
    assert_eq!(socket.event_of("unsubscribed").await["channel"], "lost");
    tenant.publish("lost", json!(1)).await;
    tenant.publish("kept", json!(1)).await;
    assert_eq!(socket.event_of("message").await["channel"], "kept");
}

#[tokio::test]
async fn a_signers_ceiling_cuts_its_tokens_down_and_admin_is_never_theirs() {
    let (_server, tenant) = start().await;
    let cap = json!({"chat:*": ["subscribe", "publish"]});
    let body = json!({"pem": OwnKey::ED25519.public, "cap": cap, "kid": "k1"});
    assert_eq!(tenant.add_signer(body).await.expect(StatusCode::CREATED)["cap"], cap);
    let token = OwnKey::ED25519.sign(Some("k1"), json!({"cap": {"*": ["subscribe", "publish", "history", "admin"]}}));
    let mut socket = join(&tenant, &token).await.expect("a good token");
    socket.subscribe("chat:1").await;
    assert_eq!(socket.refused(json!({"op": "subscribe", "channel": "other"})).await, "forbidden");
    assert_eq!(socket.refused(json!({"op": "history", "channel": "chat:1"})).await, "forbidden");
    let foreign_kid = OwnKey::ED25519.token(Some("k2"), "ann");
    assert_eq!(join(&tenant, &foreign_kid).await.err().as_deref(), Some("bad_token"));
    join(&tenant, &OwnKey::ED25519.token(None, "ann")).await.expect("a token may leave `kid` out");
}

#[tokio::test]
async fn removing_a_signer_ends_the_connections_of_its_tokens_and_no_others() {
    let (_server, tenant) = start().await;
    let doomed = tenant.signer("doomed", OwnKey::ED25519).await;
    tenant.signer("kept", OwnKey::P256).await;
    let token = OwnKey::ED25519.token(None, "ann");
    let mut ends =
        vec![join(&tenant, &token).await.expect("a good token"), join(&tenant, &token).await.expect("again")];
    let mut moved_to = tenant.join("ann").await;
    moved_to.ask(json!({"op": "token", "token": token})).await;
    ends.push(moved_to);
    let mut moved_away = join(&tenant, &token).await.expect("a good token");
    moved_away.ask(json!({"op": "token", "token": OwnKey::P256.token(None, "ann")})).await;
    let mut stays = vec![moved_away, tenant.join("bob").await];
    stays.push(join(&tenant, &OwnKey::P256.token(None, "cem")).await.expect("a good token"));
    remove(&tenant, &doomed).await;
    for socket in &mut ends {
        assert_eq!(closed(socket).await, 4011);
    }
    for socket in &mut stays {
        socket.subscribe("room").await;
    }
    assert_eq!(join(&tenant, &token).await.err().as_deref(), Some("bad_token"));
    let app = format!("/v1/apps/{}", tenant.app);
    tenant.control(Method::PATCH, &app, json!({"enabled": false})).await.expect(StatusCode::OK);
    for socket in &mut stays {
        assert_eq!(closed(socket).await, 4020);
    }
    let refused = join(&tenant, &OwnKey::P256.token(None, "cem")).await;
    assert_eq!(refused.err().as_deref(), Some("app_disabled"));
    tenant.control(Method::PATCH, &app, json!({"enabled": true})).await.expect(StatusCode::OK);
    let list = tenant.control(Method::GET, &format!("{app}/signers"), Value::Null).await.expect(StatusCode::OK);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
}
