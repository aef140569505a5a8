//! What a message may be: its size, its name, its headers, and who may publish it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::tenants::{Answer, Tenant, start};

async fn post(tenant: &Tenant, channel: &str, body: &Value) -> Answer {
    tenant.data(Method::POST, &format!("/v1/channels/{channel}/messages"), body.clone()).await
}

fn headers(count: usize, name_bytes: usize, value_bytes: usize) -> Value {
    let name = |at: usize| format!("{at:0>name_bytes$}");
    (0..count).map(|at| (name(at), json!("v".repeat(value_bytes)))).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn names_headers_and_keys_are_held_to_their_limits() {
    let (_server, tenant) = start().await;
    let mut socket = tenant.join("ann").await;
    let cases = [
        (json!({"data": 1, "name": "n".repeat(200)}), true),
        (json!({"data": 1, "name": "n".repeat(201)}), false),
        (json!({"data": 1, "name": "é".repeat(101)}), false),
        (json!({"data": 1, "headers": {}}), true),
        (json!({"data": 1, "headers": headers(16, 64, 256)}), true),
        (json!({"data": 1, "headers": headers(17, 2, 2)}), false),
        (json!({"data": 1, "headers": headers(1, 65, 2)}), false),
        (json!({"data": 1, "headers": headers(1, 2, 257)}), false),
        (json!({"data": 1, "headers": {"": "v"}}), false),
        (json!({"data": 1, "headers": {"a": 1}}), false),
        (json!({"data": 1, "headers": ["a"]}), false),
        (json!({"data": 1, "name": 1}), false),
        (json!({"data": 1, "idempotency_key": "k".repeat(200)}), true),
        (json!({"data": 1, "idempotency_key": "k".repeat(201)}), false),
        (json!({"data": 1, "idempotency_key": ""}), false),
        (json!({"name": "no data"}), false),
    ];
    let mut taken = 0;
    for (body, good) in cases {
        let answer = post(&tenant, "room", &body).await;
        let mut request = body.clone();
        request["op"] = json!("publish");
        request["channel"] = json!("room");
        if good {
            taken += 2;
            answer.expect(StatusCode::ACCEPTED);
            socket.ask(request).await;
        } else {
            answer.expect_problem(422, "invalid_body");
            let code = socket.refused(request).await;
            assert!(["bad_request", "invalid_body"].contains(&code.as_str()), "{code}: {body}");
        }
    }
    tenant.reaches("room", taken).await;
    assert_eq!(tenant.history("room").await.len() as u64, taken);
}

#[tokio::test]
async fn channel_names_are_held_to_their_alphabet_and_length() {
    let (_server, tenant) = start().await;
    let mut socket = tenant.join("ann").await;
    let longest = "c".repeat(200);
    for good in ["A-z_0=@,.;:9", longest.as_str(), ":", "a:"] {
        tenant.publish(good, json!(1)).await;
        assert_eq!(socket.subscribe(good).await["serial"], 1, "{good}");
    }
    // A name may come percent-encoded, in part or whole.
    tenant.publish("%63%3A1", json!(1)).await;
    assert_eq!(socket.subscribe("c:1").await["serial"], 1);
    let too_long = "c".repeat(201);
    for (bad, encoded) in [("#x", "%23x"), ("a b", "a%20b"), ("a/b", "a%2Fb"), ("é", "%C3%A9"), (&too_long, &too_long)]
    {
        post(&tenant, encoded, &json!({"data": 1})).await.expect_problem(422, "bad_channel");
        for op in ["subscribe", "unsubscribe", "history"] {
            assert_eq!(socket.refused(json!({"op": op, "channel": bad})).await, "bad_channel", "{bad}");
        }
        assert_eq!(socket.refused(json!({"op": "publish", "channel": bad, "data": 1})).await, "bad_channel", "{bad}");
    }
    assert_eq!(socket.refused(json!({"op": "subscribe", "channel": ""})).await, "bad_channel");
}

#[tokio::test]
async fn a_rule_bounds_the_size_of_messages_as_they_are_kept() {
    let (_server, tenant) = start().await;
    tenant.rule("small", json!({"max_message_bytes": 10})).await;
    let mut socket = tenant.join("ann").await;
    let send = |channel: &str, data: Value| json!({"op": "publish", "channel": channel, "data": data});
    // Ten bytes with their quotes.
    post(&tenant, "small:1", &json!({"data": "12345678"})).await.expect(StatusCode::ACCEPTED);
    post(&tenant, "small:1", &json!({"data": "123456789"})).await.expect_problem(413, "message_too_large");
    socket.ask(send("small:1", json!("12345678"))).await;
    assert_eq!(socket.refused(send("small:1", json!("123456789"))).await, "message_too_large");
    let spaced = tenant.request(Method::POST, "/v1/channels/small:1/messages").bearer_auth(tenant.credential());
    let spaced = spaced.header("content-type", "application/json").body("{\"data\": [ 1 , 2 ,     3 ]}");
    Answer::of(spaced).await.expect(StatusCode::ACCEPTED);
    let largest = "x".repeat(64 * 1024 - 2);
    assert_eq!(socket.connected["limits"]["message_bytes"], 64 * 1024);
    post(&tenant, "large", &json!({"data": largest})).await.expect(StatusCode::ACCEPTED);
    let larger = largest + "x";
    post(&tenant, "large", &json!({"data": larger})).await.expect_problem(413, "message_too_large");
    assert_eq!(socket.refused(send("large", json!(larger))).await, "message_too_large");
    tenant.reaches("small:1", 3).await;
    tenant.reaches("large", 1).await;
    assert_eq!((tenant.history("small:1").await.len(), tenant.history("large").await.len()), (3, 1));
}

#[tokio::test]
async fn a_rule_keeps_clients_from_publishing_and_backends_not() {
    let (_server, tenant) = start().await;
    tenant.rule("news", json!({"client_publish": false})).await;
    let token = tenant.full_token("ann").await;
    let mut socket = tenant.join("ann").await;
    let publish = json!({"op": "publish", "channel": "news:1", "data": 1});
    assert_eq!(socket.refused(publish.clone()).await, "forbidden");
    let by_token = tenant.request(Method::POST, "/v1/channels/news:1/messages").bearer_auth(token);
    Answer::of(by_token.json(&json!({"data": 1}))).await.expect_problem(403, "forbidden");
    socket.subscribe("news:1").await;
    tenant.publish("news:1", json!("from the backend")).await;
    assert_eq!(socket.event_of("message").await["data"], "from the backend");
    // An open connection feels a change of the rule soon after it is answered.
    tenant.rule("news", json!({"client_publish": true})).await;
    while socket.answer(publish.clone()).await.get("ok").is_none() {}
    tenant.rule("news", json!({"client_publish": false})).await;
    while socket.answer(publish.clone()).await.get("error").is_none() {}
    assert_eq!(socket.refused(publish).await, "forbidden");
}
