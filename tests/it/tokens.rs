//! Tokens: minted within the key's rights, and a live connection through expiry, refresh and narrowing.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    sockets::Socket,
    tenants::start,
    tokens::{every_right, now_s},
};

/// A part of a JWT, unverified.
fn part(token: &str, at: usize) -> Value {
    let text = token.split('.').nth(at).expect("a JWT has three parts");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[tokio::test]
async fn a_minted_token_is_a_jwt_of_the_key() {
    let (_server, tenant) = start().await;
    let body =
        json!({"client": "ann", "cap": {"chat:*": ["subscribe", "history"]}, "ttl_s": 60, "info": {"name": "Ann"}});
    let minted = tenant.data(Method::POST, "/v1/tokens", body).await.expect(StatusCode::CREATED);
    let token = minted["token"].as_str().expect("a token");
    let (header, claims) = (part(token, 0), part(token, 1));
    assert_eq!((&header["alg"], &header["kid"]), (&json!("HS256"), &json!(tenant.key)));
    assert_eq!((&claims["sub"], &claims["info"]), (&json!("ann"), &json!({"name": "Ann"})));
    assert_eq!(claims["cap"], json!({"chat:*": ["subscribe", "history"]}));
    let (issued, ends) = (claims["iat"].as_f64().expect("iat"), claims["exp"].as_f64().expect("exp"));
    assert!((now_s() - issued).abs() < 30.0);
    assert_eq!((ends - issued, minted["expires_at"].as_f64()), (60.0, Some(ends * 1_000.0)));
    assert!(claims["iat"].is_u64() && claims["exp"].is_u64(), "{claims}");
    let mut socket = Socket::connect(&tenant.url, token).await;
    assert_eq!((&socket.connected["client"], &socket.connected["app"]), (&json!("ann"), &json!(tenant.app)));
    let ttl_ms = socket.connected["token_ttl_ms"].as_u64().expect("a life");
    assert!((30_000..=60_000).contains(&ttl_ms), "{ttl_ms}");
    socket.subscribe("chat:1").await;
    assert_eq!(socket.refused(json!({"op": "subscribe", "channel": "other"})).await, "forbidden");
    assert_eq!(socket.refused(json!({"op": "publish", "channel": "chat:1", "data": 1})).await, "forbidden");
    let anonymous = json!({"cap": {}, "ttl_s": 86_400});
    let minted = tenant.data(Method::POST, "/v1/tokens", anonymous).await.expect(StatusCode::CREATED);
    let socket = Socket::connect(&tenant.url, minted["token"].as_str().expect("a token")).await;
    assert_eq!(socket.connected.get("client"), None);
}

#[tokio::test]
async fn a_token_is_never_wider_than_its_key_and_ends_in_a_day() {
    let (_server, tenant) = start().await;
    let cap = json!({"chat:*": ["subscribe", "publish", "admin"], "news": ["subscribe"]});
    let narrow = tenant.with_key(json!({"name": "narrow", "cap": cap})).await;
    let many: serde_json::Map<_, _> = (0..101).map(|at| (format!("chat:{at}"), json!(["subscribe"]))).collect();
    let good = json!({"cap": {"chat:1": ["subscribe"], "chat:a*": ["publish"]}, "ttl_s": 1});
    narrow.data(Method::POST, "/v1/tokens", good.clone()).await.expect(StatusCode::CREATED);
    let cases = [
        ("cap", json!({"*": ["subscribe"]}), "/cap/*"),
        ("cap", json!({"chat:*": ["history"]}), "/cap/chat:*"),
        ("cap", json!({"chat:*": ["admin"]}), "/cap/chat:*"),
        ("cap", json!({"news*": ["subscribe"]}), "/cap/news*"),
        ("cap", json!({"chat*": ["subscribe"]}), "/cap/chat*"),
        ("cap", json!({"chat:*": ["dance"]}), "/cap/chat:*/0"),
        ("cap", json!({"a*b": []}), "/cap/a*b"),
        ("cap", json!(many), "/cap"),
        ("ttl_s", json!(0), "/ttl_s"),
        ("ttl_s", json!(86_401), "/ttl_s"),
        ("ttl_s", json!(1.5), "/ttl_s"),
        ("client", json!(""), "/client"),
        ("client", json!("a\u{7}"), "/client"),
        ("info", json!("x".repeat(1_025)), "/info"),
        ("later", json!(1), "/later"),
    ];
    for (field, value, pointer) in cases {
        let mut body = good.clone();
        body[field] = value;
        let problem = narrow.data(Method::POST, "/v1/tokens", body.clone()).await.expect_problem(422, "invalid_body");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
    }
    for absent in ["cap", "ttl_s"] {
        let mut body = good.clone();
        body.as_object_mut().expect("an object").remove(absent);
        narrow.data(Method::POST, "/v1/tokens", body).await.expect_problem(422, "invalid_body");
    }
    // What a backend signs itself is cut down to what its key may do.
    let token = narrow.short_token("ann", every_right(), 60.0);
    let mut socket = Socket::connect(&tenant.url, &token).await;
    socket.subscribe("chat:1").await;
    socket.subscribe("news").await;
    assert_eq!(socket.refused(json!({"op": "subscribe", "channel": "other"})).await, "forbidden");
    assert_eq!(socket.refused(json!({"op": "history", "channel": "chat:1"})).await, "forbidden");
    assert_eq!(socket.refused(json!({"op": "publish", "channel": "news", "data": 1})).await, "forbidden");
    let by_token = tenant.request(Method::POST, "/v1/tokens").bearer_auth(token).json(&good);
    crate::harness::tenants::Answer::of(by_token).await.expect_problem(403, "forbidden");
}

/// Asks again and again until the token has run out; every answer before is good.
async fn until_expired(socket: &mut Socket) {
    let ask = json!({"op": "history", "channel": "room", "limit": 1});
    loop {
        let answer = socket.answer(ask.clone()).await;
        if answer.get("ok").is_none() {
            return assert_eq!(answer["error"]["code"], "token_expired", "{answer}");
        }
    }
}

#[tokio::test]
async fn while_a_token_is_expired_nothing_passes_and_a_fresh_one_goes_on_without_a_hole() {
    let (_server, tenant) = start().await;
    let mut socket = tenant.join("ann").await;
    socket.record();
    socket.subscribe("room").await;
    socket.subscribe("side").await;
    assert_eq!(tenant.publish("room", json!(1)).await, 1);
    assert_eq!(socket.event_of("message").await["serial"], 1);
    tenant.shorten(&mut socket, "ann").await;
    until_expired(&mut socket).await;
    let mut bob = tenant.join("bob").await;
    bob.subscribe("room").await;
    for number in 2..=4 {
        tenant.publish("room", json!(number)).await;
    }
    tenant.publish("side", json!(1)).await;
    bob.messages(3).await;
    let ephemeral = json!({"data": "lost", "ephemeral": true});
    tenant.data(Method::POST, "/v1/channels/room/messages", ephemeral).await.expect(StatusCode::ACCEPTED);
    bob.messages(1).await;
    for request in [
        json!({"op": "subscribe", "channel": "new"}),
        json!({"op": "unsubscribe", "channel": "room"}),
        json!({"op": "publish", "channel": "room", "data": 1}),
        json!({"op": "history", "channel": "room"}),
    ] {
        assert_eq!(socket.refused(request).await, "token_expired");
    }
    let stale = tenant.short_token("ann", every_right(), -1.0);
    assert_eq!(socket.refused(json!({"op": "token", "token": stale})).await, "token_expired");
    let held = socket.recording().received.len();
    let fresh = tenant.full_token("ann").await;
    let ok = socket.ask(json!({"op": "token", "token": fresh})).await;
    assert!(ok["token_ttl_ms"].as_u64() > Some(3_500_000), "{ok}");
    tenant.publish("room", json!(5)).await;
    let mut room = Vec::new();
    for _ in 0..5 {
        let message = socket.event_of("message").await;
        if message["channel"] == "room" {
            room.push(message["serial"].clone());
        }
    }
    assert_eq!(room, [2, 3, 4, 5]);
    let early = &socket.recording().received[..held];
    assert_eq!(early.iter().filter(|frame| frame.contains(r#""op":"message""#)).count(), 1, "{early:?}");
    socket.subscribe("new").await;
}

#[tokio::test]
async fn a_token_that_runs_out_is_warned_of() {
    let (_server, tenant) = start().await;
    let warned_at = async |ttl_s: f64| {
        let mut socket = Socket::connect(&tenant.url, &tenant.short_token("ann", every_right(), ttl_s)).await;
        let warning = socket.event_of("token_expiring").await;
        warning["in_ms"].as_u64().expect("how soon")
    };
    let (last, first) = tokio::join!(warned_at(15.0), warned_at(65.0));
    assert!((5_000..=10_000).contains(&last), "{last}");
    assert!((50_000..=60_000).contains(&first), "{first}");
}

#[tokio::test]
async fn a_narrower_token_ends_just_the_subscriptions_that_lost_their_right() {
    let (_server, tenant) = start().await;
    let mut socket = tenant.join("ann").await;
    socket.subscribe("kept").await;
    socket.subscribe("lost").await;
    let narrow = tenant.token("ann", json!({"kept": ["subscribe"]})).await;
    socket.ask(json!({"op": "token", "token": narrow})).await;
    let event = socket.event_of("unsubscribed").await;
    assert_eq!((&event["channel"], &event["error"]["code"]), (&json!("lost"), &json!("forbidden")));
    tenant.publish("lost", json!(1)).await;
    tenant.publish("kept", json!(1)).await;
    assert_eq!(socket.event_of("message").await["channel"], "kept");
    assert_eq!(socket.refused(json!({"op": "subscribe", "channel": "lost"})).await, "forbidden");
    assert_eq!(socket.refused(json!({"op": "publish", "channel": "kept", "data": 1})).await, "forbidden");
    let wide = tenant.full_token("ann").await;
    socket.ask(json!({"op": "token", "token": wide})).await;
    assert_eq!(socket.subscribe("lost").await["serial"], 1);
}

#[tokio::test]
async fn a_token_of_somebody_else_changes_nothing() {
    let (_server, tenant) = start().await;
    let mut other_app = tenant.clone();
    let path = format!("/v1/tenants/{}/apps", tenant.tenant);
    let app = tenant.control(Method::POST, &path, json!({"name": "other"})).await.expect(StatusCode::CREATED);
    other_app.app = app["id"].as_str().expect("an id").to_owned();
    let other_app = other_app.with_key(json!({"name": "other"})).await;
    let mut socket = tenant.join("ann").await;
    socket.subscribe("room").await;
    let anonymous = json!({"cap": every_right(), "iat": now_s(), "exp": now_s() + 60.0});
    for (token, code) in [
        (tenant.full_token("bob").await, "token_mismatch"),
        (tenant.sign(&anonymous), "token_mismatch"),
        (other_app.full_token("ann").await, "token_mismatch"),
        ("nonsense".to_owned(), "bad_token"),
        (crate::harness::tokens::sign(&tenant.key, "fs_wrong", &anonymous), "bad_token"),
    ] {
        assert_eq!(socket.refused(json!({"op": "token", "token": token})).await, code);
    }
    tenant.publish("room", json!(1)).await;
    assert_eq!(socket.event_of("message").await["serial"], 1);
    socket.ask(json!({"op": "publish", "channel": "room", "data": 2})).await;
}
