//! D4 as a publisher sees it: however often a message is repeated under its key, it is one message.

use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    sockets::Socket,
    tenants::{Answer, start},
};

const PATH: &str = "/v1/channels/room/messages?ack=persisted";

fn keyed(data: Value, key: &str) -> Value {
    json!({"data": data, "idempotency_key": key})
}

fn by_socket(data: Value, key: &str) -> Value {
    json!({"op": "publish", "channel": "room", "data": data, "idempotency_key": key, "ack": "persisted"})
}

#[tokio::test]
async fn a_repeated_key_gives_the_first_answer_again_and_one_message() {
    let (_server, tenant) = start().await;
    let mut watcher = tenant.join("watcher").await;
    watcher.subscribe("room").await;
    let first = tenant.data(Method::POST, PATH, keyed(json!({"n": 1}), "k1")).await.expect(StatusCode::CREATED);
    for _ in 0..3 {
        let again = tenant.data(Method::POST, PATH, keyed(json!({"n": 1}), "k1")).await.expect(StatusCode::CREATED);
        assert_eq!(again, first);
    }
    // The header is the field; whitespace makes no other message.
    for header in ["k1", "\"k1\""] {
        let request =
            tenant.request(Method::POST, PATH).bearer_auth(tenant.credential()).header("idempotency-key", header);
        let request = request.header("content-type", "application/json").body("{\"data\": { \"n\" : 1 } }");
        assert_eq!(Answer::of(request).await.expect(StatusCode::CREATED), first);
    }
    let accepted = tenant.data(Method::POST, "/v1/channels/room/messages", keyed(json!({"n": 1}), "k1")).await;
    assert_eq!(accepted.expect(StatusCode::ACCEPTED), json!({"message": first["message"]}));
    let request = tenant.request(Method::POST, PATH).bearer_auth(tenant.credential()).header("idempotency-key", "k2");
    Answer::of(request.json(&keyed(json!({"n": 1}), "k1"))).await.expect_problem(422, "invalid_body");
    tenant.publish("room", json!("last")).await;
    let messages = watcher.messages(2).await;
    assert_eq!((&messages[0]["id"], &messages[1]["data"]), (&first["message"], &json!("last")));
    assert_eq!(tenant.history("room").await.len(), 2);
}

#[tokio::test]
async fn another_message_under_the_same_key_is_a_conflict() {
    let (_server, tenant) = start().await;
    let mut socket = tenant.join("ann").await;
    let original = json!({"data": 1, "idempotency_key": "k", "name": "said", "headers": {"a": "b"}});
    tenant.data(Method::POST, PATH, original.clone()).await.expect(StatusCode::CREATED);
    socket.ask(by_socket(json!(1), "k")).await;
    for (field, value) in
        [("data", json!(2)), ("data", json!(1.0)), ("name", json!("other")), ("headers", json!({"a": "c"}))]
    {
        let mut other = original.clone();
        other[field] = value;
        for path in [PATH, "/v1/channels/room/messages"] {
            tenant.data(Method::POST, path, other.clone()).await.expect_problem(409, "idempotency_conflict");
        }
    }
    assert_eq!(socket.refused(by_socket(json!(2), "k")).await, "idempotency_conflict");
    let mut unwaited = by_socket(json!(2), "k");
    unwaited["ack"] = json!("accepted");
    assert_eq!(socket.refused(unwaited).await, "idempotency_conflict");
    assert_eq!(tenant.history("room").await.len(), 2);
}

#[tokio::test]
async fn a_key_belongs_to_its_channel_and_to_the_client_or_the_api_keys_together() {
    let (_server, tenant) = start().await;
    let second_key = tenant.with_key(json!({"name": "second"})).await;
    let (mut ann, mut bob) = (tenant.join("ann").await, tenant.join("bob").await);
    let mut ann_again = tenant.join("ann").await;
    let backend = tenant.data(Method::POST, PATH, keyed(json!(1), "k")).await.expect(StatusCode::CREATED);
    let first = ann.ask(by_socket(json!(1), "k")).await;
    assert_eq!(first["serial"], 2);
    assert_eq!(bob.ask(by_socket(json!("from bob"), "k")).await["serial"], 3);
    assert_eq!(ann_again.ask(by_socket(json!(1), "k")).await, first, "the client, not the connection, owns the key");
    let token = tenant.full_token("ann").await;
    let over_http = tenant.request(Method::POST, PATH).bearer_auth(token).json(&keyed(json!(1), "k"));
    assert_eq!(Answer::of(over_http).await.expect(StatusCode::CREATED), first, "and so over HTTP");
    let same = second_key.data(Method::POST, PATH, keyed(json!(1), "k")).await.expect(StatusCode::CREATED);
    assert_eq!(same, backend, "the app's API keys own it together");
    let elsewhere = "/v1/channels/elsewhere/messages?ack=persisted";
    let other = tenant.data(Method::POST, elsewhere, keyed(json!(2), "k")).await.expect(StatusCode::CREATED);
    assert_ne!(other["message"], backend["message"]);
    assert_eq!(tenant.history("room").await.len(), 3);
}

#[tokio::test]
async fn fifty_concurrent_repeats_take_one_serial() {
    let (_server, tenant) = start().await;
    let mut watcher = tenant.join("watcher").await;
    watcher.subscribe("room").await;
    let answers = join_all((0..50).map(|_| tenant.data(Method::POST, PATH, keyed(json!("once"), "k")))).await;
    for answer in answers {
        assert_eq!(answer.expect(StatusCode::CREATED)["serial"], 1);
    }
    let token = tenant.full_token("ann").await;
    let mut sockets = join_all((0..5).map(|_| Socket::connect(&tenant.url, &token))).await;
    let mut serials = Vec::new();
    for socket in &mut sockets {
        for _ in 0..10 {
            socket.send(by_socket(json!("once"), "k")).await;
        }
    }
    for socket in &mut sockets {
        // Ids count from the `connect` on.
        for id in 2..=11 {
            serials.push(socket.answer_to(id).await["ok"]["serial"].clone());
        }
    }
    assert_eq!(serials, vec![json!(2); 50]);
    assert_eq!(tenant.publish("room", json!("last")).await, 3);
    let received: Vec<_> = watcher.messages(3).await.iter().map(|message| message["serial"].clone()).collect();
    assert_eq!(received, [1, 2, 3]);
}

#[tokio::test]
async fn a_key_outlives_the_process() {
    let (mut server, tenant) = start().await;
    let first = tenant.data(Method::POST, PATH, keyed(json!(1), "k")).await.expect(StatusCode::CREATED);
    for killed in [true, false] {
        if killed {
            server.kill9().await;
        } else {
            assert!(server.terminate().await.success());
        }
        server.restart().await;
        let again = tenant.data(Method::POST, PATH, keyed(json!(1), "k")).await.expect(StatusCode::CREATED);
        assert_eq!(again, first);
        tenant.data(Method::POST, PATH, keyed(json!(2), "k")).await.expect_problem(409, "idempotency_conflict");
    }
    assert_eq!(tenant.history("room").await.len(), 1);
}
