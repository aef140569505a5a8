//! What may open a connection, and what ends one: handshake bearers, key ids, rotation, revocation, disabled apps, rules.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    sockets::{Received, Socket},
    tenants::{Answer, Tenant, start},
    tokens::every_right,
    waiting::until,
};

/// Connects with a token, or gives the code that it is refused with.
async fn connect(tenant: &Tenant, token: &str) -> Result<Socket, String> {
    let mut socket = Socket::open(&tenant.url).await;
    let answer = socket.answer(json!({"op": "connect", "token": token})).await;
    match answer["error"]["code"].as_str() {
        None => Ok(socket),
        Some(code) => Err(code.to_owned()),
    }
}

/// The close of a socket, which says why before.
async fn closed(socket: &mut Socket) -> (u16, String) {
    let (events, end) = socket.closed().await;
    let Received::Close(code, reason) = end else { panic!("{end:?} after {events:?}") };
    let error = events.last().expect("an error comes before the close");
    assert_eq!((&error["op"], &error["error"]["code"]), (&json!("error"), &json!(reason)), "{events:?}");
    (code, reason)
}

#[tokio::test]
async fn a_token_in_the_handshake_serves_in_place_of_one_in_connect() {
    let (_server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let mut socket = Socket::open_with(&tenant.url, Some(&token)).await;
    let ok = socket.ask(json!({"op": "connect"})).await;
    assert_eq!((&ok["client"], &ok["app"]), (&json!("ann"), &json!(tenant.app)));
    socket.subscribe("room").await;
    // A token in `connect` comes first.
    let mut socket = Socket::open_with(&tenant.url, Some(&token)).await;
    let bob = tenant.full_token("bob").await;
    assert_eq!(socket.ask(json!({"op": "connect", "token": bob})).await["client"], "bob");
    let mut socket = Socket::open_with(&tenant.url, Some("nonsense")).await;
    assert_eq!(socket.refused(json!({"op": "connect"})).await, "bad_token");
    assert_eq!(closed(&mut socket).await, (4012, "bad_token".into()));
    let mut socket = Socket::open(&tenant.url).await;
    assert_eq!(socket.refused(json!({"op": "connect"})).await, "unauthorized");
    assert_eq!(closed(&mut socket).await, (4010, "unauthorized".into()));
    let mut socket = Socket::open(&tenant.url).await;
    assert_eq!(socket.refused(json!({"op": "connect", "token": token, "key": tenant.key})).await, "unauthorized");
    let mut socket = Socket::open(&tenant.url).await;
    assert_eq!(socket.ask(json!({"op": "connect", "token": token, "app": tenant.app})).await["client"], "ann");
}

#[tokio::test]
async fn a_key_id_opens_public_channels_only() {
    let (_server, tenant) = start().await;
    tenant.rule("open", json!({"public": true})).await;
    tenant.publish("open:1", json!("seen")).await;
    tenant.publish("closed:1", json!("unseen")).await;
    let mut socket = Socket::connect_public(&tenant.url, &tenant.key).await;
    assert_eq!((socket.connected.get("client"), socket.connected.get("token_ttl_ms")), (None, None));
    let rewind = |channel: &str| json!({"op": "subscribe", "channel": channel, "rewind": {"messages": 1}});
    socket.ask(rewind("open:1")).await;
    assert_eq!(socket.event_of("message").await["data"], "seen");
    assert_eq!(socket.ask(json!({"op": "history", "channel": "open:1"})).await["items"][0]["data"], "seen");
    assert_eq!(socket.refused(rewind("closed:1")).await, "forbidden");
    for op in ["subscribe", "history"] {
        assert_eq!(socket.refused(json!({"op": op, "channel": "closed:1"})).await, "forbidden");
    }
    for channel in ["open:1", "closed:1"] {
        assert_eq!(socket.refused(json!({"op": "publish", "channel": channel, "data": 1})).await, "forbidden");
    }
    let token = tenant.full_token("ann").await;
    assert_eq!(socket.refused(json!({"op": "token", "token": token})).await, "token_mismatch");
    // A token gains what is public, whatever its capability.
    let mut socket = Socket::connect(&tenant.url, &tenant.token("ann", json!({})).await).await;
    socket.subscribe("open:1").await;
    for key in ["fk_unknown", "nonsense", tenant.app.as_str()] {
        let mut socket = Socket::open(&tenant.url).await;
        assert_eq!(socket.refused(json!({"op": "connect", "key": key})).await, "bad_key");
        assert_eq!(closed(&mut socket).await, (4011, "bad_key".into()));
    }
}

#[tokio::test]
async fn a_rule_that_is_no_longer_public_ends_public_subscriptions() {
    let (_server, tenant) = start().await;
    tenant.rule("open", json!({"public": true})).await;
    tenant.rule("other", json!({"public": true})).await;
    let mut public = Socket::connect_public(&tenant.url, &tenant.key).await;
    let mut client = tenant.join("ann").await;
    for channel in ["open:1", "other:1"] {
        public.subscribe(channel).await;
        client.subscribe(channel).await;
    }
    tenant.rule("open", json!({"public": false})).await;
    let event = public.event_of("unsubscribed").await;
    assert_eq!((&event["channel"], &event["error"]["code"]), (&json!("open:1"), &json!("forbidden")));
    tenant.publish("open:1", json!("private now")).await;
    tenant.publish("other:1", json!("public still")).await;
    assert_eq!(public.event_of("message").await["data"], "public still");
    assert_eq!(client.messages(2).await.len(), 2);
    assert_eq!(public.refused(json!({"op": "subscribe", "channel": "open:1"})).await, "forbidden");
    let rule = format!("/v1/apps/{}/rules/other", tenant.app);
    tenant.control(Method::DELETE, &rule, Value::Null).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(public.event_of("unsubscribed").await["channel"], "other:1");
}

#[tokio::test]
async fn a_rotated_secret_works_until_its_grace_ends() {
    let (_server, tenant) = start().await;
    let rotate = async |grace: Value| {
        let path = format!("/v1/apps/{}/keys/{}/rotate", tenant.app, tenant.key);
        let rotated = tenant.control(Method::POST, &path, grace).await.expect(StatusCode::OK);
        assert_eq!(rotated["id"], tenant.key);
        let mut with_new = tenant.clone();
        with_new.secret = rotated["secret"].as_str().expect("a secret").to_owned();
        with_new
    };
    let old_token = tenant.short_token("ann", every_right(), 600.0);
    let new = rotate(json!({"grace_s": 600})).await;
    assert_ne!(new.secret, tenant.secret);
    connect(&tenant, &old_token).await.expect("the old secret's tokens work");
    tenant.publish("room", json!("by the old secret")).await;
    new.publish("room", json!("by the new secret")).await;
    let token = new.short_token("ann", every_right(), 600.0);
    connect(&new, &token).await.expect("the new secret's tokens work");
    let asked = Instant::now();
    let newer = rotate(json!({"grace_s": 2})).await;
    let refusal = until("the grace ends", async || match connect(&tenant, &token).await {
        Ok(socket) => {
            socket.drop_connection();
            None
        }
        // It ended while it was looked at.
        Err(code) => Some(code).filter(|code| code != "token_expired"),
    });
    assert_eq!(refusal.await, "bad_token");
    assert!(asked.elapsed() >= Duration::from_secs(2), "it ended {:?} after it was asked for", asked.elapsed());
    new.data(Method::GET, "/v1/channels/room/messages", Value::Null).await.expect_problem(401, "bad_key");
    assert_eq!(newer.history("room").await.len(), 2);
    // Without grace the old secret stops at once.
    let newest = rotate(Value::Null).await;
    newer.data(Method::GET, "/v1/channels/room/messages", Value::Null).await.expect_problem(401, "bad_key");
    newest.publish("room", json!("by the newest")).await;
}

#[tokio::test]
async fn a_revoked_key_takes_its_connections_and_tokens_with_it() {
    let (_server, tenant) = start().await;
    let doomed = tenant.with_key(json!({"name": "doomed"})).await;
    let token = doomed.full_token("ann").await;
    let mut sockets = vec![
        connect(&tenant, &token).await.expect("a live key's token"),
        connect(&tenant, &token).await.expect("and again"),
    ];
    sockets.push(Socket::connect_public(&tenant.url, &doomed.key).await);
    let mut kept = tenant.join("bob").await;
    // A connection belongs to the key of its present token.
    let mut moved_to = tenant.join("ann").await;
    moved_to.ask(json!({"op": "token", "token": token})).await;
    sockets.push(moved_to);
    let mut moved_away = connect(&tenant, &token).await.expect("a live key's token");
    let other_token = tenant.full_token("ann").await;
    moved_away.ask(json!({"op": "token", "token": other_token})).await;
    let path = format!("/v1/apps/{}/keys/{}", tenant.app, doomed.key);
    tenant.control(Method::DELETE, &path, Value::Null).await.expect(StatusCode::NO_CONTENT);
    for socket in &mut sockets {
        assert_eq!(closed(socket).await, (4011, "bad_key".into()));
    }
    assert_eq!(connect(&tenant, &token).await.err().as_deref(), Some("bad_token"));
    doomed.data(Method::GET, "/v1/channels/room/messages", Value::Null).await.expect_problem(401, "bad_key");
    let by_token = tenant.request(Method::GET, "/v1/channels/room/messages").bearer_auth(&token);
    Answer::of(by_token).await.expect_problem(401, "bad_token");
    assert_eq!(kept.refused(json!({"op": "token", "token": token})).await, "bad_token");
    kept.subscribe("room").await;
    moved_away.subscribe("room").await;
    tenant.control(Method::DELETE, &path, Value::Null).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn a_disabled_app_closes_its_connections_and_refuses_its_keys_until_it_is_enabled() {
    let (_server, tenant) = start().await;
    tenant.publish("room", json!(1)).await;
    let token = tenant.full_token("ann").await;
    let mut client = connect(&tenant, &token).await.expect("an enabled app");
    let epoch = client.subscribe("room").await["epoch"].clone();
    let mut public = Socket::connect_public(&tenant.url, &tenant.key).await;
    let app = format!("/v1/apps/{}", tenant.app);
    let disabled = tenant.control(Method::PATCH, &app, json!({"enabled": false})).await.expect(StatusCode::OK);
    assert_eq!((&disabled["id"], &disabled["enabled"]), (&json!(tenant.app), &json!(false)));
    for socket in [&mut client, &mut public] {
        assert_eq!(closed(socket).await, (4020, "app_disabled".into()));
    }
    assert_eq!(connect(&tenant, &token).await.err().as_deref(), Some("app_disabled"));
    let publish = || tenant.data(Method::POST, "/v1/channels/room/messages", json!({"data": 2}));
    publish().await.expect_problem(403, "app_disabled");
    tenant.data(Method::POST, "/v1/tokens", json!({"cap": {}, "ttl_s": 1})).await.expect_problem(403, "app_disabled");
    let mut public = Socket::open(&tenant.url).await;
    assert_eq!(public.refused(json!({"op": "connect", "key": tenant.key})).await, "app_disabled");
    // Its control plane goes on.
    let minted = tenant.with_key(json!({"name": "later"})).await;
    tenant.control(Method::PATCH, &app, json!({"enabled": true})).await.expect(StatusCode::OK);
    let mut client = connect(&tenant, &token).await.expect("an enabled app");
    assert_eq!(client.resume("room", epoch.as_str().expect("an epoch"), 0).await["resumed"], true);
    assert_eq!(client.event_of("message").await["serial"], 1);
    publish().await.expect(StatusCode::ACCEPTED);
    assert_eq!(minted.publish("room", json!(3)).await, 3);
}

#[tokio::test]
async fn a_credential_serves_only_the_app_that_the_caller_names() {
    let (_server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let publish = |credential: String, path: &str, app: Option<&str>| {
        let request = tenant.request(Method::POST, path).bearer_auth(credential).json(&json!({"data": 1}));
        Answer::of(match app {
            Some(app) => request.header("Fanfare-App", app),
            None => request,
        })
    };
    let (plain, other) = ("/v1/channels/room/messages", "app_00000000000000000000000000");
    let named = format!("{plain}?app={}", tenant.app);
    for (credential, code) in [(token.clone(), "bad_token"), (tenant.credential(), "bad_key")] {
        publish(credential.clone(), plain, Some(&tenant.app)).await.expect(StatusCode::ACCEPTED);
        publish(credential.clone(), &named, None).await.expect(StatusCode::ACCEPTED);
        publish(credential.clone(), plain, Some(other)).await.expect_problem(401, code);
        publish(credential.clone(), &format!("{plain}?app={other}"), None).await.expect_problem(401, code);
        publish(credential, &named, Some(other)).await.expect_problem(422, "invalid_body");
    }
    let mut socket = Socket::open(&tenant.url).await;
    assert_eq!(socket.refused(json!({"op": "connect", "key": tenant.key, "app": other})).await, "bad_key");
}
