//! Every op of the socket: B uses A's channel names, positions, connections and tokens.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{CHANNEL, Hidden};
use crate::harness::{
    server::{Options, Server},
    sockets::Socket,
    tenants::Tenant,
};

/// The ops that the test below tries; one that is new in `openapi/asyncapi.yaml` is to be tried too.
const OPS: [&str; 8] = ["connect", "history", "pong", "presence", "publish", "subscribe", "token", "unsubscribe"];

#[test]
fn every_op_of_the_protocol_is_tried() {
    let document = crate::asyncapi::document();
    let schemas = &document["components"]["schemas"];
    let frames = schemas["ClientFrame"]["oneOf"].as_array().expect("the frames of a client");
    let name = |frame: &Value| {
        frame["$ref"].as_str().and_then(|path| path.rsplit('/').next()).expect("a reference").to_owned()
    };
    let op = |frame: &Value| schemas[name(frame)]["properties"]["op"]["const"].as_str().expect("an op").to_owned();
    let ops: BTreeSet<_> = frames.iter().map(op).collect();
    assert_eq!(ops, OPS.map(str::to_owned).into(), "try the new op in tests/it/isolation/sockets.rs");
}

/// Connects with that `app`; the answer without its id.
async fn connect_to(tenant: &Tenant, app: &str) -> Value {
    let token = tenant.full_token("ann").await;
    let mut socket = Socket::open(&tenant.url).await;
    socket.answer(json!({"op": "connect", "token": token, "app": app})).await["error"].clone()
}

#[tokio::test]
async fn the_same_names_in_two_apps_have_nothing_to_do_with_each_other() {
    let server = Server::start(Options::default()).await;
    let a = Hidden::sign_up(&server).await;
    let b = Tenant::sign_up(&server).await;
    let mut of_a = a.tenant.join("ann").await;
    of_a.record();
    let position = of_a.subscribe(CHANNEL).await;

    let foreign = connect_to(&b, &a.tenant.app).await;
    assert_eq!(foreign["code"], "bad_token");
    assert_eq!(foreign, connect_to(&b, "app_00000000000000000000000000").await);

    let mut of_b = b.join("ann").await;
    of_b.record();
    // Even A's own position says nothing here.
    let ok = of_b.resume(CHANNEL, position["epoch"].as_str().expect("an epoch"), 0).await;
    assert_eq!((&ok["serial"], &ok["resumed"], &ok["lost"]), (&json!(0), &json!(false), &json!({"from": 1})));
    of_b.ask(json!({"op": "unsubscribe", "channel": CHANNEL})).await;
    let ok = of_b.ask(json!({"op": "subscribe", "channel": CHANNEL, "rewind": {"messages": 1_000}})).await;
    assert_eq!(ok["backlog"], 0);
    assert_eq!(of_b.ask(json!({"op": "history", "channel": CHANNEL})).await["items"], json!([]));

    // Each publishes, by socket, by REST, and without a serial; with the same key, and with the other's connection left out.
    let connection_of_a = of_a.connected["connection"].clone();
    for (round, key) in [(1, "k1"), (2, "k2")] {
        let publish = |data: &str| json!({"op": "publish", "channel": CHANNEL, "data": data, "idempotency_key": key, "ack": "persisted"});
        assert_eq!(of_a.ask(publish("hidden-live")).await["serial"], 1 + round);
        assert_eq!(of_b.ask(publish("open-live")).await["serial"], round);
    }
    let path = format!("/v1/channels/{CHANNEL}/messages");
    for (tenant, data) in [(&a.tenant, "hidden-ephemeral"), (&b, "open-ephemeral")] {
        let body = json!({"data": data, "ephemeral": true, "exclude": if data.starts_with("open") { connection_of_a.clone() } else { Value::Null }});
        tenant.data(Method::POST, &path, body).await.expect(StatusCode::ACCEPTED);
    }
    let ephemeral = |data: &str| json!({"op": "publish", "channel": CHANNEL, "data": data, "ephemeral": true});
    of_a.ask(ephemeral("hidden-ephemeral")).await;
    of_b.ask(ephemeral("open-ephemeral")).await;
    a.tenant.publish(CHANNEL, json!("hidden-last")).await;
    b.publish(CHANNEL, json!("open-last")).await;
    for (socket, prefix) in [(&mut of_a, "hidden-"), (&mut of_b, "open-")] {
        let data: Vec<_> = socket
            .messages(5)
            .await
            .iter()
            .map(|message| message["data"].as_str().expect("a text").to_owned())
            .collect();
        assert!(data.iter().all(|data| data.starts_with(prefix)), "{data:?}");
    }

    // Each is a member of its own channel, and sees nobody else.
    for (socket, data) in [(&mut of_a, "hidden-member"), (&mut of_b, "open-member")] {
        socket.ask(json!({"op": "presence", "channel": CHANNEL, "action": "enter", "data": data})).await;
    }
    let listed = of_b.ask(json!({"op": "presence", "channel": CHANNEL, "action": "list"})).await;
    assert_eq!((&listed["count"], &listed["items"][0]["data"]), (&json!(1), &json!("open-member")));

    // A's credentials on B's connection, and a rule of A's.
    let token_of_a = a.tenant.full_token("ann").await;
    assert_eq!(of_b.refused(json!({"op": "token", "token": token_of_a})).await, "token_mismatch");
    let forged = crate::harness::tokens::sign(&a.tenant.key, &b.secret, &json!({"cap": {}, "iat": 0, "exp": 1}));
    assert_eq!(of_b.refused(json!({"op": "token", "token": forged})).await, "bad_token");
    a.tenant.rule("shared", json!({"client_publish": false, "public": true})).await;
    of_b.send_text(r#"{"op":"pong"}"#).await;
    of_b.ask(json!({"op": "publish", "channel": CHANNEL, "data": "open-more"})).await;
    assert_eq!(of_b.event_of("message").await["data"], "open-more");
    for frame in &of_b.recording().received {
        a.check_unseen("a socket", frame);
    }
    assert!(of_a.recording().received.iter().all(|frame| !frame.contains("open-")));
    assert_eq!(a.tenant.history(CHANNEL).await.len(), 4);
    assert_eq!(b.history(CHANNEL).await.len(), 4);
}

#[tokio::test]
async fn disabling_revoking_and_removing_touch_nobody_else() {
    let server = Server::start(Options::default()).await;
    let a = Hidden::sign_up(&server).await;
    let b = Tenant::sign_up(&server).await;
    let mut of_b = b.join("ann").await;
    of_b.subscribe(CHANNEL).await;
    let app = format!("/v1/apps/{}", a.tenant.app);
    a.tenant.control(Method::PATCH, &app, json!({"enabled": false})).await.expect(StatusCode::OK);
    a.tenant
        .control(Method::DELETE, &format!("{app}/keys/{}", a.tenant.key), Value::Null)
        .await
        .expect(StatusCode::NO_CONTENT);
    a.tenant.control(Method::DELETE, &app, Value::Null).await.expect(StatusCode::NO_CONTENT);
    b.publish(CHANNEL, json!(1)).await;
    assert_eq!(of_b.event_of("message").await["serial"], 1);
}
