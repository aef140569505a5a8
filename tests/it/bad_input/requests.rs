//! Requests over a socket that are refused one by one, while the connection stays.

use serde_json::{Value, json};

use crate::harness::{
    server::{Options, Server},
    tenants::Tenant,
};

/// Bytes that `data` may have.
const MESSAGE_BYTES: usize = 64 * 1024;

/// Channel names that are refused wherever they appear.
pub fn bad_channels() -> Vec<String> {
    let names = ["", "#service", "a b", " a", "a/b", "a?b", "a*", "*", "ä", "🙂", "a\n", "a\0b", "a\\b", "a\"b", "%20"];
    names.into_iter().map(str::to_owned).chain(["x".repeat(201)]).collect()
}

#[actix_web::test]
async fn a_wrong_field_refuses_its_request_and_nothing_else() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut socket = tenant.join("ann").await;
    for request in [
        json!({}),
        json!({"op": 7}),
        json!({"op": null}),
        json!({"op": "dance"}),
        json!({"op": "SUBSCRIBE", "channel": "a"}),
        json!({"op": "subscribe"}),
        json!({"op": "subscribe", "channel": 7}),
        json!({"op": "subscribe", "channel": null}),
        json!({"op": "subscribe", "channel": ["a"]}),
        json!({"op": "subscribe", "channel": "a", "since": 7}),
        json!({"op": "subscribe", "channel": "a", "since": {"serial": 1}}),
        json!({"op": "subscribe", "channel": "a", "since": {"epoch": "e", "serial": -1}}),
        json!({"op": "subscribe", "channel": "a", "since": {"epoch": "e", "serial": 1.5}}),
        json!({"op": "subscribe", "channel": "a", "since": {"epoch": "e", "serial": 1u64 << 53}}),
        json!({"op": "subscribe", "channel": "a", "since": {"epoch": 7, "serial": 1}}),
        json!({"op": "subscribe", "channel": "a", "since": {"epoch": "e", "serial": 1}, "rewind": {"messages": 1}}),
        json!({"op": "subscribe", "channel": "a", "rewind": {}}),
        json!({"op": "subscribe", "channel": "a", "rewind": {"messages": 1, "seconds": 1}}),
        json!({"op": "subscribe", "channel": "a", "rewind": {"messages": -1}}),
        json!({"op": "subscribe", "channel": "a", "presence": "yes"}),
        json!({"op": "presence", "channel": "a"}),
        json!({"op": "presence", "channel": "a", "action": "dance"}),
        json!({"op": "presence", "channel": "a", "action": 7}),
        json!({"op": "presence", "action": "list"}),
        json!({"op": "presence", "channel": "a", "action": "list", "next": "?"}),
        json!({"op": "presence", "channel": "a", "action": "list", "next": 7}),
        json!({"op": "unsubscribe"}),
        json!({"op": "publish", "channel": "a"}),
        json!({"op": "publish", "data": 1}),
        json!({"op": "publish", "channel": "a", "data": 1, "name": 7}),
        json!({"op": "publish", "channel": "a", "data": 1, "name": "x".repeat(201)}),
        json!({"op": "publish", "channel": "a", "data": 1, "headers": []}),
        json!({"op": "publish", "channel": "a", "data": 1, "headers": {"a": 1}}),
        json!({"op": "publish", "channel": "a", "data": 1, "idempotency_key": 7}),
        json!({"op": "publish", "channel": "a", "data": 1, "ephemeral": "yes"}),
        json!({"op": "publish", "channel": "a", "data": 1, "echo": 0}),
        json!({"op": "publish", "channel": "a", "data": 1, "ack": "later"}),
        json!({"op": "history"}),
        json!({"op": "history", "channel": "a", "limit": 0}),
        json!({"op": "history", "channel": "a", "limit": 1001}),
        json!({"op": "history", "channel": "a", "limit": "all"}),
        json!({"op": "history", "channel": "a", "after": -1}),
        json!({"op": "history", "channel": "a", "after": 1, "before": 2}),
        json!({"op": "token"}),
        json!({"op": "token", "token": 7}),
    ] {
        assert_eq!(socket.refused(request.clone()).await, "bad_request", "{request}");
    }
    socket.subscribe("a").await;
    tenant.is_served().await;
}

#[actix_web::test]
async fn headers_and_keys_have_their_limits() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut socket = tenant.join("ann").await;
    let headers = |count: usize, name: usize, value: usize| -> Value {
        let members = (0..count).map(|at| (format!("{at:0name$}"), json!("v".repeat(value))));
        Value::Object(members.collect())
    };
    let publish = |field: &str, value: Value| json!({"op": "publish", "channel": "a", "data": 1, field: value});
    socket.ask(publish("headers", headers(16, 64, 256))).await;
    socket.ask(publish("idempotency_key", json!("k".repeat(200)))).await;
    for request in [
        publish("headers", headers(17, 2, 1)),
        publish("headers", headers(1, 65, 1)),
        publish("headers", headers(1, 2, 257)),
        publish("headers", json!({"": "v"})),
        publish("idempotency_key", json!("")),
        publish("idempotency_key", json!("k".repeat(201))),
    ] {
        assert_eq!(socket.refused(request.clone()).await, "invalid_body", "{request}");
    }
}

#[actix_web::test]
async fn bad_channel_names_are_refused_by_every_op() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut socket = tenant.join("ann").await;
    for channel in bad_channels() {
        for op in ["subscribe", "unsubscribe", "publish", "history"] {
            let request = json!({"op": op, "channel": channel, "data": 1});
            assert_eq!(socket.refused(request.clone()).await, "bad_channel", "{request}");
        }
    }
    socket.subscribe(&"x".repeat(200)).await;
    socket.subscribe("A-Z_=@,.;:").await;
}

#[actix_web::test]
async fn unknown_fields_are_passed_over() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut socket = tenant.join("ann").await;
    let future = json!({"deep": [{"er": null}]});
    socket.ask(json!({"op": "subscribe", "channel": "a", "future": future, "": 1})).await;
    socket.ask(json!({"op": "publish", "channel": "a", "data": 1, "Data": future})).await;
    assert_eq!(socket.event_of("message").await["data"], 1);
}

#[actix_web::test]
async fn a_message_that_is_too_large_is_refused_and_the_connection_stays() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut socket = tenant.join("ann").await;
    socket.subscribe("a").await;
    let publish = |bytes: usize| json!({"op": "publish", "channel": "a", "data": "x".repeat(bytes - 2)});
    for bytes in [MESSAGE_BYTES + 1, 1 << 20] {
        assert_eq!(socket.refused(publish(bytes)).await, "message_too_large", "{bytes}");
    }
    socket.ask(publish(MESSAGE_BYTES)).await;
    assert_eq!(socket.event_of("message").await["serial"], 1);
}

#[actix_web::test]
async fn data_may_be_nested_as_deep_as_it_fits() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut socket = tenant.join("ann").await;
    for depth in [127, 128, 129, MESSAGE_BYTES / 2] {
        let data = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        socket.send_text(format!(r#"{{"id":{depth},"op":"publish","channel":"deep","data":{data}}}"#)).await;
        assert!(socket.answer_to(depth as u32).await["ok"]["message"].is_string(), "{depth}");
    }
    tenant.is_served().await;
}
