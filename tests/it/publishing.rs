//! Publishing: the answers of sockets, REST and batches, who receives a message, and what is refused.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    sockets::Socket,
    tenants::{Answer, Tenant, start},
};

async fn post(tenant: &Tenant, path: &str, body: Value) -> Answer {
    tenant.data(Method::POST, &format!("/v1/channels/{path}"), body).await
}

/// The names of an object's fields.
fn fields(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_socket_is_answered_with_the_id_and_with_persisted_with_the_place() {
    let (_server, tenant) = start().await;
    let mut socket = tenant.join("ann").await;
    let epoch = socket.subscribe("room").await["epoch"].clone();
    let publish = json!({"op": "publish", "channel": "room", "data": 1, "name": "said", "headers": {"a": "b"}});
    let accepted = socket.ask(publish).await;
    assert_eq!(fields(&accepted), ["message"]);
    let persisted = socket.ask(json!({"op": "publish", "channel": "room", "data": 2, "ack": "persisted"})).await;
    assert_eq!((&persisted["epoch"], &persisted["serial"]), (&epoch, &json!(2)));
    let messages = socket.messages(2).await;
    let time = &messages[0]["time"];
    assert_eq!(
        messages[0],
        json!({"op": "message", "channel": "room", "serial": 1, "id": accepted["message"], "time": time, "name": "said",
            "client": "ann", "headers": {"a": "b"}, "data": 1})
    );
    assert_eq!(messages[1]["id"], persisted["message"]);
}

#[tokio::test]
async fn rest_answers_202_with_the_id_and_201_with_the_place() {
    let (_server, tenant) = start().await;
    let accepted = post(&tenant, "room/messages", json!({"data": 1})).await.expect(StatusCode::ACCEPTED);
    assert_eq!(fields(&accepted), ["message"]);
    let named = post(&tenant, "room/messages?ack=accepted", json!({"data": 2})).await.expect(StatusCode::ACCEPTED);
    assert_eq!(fields(&named), ["message"]);
    let place = post(&tenant, "room/messages?ack=persisted", json!({"data": 3})).await.expect(StatusCode::CREATED);
    let history = tenant.history("room").await;
    assert_eq!(place["serial"], 3);
    assert_eq!(history[2]["id"], place["message"]);
    assert_eq!([&history[0]["id"], &history[1]["id"]], [&accepted["message"], &named["message"]]);
    post(&tenant, "room/messages?ack=soon", json!({"data": 4})).await.expect_problem(422, "invalid_body");
    assert_eq!(tenant.history("room").await.len(), 3);
}

#[tokio::test]
async fn a_client_publishes_over_rest_within_its_rights() {
    let (_server, tenant) = start().await;
    let token = tenant.token("ann", json!({"room": ["publish"]})).await;
    let send = async |channel: &str, body: Value| {
        let path = format!("/v1/channels/{channel}/messages");
        Answer::of(tenant.request(Method::POST, &path).bearer_auth(&token).json(&body)).await
    };
    send("room", json!({"data": 1})).await.expect(StatusCode::ACCEPTED);
    send("room", json!({"data": 2, "client": "ann"})).await.expect(StatusCode::ACCEPTED);
    send("other", json!({"data": 3})).await.expect_problem(403, "forbidden");
    let read = tenant.request(Method::GET, "/v1/channels/room/messages").bearer_auth(&token);
    Answer::of(read).await.expect_problem(403, "forbidden");
    tenant.reaches("room", 2).await;
    let history = tenant.history("room").await;
    assert_eq!(history.iter().map(|item| &item["client"]).collect::<Vec<_>>(), ["ann", "ann"]);
}

#[tokio::test]
async fn each_item_of_a_batch_has_its_own_result_in_order() {
    let (_server, tenant) = start().await;
    tenant.rule("off", json!({"history": null})).await;
    let narrow = tenant.with_key(json!({"name": "narrow", "cap": {"a*": ["publish"], "off:*": ["publish"]}})).await;
    let items = json!([
        {"channel": "a", "data": 1, "idempotency_key": "k"},
        {"channel": "not a channel", "data": 2},
        {"channel": "b", "data": 3},
        {"channel": "a", "data": "x".repeat(65_535)},
        {"channel": "a2", "data": 4, "client": "ann", "name": "said"},
        {"channel": "a"},
        {"channel": "a", "data": 5, "later": true},
        {"channel": "a", "data": 1, "idempotency_key": "k"},
        {"channel": "a", "data": "other", "idempotency_key": "k"},
        {"channel": "off:1", "data": 6},
        7,
        {"channel": "a", "data": null},
    ]);
    let expected = [
        Ok(1),
        Err("bad_channel"),
        Err("forbidden"),
        Err("message_too_large"),
        Ok(1),
        Err("invalid_body"),
        Err("invalid_body"),
        Ok(1),
        Err("idempotency_conflict"),
        Err("history_off"),
        Err("invalid_body"),
        Ok(2),
    ];
    let answer = narrow.data(Method::POST, "/v1/messages?ack=persisted", json!({"messages": items})).await;
    let results = answer.expect(StatusCode::OK)["results"].clone();
    let results = results.as_array().expect("results");
    assert_eq!(results.len(), expected.len());
    for (at, (result, expected)) in results.iter().zip(expected).enumerate() {
        let found = result["serial"].as_u64().ok_or_else(|| result["error"]["code"].as_str().unwrap_or_default());
        assert_eq!(found, expected, "item {at}: {result}");
        if expected.is_err() {
            assert_eq!(fields(&result["error"]), ["code", "detail", "remedy"], "{result}");
        }
    }
    assert_eq!(results[0], results[7], "the same message under the same key");
    let data: Vec<_> = tenant.history("a").await.iter().map(|item| item["data"].clone()).collect();
    assert_eq!(data, [json!(1), Value::Null]);
    let accepted = json!({"messages": [{"channel": "off:1", "data": 6}, {"channel": "a", "data": 7}]});
    let results = narrow.data(Method::POST, "/v1/messages", accepted).await.expect(StatusCode::OK)["results"].clone();
    assert!(results.as_array().expect("results").iter().all(|result| fields(result) == ["message"]), "{results}");
}

#[tokio::test]
async fn without_echo_the_own_socket_gets_a_skip_and_everyone_else_the_message() {
    let (_server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let mut own = Socket::connect(&tenant.url, &token).await;
    let mut second = Socket::connect(&tenant.url, &token).await;
    let mut other = tenant.join("bob").await;
    let epoch = own.subscribe("room").await["epoch"].clone();
    second.subscribe("room").await;
    other.subscribe("room").await;
    own.ask(json!({"op": "publish", "channel": "room", "data": 1, "echo": false})).await;
    own.ask(json!({"op": "publish", "channel": "room", "data": 2})).await;
    assert_eq!(own.event().await, json!({"op": "skip", "channel": "room", "serial": 1}));
    assert_eq!(own.event_of("message").await["serial"], 2);
    for socket in [&mut second, &mut other] {
        let messages = socket.messages(2).await;
        assert_eq!((&messages[0]["data"], &messages[1]["data"]), (&json!(1), &json!(2)));
    }
    // The message is in history like any other; a resume brings it.
    own.ask(json!({"op": "unsubscribe", "channel": "room"})).await;
    own.resume("room", epoch.as_str().expect("an epoch"), 0).await;
    assert_eq!(own.event_of("message").await["data"], 1);
}

#[tokio::test]
async fn a_backend_excludes_one_connection() {
    let (_server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let mut excluded = Socket::connect(&tenant.url, &token).await;
    let mut second = Socket::connect(&tenant.url, &token).await;
    excluded.subscribe("room").await;
    second.subscribe("room").await;
    let connection = excluded.connected["connection"].clone();
    post(&tenant, "room/messages", json!({"data": 1, "exclude": connection})).await.expect(StatusCode::ACCEPTED);
    assert_eq!(excluded.event().await, json!({"op": "skip", "channel": "room", "serial": 1}));
    assert_eq!(second.event_of("message").await["data"], 1);
    let body = json!({"data": 2, "exclude": connection, "ephemeral": true});
    post(&tenant, "room/messages", body).await.expect(StatusCode::ACCEPTED);
    post(&tenant, "room/messages", json!({"data": 3, "exclude": "con_01nobody"})).await.expect(StatusCode::ACCEPTED);
    assert_eq!(excluded.event_of("message").await["data"], 3);
    let data: Vec<_> = second.messages(2).await.iter().map(|message| message["data"].clone()).collect();
    assert_eq!(data, [2, 3]);
    post(&tenant, "room/messages", json!({"data": 4, "exclude": "ann"})).await.expect_problem(422, "invalid_body");
}

#[tokio::test]
async fn an_ephemeral_message_has_no_serial_and_no_history() {
    let (_server, tenant) = start().await;
    let mut ann = tenant.join("ann").await;
    let mut bob = tenant.join("bob").await;
    ann.subscribe("room").await;
    bob.subscribe("room").await;
    let typing =
        |data: u64| json!({"op": "publish", "channel": "room", "data": data, "ephemeral": true, "name": "typing"});
    let mut quiet = typing(2);
    quiet["echo"] = json!(false);
    let answer = ann.ask(typing(1)).await;
    assert_eq!(fields(&answer), ["message"]);
    ann.ask(quiet).await;
    post(&tenant, "room/messages", json!({"data": 3, "ephemeral": true})).await.expect(StatusCode::ACCEPTED);
    tenant.publish("room", json!(4)).await;
    let own = ann.messages(3).await;
    assert_eq!(own.iter().map(|message| message["data"].clone()).collect::<Vec<_>>(), [1, 3, 4]);
    let others = bob.messages(4).await;
    let time = &others[0]["time"];
    assert_eq!(
        others[0],
        json!({"op": "message", "channel": "room", "id": answer["message"], "time": time, "name": "typing", "client": "ann", "data": 1})
    );
    assert_eq!(others[3]["serial"], 1, "ephemeral messages take no serial");
    let history = tenant.history("room").await;
    assert_eq!(history.iter().map(|item| item["data"].clone()).collect::<Vec<_>>(), [4]);
    let mut persisted = typing(5);
    persisted["ack"] = json!("persisted");
    assert_eq!(ann.refused(persisted).await, "history_off");
    let body = json!({"data": 5, "ephemeral": true});
    post(&tenant, "room/messages?ack=persisted", body).await.expect_problem(409, "history_off");
}

#[tokio::test]
async fn a_namespace_without_history_is_ephemeral() {
    let (_server, tenant) = start().await;
    tenant.publish("cursors:1", json!("before")).await;
    tenant.rule("cursors", json!({"history": null})).await;
    let mut socket = tenant.join("ann").await;
    socket.subscribe("cursors:1").await;
    post(&tenant, "cursors:1/messages", json!({"data": 1})).await.expect(StatusCode::ACCEPTED);
    let message = socket.event_of("message").await;
    assert_eq!((&message["data"], &message["serial"]), (&json!(1), &Value::Null));
    post(&tenant, "cursors:1/messages?ack=persisted", json!({"data": 2})).await.expect_problem(409, "history_off");
    let read = tenant.data(Method::GET, "/v1/channels/cursors:1/messages", Value::Null).await;
    read.expect_problem(409, "history_off");
    let channel = "cursors:2";
    for request in [
        json!({"op": "subscribe", "channel": channel, "since": {"epoch": "e", "serial": 0}}),
        json!({"op": "subscribe", "channel": channel, "rewind": {"messages": 1}}),
        json!({"op": "subscribe", "channel": channel, "rewind": {"seconds": 1}}),
        json!({"op": "history", "channel": channel}),
        json!({"op": "publish", "channel": channel, "data": 1, "ack": "persisted"}),
    ] {
        assert_eq!(socket.refused(request.clone()).await, "history_off", "{request}");
    }
    socket.subscribe(channel).await;
}

#[tokio::test]
async fn only_an_api_key_publishes_on_a_clients_behalf() {
    let (_server, tenant) = start().await;
    let body = json!({"data": 1, "client": "carl"});
    post(&tenant, "room/messages", body.clone()).await.expect(StatusCode::ACCEPTED);
    tenant.reaches("room", 1).await;
    assert_eq!(tenant.history("room").await[0]["client"], "carl");
    let anonymous = tenant.sign(&json!({
        "iat": crate::harness::tokens::now_s(), "exp": crate::harness::tokens::now_s() + 60.0, "cap": {"*": ["publish"]}
    }));
    for token in [tenant.full_token("ann").await, anonymous] {
        let request = tenant.request(Method::POST, "/v1/channels/room/messages").bearer_auth(token).json(&body);
        Answer::of(request).await.expect_problem(403, "forbidden");
    }
    assert_eq!(tenant.history("room").await.len(), 1);
}
